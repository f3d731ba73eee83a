/**
 * @module Is a thread still there? Found out through waiters that only its own life keeps.
 *
 * Each agent keeps LIVENESS_WAITERS endless `waitAsync` waiters on a LIVENESS word of its record.
 * The engine drops the waiters of a thread that is gone, so waking one of them succeeds exactly as
 * long as the thread exists, whether or not its event loop turns. This does not keep a Node process
 * alive.
 *
 * L1. TOKENS never exceeds the number of waiters there are: the agent adds waiters first, then
 *     tokens; a prober takes a token first, then a waiter; an agent that leaves takes all tokens,
 *     then lets go of its waiters.
 * L2. So a prober that took a token and woke nobody knows that the thread died (or left: the state
 *     word's generation tells the two apart).
 * L3. Which word it is depends on that generation. A prober that is late, when the record is
 *     another thread's, wakes none of that one's waiters: else those would be fewer than its
 *     tokens, and one day it would be taken for dead.
 *
 * A thread that neither turns its event loop nor waits in a runner for very long can run out of
 * tokens; probes spend them more and more sparingly, and at 0 the thread counts as alive. Hosts
 * without waitAsync have no tokens at all and rely on their host's exit events (runners/agents.ts,
 * agentDied).
 */

import {
  atomicAdd,
  atomicCompareExchange,
  atomicExchange,
  atomicLoad,
  atomicStore,
  futexWaitAsync,
  hasWaitAsync,
  wakeListeners,
} from "../atomics.ts";
import { sharedMs } from "../tasks/clock.ts";
import {
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
/** Below this a thread that waits in a runner adds waiters by itself. */
const REARM_BELOW: number = LIVENESS_WAITERS / 2;
/** The whole machine probes at most this often. */
const PROBE_INTERVAL_MS = 200;
/** How long a thread with few tokens left is spared: [tokens below, ms]. */
const SPARING: readonly (readonly [number, number])[] = [
  [4, 60_000],
  [16, 10_000],
  [40, 1_000],
];

/** L3. Where the waiters wait of the registration that `state` names. */
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
  const wanted = Math.min(LIVENESS_WAITERS, memory.listenersMost);
  addWaiters(memory, wanted - atomicLoad(memory.words, memory.record + AGENT_TOKENS));
}

/** For a thread that blocks and so turns no event loop: call it now and then. */
export function rearmLiveness(memory: SharedMemory): void {
  if (atomicLoad(memory.words, memory.record + AGENT_TOKENS) < REARM_BELOW) armLiveness(memory);
}

/**
 * Lets go of this agent's waiters. Its state word must no longer say live, and still have its
 * generation.
 *
 * @stepped liveness
 */
export function disarmLiveness(memory: SharedMemory): void {
  const { words, record } = memory;
  atomicExchange(words, record + AGENT_TOKENS, 0);
  wakeListeners(words, livenessWord(record, atomicLoad(words, record + AGENT_STATE)), Infinity);
}

/** @stepped liveness */
function addWaiters(memory: SharedMemory, count: number): void {
  const state = atomicLoad(memory.words, memory.record + AGENT_STATE);
  // The waiters must not keep a machine from being collected that nobody uses any more.
  const weak = new WeakRef(memory);
  const word = livenessWord(memory.record, state);
  for (let i = 0; i < count; i++) {
    const wait = futexWaitAsync(memory.words, word, 0, Infinity);
    if (wait.async) void wait.value.then(() => replaceWaiter(weak, state));
  }
  atomicAdd(memory.words, memory.record + AGENT_TOKENS, count);
}

/**
 * A probe used up one waiter of the registration that `state` names: adds one, unless that
 * registration is over.
 */
function replaceWaiter(weak: WeakRef<SharedMemory>, state: number): void {
  const memory = weak.deref();
  if (memory === undefined || memory.agentId < 0) return;
  if (atomicLoad(memory.words, memory.record + AGENT_STATE) !== state) return;
  if (atomicLoad(memory.words, memory.record + AGENT_TOKENS) < LIVENESS_WAITERS)
    addWaiters(memory, 1);
}

/**
 * Probes all other agents, unless somebody on this machine did so a moment ago. Declares the dead
 * ones dead.
 *
 * @stepped liveness
 */
export function probeAgents(memory: SharedMemory): void {
  const now = sharedMs();
  const last = atomicLoad(memory.words, PROBE_TIME);
  if (last !== 0 && ((now - last) | 0) < PROBE_INTERVAL_MS && ((now - last) | 0) >= 0) return;
  if (atomicCompareExchange(memory.words, PROBE_TIME, last, now) !== last) return;
  for (let agentId = 0, end = atomicLoad(memory.words, AGENTS_USED); agentId < end; agentId++) {
    if (agentId !== memory.agentId) probeAgent(memory, agentId, now);
  }
}

/** @stepped liveness */
function probeAgent(memory: SharedMemory, agentId: number, now: number): void {
  const words = memory.words;
  const record = agentRecord(agentId);
  const state = atomicLoad(words, record + AGENT_STATE);
  if ((state & AGENT_STATE_MASK) !== AGENT_LIVE) return;
  const tokens = atomicLoad(words, record + AGENT_TOKENS);
  if (tokens <= 0) return;
  const sparedMs = SPARING.find(([below]) => tokens < below)?.[1] ?? 0;
  const again = atomicLoad(words, record + AGENT_PROBE_AGAIN);
  if (sparedMs > 0 && ((again - now) | 0) > 0 && ((again - now) | 0) <= sparedMs) return;
  if (atomicCompareExchange(words, record + AGENT_TOKENS, tokens, tokens - 1) !== tokens) return;
  atomicStore(words, record + AGENT_PROBE_AGAIN, (now + sparedMs) | 0);
  if (wakeListeners(words, livenessWord(record, state), 1) === 0)
    declareDead(memory, agentId, state); // L2
}
