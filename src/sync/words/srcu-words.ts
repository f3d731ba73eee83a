/**
 * @module The words of an Srcu, and its grace periods: a state machine that any thread may advance.
 * It has no lock and no owner, so the death of a thread that waits for a grace period delays no
 * other thread.
 *
 * | word | name | meaning |
 * | --- | --- | --- |
 * | 0 | STATE | bits 3.. grace periods completed; bit 2 index that new readers use; bits 0..1 phase |
 * | 1, 2 | ACTIVE | read sections that use index 0, 1 |
 * | 3 | WANTED | grace periods that must be completed |
 * | 4 | QUEUE_LOCK | spinlock of the lists below (srcu-callbacks.ts) |
 * | 5, 6 | NEXT | list (head, tail) of calls queued and not yet waiting for a grace period |
 * | 7, 8 | WAITING | list of calls that wait for WAITING_TARGET |
 * | 9 | WAITING_TARGET | the grace period that the WAITING list needs |
 * | 10, 11 | READY | list of calls whose grace period is over |
 * | 12 | PENDING | calls queued and not yet finished |
 *
 *      IDLE --wanted--> DRAIN --other index has no readers--> FLIPPED, index flipped
 *      FLIPPED --old index has no readers--> IDLE, completed + 1
 *
 * After kernel/rcu/srcutree.c. A reader may read the index, lose its processor, and count itself
 * under that index much later. The grace period that missed it need not wait for it: the reader
 * begins to read after the change. But it must have left before the index is used again. So the
 * next grace period begins with DRAIN:
 *
 *      reader                              grace period
 *      index? 0
 *                                          index 1; ACTIVE[0] = 0: over
 *      ACTIVE[0] += 1
 *      reads: sees the change              next one: DRAIN waits until ACTIVE[0] = 0,
 *                                          then the index becomes 0 again
 */

import { atomicCompareExchange, atomicLoad, futexWake } from "../atomics.ts";

export const SRCU_WORDS = 13;
export const STATE = 0;
export const ACTIVE = 1;
export const WANTED = 3;
export const QUEUE_LOCK = 4;
export const NEXT = 5;
export const WAITING = 7;
export const WAITING_TARGET = 9;
export const READY = 10;
export const PENDING = 12;

const PHASE_MASK = 3;
const IDLE = 0;
const DRAIN = 1;
const FLIPPED = 2;
const INDEX_BIT = 4;
const COUNT_SHIFT = 3;

/** The index that a reader starting now uses: 0 or 1. */
export function readerIndex(state: number): number {
  return (state & INDEX_BIT) >>> 2;
}

export function isIdle(state: number): boolean {
  return (state & PHASE_MASK) === IDLE;
}

/** Whether grace period number `target` is over in `state`. Numbers wrap at 29 bits. */
export function hasCompleted(state: number, target: number): boolean {
  return ((state >>> COUNT_SHIFT) - target) << COUNT_SHIFT >= 0;
}

/**
 * Requests a grace period that begins after STATE was seen as `state`. Returns its number. The
 * caller must call {@link advanceGracePeriods}.
 *
 * @spelled grace period
 */
export function requestGracePeriod(words: Int32Array, at: number, state: number): number {
  // One in progress may have begun before the caller's change: then it takes the next one.
  const target = (state >>> COUNT_SHIFT) + (isIdle(state) ? 1 : 2);
  for (;;) {
    const wanted = atomicLoad(words, at + WANTED);
    if ((wanted - target) << COUNT_SHIFT >= 0) return target;
    if (atomicCompareExchange(words, at + WANTED, wanted, target) === wanted) return target;
  }
}

/**
 * Advances the grace periods as far as the readers allow. Any thread may call it, at any time, with
 * any locks held.
 *
 * @spelled grace period
 */
export function advanceGracePeriods(words: Int32Array, at: number): void {
  for (;;) {
    const state = atomicLoad(words, at + STATE);
    const next = nextState(words, at, state);
    if (next === state) return;
    const moved = atomicCompareExchange(words, at + STATE, state, next) === state;
    if (moved && isIdle(next)) futexWake(words, at + STATE, Infinity);
  }
}

/** @spelled grace period */
function nextState(words: Int32Array, at: number, state: number): number {
  if (isIdle(state))
    return hasCompleted(state, atomicLoad(words, at + WANTED)) ? state : state | DRAIN;
  const oldIndex = readerIndex(state) ^ 1;
  if (atomicLoad(words, at + ACTIVE + oldIndex) !== 0) return state;
  if ((state & PHASE_MASK) === DRAIN) return ((state & ~PHASE_MASK) ^ INDEX_BIT) | FLIPPED;
  return (state & ~PHASE_MASK) + (1 << COUNT_SHIFT);
}
