/**
 * @module What a wait leaves behind when it is over: an async one a waiter, which passes on a wake
 * that was not meant for it; a blocking one nothing, so that nobody takes its thread for waiting.
 * While it sleeps its thread is listed as waiting: a panic wakes who is listed.
 */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { listAgents } from "../../src/sync/runners/agents.ts";
import { futexWake } from "../../src/sync/atomics.ts";
import { pumpSuspended, runAsync } from "../../src/sync/runners/run-async.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import type { SharedMemory } from "../../src/sync/shared-memory.ts";
import { type Task, park } from "../../src/sync/tasks/task.ts";
import { makeFixture } from "./fixture.ts";

/** Far fewer turns of the event loop than come in the time after which a runner looks by itself. */
const TURNS = 20;

function* waitOnce(memory: SharedMemory, word: number): Task<void> {
  yield park(memory, word, 0, Infinity, "test word");
}

test("a wake that reaches a waiter whose wait is over is passed on", async () => {
  const { memory, data } = makeFixture();
  const first = runAsync(memory, waitOnce(memory, data));
  memory.words[data] = 1;
  pumpSuspended(); // ends the wait, and leaves the waiter
  await first;
  memory.words[data] = 0;
  const order: string[] = [];
  const second = runAsync(memory, waitOnce(memory, data)).then(() => order.push("woken"));
  assert.equal(futexWake(memory.words, data, 1), 1, "the waiter that was left behind comes first");
  for (let turn = 0; turn < TURNS; turn++) await setImmediate();
  order.push("waited for in vain");
  await second;
  assert.deepEqual(order, ["woken", "waited for in vain"], "the wake was swallowed");
});

/** What the threads are listed as waiting on, whenever this one goes to sleep. */
function lookWhileAsleep(t: TestContext, memory: SharedMemory): number[][] {
  const seen: number[][] = [];
  const { wait } = Atomics;
  t.mock.method(Atomics, "wait", (words: Int32Array, ...rest: [number, number, number]) => {
    const isOfMachine = words.buffer === memory.buffer;
    if (isOfMachine) seen.push(listAgents(memory).map(({ waitingOn }) => waitingOn));
    return wait(words, ...rest);
  });
  return seen;
}

test("a thread that sleeps is listed as waiting on the word", (t) => {
  const { memory, data } = makeFixture();
  const seen = lookWhileAsleep(t, memory);
  runBlocking(
    memory,
    (function* () {
      yield park(memory, data, 0, 1, "test word");
    })(),
  );
  assert.deepEqual(seen, [[data]]);
});

test("a thread that has waited is not listed as waiting", () => {
  const { memory, queue } = makeFixture();
  assert.equal(
    runBlocking(
      memory,
      queue.waitEvent(() => false, 1),
    ),
    false,
  );
  assert.deepEqual(
    listAgents(memory).map(({ waitingOn }) => waitingOn),
    [0],
  );
});
