/**
 * @module Names of threads that are never used again, so that what a thread leaves in shared memory
 * tells others later whether that thread still lives. For a change that others can finish, which is
 * found by where it is and not in the thread's record: mm/migration.ts.
 */

import { atomicLoad } from "../atomics.ts";
import {
  AGENT_LIMIT,
  AGENT_LIVE,
  AGENT_STATE,
  AGENT_STATE_MASK,
  DEATHS,
  agentRecord,
} from "../control-block.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { type Task, access } from "./task.ts";

/** The generation of an agent's record, and its number: one word. Not 0: that is nobody's name. */
function nameOf(state: number, agentId: number): number {
  return ((state >>> 2) * AGENT_LIMIT + agentId + 1) >>> 0;
}

/** The calling thread, for {@link hasAgentDied}. */
export function liveAgent({ words, record, agentId }: SharedMemory): number {
  return nameOf(atomicLoad(words, record + AGENT_STATE), agentId);
}

/** Whether the thread with this name has been found dead, or has left. */
export function* hasAgentDied(memory: SharedMemory, name: number): Task<boolean> {
  const agentId = ((name - 1) >>> 0) % AGENT_LIMIT;
  const at = agentRecord(agentId) + AGENT_STATE;
  yield* access(memory, "read", at, 1, "whether a thread lives");
  const state = atomicLoad(memory.words, at);
  return (state & AGENT_STATE_MASK) !== AGENT_LIVE || nameOf(state, agentId) !== name;
}

/** How many threads have been found dead so far. */
export function deathsSoFar(memory: SharedMemory): number {
  return atomicLoad(memory.words, DEATHS);
}

/** Whether a thread has been found dead since `deathsSoFar` answered `deaths`. */
export function* hasAnyDied(memory: SharedMemory, deaths: number): Task<boolean> {
  yield* access(memory, "read", DEATHS, 1, "deaths");
  return deathsSoFar(memory) !== deaths;
}
