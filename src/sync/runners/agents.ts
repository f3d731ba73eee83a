/**
 * @module A JS thread's registration on a machine: the thread is then an agent. All code that locks
 * or waits needs one.
 *
 * States of an agent's record:
 *
 *      free --register--> starting --> live --unregister--> starting --> free
 *                                      live --declared dead--> dead --reaped--> free
 *
 * Each transition to free begins a new generation of the state word.
 */

import { atomicCompareExchange, atomicLoad, atomicStore, plainLoad } from "../atomics.ts";
import {
  AGENTS_USED,
  AGENT_DEAD,
  AGENT_FINDERS,
  AGENT_FREE,
  AGENT_HELD,
  AGENT_HOST_THREAD,
  AGENT_INSIDE,
  AGENT_LIMIT,
  AGENT_LIVE,
  AGENT_NAME,
  AGENT_NAME_BYTES,
  AGENT_NAME_WORDS,
  AGENT_STARTING,
  AGENT_STATE,
  AGENT_STATE_MASK,
  AGENT_TOKENS,
  AGENT_WAITING_ON,
  AGENT_WORDS,
  NO_RECORD,
  agentRecord,
} from "../control-block.ts";
import { agentName, declareDead } from "../death/death.ts";
import { EMFILE } from "../errno.ts";
import { HmmError, bug } from "../errors.ts";
import { heldClassName, heldSlots, holdsNothing, nextHeldSlot } from "../lockdep/held-locks.ts";
import { armLiveness, disarmLiveness, probeStartedAfter } from "../death/liveness.ts";
import { checkPanic } from "../death/panic.ts";
import { listedResources } from "../lockdep/resources.ts";
import { reapAsync } from "./run-async.ts";
import { DEBUG, DETACHED, REAL } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { storeText } from "../shared-text.ts";

export { agentName } from "../death/death.ts";
export { probeAgents } from "../death/liveness.ts";

const OWNER_AGENT_SHIFT = 20;
const GENERATION_MASK: number = ~AGENT_STATE_MASK;

/** Describes a thread that registers on a machine. */
export interface AgentOptions {
  /** For error messages; at most 64 bytes of UTF-8 are kept. */
  readonly name: string;
  /** The host's id of this thread, by which {@link agentDied} finds it; -1 unknown. */
  readonly hostThreadId?: number;
}

/**
 * Registers this thread on the machine and returns its agent id. Throws EMFILE if AGENT_LIMIT
 * threads are registered.
 *
 * @stepped agent record
 */
export function registerAgent(memory: SharedMemory, options: AgentOptions): number {
  if (memory.agentId >= 0) bug(`thread "${options.name}" is registered already`);
  checkPanic(memory);
  const agentId = claimRecord(memory);
  if (agentId < 0) {
    throw new HmmError(
      EMFILE,
      "attach",
      `Cannot attach a thread: the machine has ${AGENT_LIMIT} already; detach one`,
    );
  }
  const record = agentRecord(agentId);
  const words = memory.words;
  // Not FINDERS: a finder that has counted itself there will subtract itself.
  words.fill(0, record + AGENT_TOKENS, record + AGENT_FINDERS);
  words.fill(0, record + AGENT_FINDERS + 1, record + AGENT_WORDS);
  words[record + AGENT_NAME_BYTES] = storeText(
    memory,
    record + AGENT_NAME,
    AGENT_NAME_WORDS,
    options.name,
  );
  words[record + AGENT_HOST_THREAD] = options.hostThreadId ?? -1;
  selectAgent(memory, agentId);
  memory.mode = memory.debug ? DEBUG : REAL;
  const starting = atomicLoad(words, record + AGENT_STATE);
  atomicStore(words, record + AGENT_STATE, (starting & GENERATION_MASK) | AGENT_LIVE);
  armLiveness(memory);
  return agentId;
}

/**
 * Makes `memory` act for `agentId`. An explorer runs several threads on one handle and switches
 * between them by this.
 */
export function selectAgent(memory: SharedMemory, agentId: number): void {
  memory.agentId = agentId;
  memory.ownerBase = agentId << OWNER_AGENT_SHIFT;
  memory.record = agentRecord(agentId);
  memory.heldNext = nextHeldSlot(memory);
  memory.insideMark = atomicLoad(memory.words, memory.record + AGENT_INSIDE);
  memory.resourceNext = 0;
}

/**
 * This thread leaves the machine. It must hold no lock and own no resource.
 *
 * @stepped agent record
 */
export function unregisterAgent(memory: SharedMemory): void {
  const { words, record, agentId } = memory;
  if (agentId < 0) bug("this thread is not registered");
  if (!holdsNothing(memory)) {
    const names = heldSlots(memory, record).map(({ tag }) => heldClassName(tag));
    bug(
      `thread "${agentName(memory, agentId)}" leaves while it holds ${names.join(", ")}; unlock first`,
    );
  }
  const resources = listedResources(memory, record);
  if (resources.length > 0)
    bug(
      `thread "${agentName(memory, agentId)}" leaves while it owns ${resources.join(", ")}; unregister or free what a driver has here first`,
    );

  const state = atomicLoad(words, record + AGENT_STATE);
  // First the state is no longer live: then a probe that finds no waiters does not declare this
  // thread dead (L2 of death/liveness.ts).
  const leaving = (state & GENERATION_MASK) | AGENT_STARTING;
  if (
    (state & AGENT_STATE_MASK) !== AGENT_LIVE ||
    atomicCompareExchange(words, record + AGENT_STATE, state, leaving) !== state
  ) {
    bug(`thread "${agentName(memory, agentId)}" was declared dead while it lives`);
  }
  disarmLiveness(memory);
  memory.mode = DETACHED;
  memory.agentId = -1;
  memory.record = NO_RECORD;
  memory.heldNext = NO_RECORD + AGENT_HELD;
  memory.insideMark = 0;
  atomicStore(
    words,
    record + AGENT_STATE,
    ((state & GENERATION_MASK) + AGENT_STATE_MASK + 1) | AGENT_FREE,
  );
}

/**
 * This thread was alone on a machine that nobody will use again, and may still own resources there.
 * Removes its waiters, which would keep the memory for ever, and does nothing else.
 *
 * @stepped agent record
 */
export function abandonMachine(memory: SharedMemory): void {
  const { words, record } = memory;
  atomicStore(
    words,
    record + AGENT_STATE,
    (atomicLoad(words, record + AGENT_STATE) & GENERATION_MASK) | AGENT_FREE,
  );
  disarmLiveness(memory);
  memory.mode = DETACHED;
}

/**
 * The host reports that a thread ended (a Worker's exit event). No effect if it had unregistered.
 * What it owned is released in the background, and so is what the threads that ended with it owned.
 *
 * @stepped agent record
 */
export function agentDied(memory: SharedMemory, hostThreadId: number): void {
  for (let agentId = 0, end = atomicLoad(memory.words, AGENTS_USED); agentId < end; agentId++) {
    if (agentId === memory.agentId) continue;
    const record = agentRecord(agentId);
    const state = atomicLoad(memory.words, record + AGENT_STATE);
    if ((state & AGENT_STATE_MASK) !== AGENT_LIVE) continue;
    if (plainLoad(memory.words, record + AGENT_HOST_THREAD) === hostThreadId)
      declareDead(memory, agentId, state);
  }
  probeStartedAfter(memory, hostThreadId);
  if (memory.agentId >= 0) reapAsync(memory);
}

/** One registered thread, as {@link listAgents} shows it. */
export interface AgentInfo {
  /** Its number on the machine. */
  readonly id: number;
  /** The name that it was attached with. */
  readonly name: string;
  /** The number that the host gives the thread; -1 where it gives none. */
  readonly hostThreadId: number;
  /** Whether it was found dead. */
  readonly isDead: boolean;
  /** Index of the word that it blocks on, 0 if none. */
  readonly waitingOn: number;
  /** The classes of the locks that it holds. */
  readonly holds: readonly string[];
}

/**
 * The machine's threads, for reports. The held locks of other threads are read while they run, so
 * they may be out of date.
 */
export function listAgents(memory: SharedMemory): AgentInfo[] {
  const agents: AgentInfo[] = [];
  for (let id = 0, end = atomicLoad(memory.words, AGENTS_USED); id < end; id++) {
    const record = agentRecord(id);
    const state = atomicLoad(memory.words, record + AGENT_STATE) & AGENT_STATE_MASK;
    if (state !== AGENT_LIVE && state !== AGENT_DEAD) continue;
    agents.push({
      id,
      name: agentName(memory, id),
      hostThreadId: plainLoad(memory.words, record + AGENT_HOST_THREAD),
      isDead: state === AGENT_DEAD,
      waitingOn: plainLoad(memory.words, record + AGENT_WAITING_ON),
      holds: heldSlots(memory, record).map(({ tag }) => heldClassName(tag)),
    });
  }
  return agents;
}

/**
 * How many more threads could register after the dead ones are reaped. A hint: other threads may
 * register at the same time.
 */
export function agentRecordsLeft({ words }: SharedMemory): number {
  let left = 0;
  for (let agentId = 0; agentId < AGENT_LIMIT; agentId++) {
    const state = atomicLoad(words, agentRecord(agentId) + AGENT_STATE) & AGENT_STATE_MASK;
    if (state === AGENT_FREE || state === AGENT_DEAD) left++;
  }
  return left;
}

/**
 * Finds a free record and claims it; -1 if there is none.
 *
 * @stepped agent record
 */
function claimRecord(memory: SharedMemory): number {
  const { words } = memory;
  for (let agentId = 0; agentId < AGENT_LIMIT; agentId++) {
    const at = agentRecord(agentId) + AGENT_STATE;
    const state = atomicLoad(words, at);
    if ((state & AGENT_STATE_MASK) !== AGENT_FREE) continue;
    if (atomicCompareExchange(words, at, state, state | AGENT_STARTING) !== state) continue;
    for (let used = atomicLoad(words, AGENTS_USED); used <= agentId;) {
      used = atomicCompareExchange(words, AGENTS_USED, used, agentId + 1);
    }
    return agentId;
  }
  return -1;
}
