/**
 * @module Liveness: how a thread finds out whether another thread still exists.
 *
 * Each agent keeps LIVENESS_WAITERS `waitAsync` waiters without a timeout on a LIVENESS word of its
 * record. The engine drops the waiters of a thread that is gone. So a probe, which wakes one of
 * them, succeeds exactly as long as the thread exists. The thread's event loop need not run. The
 * waiters do not keep a Node process alive.
 *
 * L1. TOKENS never exceeds the number of waiters. The agent adds waiters first and tokens after. A
 *     prober takes a token first and wakes a waiter after. An agent that leaves takes all tokens
 *     first and removes its waiters after.
 * L2. So if a prober took a token and woke nobody, the thread has died or unregistered. The
 *     generation of the state word tells which.
 * L3. The generation selects the LIVENESS word. If a prober is late, the record may belong to
 *     another thread. The prober then wakes none of the new thread's waiters. Otherwise the new
 *     thread would have fewer waiters than tokens, and would later be declared dead while it lives.
 *
 * A thread that for long neither runs its event loop nor waits in a runner can run out of tokens.
 * The fewer tokens are left, the less often it is probed. At 0 it counts as alive. Hosts without
 * waitAsync have no tokens and rely on exit events of the host (runners/agents.ts, agentDied).
 */

import {
  atomicAdd,
  atomicCompareExchange,
  atomicExchange,
  atomicLoad,
  atomicStore,
  futexWaitAsync,
  hasWaitAsync,
  plainLoad,
  wakeAsyncWaiters,
} from "../atomics.ts";
import { sharedMs } from "../tasks/clock.ts";
import {
  AGENT_HOST_THREAD,
  AGENT_LIVE,
  AGENT_LIVENESS,
  AGENT_PROBE_AGAIN,
  AGENT_STATE,
  AGENT_STATE_MASK,
  AGENT_TOKENS,
  LIVENESS_WORDS,
  PROBE_TIME,
  agentRecord,
  AGENTS_USED,
} from "../control-block.ts";
import { declareDead } from "./death.ts";
import type { SharedMemory } from "../shared-memory.ts";

const LIVENESS_WAITERS = 64;
/** The state word's generation begins at this bit. */
const GENERATION_SHIFT = 2;
/** A thread that blocks in a runner adds waiters if it has fewer tokens than this. */
const REARM_BELOW: number = LIVENESS_WAITERS / 2;
/** The whole machine probes at most this often. */
const PROBE_INTERVAL_MS = 200;
/** How long a thread with few tokens is not probed again: [tokens below, ms]. */
const PROBE_BACKOFF: readonly (readonly [number, number])[] = [
  [4, 60_000],
  [16, 10_000],
  [40, 1_000],
];

/** L3. The word of the waiters of the registration with this state word. */
export function livenessWord(record: number, state: number): number {
  return record + AGENT_LIVENESS + ((state >>> GENERATION_SHIFT) & (LIVENESS_WORDS - 1));
}

/**
 * Gives this agent its full set of waiters.
 *
 * @stepped liveness
 */
export function armLiveness(memory: SharedMemory): void {
  if (!hasWaitAsync) return;
  const wanted = Math.min(LIVENESS_WAITERS, memory.livenessWaitersMax);
  addWaiters(memory, wanted - atomicLoad(memory.words, memory.record + AGENT_TOKENS));
}

/** A thread that blocks runs no event loop: it calls this from time to time. */
export function rearmLiveness(memory: SharedMemory): void {
  if (atomicLoad(memory.words, memory.record + AGENT_TOKENS) < REARM_BELOW) armLiveness(memory);
}

/**
 * Removes this agent's waiters. Its state word must no longer be live, and still have its
 * generation.
 *
 * @stepped liveness
 */
export function disarmLiveness(memory: SharedMemory): void {
  const { words, record } = memory;
  atomicExchange(words, record + AGENT_TOKENS, 0);
  wakeAsyncWaiters(words, livenessWord(record, atomicLoad(words, record + AGENT_STATE)), Infinity);
}

/** @stepped liveness */
function addWaiters(memory: SharedMemory, count: number): void {
  const state = atomicLoad(memory.words, memory.record + AGENT_STATE);
  // The waiters must not prevent the garbage collection of a machine that nobody uses.
  const weak = new WeakRef(memory);
  const word = livenessWord(memory.record, state);
  for (let i = 0; i < count; i++) {
    const wait = futexWaitAsync(memory.words, word, 0, Infinity);
    if (wait.async) void wait.value.then(() => replaceWaiter(weak, state));
  }
  atomicAdd(memory.words, memory.record + AGENT_TOKENS, count);
}

/**
 * A probe used up one waiter of the registration with this state word: adds one, unless that
 * registration has ended.
 */
function replaceWaiter(weak: WeakRef<SharedMemory>, state: number): void {
  const memory = weak.deref();
  if (memory === undefined || memory.agentId < 0) return;
  if (atomicLoad(memory.words, memory.record + AGENT_STATE) !== state) return;
  if (atomicLoad(memory.words, memory.record + AGENT_TOKENS) < LIVENESS_WAITERS)
    addWaiters(memory, 1);
}

/**
 * Probes all other agents, unless a thread of this machine did so within PROBE_INTERVAL_MS.
 * Declares the dead ones dead.
 *
 * @stepped liveness
 */
export function probeAgents(memory: SharedMemory): void {
  const now = sharedMs();
  const last = atomicLoad(memory.words, PROBE_TIME);
  if (last !== 0 && ((now - last) | 0) < PROBE_INTERVAL_MS && ((now - last) | 0) >= 0) return;
  if (atomicCompareExchange(memory.words, PROBE_TIME, last, now) !== last) return;
  for (let agentId = 0, end = atomicLoad(memory.words, AGENTS_USED); agentId < end; agentId++) {
    if (agentId !== memory.agentId) probeAgent(memory, agentId, now, false);
  }
}

/**
 * The host reports that the thread `hostThreadId` has ended. With it end the threads that it had
 * started, such as those of its device, and their ends are reported to nobody but the dead thread.
 * Probes all whose id is higher at once, whatever their tokens: who starts a thread has the lower
 * id, and has ended when its threads have.
 *
 * @stepped liveness
 */
export function probeStartedAfter(memory: SharedMemory, hostThreadId: number): void {
  const { words } = memory;
  const now = sharedMs();
  for (let agentId = 0, end = atomicLoad(words, AGENTS_USED); agentId < end; agentId++) {
    if (agentId === memory.agentId) continue;
    if (plainLoad(words, agentRecord(agentId) + AGENT_HOST_THREAD) > hostThreadId)
      probeAgent(memory, agentId, now, true);
  }
}

/**
 * `isUrgent`: also if the agent's tokens are few, and it was probed a moment ago.
 *
 * @stepped liveness
 */
function probeAgent(memory: SharedMemory, agentId: number, now: number, isUrgent: boolean): void {
  const words = memory.words;
  const record = agentRecord(agentId);
  const state = atomicLoad(words, record + AGENT_STATE);
  if ((state & AGENT_STATE_MASK) !== AGENT_LIVE) return;
  const tokens = atomicLoad(words, record + AGENT_TOKENS);
  if (tokens <= 0) return;
  const backoffMs = PROBE_BACKOFF.find(([below]) => tokens < below)?.[1] ?? 0;
  const leftMs = (atomicLoad(words, record + AGENT_PROBE_AGAIN) - now) | 0;
  if (!isUrgent && leftMs > 0 && leftMs <= backoffMs) return;
  if (atomicCompareExchange(words, record + AGENT_TOKENS, tokens, tokens - 1) !== tokens) return;
  atomicStore(words, record + AGENT_PROBE_AGAIN, (now + backoffMs) | 0);
  if (wakeAsyncWaiters(words, livenessWord(record, state), 1) === 0)
    declareDead(memory, agentId, state); // L2
}
