/**
 * @module Threads that join and leave the machine while things are explored. Each has a handle of
 * its own, beside the tasks' one, as a thread has; what it keeps there in JavaScript is made anew
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
import { asyncWaitersAt, setAsyncWaiters } from "../../../../src/sync/runners/stepping.ts";

/** The record that a thread gets which joins before the tasks' threads. */
export const FIRST = 0;
/** Records that an execution may use: of the tasks' threads, and of those that join. */
const RECORDS = 8;

/** In a set-up: an execution may use records beyond the tasks' own. */
export function reserveRecords({ words }: SharedMemory): void {
  words[AGENTS_USED] = RECORDS;
}

/** A handle for a thread that has not joined. */
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

/** How a record stands: AGENT_FREE and so on. */
export function standing(memory: SharedMemory, agentId: number): number {
  return stateOf(memory, agentId) & AGENT_STATE_MASK;
}

/** Before an execution: a thread that joined in the set-up has so many listeners. */
export function listensAs(memory: SharedMemory, agentId: number, count: number): void {
  setAsyncWaiters(livenessWord(agentRecord(agentId), stateOf(memory, agentId)), count);
}

/** How many listeners the registration has that the record is about now. */
export function listenersOf(memory: SharedMemory, agentId: number): number {
  return asyncWaitersAt(livenessWord(agentRecord(agentId), stateOf(memory, agentId)));
}

/**
 * The thread that had the record has left: it has no tokens, and nobody listens under any
 * registration of that record.
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

/** Nobody was taken for dead, and the thread of the record is there. */
export function everybodyLives(memory: SharedMemory, agentId: number): void {
  assert(memory.words[DEATHS] === 0, "a thread that lives was declared dead");
  assert(standing(memory, agentId) === AGENT_LIVE, "the thread is not there any more");
}
