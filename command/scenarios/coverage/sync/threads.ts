/**
 * @module Threads that register and unregister during an execution. Each has a handle of its own,
 * as a thread has, besides the handle of the tasks. What it keeps there in JavaScript is made anew
 * for every execution.
 */

import { selectAgent } from "../../../../src/sync/runners/agents.ts";
import {
  AGENTS_USED,
  AGENT_LIVENESS,
  AGENT_LIVE,
  AGENT_STATE,
  AGENT_STATE_MASK,
  AGENT_TOKENS,
  DEATHS,
  LIVENESS_WORDS,
  agentRecord,
} from "../../../../src/sync/control-block.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { livenessWord } from "../../../../src/sync/death/liveness.ts";
import { EXPLORED, SharedMemory } from "../../../../src/sync/shared-memory.ts";
import type { Mode } from "../../../../src/sync/shared-memory.ts";
import { asyncWaitersAt, setAsyncWaiters } from "../../../../src/sync/runners/stepping/futexes.ts";

/** The record of a thread that registers before the tasks' threads. */
export const FIRST = 0;
/** The records that an execution may use: of the tasks' threads, and of those that register. */
const RECORDS = 8;

/** For a set-up: lets an execution use records besides those of the tasks. */
export function reserveRecords({ words }: SharedMemory): void {
  words[AGENTS_USED] = RECORDS;
}

/** A handle for a thread that has not registered. */
export function strangeThread(memory: SharedMemory): SharedMemory {
  const thread = SharedMemory.attach(memory.buffer);
  thread.spinsMax = 1;
  thread.livenessWaitersMax = 2;
  thread.isSpelledOut = memory.isSpelledOut;
  return thread;
}

/** A handle for a thread that has the record `agentId`. */
export function threadOf(
  memory: SharedMemory,
  agentId: number,
  mode: Mode = EXPLORED,
): SharedMemory {
  const thread = strangeThread(memory);
  selectAgent(thread, agentId);
  thread.mode = mode;
  return thread;
}

function stateOf({ words }: SharedMemory, agentId: number): number {
  return words[agentRecord(agentId) + AGENT_STATE]!;
}

/** The state of a record: AGENT_FREE and so on. */
export function standing(memory: SharedMemory, agentId: number): number {
  return stateOf(memory, agentId) & AGENT_STATE_MASK;
}

/** Before an execution: sets how many waiters a thread has that registered in the set-up. */
export function listensAs(memory: SharedMemory, agentId: number, count: number): void {
  setAsyncWaiters(livenessWord(agentRecord(agentId), stateOf(memory, agentId)), count);
}

/** How many waiters the current registration of the record has. */
export function listenersOf(memory: SharedMemory, agentId: number): number {
  return asyncWaitersAt(livenessWord(agentRecord(agentId), stateOf(memory, agentId)));
}

/**
 * The thread of the record has left: it has no tokens, and no registration of the record has
 * waiters.
 */
export function listensNoMore(memory: SharedMemory, agentId: number): void {
  const word = agentRecord(agentId) + AGENT_LIVENESS;
  const counts = Array.from({ length: LIVENESS_WORDS }, (_, i) => asyncWaitersAt(word + i));
  const isSilent = tokensOf(memory, agentId) === 0 && counts.every((count) => count === 0);
  assert(isSilent, `a thread that has left still listens: ${counts.join(", ")}`);
}

export function tokensOf({ words }: SharedMemory, agentId: number): number {
  return words[agentRecord(agentId) + AGENT_TOKENS]!;
}

/** L1 of sync/death/liveness.ts. */
export function tokensAreCovered(memory: SharedMemory, agentId: number): void {
  const [tokens, listeners] = [tokensOf(memory, agentId), listenersOf(memory, agentId)];
  assert(tokens <= listeners, `${tokens} listeners may be woken, and there are ${listeners}`);
}

/** No thread was declared dead, and the thread of the record is live. */
export function everybodyLives(memory: SharedMemory, agentId: number): void {
  assert(memory.words[DEATHS] === 0, "a thread that lives was declared dead");
  assert(standing(memory, agentId) === AGENT_LIVE, "the thread is not there any more");
}
