/**
 * @module hmm/walk/fault
 * Makes a range's pages present as requested and reads them: what a device does on a page fault.
 * Follows Linux 5.3 `hmm_range_fault`, with the answers that it got later (EBUSY with the lock
 * kept), and the loop that Linux now calls the normal entry (`hmm_range_fault_unlocked_timeout`).
 * How it reads is page-walk.ts.
 */

import { EBUSY } from "../../sync/errno.ts";
import { monotonicMs } from "../../sync/tasks/clock.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { type HmmRange, checkRegistered, mmOfRange } from "../range/range.ts";
import { hmmRangeWaitUntilValid, isOrphaned } from "../range/valid.ts";
import { readRange } from "./page-walk.ts";

/**
 * Passes over a range before its user is asked to come again: the second already finds what the
 * first has faulted in.
 */
export const FAULT_PASSES_MAX = 4;

/**
 * Makes the pages of the registered range present as requested, and fills `pfns` as
 * `hmmRangeSnapshot` does. The request of a page is `(request[i] & pfnFlagsMask) | defaultFlags`:
 * `flags.valid` to have it present, with `flags.write` to have it writable, with
 * `flags.devicePrivate` to have it back from a device's own memory; without `valid` the page is
 * only looked at. Holding the mmap lock at least for reading, and neither the driver lock nor any
 * other that a driver's call-back takes.
 *
 * | result | meaning | pfns |
 * | --- | --- | --- |
 * | pages of the range | done; use them only after `hmmRangeValid` under the driver lock | all written |
 * | EBUSY | an invalidation of the range is in flight, or kept coming: wait until valid, and again | to be thrown away |
 * | EFAULT | a requested page is not mapped, beyond the end of its source, or device registers | good up to there, then one `values.error` (or `special`), then `values.none` |
 * | EPERM | no read permission, or a write was requested where writing is not permitted | as EFAULT |
 * | ENOMEM | no frame or no table for a page | as EFAULT |
 * | EINVAL | `pfnFlagsMask` without `request`; or larger pages than the mapping has | `values.none` from there on |
 * | ENODEV | the mirror's thread died | `values.none` |
 *
 * With `holes` HOLES_MARK, pages that are neither mapped nor requested read `values.error`, and a
 * requested page without read permission is EFAULT. Linux: `hmm_range_fault`.
 */
export function hmmRangeFault(range: HmmRange): Task<number> {
  const { request, pfnFlagsMask, defaultFlags } = range;
  const perPage = pfnFlagsMask === 0 ? undefined : request;
  const requests = { perPage, mask: pfnFlagsMask, always: defaultFlags };
  return readRange(range, "fault", requests, FAULT_PASSES_MAX);
}

/**
 * The normal entry: waits until the range is valid, takes the mmap lock, faults, gives the lock
 * back, and begins again as long as it is busy. `timeoutMs` bounds the whole; 0 is for ever.
 * Holding no lock. Results as of `hmmRangeFault`; EBUSY means that the time is up.
 * After it the driver takes its lock and asks `hmmRangeValid`. Linux:
 * `hmm_range_fault_unlocked_timeout`.
 */
export function* hmmRangeFaultUnlockedTimeout(range: HmmRange, timeoutMs: number): Task<number> {
  checkRegistered(range, "fault");
  const mm = mmOfRange(range);
  const deadlineMs = timeoutMs === 0 ? Infinity : monotonicMs() + timeoutMs;
  for (;;) {
    const leftMs = deadlineMs - monotonicMs();
    if (leftMs <= 0) return EBUSY;
    if (!(yield* hmmRangeWaitUntilValid(range, leftMs)) && !isOrphaned(range)) return EBUSY;
    yield* mm.mmapLock.downRead();
    let result: number;
    try {
      result = yield* hmmRangeFault(range);
    } finally {
      yield* mm.mmapLock.upRead();
    }
    if (result !== EBUSY) return result;
  }
}
