/** @module The two runners: what a task sees of them, alone and mixed in one thread. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { registerAgent, unregisterAgent } from "../../src/sync/runners/agents.ts";
import { EINVAL } from "../../src/sync/errno.ts";
import { HmmError } from "../../src/sync/errors.ts";
import { checkPanic, hasPanicked, panic, panicInfo } from "../../src/sync/death/panic.ts";
import { runAsync } from "../../src/sync/runners/run-async.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import { SharedMemory } from "../../src/sync/shared-memory.ts";
import { enterStore, leaveStore } from "../../src/sync/primitives/shootdown.ts";
import { DONE, DONE_TRUE, access, doneNumber } from "../../src/sync/tasks/task.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { makeFixture, viewFixture } from "./fixture.ts";

test("finished tasks give their value however often they are iterated", () => {
  const { memory } = makeFixture();
  function* all(): Task<unknown[]> {
    return [
      yield* DONE,
      yield* DONE_TRUE,
      yield* DONE_TRUE,
      yield* doneNumber(7),
      yield* doneNumber(8),
      yield* access(memory, "read", 1, 1, ""),
    ];
  }
  assert.deepEqual(runBlocking(memory, all()), [undefined, true, true, 7, 8, undefined]);
});

test("both runners pass on what a task returns and what it throws", async () => {
  const { memory } = makeFixture();
  function* fail(): Task<never> {
    throw new RangeError("mine");
  }
  assert.throws(() => runBlocking(memory, fail()), /mine/);
  await assert.rejects(runAsync(memory, fail()), /mine/);
  assert.equal(runBlocking(memory, DONE_TRUE), true);
  assert.equal(await runAsync(memory, DONE_TRUE), true);
});

test("runAsync runs synchronously up to the first wait", async () => {
  const { memory, queue } = makeFixture();
  const events: string[] = [];
  let isOpen = false;
  const promise = runAsync(
    memory,
    (function* (): Task<void> {
      events.push("begun");
      yield* queue.waitEvent(() => isOpen);
      events.push("woken");
    })(),
  );
  events.push("returned");
  isOpen = true;
  runBlocking(memory, queue.wakeAll());
  await promise;
  assert.deepEqual(events, ["begun", "returned", "woken"]);
});

test("an async wait times out", async () => {
  const { memory, queue, done } = makeFixture();
  assert.equal(
    await runAsync(
      memory,
      queue.waitEvent(() => false, 5),
    ),
    false,
  );
  assert.equal(await runAsync(memory, done.wait(5)), false);
});

test("a blocking operation gets a lock that async tasks of the same thread hold and hand on", async () => {
  const { memory, mutex, queue, data } = makeFixture();
  let isOpen = false;
  function* add(amount: number): Task<void> {
    yield* mutex.lock();
    const before = memory.load(data);
    yield* queue.waitEvent(() => isOpen);
    memory.words[data] = before + amount;
    yield* mutex.unlock();
  }
  const asyncOnes = [1, 2, 3, 4].map((amount) => runAsync(memory, add(amount)));
  isOpen = true;
  // No wake: the one that waits for the queue is only found by its slice or by its word, the others
  // by the mutex.
  runBlocking(memory, queue.wakeAll());
  runBlocking(memory, add(10));
  await Promise.all(asyncOnes);
  assert.equal(memory.load(data), 20);
});

test("many async tasks and blocking operations in between keep a counter exact", async () => {
  const { memory, mutex, rwsem, data } = makeFixture();
  function* add(): Task<void> {
    yield* rwsem.downRead();
    yield* mutex.lock();
    memory.words[data] = memory.load(data) + 1;
    yield* mutex.unlock();
    yield* rwsem.upRead();
    yield* rwsem.downWrite();
    memory.words[data] = memory.load(data) + 1;
    yield* rwsem.upWrite();
  }
  const promises: Promise<void>[] = [];
  runBlocking(memory, rwsem.downWrite());
  for (let i = 0; i < 500; i++) promises.push(runAsync(memory, add()));
  runBlocking(memory, rwsem.upWrite());
  for (let i = 0; i < 50; i++) runBlocking(memory, add());
  await Promise.all(promises);
  assert.equal(memory.load(data), 1100);
  assert.equal(memory.load(rwsem.at), 0);
});

test("a wait for a lock that a task beneath holds is refused with EDEADLK, and the lock stays usable", () => {
  const { memory, mutex, rwsem, srcu } = makeFixture();
  const inner = (task: () => Task<unknown>): void => {
    assert.throws(
      () => runBlocking(memory, task()),
      (error) => error instanceof HmmError && error.code === "EDEADLK",
    );
  };
  runBlocking(
    memory,
    (function* (): Task<void> {
      yield* mutex.lock();
      inner(() => mutex.lock());
      yield* mutex.unlock();
      yield* rwsem.downRead();
      inner(() => rwsem.downWrite());
      yield* rwsem.upRead();
      yield* rwsem.downWrite();
      inner(() => rwsem.downRead());
      yield* rwsem.upWrite();
      const index = yield* srcu.readLock();
      inner(() => srcu.synchronize());
      yield* srcu.readUnlock(index);
      yield* mutex.lock();
      yield* mutex.unlock();
      yield* rwsem.downWrite();
      yield* rwsem.upWrite();
      yield* srcu.synchronize();
    })(),
  );
});

test("an async task that takes its own lock twice fails instead of waiting for ever", async () => {
  const { memory, mutex } = makeFixture();
  function* twice(): Task<void> {
    yield* mutex.lock();
    try {
      yield* mutex.lock();
    } finally {
      yield* mutex.unlock();
    }
  }
  await assert.rejects(runAsync(memory, twice()), { code: "EDEADLK" });
  assert.equal(mutex.isLocked(), false);
});

test("waitEvent with selfWait refuses a blocking wait that only this thread could end; an async one is fine", async () => {
  const { memory, queue } = makeFixture();
  let isOpen = false;
  const isMine = (): boolean => !isOpen;
  assert.throws(
    () =>
      runBlocking(
        memory,
        queue.waitEvent(() => isOpen, Infinity, isMine),
      ),
    { code: "EDEADLK" },
  );
  const promise = runAsync(
    memory,
    queue.waitEvent(() => isOpen, Infinity, isMine),
  );
  isOpen = true;
  runBlocking(memory, queue.wakeAll());
  assert.equal(await promise, true);
});

test("a panic stops everything on its machine, pending waits too, and nothing elsewhere", async () => {
  const { memory, mutex, queue } = makeFixture();
  const other = makeFixture();
  runBlocking(memory, mutex.lock());
  const events: string[] = [];
  const waiting = runAsync(
    memory,
    (function* (): Task<void> {
      try {
        yield* queue.waitEvent(() => false);
      } finally {
        events.push("cleaned up");
      }
    })(),
  );
  assert.throws(() => panic(memory, EINVAL, "Cannot go on: test", mutex.at, 0), {
    code: "EINVAL",
    message: "Cannot go on: test",
  });
  assert.throws(() => panic(memory, EINVAL, "a second one"), { message: "Cannot go on: test" });
  await assert.rejects(waiting, { code: "EINVAL" });
  assert.deepEqual(events, ["cleaned up"]);
  assert.throws(() => runBlocking(memory, DONE), { code: "EINVAL" });
  await assert.rejects(runAsync(memory, DONE), { code: "EINVAL" });
  assert.deepEqual(panicInfo(memory), {
    code: EINVAL,
    message: "Cannot go on: test",
    lock: mutex.at,
    agent: 0,
  });
  checkPanic(other.memory);
  runBlocking(other.memory, other.mutex.lock());
});

test("nothing runs before registerAgent, and a thread registers once", () => {
  const memory = SharedMemory.create({ initialBytes: makeFixture().memory.buffer.byteLength });
  const { mutex, queue } = viewFixture(memory);
  assert.throws(() => runBlocking(memory, mutex.lock()), /not registered/);
  registerAgent(memory, { name: "late" });
  assert.throws(() => registerAgent(memory, { name: "late" }), /registered already/);
  unregisterAgent(memory);
  assert.throws(() => unregisterAgent(memory), /not registered/);
  // What a handle still marks after it left harms nobody.
  enterStore(memory);
  leaveStore(memory);
  const late = SharedMemory.attach(memory.buffer);
  assert.equal(registerAgent(late, { name: "later" }), 0);
  assert.equal(hasPanicked(late), false);
  assert.throws(
    () =>
      runBlocking(
        memory,
        queue.waitEvent(() => false, 10),
      ),
    /not registered/,
  );
});
