/**
 * @module What a wait leaves behind when it is over: an async one a waiter, which passes on a wake
 * that was not meant for it; a blocking one nothing, so that nobody takes its thread for waiting.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
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
