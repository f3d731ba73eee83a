/**
 * @module The words of a reader-writer semaphore and what may be done to them. The semaphore itself
 * is rwsem.ts; the reaper also needs to take a dead thread out of the queue.
 *
 * | word | name | meaning |
 * | --- | --- | --- |
 * | 0 | STATE | bits 0..14 readers inside; bit 15 WRITER inside; bits 16..29 writers queued; bit 30 READERS_TURN |
 * | 1 | QUEUED_READERS | readers that wait |
 * | 2 | READER_SEQUENCE | futex of waiting readers, counts their wakes |
 * | 3 | WRITER_SEQUENCE | futex of waiting writers, counts their wakes |
 *
 * Who may come in, given STATE:
 *
 * | | no writer queued | writers queued | writers queued, READERS_TURN |
 * | --- | --- | --- | --- |
 * | nobody inside | reader, writer | writer | reader |
 * | readers inside | reader | nobody | reader |
 * | writer inside | nobody | nobody | (cannot be) |
 *
 * Fairness is phase by phase. A queued writer stops new readers, so readers cannot starve it. A
 * leaving writer that finds readers waiting gives them the turn, and no writer comes in before all
 * of those have, so writers cannot starve readers. A reader that arrives during the turn slips in
 * too; the turn ends with the last of the waiting ones, so this cannot go on.
 *
 * Every waiter raises its count first and looks at STATE after; every leaver changes STATE first
 * and looks at the counts after. So one of the two sees the other:
 *
 *      reader                                   writer leaving
 *      QUEUED_READERS += 1
 *                                               STATE: WRITER off
 *      STATE: may I? yes -> in                  QUEUED_READERS? 1 -> wake (nobody sleeps: harmless)
 *
 *      reader                                   writer leaving
 *      QUEUED_READERS += 1
 *      reads READER_SEQUENCE = s
 *      STATE: may I? no
 *                                               STATE: WRITER off
 *                                               QUEUED_READERS? 1 -> READER_SEQUENCE = s + 1, wake
 *      sleeps while READER_SEQUENCE = s: not at all
 */

import {
  atomicAdd,
  atomicAnd,
  atomicCompareExchange,
  atomicLoad,
  atomicSub,
  futexWake,
} from "../atomics.ts";

export const RWSEM_WORDS = 4;
export const STATE = 0;
export const QUEUED_READERS = 1;
export const READER_SEQUENCE = 2;
export const WRITER_SEQUENCE = 3;

export const READER = 1;
export const READERS_MASK = 0x7fff;
export const WRITER = 0x8000;
export const QUEUED_WRITER = 0x10000;
export const QUEUED_WRITERS_MASK = 0x3fff0000;
export const READERS_TURN = 0x40000000;

/** STATE of a semaphore that nobody is in and no writer waits for. */
export const NOBODY = 0;

export function mayRead(state: number): boolean {
  if ((state & WRITER) !== 0) return false;
  return (state & QUEUED_WRITERS_MASK) === 0 || (state & READERS_TURN) !== 0;
}

/** For a writer that is in the queue. */
export function mayWrite(state: number): boolean {
  return (state & (READERS_MASK | WRITER | READERS_TURN)) === 0;
}

/** For a writer that comes along: it is not let in past those in the queue. */
export function mayWriteAtOnce(state: number): boolean {
  return state === NOBODY;
}

/** STATE has room for 16383 queued writers; whoever comes when it is full waits for it to move. */
export function isQueueFull(state: number): boolean {
  return (state & QUEUED_WRITERS_MASK) === QUEUED_WRITERS_MASK;
}

/** @spelled semaphore */
function wakeReaders(words: Int32Array, at: number): void {
  atomicAdd(words, at + READER_SEQUENCE, 1);
  futexWake(words, at + READER_SEQUENCE, Infinity);
}

/** @spelled semaphore */
function wakeWriter(words: Int32Array, at: number): void {
  atomicAdd(words, at + WRITER_SEQUENCE, 1);
  futexWake(words, at + WRITER_SEQUENCE, 1);
}

/**
 * Queued readers go (inside, or because their thread died). The last one ends the readers' turn.
 *
 * @spelled semaphore
 */
export function leaveReaderQueue(words: Int32Array, at: number, count: number): void {
  if (atomicSub(words, at + QUEUED_READERS, count) !== count) return;
  const before = atomicAnd(words, at + STATE, ~READERS_TURN);
  if ((before & READERS_TURN) !== 0) wakeForState(words, at, before & ~READERS_TURN);
}

/**
 * Queued writers' thread died: what waited behind them goes on.
 *
 * @spelled semaphore
 */
export function leaveWriterQueue(words: Int32Array, at: number, count: number): void {
  const before = atomicSub(words, at + STATE, QUEUED_WRITER * count);
  wakeForState(words, at, before - QUEUED_WRITER * count);
}

/**
 * Wakes whoever may come in now.
 *
 * @spelled semaphore
 */
export function wakeForState(words: Int32Array, at: number, state: number): void {
  if (mayRead(state) && atomicLoad(words, at + QUEUED_READERS) > 0) wakeReaders(words, at);
  if ((state & QUEUED_WRITERS_MASK) !== 0 && mayWrite(state)) wakeWriter(words, at);
}

/**
 * A turn that nobody is left to take (its reader died while the writer was leaving) must not stop
 * writers for ever.
 *
 * @spelled semaphore
 */
export function endIdleTurn(words: Int32Array, at: number, state: number): boolean {
  if ((state & READERS_TURN) === 0 || atomicLoad(words, at + QUEUED_READERS) > 0) return false;
  return atomicCompareExchange(words, at + STATE, state, state & ~READERS_TURN) === state;
}
