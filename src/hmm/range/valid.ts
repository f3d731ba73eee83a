/**
 * @module hmm/range/valid
 * Whether what was read through a range may still be used, and the wait until it can be read.
 * Follows Linux 5.3 `hmm_range_valid` and `hmm_range_wait_until_valid` after patch 5, with a
 * sequence in place of the boolean (S1 to S4 of range-record.ts).
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
 * 4 and 5 are one section of the driver lock. Progress is not guaranteed: bound the rounds or the
 * time.
 */

import { bringIn } from "../../mm/source/bring-in.ts";
import { EAGAIN, EBUSY, ENODEV, type Errno } from "../../sync/errno.ts";
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

/** Default timeout of a wait, as in Linux's drivers. */
export const WAIT_UNTIL_VALID_MS = 1000;

/**
 * The recheck: whether no invalidation has overlapped the range since its last read-begin, with
 * which `hmmRangeFault` and `hmmRangeSnapshot` begin (since register, before the first of them).
 * The answer holds only under the driver lock, which the driver's `invalidate` takes. If it is
 * false, throw the pfns away. Linux: `hmm_range_valid`.
 */
export function hmmRangeValid(range: HmmRange): Task<boolean> {
  checkRegistered(range, "ask for the validity of");
  return isSequenceUnchanged(range);
}

/**
 * Waits until no invalidation in flight overlaps the range, and a page of a file or another source
 * that the last fault found absent has been read, at most `timeoutMs` milliseconds
 * (default 1000; Infinity: for ever). False: the time went by, or the range's mirror is gone. True
 * is a hint only: a fault or snapshot may find the range invalid again. Do not hold the driver
 * lock, which the invalidating thread needs. The result is that of the condition's last evaluation
 * (patch 5). Linux: `hmm_range_wait_until_valid`.
 */
export function* hmmRangeWaitUntilValid(
  range: HmmRange,
  timeoutMs: number = WAIT_UNTIL_VALID_MS,
): Task<boolean> {
  checkRegistered(range, "wait for");
  if (!(yield* awaitPage(range, timeoutMs))) return false;
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
 * Waits for a page of a source that the last fault found absent, if there is one. False: the time
 * went by. Whether it could be had, the next fault finds out.
 */
function* awaitPage(range: HmmRange, timeoutMs: number): Task<boolean> {
  if (range.awaitedPage === 0) return true;
  const errno = yield* bringIn(range.machine, range.awaitedPage, timeoutMs);
  if (errno === EAGAIN) return false;
  range.awaitedPage = 0;
  range.sourceErrno = errno;
  return true;
}

/**
 * Read-begin: keeps the sequence before anything is read (S3 of range-record.ts). EBUSY: an
 * invalidation of the range is in flight, so what would be read is about to change. ENODEV: the
 * mirror is gone.
 */
export function* rangeReadBegin(range: HmmRange): Task<Errno> {
  const { record } = range;
  const sequence = yield* loadSequence(record);
  range.notifierSeq = sequence; // an invalid one equals none that is valid
  if (sequence === SEQUENCE_ORPHANED) return ENODEV;
  return sequenceIsValid(sequence) ? 0 : EBUSY;
}

/** Whether the mirror's thread died: the range is never valid again (S4 of range-record.ts). */
export function isOrphaned(range: HmmRange): boolean {
  return readSequence(range.record) === SEQUENCE_ORPHANED;
}

/** Whether the sequence equals that of read-begin: an early out, unless under the driver lock. */
export function* isSequenceUnchanged(range: HmmRange): Task<boolean> {
  const sequence = yield* loadSequence(range.record);
  return sequence === range.notifierSeq && sequenceIsValid(sequence);
}
