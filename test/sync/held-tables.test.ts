/**
 * @module The held table of a thread with several async tasks (sync/lockdep/held-locks.ts): it
 * comes back to empty, whatever order they take and give back in.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { registerAgent } from "../../src/sync/runners/agents.ts";
import { atomicLoad, futexWake } from "../../src/sync/atomics.ts";
import { AGENT_STATE, HELD_LIMIT, agentRecord } from "../../src/sync/control-block.ts";
import { enterTask, leaveTask, makeContext } from "../../src/sync/tasks/current-task.ts";
import { declareDead } from "../../src/sync/death/death.ts";
import { assertNoLockHeld, heldSlots, holdsNothing } from "../../src/sync/lockdep/held-locks.ts";
import { lockClass } from "../../src/sync/lock-class.ts";
import { Mutex } from "../../src/sync/primitives/mutex.ts";
import { runAsync } from "../../src/sync/runners/run-async.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import { QUEUED_WRITERS_MASK, STATE } from "../../src/sync/words/rwsem-words.ts";
import type { RwSem } from "../../src/sync/primitives/rwsem.ts";
import { SharedMemory } from "../../src/sync/shared-memory.ts";
import { type Task, WOKEN } from "../../src/sync/tasks/task.ts";
import { makeFixture, viewFixture } from "./fixture.ts";

const listed = (memory: SharedMemory): number => heldSlots(memory, memory.record).length;

test("a place in a queue is given up although another task of the thread is inside", async () => {
  const main = makeFixture();
  const writer = SharedMemory.attach(main.memory.buffer);
  registerAgent(writer, { name: "writer" });
  await runAsync(main.memory, main.rwsem.downRead());
  const queued = viewFixture(writer).rwsem.downWrite();
  const previous = enterTask(makeContext(writer, "writer", false));
  assert.equal(queued.next(WOKEN).done, false, "the writer queues");
  leaveTask(previous);
  const second = runAsync(main.memory, main.rwsem.downRead());
  assert.equal(listed(main.memory), 2, "one is inside, one queues behind the writer");
  const state = atomicLoad(main.memory.words, agentRecord(writer.agentId) + AGENT_STATE);
  assert.ok(declareDead(main.memory, writer.agentId, state));
  await second;
  for (let i = 0; i < 2; i++) await runAsync(main.memory, main.rwsem.upRead());
  assert.equal(listed(main.memory), 0);
  assert.ok(holdsNothing(main.memory), "or this thread would never look after the dead again");
});

test("a table that is full of holes is closed up, and nothing is listed twice", () => {
  const { memory, data } = makeFixture();
  const ofClass = lockClass("testHandOverHand");
  const [even, odd] = [0, 1].map((i) => {
    const mutex = new Mutex(memory, data + i, ofClass);
    mutex.init();
    return mutex;
  }) as [Mutex, Mutex]; // as many as numbers
  runBlocking(
    memory,
    (function* () {
      yield* even.lock();
      for (let i = 0; i < HELD_LIMIT; i++) {
        const [held, next] = i % 2 === 0 ? [even, odd] : [odd, even];
        yield* next.lock();
        yield* held.unlock();
        assert.equal(listed(memory), 1);
      }
      yield* even.unlock();
    })(),
  );
  assert.equal(listed(memory), 0);
  assert.ok(holdsNothing(memory));
});

test("a task is not taken for the holder of what another task of its thread holds", async () => {
  const { memory, mutex } = makeFixture();
  await runAsync(memory, mutex.lock());
  await runAsync(
    memory,
    (function* () {
      assertNoLockHeld(memory, "something", "it must not");
      yield* [];
    })(),
  );
  const holding = runAsync(
    memory,
    (function* () {
      yield* mutex.lock();
      assertNoLockHeld(memory, "something", "it must not");
    })(),
  );
  await runAsync(memory, mutex.unlock());
  await assert.rejects(holding, /something while holding testMutex/);
});

function* readAndLeave(sem: RwSem): Task<void> {
  yield* sem.downRead();
  yield* sem.upRead();
}

test("who need not wait is not refused, although a wait would be for a task that is suspended beneath", () => {
  const { memory, rwsem } = makeFixture({ debug: true });
  runBlocking(
    memory,
    (function* () {
      yield* rwsem.downRead();
      runBlocking(memory, readAndLeave(rwsem));
      yield* rwsem.upRead();
    })(),
  );
});

test("a writer waits while the queue is full, however often it is woken, and enters when there is room", async () => {
  const { memory, rwsem } = makeFixture();
  const { words } = memory;
  words[rwsem.at + STATE] = QUEUED_WRITERS_MASK; // as many as can queue
  let isIn = false;
  const entered = runAsync(memory, rwsem.downWrite()).then(() => (isIn = true));
  for (let i = 0; i < 3; i++) {
    futexWake(words, rwsem.at + STATE, Infinity);
    await setImmediate();
    assert.equal(isIn, false);
  }
  words[rwsem.at + STATE] = 0; // their threads have ended
  futexWake(words, rwsem.at + STATE, Infinity);
  await entered;
  await runAsync(memory, rwsem.upWrite());
  assert.equal(words[rwsem.at + STATE], 0);
});
