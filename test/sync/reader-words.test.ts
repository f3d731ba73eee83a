/**
 * @module The reader words of a reader-writer semaphore (sync/words/reader-word.ts): where readers
 * write, for whom a writer waits, and what is given up, once, for a thread that died.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { atomicLoad } from "../../src/sync/atomics.ts";
import { AGENT_READS, AGENT_STATE, agentRecord } from "../../src/sync/control-block.ts";
import { declareDead } from "../../src/sync/death/death.ts";
import { hasPanicked } from "../../src/sync/death/panic.ts";
import {
  HELD_CALLBACK,
  enterCritical,
  heldSlots,
  heldTag,
  holdsNothing,
  leaveCritical,
} from "../../src/sync/lockdep/held-locks.ts";
import { lockClass } from "../../src/sync/lock-class.ts";
import { RwSem } from "../../src/sync/primitives/rwsem.ts";
import { registerAgent } from "../../src/sync/runners/agents.ts";
import { runAsync } from "../../src/sync/runners/run-async.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import { SharedMemory } from "../../src/sync/shared-memory.ts";
import { enterTask, leaveTask, makeContext } from "../../src/sync/tasks/current-task.ts";
import { type Task, WOKEN } from "../../src/sync/tasks/task.ts";
import { READERS_MASK, STATE, WRITER } from "../../src/sync/words/rwsem-words.ts";
import { type Fixture, makeFixture, viewFixture } from "./fixture.ts";
import { diceOf } from "../dice.ts";

/** A further thread of the machine. */
function join({ memory }: Fixture, name: string): Fixture {
  const other = SharedMemory.attach(memory.buffer);
  registerAgent(other, { name });
  return viewFixture(other);
}

const runIn = <T>({ memory }: Fixture, task: Task<T>): T => runBlocking(memory, task);

/** A task of the thread that is stepped by hand. */
class Stepped {
  readonly #fixture: Fixture;
  readonly #task: Task<void>;
  isDone = false;

  constructor(fixture: Fixture, task: Task<void>) {
    this.#fixture = fixture;
    this.#task = task;
    this.step();
  }

  /** Lets it try again, as after a wake. Returns whether it is done. */
  step(): boolean {
    const previous = enterTask(makeContext(this.#fixture.memory, "stepped", false));
    try {
      this.isDone ||= this.#task.next(WOKEN).done === true;
    } finally {
      leaveTask(previous);
    }
    return this.isDone;
  }
}

const readsOf = ({ memory }: Fixture): number =>
  atomicLoad(memory.words, memory.record + AGENT_READS);
const stateOf = ({ memory, rwsem }: Fixture): number => memory.load(rwsem.at + STATE);

/** The thread dies; each finder saw it alive and finds it dead. Returns who of them was first. */
function die({ memory }: Fixture, ...finders: readonly Fixture[]): boolean[] {
  const { agentId } = memory;
  const state = atomicLoad(memory.words, agentRecord(agentId) + AGENT_STATE);
  return finders.map((finder) => declareDead(finder.memory, agentId, state));
}

test("readers of several threads write no common word", () => {
  const main = makeFixture();
  const { memory, rwsem } = main;
  const other = join(main, "other");
  const before = memory.words.slice(rwsem.at, rwsem.at + RwSem.WORDS);
  const writes: number[] = [];
  const names = ["store", "add", "sub", "compareExchange", "exchange", "or", "and"] as const;
  const natives = names.map((name) => [name, Atomics[name]] as const);
  for (const [name, native] of natives) {
    Reflect.set(Atomics, name, (words: Int32Array, index: number, ...rest: number[]): unknown => {
      writes.push(index);
      return Reflect.apply(native, Atomics, [words, index, ...rest]);
    });
  }
  try {
    for (const thread of [main, other]) runIn(thread, thread.rwsem.downRead());
    assert.deepEqual(memory.words.slice(rwsem.at, rwsem.at + RwSem.WORDS), before);
    assert.deepEqual([readsOf(main), readsOf(other)], [rwsem.at, rwsem.at]);
    for (const thread of [other, main]) runIn(thread, thread.rwsem.upRead());
  } finally {
    for (const [name, native] of natives) Reflect.set(Atomics, name, native);
  }
  const own = [main, other].map(({ memory: { record } }) => record + AGENT_READS);
  assert.deepEqual(writes, [own[0], own[1], own[1], own[0]]);
  assert.deepEqual([readsOf(main), readsOf(other)], [0, 0]);
});

test("a writer waits for every reader word, and holds up later readers", () => {
  const main = makeFixture();
  const threads = ["a", "b", "c"].map((name) => join(main, name));
  for (const thread of threads) runIn(thread, thread.rwsem.downRead());
  assert.equal(runIn(main, main.rwsem.tryDownWrite()), false);
  assert.equal(stateOf(main), 0, "an attempt leaves nothing behind");
  const late = join(main, "late");
  const writer = new Stepped(main, main.rwsem.downWrite());
  const reader = new Stepped(late, late.rwsem.downRead());
  assert.equal(runIn(late, late.rwsem.tryDownRead()), false);
  assert.equal(readsOf(late), 0, "who may not enter takes its word back");
  for (const thread of [threads[1], threads[2], threads[0]] as const) {
    assert.equal(writer.step(), false);
    assert.equal(reader.step(), false);
    if (thread !== undefined) runIn(thread, thread.rwsem.upRead());
  }
  assert.equal(reader.step(), false, "the writer was first");
  assert.ok(writer.step());
  main.rwsem.assertHeldWrite();
  runIn(main, main.rwsem.upWrite());
  assert.ok(reader.step());
  runIn(late, late.rwsem.upRead());
  assert.equal(stateOf(main), 0);
});

test("of one thread, a second task shares the word, a second semaphore is counted", async () => {
  const main = makeFixture();
  const { memory, rwsem, otherRwsem } = main;
  const other = join(main, "other");
  for (let i = 0; i < 2; i++) await runAsync(memory, rwsem.downRead());
  await runAsync(memory, otherRwsem.downRead());
  assert.equal(readsOf(main), rwsem.at);
  assert.equal(memory.load(otherRwsem.at + STATE) & READERS_MASK, 1);
  assert.deepEqual(
    heldSlots(memory, memory.record).map(({ at, count }) => [at, count]),
    [
      [rwsem.at, 2],
      [otherRwsem.at, 1],
    ],
  );
  const writer = new Stepped(other, other.rwsem.downWrite());
  assert.equal(runIn(main, rwsem.tryDownRead()), false, "no third task while a writer waits");
  await runAsync(memory, rwsem.upRead());
  assert.equal(writer.step(), false);
  await runAsync(memory, rwsem.upRead());
  assert.ok(writer.step());
  runIn(other, other.rwsem.upWrite());
  await runAsync(memory, otherRwsem.upRead());
  assert.ok(holdsNothing(memory));
});

test("the shares of one thread are alike, counted or not", () => {
  const main = makeFixture();
  const { memory, rwsem, otherRwsem } = main;
  runIn(main, otherRwsem.downRead());
  runIn(main, rwsem.downRead()); // counted: the word is in use
  runIn(main, otherRwsem.upRead());
  runIn(main, rwsem.downRead()); // by the word
  runIn(main, rwsem.upRead());
  assert.equal(runIn(main, rwsem.tryDownWrite()), false);
  runIn(main, rwsem.upRead());
  assert.equal(runIn(main, rwsem.tryDownWrite()), true);
  runIn(main, rwsem.upWrite());
  assert.ok(holdsNothing(memory));
});

test("a task that reads and wants to write is refused, and takes nothing with it", () => {
  const main = makeFixture();
  function* twice(): Task<void> {
    yield* main.rwsem.downRead();
    try {
      yield* main.rwsem.downWrite();
    } finally {
      yield* main.rwsem.upRead();
    }
  }
  assert.throws(() => runIn(main, twice()), { code: "EDEADLK" });
  assert.equal(stateOf(main), 0);
  assert.ok(holdsNothing(main.memory));
});

test("a downgraded writer is a reader: others read beside it, and writers wait", () => {
  const main = makeFixture();
  const other = join(main, "other");
  runIn(main, main.rwsem.downWrite());
  runIn(main, main.rwsem.downgradeWrite());
  runIn(other, other.rwsem.downRead());
  runIn(other, other.rwsem.upRead());
  assert.equal(runIn(other, other.rwsem.tryDownWrite()), false);
  runIn(main, main.rwsem.upRead());
  assert.equal(runIn(other, other.rwsem.tryDownWrite()), true);
  runIn(other, other.rwsem.upWrite());
});

test("what a dead reader held is given up once, and what others hold is not", () => {
  const main = makeFixture();
  const [dead, alive] = [join(main, "dead"), join(main, "alive")];
  for (const thread of [dead, alive]) {
    runIn(thread, thread.rwsem.downRead());
    for (let i = 0; i < 2; i++) runIn(thread, thread.otherRwsem.downRead());
  }
  const writers = [main.rwsem, main.otherRwsem].map((sem) => new Stepped(main, sem.downWrite()));
  assert.deepEqual(die(dead, main, alive), [true, false]);
  assert.equal(hasPanicked(main.memory), false);
  assert.equal(readsOf(dead), 0);
  assert.equal(main.memory.load(main.otherRwsem.at + STATE) & READERS_MASK, 2);
  assert.deepEqual(
    writers.map((writer) => writer.step()),
    [false, false],
  );
  runIn(alive, alive.rwsem.upRead());
  for (let i = 0; i < 2; i++) runIn(alive, alive.otherRwsem.upRead());
  assert.deepEqual(
    writers.map((writer) => writer.step()),
    [true, true],
  );
});

test("a dead reader whose word nobody cleared is nobody's reader", () => {
  const main = makeFixture();
  const dead = join(main, "dead");
  runIn(dead, dead.rwsem.downRead());
  die(dead, main);
  // As if its finder had died, too, before it cleared the word.
  main.memory.words[dead.memory.record + AGENT_READS] = main.rwsem.at;
  assert.equal(runIn(main, main.rwsem.tryDownWrite()), true);
});

test("a writer that dies while it waits for readers stops nobody; one that is inside does", () => {
  const main = makeFixture();
  const [dead, reader] = [join(main, "dead"), join(main, "reader")];
  runIn(reader, reader.rwsem.downRead());
  assert.equal(new Stepped(dead, dead.rwsem.downWrite()).isDone, false);
  assert.equal(stateOf(main) & WRITER, WRITER);
  const late = new Stepped(main, main.rwsem.downRead());
  assert.equal(late.isDone, false);
  die(dead, main);
  assert.equal(hasPanicked(main.memory), false);
  assert.ok(late.step());
  runIn(main, main.rwsem.upRead());
  runIn(reader, reader.rwsem.upRead());
  assert.equal(stateOf(main), 0);
  const inside = join(main, "inside");
  runIn(inside, inside.rwsem.downWrite());
  die(inside, main);
  assert.ok(hasPanicked(main.memory));
});

test("a death in a critical section stops the machine, before and after it nobody", () => {
  const tag = heldTag(lockClass("testHalfDone"), HELD_CALLBACK);
  for (const left of [true, false]) {
    const main = makeFixture();
    const dead = join(main, "dead");
    runIn(dead, dead.rwsem.downRead());
    for (let i = 0; i < 2; i++) enterCritical(dead.memory, dead.data, tag);
    leaveCritical(dead.memory, dead.data, tag);
    if (left) leaveCritical(dead.memory, dead.data, tag);
    die(dead, main);
    assert.equal(hasPanicked(main.memory), !left);
  }
});

test("against a model: who is inside, who waits, whoever comes, leaves and dies", () => {
  const seed = Number(process.env["READER_WORDS_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  const random = diceOf(seed);
  for (let round = 0; round < 200; round++) {
    const main = makeFixture();
    const threads = Array.from({ length: 4 }, (_, i) => join(main, `thread ${i}`));
    /** Per thread and semaphore: how many shares it has. */
    const shares = threads.map(() => [0, 0]);
    const alive = threads.map(() => true);
    for (let step = 0; step < 40; step++) {
      const who = random(4);
      const which = random(2);
      const thread = threads[who]!;
      const mine = shares[who]!;
      const where = `READER_WORDS_SEED=${seed}, round ${round}, step ${step}`;
      if (!alive[who]) continue;
      const sem = which === 0 ? thread.rwsem : thread.otherRwsem;
      const total = shares.reduce((sum, own) => sum + own[which]!, 0);
      switch (random(12)) {
        case 0:
          die(thread, main);
          assert.equal(hasPanicked(main.memory), false, where);
          alive[who] = false;
          mine.fill(0);
          break;
        case 1:
        case 2:
          assert.equal(runIn(thread, sem.tryDownWrite()), total === 0, where);
          if (total === 0) runIn(thread, sem.upWrite());
          break;
        case 3:
        case 4:
        case 5:
        case 6:
          if (mine[which]! > 0) {
            runIn(thread, sem.upRead());
            mine[which]!--;
          }
          break;
        default:
          assert.equal(runIn(thread, sem.tryDownRead()), true, where);
          mine[which]!++;
      }
    }
    for (const [who, own] of shares.entries()) {
      const thread = threads[who]!;
      for (const [which, sem] of [thread.rwsem, thread.otherRwsem].entries())
        for (; own[which]! > 0; own[which]!--) runIn(thread, sem.upRead());
    }
    for (const sem of [main.rwsem, main.otherRwsem]) {
      assert.equal(runIn(main, sem.tryDownWrite()), true);
      assert.equal(main.memory.load(sem.at + STATE), WRITER);
    }
  }
});
