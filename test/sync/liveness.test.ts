/**
 * @module A thread's liveness waiters (sync/death/liveness.ts): one that a probe used up is
 * replaced, once, and none is added for a thread that has gone. What comes of several who probe is
 * explored (command/scenarios/coverage/sync/liveness.ts).
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import {
  abandonMachine,
  probeAgents,
  registerAgent,
  unregisterAgent,
} from "../../src/sync/runners/agents.ts";
import { atomicLoad, wakeAsyncWaiters } from "../../src/sync/atomics.ts";
import {
  AGENT_PROBE_AGAIN,
  AGENT_STATE,
  AGENT_TOKENS,
  PROBE_TIME,
  agentRecord,
} from "../../src/sync/control-block.ts";
import { armLiveness, livenessWord, rearmLiveness } from "../../src/sync/death/liveness.ts";
import { SharedMemory } from "../../src/sync/shared-memory.ts";
import { makeFixture } from "./fixture.ts";

const ALL = 64;

/** A further thread of the machine. */
function join(memory: SharedMemory): SharedMemory {
  const other = SharedMemory.attach(memory.buffer);
  registerAgent(other, { name: "other" });
  return other;
}

function tokensOf({ words }: SharedMemory, agentId: number): number {
  return atomicLoad(words, agentRecord(agentId) + AGENT_TOKENS);
}

/** Probes, however short a time ago somebody did. */
function probe(memory: SharedMemory, agentId: number): void {
  memory.words[PROBE_TIME] = 0;
  memory.words[agentRecord(agentId) + AGENT_PROBE_AGAIN] = 0;
  probeAgents(memory);
}

test("what probes used up is replaced once, whether the thread does so itself or its event loop", async () => {
  const { memory } = makeFixture();
  const other = join(memory);
  const { agentId } = other;
  assert.equal(tokensOf(memory, agentId), ALL);
  for (let i = 0; i < 3; i++) probe(memory, agentId);
  assert.equal(tokensOf(memory, agentId), ALL - 3);
  rearmLiveness(other);
  assert.equal(tokensOf(memory, agentId), ALL - 3, "so few are not worth the trouble");
  armLiveness(other);
  assert.equal(tokensOf(memory, agentId), ALL);
  await setImmediate();
  assert.equal(
    tokensOf(memory, agentId),
    ALL,
    "the event loop finds that nothing is missing any more",
  );
  for (let i = 0; i < 3; i++) probe(memory, agentId);
  await setImmediate();
  assert.equal(tokensOf(memory, agentId), ALL, "the event loop has replaced them");
  unregisterAgent(other);
});

test("nobody listens any more on a machine that was abandoned", async () => {
  const { memory } = makeFixture();
  const other = join(memory);
  const { agentId, record } = other;
  const word = livenessWord(record, atomicLoad(memory.words, record + AGENT_STATE));
  abandonMachine(other);
  await setImmediate();
  assert.equal(tokensOf(memory, agentId), 0);
  assert.equal(
    wakeAsyncWaiters(memory.words, word, Infinity),
    0,
    "a waiter would keep the memory for ever",
  );
});
