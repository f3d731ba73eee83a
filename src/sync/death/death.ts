/**
 * @module A thread was found dead. What must happen at once, in whatever thread found it, even deep
 * in a wait:
 *
 * 1. Its record goes from live to dead, by one compare-exchange, so that one finder does the rest.
 * 2. If it held a lock, the machine stops (panic.ts): what the lock guards may be half changed.
 * 3. If it was inside a store, it is taken as having left: no instruction of it runs any more.
 * 4. Its places in queues are given up, so that those behind it go on.
 *
 * What it owned is released later, by a task that holds no lock: reaper.ts.
 *
 * D1. From before 1 until after 4 the finder counts itself in the record's FINDERS, and no reaper
 *     touches a record whose FINDERS is not 0. So the record is the dead thread's until then, and
 *     what it kept alive (the address space whose lock it queued for) is there:
 *
 *      finder                                 another thread, which reaps for an earlier death
 *      record live -> dead
 *                                             record dead: releases what is listed, record free
 *      (preempted)                            a new thread claims it, locks, begins a store
 *      the held table names locks: stops the machine; the mark is odd: takes the new thread as
 *      having left its store
 *
 *     Two may find the same death at the same time, and then a reaper passes the record over
 *     although the first of them is done: for the other's sake. So whoever takes the count to 0
 *     says that there is somebody to be reaped, first or not.
 *
 *     A finder that dies in between leaves the record, and what is listed in it, for ever: one
 *     thing lost rather than taken from somebody else.
 */

import {
  atomicAdd,
  atomicCompareExchange,
  atomicLoad,
  atomicOr,
  atomicSub,
  futexWake,
  plainLoad,
} from "../atomics.ts";
import {
  AGENT_DEAD,
  AGENT_FINDERS,
  AGENT_INSIDE,
  AGENT_NAME,
  AGENT_NAME_BYTES,
  AGENT_STATE,
  AGENT_STATE_MASK,
  ALERT,
  ALERT_DEAD,
  DEATHS,
  agentRecord,
} from "../control-block.ts";
import { EOWNERDEAD } from "../errno.ts";
import {
  QUEUED_READ,
  QUEUED_WRITE,
  heldClassName,
  heldMode,
  heldSlots,
} from "../lockdep/held-locks.ts";
import { declarePanic } from "./panic.ts";
import { RWSEM_WORDS, leaveReaderQueue, leaveWriterQueue } from "../words/rwsem-words.ts";
import { loadText } from "../shared-text.ts";
import type { SharedMemory } from "../shared-memory.ts";

/**
 * The agent whose state word was seen as `state` (live) is dead. False: it left by itself, or
 * another thread was first.
 *
 * @stepped death
 */
export function declareDead(memory: SharedMemory, agentId: number, state: number): boolean {
  const words = memory.words;
  const record = agentRecord(agentId);
  const dead = (state & ~AGENT_STATE_MASK) | AGENT_DEAD;
  atomicAdd(words, record + AGENT_FINDERS, 1);
  const isFirst = atomicCompareExchange(words, record + AGENT_STATE, state, dead) === state;
  if (isFirst) giveUpPlaces(memory, agentId);
  const isLast = atomicSub(words, record + AGENT_FINDERS, 1) === 1;
  if (isFirst || (isLast && atomicLoad(words, record + AGENT_STATE) === dead)) {
    atomicAdd(words, DEATHS, 1);
    atomicOr(words, ALERT, ALERT_DEAD);
  }
  return isFirst;
}

/**
 * 2 to 4 of the head.
 *
 * @stepped death
 */
function giveUpPlaces(memory: SharedMemory, agentId: number): void {
  const { words } = memory;
  const record = agentRecord(agentId);
  for (const { at, tag, count } of heldSlots(memory, record)) {
    const mode = heldMode(tag);
    if (mode >= QUEUED_READ) memory.ensure(at + RWSEM_WORDS);
    if (mode === QUEUED_READ) leaveReaderQueue(memory.words, at, count);
    else if (mode === QUEUED_WRITE) leaveWriterQueue(memory.words, at, count);
    else
      declarePanic(
        memory,
        EOWNERDEAD,
        ownerDeadMessage(memory, agentId, heldClassName(tag)),
        at,
        agentId,
      );
  }
  if ((atomicLoad(words, record + AGENT_INSIDE) & 1) !== 0) {
    atomicAdd(words, record + AGENT_INSIDE, 1);
    futexWake(words, record + AGENT_INSIDE, Infinity);
  }
}

/** The name that an agent registered with. */
export function agentName(memory: SharedMemory, agentId: number): string {
  const record = agentRecord(agentId);
  return loadText(memory, record + AGENT_NAME, plainLoad(memory.words, record + AGENT_NAME_BYTES));
}

function ownerDeadMessage(memory: SharedMemory, agentId: number, lockName: string): string {
  return (
    `Cannot go on: thread "${agentName(memory, agentId)}" was terminated while it held ${lockName}, ` +
    "and what that guards may be half changed; create a new machine, and let threads finish before you terminate them"
  );
}
