/**
 * @module hmm/range/valid
 * Whether what was read through a range may still be used, and waiting until reading makes sense.
 * Follows Linux 5.3 `hmm_range_valid` and `hmm_range_wait_until_valid` after patch 5, with a
 * sequence in place of the boolean (range-record.ts: why, and S1 to S4).
 *
 * The rule for drivers (R4; Linux calls it the collision-retry lock):
 *
 *     fault side, for a range                                 invalidate call-back
 *     1 wait until valid                                      take the driver lock
 *     2 mmap lock for reading; fault or snapshot (read-begin) take the translations out, flush
 *     3 drop the mmap lock; take the driver lock              drop the driver lock
 *     4 hmmRangeValid? no: drop the lock, throw all of
 *       pfns away, go to 1
 *     5 program the device
 *     6 drop the driver lock
 *
 * 4 and 5 are one section of the driver lock. There is no promise of progress: bound the number of
 *   rounds or the time.
 */

import { EBUSY, ENODEV, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import {
  NOTHING_READ,
  SEQUENCE_ORPHANED,
  loadSequence,
  readSequence,
  sequenceIndex,
  sequenceIsValid,
} from "../range-record.ts";
import { type HmmRange, checkRegistered, hmmOfRange } from "./range.ts";

/** Longest wait of those who give no time of their own, as in Linux's drivers. */
export const WAIT_UNTIL_VALID_MS = 1000;

/**
 * True when no invalidation has overlapped the range since its last `hmmRangeFault` or
 * `hmmRangeSnapshot` began (since register, before the first of them). Means something only under
 * the driver lock, the one that the driver's `invalidate` takes; false then means: throw the pfns
 * away. Linux: `hmm_range_valid`.
 */
export function hmmRangeValid(range: HmmRange): Task<boolean> {
  checkRegistered(range, "ask for the validity of");
  return isSequenceUnchanged(range);
}

/**
 * Waits until no invalidation in flight overlaps the range. False: `timeoutMs` went by, or the
 * range's mirror is gone. True is a hint, not a promise: a fault or snapshot may find it invalid
 * again. Do not hold the driver lock, which the invalidator needs to get on. The condition is one
 * variable, so what ended the wait is what is answered (patch 5). Linux:
 * `hmm_range_wait_until_valid`.
 */
export function* hmmRangeWaitUntilValid(
  range: HmmRange,
  timeoutMs: number = WAIT_UNTIL_VALID_MS,
): Task<boolean> {
  checkRegistered(range, "wait for");
  const { record } = range;
  let sequence = NOTHING_READ;
  const isSettled = (): boolean => {
    sequence = readSequence(record);
    return sequenceIsValid(sequence) || sequence === SEQUENCE_ORPHANED;
  };
  const reads = { at: sequenceIndex(record), words: 1 };
  return (
    (yield* hmmOfRange(range).wq.waitEvent(isSettled, timeoutMs, undefined, reads)) &&
    sequence !== SEQUENCE_ORPHANED
  );
}

/**
 * Notes the sequence (S3 of range-record.ts), before anything is read. EBUSY: an invalidation of
 * the range is in flight, so what would be read is about to change. ENODEV: the mirror is gone.
 */
export function* rangeReadBegin(range: HmmRange): Task<Errno> {
  const { record } = range;
  const sequence = yield* loadSequence(record);
  range.notifierSeq = sequenceIsValid(sequence) ? sequence : NOTHING_READ;
  if (sequence === SEQUENCE_ORPHANED) return ENODEV;
  return sequenceIsValid(sequence) ? 0 : EBUSY;
}

/** The mirror's thread died: the range will never be valid again (S4 of range-record.ts). */
export function isOrphaned(range: HmmRange): boolean {
  return readSequence(range.record) === SEQUENCE_ORPHANED;
}

/**
 * Whether the sequence is still the noted one: `hmmRangeValid` as an early out, without the driver
 * lock and so without its meaning.
 */
export function* isSequenceUnchanged(range: HmmRange): Task<boolean> {
  const sequence = yield* loadSequence(range.record);
  return sequence === range.notifierSeq && sequenceIsValid(sequence);
}
