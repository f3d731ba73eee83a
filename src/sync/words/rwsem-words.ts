/**
 * @module The words of a reader-writer semaphore, and the operations on them. The semaphore itself
 * is rwsem.ts. death.ts uses them, too: it takes dead threads out of the queue, and dead readers
 * out of the semaphore. Most readers do not count themselves here: see reader-word.ts.
 *
 * | word | name | meaning |
 * | --- | --- | --- |
 * | 0 | STATE | bits 0..14 readers that are counted here; bit 15 WRITER inside, or about to be: it waits for those that are not; bits 16..29 writers queued; bit 30 READERS_PHASE |
 * | 1 | QUEUED_READERS | readers that wait |
 * | 2 | READER_SEQUENCE | futex of waiting readers, counts their wakes |
 * | 3 | WRITER_SEQUENCE | futex of waiting writers, counts their wakes |
 *
 * Who may come in, given STATE:
 *
 * | | no writer queued | writers queued | writers queued, READERS_PHASE |
 * | --- | --- | --- | --- |
 * | nobody inside | reader, writer | writer | reader |
 * | readers inside | reader | nobody | reader |
 * | writer inside | nobody | nobody | (cannot be) |
 *
 * It is phase-fair. A queued writer stops new readers, so readers cannot starve it. A leaving
 * writer that finds readers waiting starts a reader phase: no writer enters before all of those
 * readers have, so writers cannot starve readers. A reader that arrives during the phase may enter,
 * too. The phase ends when the last waiting reader has entered, so later readers cannot prolong it.
 *
 * "Nobody" and "readers" mean those that STATE counts. A writer that has entered by this table sets
 * WRITER, which stops all readers, and then waits for those that are inside by their reader words.
 *
 * Every waiter raises its count first and reads STATE after. A thread that leaves changes STATE
 * first and reads the counts after. So one of the two sees the other:
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
import { AGENT_HELD, AGENT_HELD_TASK } from "../control-block.ts";

/** From the first word of a slot of the held table to its count. */
const COUNT: number = AGENT_HELD_TASK - AGENT_HELD;

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
export const READERS_PHASE = 0x40000000;

/** STATE if nobody is inside and no writer is queued. */
export const NOBODY = 0;

export function mayRead(state: number): boolean {
  if ((state & WRITER) !== 0) return false;
  return (state & QUEUED_WRITERS_MASK) === 0 || (state & READERS_PHASE) !== 0;
}

/** Whether a queued writer may enter. */
export function mayWrite(state: number): boolean {
  return (state & (READERS_MASK | WRITER | READERS_PHASE)) === 0;
}

/** Whether a writer may enter without queueing: it must not overtake queued writers. */
export function mayWriteAtOnce(state: number): boolean {
  return state === NOBODY;
}

/** STATE has room for 16383 queued writers. A further writer waits until STATE changes. */
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
 * `count` queued readers leave the queue: they have entered, or their thread died. `slot` of the
 * thread's held table counts them (H1 of held-locks.ts). The last one ends the reader phase.
 *
 * @spelled semaphore
 */
export function leaveReaderQueue(words: Int32Array, at: number, count: number, slot: number): void {
  const queued = atomicSub(words, at + QUEUED_READERS, count);
  if ((words[slot + COUNT]! -= count) <= 0) words[slot] = 0;
  if (queued !== count) return;
  const before = atomicAnd(words, at + STATE, ~READERS_PHASE);
  if ((before & READERS_PHASE) !== 0) wakeForState(words, at, before & ~READERS_PHASE);
}

/**
 * The writer leaves, or its thread died; `slot` of its held table says that it is inside. `stay`:
 * READER to remain inside as a reader, noted in `readerSlot`; 0 to leave. Waiting readers get a
 * reader phase. Returns the new STATE: the caller wakes for it.
 *
 * @spelled semaphore
 */
export function leaveAsWriter(
  words: Int32Array,
  at: number,
  slot: number,
  stay: number = 0,
  readerSlot: number = 0,
): number {
  for (let state = atomicLoad(words, at + STATE); ;) {
    const phase = atomicLoad(words, at + QUEUED_READERS) > 0 ? READERS_PHASE : 0;
    const after = ((state & ~WRITER) + stay) | phase;
    const seen = atomicCompareExchange(words, at + STATE, state, after);
    if (seen === state) {
      if (stay !== 0) words[readerSlot] = at; // H1 of held-locks.ts
      words[slot] = 0;
      return after;
    }
    state = seen;
  }
}

/**
 * The thread of `count` readers that STATE counts died. `slot` of its held table counts them.
 *
 * @spelled semaphore
 */
export function leaveAsReaders(words: Int32Array, at: number, count: number, slot: number): void {
  const before = atomicSub(words, at + STATE, READER * count);
  words[slot] = 0; // H1 of held-locks.ts
  wakeForState(words, at, before - READER * count);
}

/**
 * The thread of `count` queued writers died: those that waited behind them go on. `slot` of its
 * held table counts them.
 *
 * @spelled semaphore
 */
export function leaveWriterQueue(words: Int32Array, at: number, count: number, slot: number): void {
  const before = atomicSub(words, at + STATE, QUEUED_WRITER * count);
  words[slot] = 0; // H1 of held-locks.ts
  wakeForState(words, at, before - QUEUED_WRITER * count);
}

/**
 * Wakes those that may enter now.
 *
 * @spelled semaphore
 */
export function wakeForState(words: Int32Array, at: number, state: number): void {
  if (mayRead(state) && atomicLoad(words, at + QUEUED_READERS) > 0) wakeReaders(words, at);
  if ((state & QUEUED_WRITERS_MASK) !== 0 && mayWrite(state)) wakeWriter(words, at);
}

/**
 * Ends a reader phase without waiting readers: the reader died while the writer was leaving. Such a
 * phase would stop writers for ever.
 *
 * @spelled semaphore
 */
export function endEmptyPhase(words: Int32Array, at: number, state: number): boolean {
  if ((state & READERS_PHASE) === 0 || atomicLoad(words, at + QUEUED_READERS) > 0) return false;
  return atomicCompareExchange(words, at + STATE, state, state & ~READERS_PHASE) === state;
}
