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
import { ownedBy, readRange } from "./page-walk.ts";

/** Passes over a range before EBUSY. The second pass finds what the first has faulted in. */
export const FAULT_PASSES_MAX = 4;

/**
 * Makes the pages of the registered range present as requested, and fills `pfns` as
 * `hmmRangeSnapshot` does. The request of a page is `(request[i] & pfnFlagsMask) | defaultFlags`:
 * `flags.valid` for a present page, with `flags.write` for a writable one, with
 * `flags.devicePrivate` to bring it back from the device's own memory. A page in the private memory
 * of another device comes back to RAM, one of the range's owner stays, with `flags.devicePrivate`
 * in its entry. A page without `valid` is read as it is; in a sparse range one whose element of
 * `request` is 0 is not read, and its entry is `values.none`, if no hole is there. Holding the mmap
 * lock at least for reading, which is kept in every case, and no lock that a driver's call-back
 * takes.
 *
 * | result | meaning | pfns |
 * | --- | --- | --- |
 * | pages of the range | done; use them only after `hmmRangeValid` under the driver lock | all written |
 * | EBUSY | an invalidation of the range is in flight, or kept coming, or a page is to be read from its source: wait until valid, and retry | to be thrown away |
 * | EFAULT | a requested page is not mapped, beyond the end of its source, or device registers | good up to there, then one `values.error` (or `special`), then `values.none` |
 * | EPERM | no read permission, or a write was requested where writing is not permitted | as EFAULT |
 * | ENOMEM | no frame or no table for a page | as EFAULT |
 * | EINVAL | `pfnFlagsMask` without `request`; a sparse range without either, or with larger pages; or larger pages than the mapping has | `values.none` from there on |
 * | ENODEV | the mirror's thread died | `values.none` |
 *
 * With `holes` HOLES_MARK, pages that are neither mapped nor requested read `values.error`, and a
 * requested page without read permission is EFAULT. Linux: `hmm_range_fault`.
 */
export function hmmRangeFault(range: HmmRange): Task<number> {
  const { request, pfnFlagsMask: mask, defaultFlags: always, isSparse } = range;
  const perPage = mask === 0 ? undefined : request;
  const requests = { perPage, mask, always, isSparse, owns: ownedBy(range) };
  return readRange(range, "fault", requests, FAULT_PASSES_MAX);
}

/**
 * The normal entry: waits until the range is valid, takes the mmap lock, faults, drops the lock,
 * and repeats that while the answer is EBUSY, for at most `timeoutMs` milliseconds; 0 is for ever.
 * Holding no lock. Results are those of `hmmRangeFault`; EBUSY means that the time went by.
 * Afterwards the driver takes its lock and rechecks (`hmmRangeValid`). Linux:
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
