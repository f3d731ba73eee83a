/**
 * @module Where the host forbids blocking, as a browser page's main thread does. Node allows it:
 * this file takes it away.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { mayBlock } from "../../src/sync/atomics.ts";
import { runAsync } from "../../src/sync/runners/run-async.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { makeFixture } from "./fixture.ts";
import { resultsOf, startThread } from "./threads.ts";

Atomics.wait = (): never => {
  throw new TypeError("Atomics.wait cannot be called in this context");
};

test("an operation that need not wait succeeds, one that must spins, and pumps the thread's own async tasks", async () => {
  assert.equal(mayBlock(), false);
  const { memory, mutex, queue } = makeFixture();
  let isOpen = false;
  const holder = runAsync(
    memory,
    (function* (): Task<void> {
      yield* mutex.lock();
      yield* queue.waitEvent(() => isOpen);
      yield* mutex.unlock();
    })(),
  );
  isOpen = true;
  runBlocking(memory, queue.wakeAll());
  function* lockAndUnlock(): Task<string> {
    yield* mutex.lock();
    yield* mutex.unlock();
    return "done";
  }
  assert.equal(runBlocking(memory, lockAndUnlock()), "done");
  await holder;
  assert.equal(
    runBlocking(
      memory,
      queue.waitEvent(() => false, 2),
    ),
    false,
    "a short timeout is waited for",
  );
});

test("a wait that takes too long throws EAGAIN, and the operation goes on by itself", async () => {
  const { memory, mutex, done, data } = makeFixture();
  const holder = startThread(memory, "lendMutex", 0);
  assert.equal(await holder.said, "holding");
  const operation = function* (): Task<void> {
    yield* mutex.lock();
    memory.words[data] = 7;
    yield* mutex.unlock();
  };
  assert.throws(() => runBlocking(memory, operation(), "munmap"), {
    code: "EAGAIN",
    syscall: "munmap",
    message:
      /testMutex: this thread may not block; the operation goes on by itself, use the form that returns a promise/,
  });
  assert.equal(memory.load(data), 0);
  runBlocking(memory, done.complete());
  await resultsOf([holder]);
  while (memory.load(data) !== 7) await new Promise(setImmediate);
});
