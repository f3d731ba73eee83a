/**
 * @module A result that an operation has left in the one object for numbers outlives what a runner
 * does before it looks.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { registerAgent, selectAgent } from "../../src/sync/runners/agents.ts";
import { AGENT_STATE, agentRecord } from "../../src/sync/control-block.ts";
import { declareDead } from "../../src/sync/death/death.ts";
import { addResource, registerReleaser, resourceKind } from "../../src/sync/lockdep/resources.ts";
import { runAsync } from "../../src/sync/runners/run-async.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import { SharedMemory } from "../../src/sync/shared-memory.ts";
import { type Task, doneNumber } from "../../src/sync/tasks/task.ts";

const KIND: number = resourceKind("kept result");
let released = 0;
registerReleaser(KIND, function* (): Task<void> {
  released += yield* doneNumber(1);
});

/** A memory on which another thread has died that owned something. */
function withDeadAgent(): SharedMemory {
  const memory = SharedMemory.create({ initialBytes: 1 << 18 });
  const own = registerAgent(memory, { name: "own" });
  const other = registerAgent(SharedMemory.attach(memory.buffer), { name: "other" });
  selectAgent(memory, other);
  assert.ok(addResource(memory, KIND, 1) >= 0);
  selectAgent(memory, own);
  assert.ok(declareDead(memory, other, memory.words[agentRecord(other) + AGENT_STATE] ?? 0));
  return memory;
}

test("blocking: the dead are reaped first, and the result is the operation's", () => {
  released = 0;
  assert.equal(runBlocking(withDeadAgent(), doneNumber(7)), 7);
  assert.equal(released, 1);
});

test("async: likewise", async () => {
  released = 0;
  assert.equal(await runAsync(withDeadAgent(), doneNumber(7)), 7);
  assert.equal(released, 1);
});
