/**
 * @module The seam for an exploring scheduler carries: sound programs survive every interleaving
 * tried, and their broken twins are found. Runs are numbered seeds, so each failure message names
 * the one that replays it.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { registerAgent, selectAgent } from "../../src/sync/runners/agents.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import { SharedMemory } from "../../src/sync/shared-memory.ts";
import { enterStore, leaveStore } from "../../src/sync/primitives/shootdown.ts";
import { removeResource } from "../../src/sync/lockdep/resources.ts";
import { registerSrcuCallback } from "../../src/sync/primitives/srcu-callbacks.ts";
import { STEP_KINDS } from "../../src/sync/tasks/step-kinds.ts";
import { access, describe, park } from "../../src/sync/tasks/task.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { makeFixture, resetFixture } from "./fixture.ts";
import type { Fixture } from "./fixture.ts";
import { findFailure, schedule } from "./random-scheduler.ts";
import type { Outcome, ScheduleOptions } from "./random-scheduler.ts";

const RUNS = 400;

type Program = (fixture: Fixture) => Readonly<Record<string, () => Task<unknown>>>;

/** Plays on a machine that is as new each time; `check` throws if the state at the end is wrong. */
function player(
  program: Program,
  check: (fixture: Fixture) => void,
  extra: Partial<ScheduleOptions> = {},
): (seed: number) => Outcome {
  const fixture = makeFixture();
  return (seed) => {
    resetFixture(fixture);
    const outcome = schedule(fixture.memory, program(fixture), { seed, ...extra });
    if (outcome.error !== undefined || outcome.stuck.length > 0) return outcome;
    try {
      check(fixture);
      return outcome;
    } catch (error) {
      return { ...outcome, error };
    }
  };
}

function mustSurvive(play: (seed: number) => Outcome): void {
  const found = findFailure(RUNS, play);
  if (found === undefined) return;
  const { seed, outcome } = found;
  assert.fail(
    `seed ${seed}: ${String(outcome.error)} stuck: ${outcome.stuck.join(", ")}\n${outcome.trace.join("\n")}`,
  );
}

function mustBeFound(play: (seed: number) => Outcome, what: RegExp | "deadlock"): void {
  const found = findFailure(RUNS, play);
  assert.ok(found !== undefined, `not found in ${RUNS} runs`);
  const { seed, outcome } = found;
  if (what === "deadlock")
    assert.ok(outcome.stuck.length > 0, `seed ${seed}: ${String(outcome.error)}`);
  else assert.match(String(outcome.error), what, `seed ${seed}`);
  assert.deepEqual(play(seed).trace, outcome.trace, "a seed replays its interleaving");
}

/** x = x + 1, with a scheduling point between the read and the write. */
function* increment({ memory, data }: Fixture): Task<void> {
  yield* access(memory, "read", data, 1, "x");
  const before = memory.load(data);
  yield* access(memory, "write", data, 1, "x");
  memory.words[data] = before + 1;
}

function checkCount(wanted: number): (fixture: Fixture) => void {
  return ({ memory, data }) => assert.equal(memory.load(data), wanted, "increments were lost");
}

test("a counter under a mutex is exact; without the mutex, or with it released too early, increments are lost", () => {
  const counter =
    (body: (fixture: Fixture) => Task<void>): Program =>
    (fixture) => ({ a: () => body(fixture), b: () => body(fixture) });
  const locked = function* (fixture: Fixture): Task<void> {
    yield* fixture.mutex.lock();
    yield* increment(fixture);
    yield* fixture.mutex.unlock();
  };
  const early = function* (fixture: Fixture): Task<void> {
    yield* fixture.spinlock.lock();
    yield* fixture.spinlock.unlock();
    yield* increment(fixture);
  };
  mustSurvive(player(counter(locked), checkCount(2)));
  mustBeFound(player(counter(increment), checkCount(2)), /increments were lost/);
  mustBeFound(player(counter(early), checkCount(2)), /increments were lost/);
});

test("tryLock excludes, and is refused rather than waits; going on after a refusal is found", () => {
  const program =
    (doesLook: boolean): Program =>
    (fixture) => {
      const { memory, mutex, data } = fixture;
      const tryIt = function* (): Task<void> {
        const isMine = yield* mutex.tryLock();
        if (isMine || !doesLook) yield* increment(fixture);
        else memory.words[data + 1] = memory.load(data + 1) + 1;
        if (isMine) yield* mutex.unlock();
      };
      return { a: tryIt, b: tryIt };
    };
  const check = ({ memory, data }: Fixture): void => {
    assert.equal(memory.load(data) + memory.load(data + 1), 2, "increments were lost");
  };
  mustSurvive(player(program(true), check));
  mustBeFound(player(program(false), check), /increments were lost/);
});

test("an rwsem's writers exclude everybody; writing under the read lock is found", () => {
  const program =
    (isSound: boolean): Program =>
    (fixture) => {
      const { rwsem } = fixture;
      const write = function* (): Task<void> {
        yield* isSound ? rwsem.downWrite() : rwsem.downRead();
        yield* increment(fixture);
        yield* isSound ? rwsem.upWrite() : rwsem.upRead();
      };
      const read = function* (): Task<void> {
        yield* rwsem.downRead();
        const before = fixture.memory.load(fixture.data);
        yield* access(fixture.memory, "read", fixture.data, 1, "x");
        if (isSound)
          assert.equal(fixture.memory.load(fixture.data), before, "x changed under the read lock");
        yield* rwsem.upRead();
      };
      return { w1: write, w2: write, r1: read, r2: read };
    };
  mustSurvive(player(program(true), checkCount(2)));
  mustBeFound(player(program(false), checkCount(2)), /increments were lost/);
});

test("a reader that waits for another reader deadlocks behind a queued writer, and only then", () => {
  const program =
    (hasWriter: boolean): Program =>
    ({ rwsem, done }) => ({
      first: function* (): Task<void> {
        yield* rwsem.downRead();
        yield* done.wait();
        yield* rwsem.upRead();
      },
      second: function* (): Task<void> {
        yield* rwsem.downRead();
        yield* done.complete();
        yield* rwsem.upRead();
      },
      writer: function* (): Task<void> {
        if (!hasWriter) return;
        yield* rwsem.downWrite();
        yield* rwsem.upWrite();
      },
    });
  mustSurvive(player(program(false), () => {}));
  mustBeFound(
    player(program(true), () => {}),
    "deadlock",
  );
});

test("taking two locks in both orders is found by lockdep before it deadlocks", () => {
  const both = function* (one: Fixture["mutex"], two: Fixture["mutex"]): Task<void> {
    yield* one.lock();
    yield* two.lock();
    yield* two.unlock();
    yield* one.unlock();
  };
  mustSurvive(
    player(
      ({ mutex, otherMutex }) => ({
        a: () => both(mutex, otherMutex),
        b: () => both(mutex, otherMutex),
      }),
      () => {},
    ),
  );
  mustBeFound(
    player(
      ({ mutex, otherMutex }) => ({
        a: () => both(mutex, otherMutex),
        b: () => both(otherMutex, mutex),
      }),
      () => {},
    ),
    /opposite order|LockdepError/,
  );
});

test("no wake is lost; a waiter that tests before it enqueues, or a waker that wakes before the change, is found", () => {
  const waitBroken = function* ({ memory, queue, data }: Fixture): Task<void> {
    yield describe("testCondition", memory, data, 1, "broken");
    while (memory.load(data) === 0) {
      yield describe("enqueue", memory, queue.at, 2, "broken");
      yield park(memory, queue.at, memory.load(queue.at), Infinity, "broken");
    }
  };
  const program =
    (isWaiterSound: boolean, isWakerSound: boolean): Program =>
    (fixture) => {
      const { memory, queue, data } = fixture;
      const waiter = function* (): Task<unknown> {
        return yield* isWaiterSound
          ? queue.waitEvent(() => memory.load(data) !== 0)
          : waitBroken(fixture);
      };
      const waker = function* (): Task<void> {
        if (!isWakerSound) yield* queue.wakeAll();
        yield* access(memory, "write", data, 1, "x");
        memory.words[data] = 1;
        if (isWakerSound) yield* queue.wakeAll();
      };
      return { a: waiter, b: waiter, waker };
    };
  mustSurvive(player(program(true, true), () => {}));
  mustSurvive(player(program(true, true), () => {}, { allowSpurious: true }));
  mustBeFound(
    player(program(false, true), () => {}),
    "deadlock",
  );
  mustBeFound(
    player(program(true, false), () => {}),
    "deadlock",
  );
});

test("wakeOne for two waiters of one token leaves one asleep; a token each lets both go", () => {
  const program =
    (tokens: number): Program =>
    ({ memory, queue, data }) => {
      const taker = function* (): Task<void> {
        yield* queue.waitEvent(() => {
          if (memory.load(data) === 0) return false;
          memory.words[data] = memory.load(data) - 1;
          return true;
        });
      };
      const giver = function* (): Task<void> {
        for (let i = 0; i < tokens; i++) {
          yield* access(memory, "update", data, 1, "tokens");
          memory.words[data] = memory.load(data) + 1;
          yield* queue.wakeOne();
        }
      };
      return { a: taker, b: taker, giver };
    };
  mustSurvive(player(program(2), () => {}));
  mustBeFound(
    player(program(1), () => {}),
    "deadlock",
  );
});

test("a wait with a timeout is never part of a deadlock; its result must be looked at", () => {
  const program =
    (doesLook: boolean): Program =>
    ({ memory, queue, data }) => ({
      waiter: function* (): Task<void> {
        const holds = yield* queue.waitEvent(() => memory.load(data) !== 0, 10);
        if (doesLook ? holds : true)
          assert.equal(memory.load(data), 1, "went on without the event");
      },
      waker: function* (): Task<void> {
        yield* access(memory, "write", data, 1, "x");
        memory.words[data] = 1;
        yield* queue.wakeAll();
      },
    });
  mustSurvive(player(program(true), () => {}, { allowSpurious: true }));
  mustBeFound(
    player(program(false), () => {}),
    /went on without the event/,
  );
});

const POISON = 0x6b6b6b6b;
const poisonKind: number = registerSrcuCallback(
  "test.poison",
  function* (memory, head, slot): Task<void> {
    memory.words[head + 2] = POISON;
    removeResource(memory, slot);
  },
);

test("SRCU: what a reader found stays until it has left; freed without a grace period it is found", () => {
  const program =
    (way: "synchronize" | "call" | "nothing"): Program =>
    ({ memory, srcu, data }) => {
      const [first, second] = [data + 16, data + 32];
      memory.words[data] = first;
      const reader = function* (): Task<void> {
        for (let i = 0; i < 2; i++) {
          const index = yield* srcu.readLock();
          yield* access(memory, "read", data, 1, "current");
          const object = memory.load(data);
          yield* access(memory, "read", object, 3, "object");
          assert.notEqual(memory.load(object + 2), POISON, "a freed object was read");
          yield* srcu.readUnlock(index);
        }
      };
      const writer = function* (): Task<void> {
        for (const next of [second, data + 48]) {
          yield* access(memory, "write", data, 1, "current");
          const old = memory.load(data);
          memory.words[data] = next;
          if (way === "call") {
            yield* srcu.call(poisonKind, old);
            continue;
          }
          if (way === "synchronize") yield* srcu.synchronize();
          yield* access(memory, "free", old, 3, "object");
          memory.words[old + 2] = POISON;
        }
        if (way === "call") yield* srcu.barrier();
      };
      return { r1: reader, r2: reader, writer };
    };
  const allFreed = ({ memory, srcu, data }: Fixture): void => {
    assert.deepEqual(
      [memory.load(data + 18), memory.load(data + 34), srcu.pendingCalls()],
      [POISON, POISON, 0],
    );
  };
  mustSurvive(player(program("synchronize"), allFreed));
  mustSurvive(player(program("call"), allFreed));
  mustBeFound(player(program("nothing"), allFreed), /a freed object was read/);
});

test("a refcount reaches 0 once; rechecking at it before taking a reference is found", () => {
  const program =
    (isSound: boolean): Program =>
    ({ memory, refcount, data }) => {
      const drop = function* (): Task<void> {
        if (!(yield* refcount.put())) return;
        assert.equal(memory.load(data), 0, "freed twice");
        memory.words[data] = 1;
      };
      const user = function* (): Task<void> {
        if (isSound) {
          if (!(yield* refcount.getNotZero())) return;
        } else {
          yield* access(memory, "read", refcount.at, 1, "refcount");
          if (refcount.read() === 0) return;
          yield* refcount.get();
        }
        yield* access(memory, "read", data, 1, "object");
        assert.equal(memory.load(data), 0, "used after it was freed");
        yield* drop();
      };
      return { owner: drop, u1: user, u2: user };
    };
  mustSurvive(player(program(true), ({ memory, data }) => assert.equal(memory.load(data), 1)));
  mustBeFound(
    player(program(false), () => {}),
    /get on 0/,
  );
});

test("a seqcount's readers never use a torn pair; a reader that does not look again is found", () => {
  const program =
    (doesRetry: boolean): Program =>
    ({ memory, seqcount, data }) => ({
      writer: function* (): Task<void> {
        yield* seqcount.writeBegin();
        for (const word of [data, data + 1]) {
          yield* access(memory, "write", word, 1, "pair");
          memory.words[word] = 1;
        }
        yield* seqcount.writeEnd();
      },
      reader: function* (): Task<void> {
        for (;;) {
          const sequence = yield* seqcount.readBegin();
          const one = memory.load(data);
          yield* access(memory, "read", data + 1, 1, "pair");
          const two = memory.load(data + 1);
          if (doesRetry && (yield* seqcount.readRetry(sequence))) continue;
          assert.equal(one, two, "a torn pair was used");
          return;
        }
      },
    });
  mustSurvive(player(program(true), () => {}));
  mustBeFound(
    player(program(false), () => {}),
    /a torn pair was used/,
  );
});

test("a shootdown waits for stores under way; freeing the page after the bump alone is found", () => {
  const fixture = makeFixture();
  const { memory, shootdown, data } = fixture;
  // One handle plays two threads: the second one needs a record of its own.
  const second = registerAgent(SharedMemory.attach(memory.buffer), { name: "second" });
  const play =
    (doesWait: boolean): ((seed: number) => Outcome) =>
    (seed) => {
      for (const agentId of [second, 0]) {
        selectAgent(memory, agentId);
        if ((memory.insideMark & 1) === 1) leaveStore(memory);
      }
      resetFixture(fixture);
      const [entry, page] = [data, data + 1];
      memory.words[entry] = 1;
      memory.words[page] = 1;
      const generationWord = shootdown.generationWord(0);
      const outcome = schedule(
        memory,
        {
          storer: function* (): Task<void> {
            const generation = memory.load(generationWord);
            yield* access(memory, "read", entry, 1, "entry");
            if (memory.load(entry) === 0) return;
            yield* shootdown.enterStore();
            yield* access(memory, "read", generationWord, 1, "generation");
            if (memory.load(generationWord) === generation) {
              yield* access(memory, "write", page, 1, "page");
              assert.equal(memory.load(page), 1, "stored to a freed page");
            }
            yield* shootdown.leaveStore();
          },
          invalidator: function* (): Task<void> {
            yield* access(memory, "write", entry, 1, "entry");
            memory.words[entry] = 0;
            const flush = shootdown.flush(0, 1);
            if (doesWait) yield* flush;
            else {
              // Only its first step, the bump.
              flush.next(0);
              flush.next(0);
            }
            yield* access(memory, "free", page, 1, "page");
            memory.words[page] = 0;
          },
        },
        { seed, select: (agentId) => selectAgent(memory, agentId === 0 ? 0 : second) },
      );
      selectAgent(memory, 0);
      return outcome;
    };
  mustSurvive(play(true));
  mustBeFound(play(false), /stored to a freed page/);
});

test("both marks of a store are plain functions outside explored mode", () => {
  const { memory, shootdown } = makeFixture();
  enterStore(memory);
  assert.throws(() => runBlocking(memory, shootdown.flush(0, 1)), /would wait for itself/);
  leaveStore(memory);
  runBlocking(memory, shootdown.flush(0, 1));
});

test("every kind of operation that a task offers has a row in the table", () => {
  const { memory, mutex } = makeFixture();
  memory.mode = 2;
  const offered = mutex.lock().next(0);
  assert.equal(offered.done, false);
  assert.equal(offered.done ? undefined : STEP_KINDS[offered.value.kind].touch, "write");
});
