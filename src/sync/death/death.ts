/**
 * @module A thread was found dead. The thread that found it, the finder, does the following at
 * once, even deep in a wait:
 *
 * 1. It changes the record from live to dead by a compare-exchange. So only one finder does the
 *    rest.
 * 2. If the dead thread held a lock for writing whose changes are not logged (`undo` of
 *    lockdep/lock-order.ts) and that nobody repairs (repair.ts), or was in a section that no other
 *    thread can finish, it stops the machine (panic.ts): what that guards may be half changed.
 *    Otherwise it takes back what was changed under the locks (words/undo-log.ts), and releases
 *    them.
 * 3. If the dead thread was inside a store, it ends the store: that thread runs no more
 *    instructions.
 * 4. It gives up the dead thread's places in queues, and what it held of semaphores as a reader or
 *    as a writer that was not yet inside. So waiters go on. A reader changes nothing that is half
 *    done when it dies: see enterCritical of lockdep/held-locks.ts for those that do.
 *
 * A semaphore under which the dead thread had begun an operation that another one finishes stays
 * its own until then: recovery.ts. So does a lock that is to be repaired, and a read section of an
 * Srcu, in which the operation may have been.
 *
 * What the thread owned is released later, by a task that holds no lock: reaper.ts.
 *
 * D1. From before 1 until after 4 the finder counts itself in the record's FINDERS. No reaper
 *     touches a record whose FINDERS is not 0. So until then the record still describes the dead
 *     thread, and what the thread kept alive (the address space whose lock it queued for) exists.
 *     Without D1:
 *
 *      finder                                 another thread, which reaps for an earlier death
 *      record live -> dead
 *      (preempted)                            record dead: releases what is listed, record free
 *                                             a new thread claims the record, locks, begins a store
 *      the held table names a lock:
 *      stops the machine
 *      the mark is odd: ends the
 *      store of the new thread
 *
 *     Two finders may find the same death at the same time. A reaper may then skip the record
 *     because of the second, after the first has finished. So a finder that takes the count to 0
 *     announces the record to the reapers again, even if it was not the first.
 *
 * D2. The finder has noted in its own record whom it finds (FINDS), from the count on, and with
 *     FINDS_FIRST from 1 on. If it dies in between, who finds it dead does that again: each place
 *     is given up, and its slot of the held table cleared, in a row (H1 of lockdep/held-locks.ts);
 *     and what a lock guards stays locked while it is taken back. A wake that was left out is not
 *     made again: who waits looks again from time to time, and after a death. The finder of a
 *     finder may die as well, so this goes along a chain of dead threads.
 *
 *      finder                                 another thread
 *      FINDERS + 1, FINDS = dead thread
 *      record live -> dead, FINDS_FIRST
 *      gives up a part
 *      [dead]
 *                                             finds the finder dead, and what it has noted:
 *                                             gives up the rest
 *                                             FINDERS - 1, FINDS = 0
 */

import {
  atomicAdd,
  atomicLoad,
  atomicOr,
  compareExchangeNoted,
  decrementNoted,
  futexWake,
  incrementNoted,
  plainLoad,
} from "../atomics.ts";
import {
  AGENT_DEAD,
  AGENT_FINDERS,
  AGENT_FINDS,
  AGENT_INSIDE,
  AGENT_NAME,
  AGENT_NAME_BYTES,
  AGENT_STATE,
  AGENT_STATE_MASK,
  ALERT,
  ALERT_DEAD,
  DEATHS,
  FINDS_FIRST,
  MARK_INSIDE,
  MARK_STEP,
  agentRecord,
} from "../control-block.ts";
import { EOWNERDEAD } from "../errno.ts";
import {
  ENTERING_WRITE,
  HELD_EXCLUSIVE,
  HELD_SHARED,
  HELD_SRCU,
  type HeldSlot,
  QUEUED_READ,
  QUEUED_WRITE,
  heldClassName,
  heldMode,
  heldSlots,
} from "../lockdep/held-locks.ts";
import { undoneKind } from "../lockdep/lock-order.ts";
import { releaseOfDead } from "../primitives/lock-word.ts";
import { declarePanic } from "./panic.ts";
import { isKept, isRepaired } from "./kept.ts";
import { undoAll } from "../words/undo-log.ts";
import { clearReaderWord } from "../words/reader-word.ts";
import {
  RWSEM_WORDS,
  leaveAsReaders,
  leaveAsWriter,
  leaveReaderQueue,
  leaveWriterQueue,
  wakeForState,
} from "../words/rwsem-words.ts";
import { loadText } from "../shared-text.ts";
import type { SharedMemory } from "../shared-memory.ts";

/**
 * The agent, whose state word was `state` (live), is dead. False: it has unregistered, or another
 * finder was first.
 *
 * @stepped death
 */
export function declareDead(memory: SharedMemory, agentId: number, state: number): boolean {
  const { words } = memory;
  const record = agentRecord(agentId);
  const dead = (state & ~AGENT_STATE_MASK) | AGENT_DEAD;
  const finds = memory.record + AGENT_FINDS; // D2
  const finders = record + AGENT_FINDERS;
  const first = (agentId + 1) | FINDS_FIRST;
  incrementNoted(words, finders, words, finds, agentId + 1);
  const seen = compareExchangeNoted(words, record + AGENT_STATE, state, dead, words, finds, first);
  const isFirst = seen === state;
  if (isFirst) giveUpAll(memory, agentId);
  const isLast = decrementNoted(words, finders, words, finds, 0) === 1;
  if (isFirst || (isLast && atomicLoad(words, record + AGENT_STATE) === dead)) announce(words);
  return isFirst;
}

/**
 * There is a record that reapers have not seen. The alert comes first, for a reaper tries once for
 * each count:
 *
 *      finder, the wrong way round            another thread, which reaps for an earlier death
 *      DEATHS + 1
 *                                             reaps for both, and clears the alert
 *      sets the alert, for nobody
 *                                             has tried with this count: it stays
 *
 * @stepped death
 */
function announce(words: Int32Array): void {
  atomicOr(words, ALERT, ALERT_DEAD);
  atomicAdd(words, DEATHS, 1);
}

/** What the dead agent had, and what it had begun as a finder (D2). @stepped death */
function giveUpAll(memory: SharedMemory, agentId: number): void {
  giveUpPlaces(memory, agentId);
  const { words } = memory;
  const finds = agentRecord(agentId) + AGENT_FINDS;
  const noted = findsAt(words, finds);
  if (noted === 0) return;
  const found = foundAgent(noted);
  if ((noted & FINDS_FIRST) !== 0) giveUpAll(memory, found);
  decrementNoted(words, agentRecord(found) + AGENT_FINDERS, words, finds, 0);
  announce(words);
}

/** No step: the thread that writes it is dead. */
function findsAt(words: Int32Array, at: number): number {
  return plainLoad(words, at);
}

/** The agent that a word FINDS names, which is not 0. */
export function foundAgent(finds: number): number {
  return (finds & ~FINDS_FIRST) - 1;
}

/**
 * Points 2 to 4 above. If something stops the machine, no lock is released first: nobody is to see
 * what is half changed.
 *
 * @stepped death
 */
function giveUpPlaces(memory: SharedMemory, agentId: number): void {
  const { words } = memory;
  const record = agentRecord(agentId);
  const held = heldSlots(memory, record);
  const fatal = held.find((slot) => !isHarmless(slot) && !takeBack(memory, record, slot));
  if (fatal !== undefined) {
    const message = ownerDeadMessage(memory, agentId, heldClassName(fatal.tag));
    declarePanic(memory, EOWNERDEAD, message, fatal.at, agentId);
  }
  for (const one of held) {
    const { slot, at, tag, count } = one;
    const mode = heldMode(tag);
    if (isKept(memory, record, one)) continue;
    if (mode >= QUEUED_READ || mode === HELD_SHARED) memory.ensure(at + RWSEM_WORDS);
    if (slot === 0) clearReaderWord(words, record);
    else if (mode === HELD_SHARED) leaveAsReaders(memory.words, at, count, slot);
    else if (mode === QUEUED_READ) leaveReaderQueue(memory.words, at, count, slot);
    else if (mode === QUEUED_WRITE) leaveWriterQueue(memory.words, at, count, slot);
    else if (mode === ENTERING_WRITE) leaveForDead(memory, at, slot);
    else if (fatal !== undefined) continue;
    else if (undoneKind(heldClassName(tag)) === "rwsem") leaveForDead(memory, at, slot);
    else releaseOfDead(memory.words, at, slot);
  }
  const mark = atomicLoad(words, record + AGENT_INSIDE);
  if ((mark & MARK_INSIDE) !== 0) {
    atomicAdd(words, record + AGENT_INSIDE, MARK_STEP - (mark & (MARK_STEP - 1)));
    futexWake(words, record + AGENT_INSIDE, Infinity);
  }
}

/** A reader, or a place in a queue, has changed nothing; what can be repaired will be. */
function isHarmless(slot: HeldSlot): boolean {
  const mode = heldMode(slot.tag);
  const isReader = mode === HELD_SHARED || mode === HELD_SRCU;
  return isReader || mode >= QUEUED_READ || isRepaired(slot);
}

/** What the dead thread changed under the lock is as it was before. False: it is not. */
function takeBack(memory: SharedMemory, record: number, { at, tag }: HeldSlot): boolean {
  if (heldMode(tag) !== HELD_EXCLUSIVE) return false;
  return undoneKind(heldClassName(tag)) !== undefined && undoAll(memory, record, at);
}

/** @spelled semaphore */
function leaveForDead(memory: SharedMemory, at: number, slot: number): void {
  memory.ensure(at + RWSEM_WORDS);
  wakeForState(memory.words, at, leaveAsWriter(memory.words, at, slot));
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
