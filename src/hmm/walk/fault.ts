/**
 * @module hmm/walk/fault
 * Makes a range's pages present as requested and reads them: what a device does on a page fault.
 * Follows Linux 5.3 `hmm_range_fault`, with the answers that it got later (EBUSY with the lock
 * kept), and the loop that Linux now calls the normal entry (`hmm_range_fault_unlocked_timeout`).
 *
 *   F1  One pass: read-begin, then walk; a page that needs a fault gets one, and the walk goes on
 *       from it. A fault may itself invalidate the range (copy-on-write, a page that a device had
 *       copied), and then what was read before is stale, so another pass follows: it finds those
 *       pages ready. Passes and faults of one page are bounded.
 *   F2  The mmap lock is kept in every case.
 *   F3  pfns is only written. A retry asks for what the driver asked for.
 */

import { handleMmFault } from "../../mm/fault/fault.ts";
import type { Mm } from "../../mm/mm-struct.ts";
import { leafOf, pteIndex, wordAt } from "../../mmu/radix-table.ts";
import { VM_WRITE } from "../../mm/vma/vma.ts";
import { monotonicMs } from "../../sync/tasks/clock.ts";
import { EBUSY, EFAULT, EINVAL, EPERM, type Errno } from "../../sync/errno.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { type Task, doneNumber } from "../../sync/tasks/task.ts";
import {
  type Cursor,
  type LeafPart,
  clearFromCursor,
  cursorIndex,
  startOf,
  walkRange,
} from "./page-walk.ts";
import { type HmmRange, checkRegistered, mmOfRange } from "../range/range.ts";
import {
  rangeReadBegin,
  hmmRangeWaitUntilValid,
  isOrphaned,
  isSequenceUnchanged,
} from "../range/valid.ts";
import {
  NEED_IMPOSSIBLE,
  NEED_NOTHING,
  NEED_WRITE,
  type Requests,
  faultLeaf,
  needOf,
  requestOf,
} from "./walk.ts";

/**
 * Passes over a range before its user is asked to come again: the second already finds what the
 * first has faulted in.
 */
export const FAULT_PASSES_MAX = 4;

/** Faults in a row of one page that others keep taking away. */
export const FAULTS_OF_PAGE_MAX = 16;

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
export function* hmmRangeFault(range: HmmRange): Task<number> {
  checkRegistered(range, "fault");
  const mm = mmOfRange(range);
  mm.mmapLock.assertHeld();
  const cursor = startOf(range);
  const errno =
    range.pfnFlagsMask !== 0 && range.request === undefined
      ? EINVAL
      : yield* passes(range, mm, cursor);
  if (errno !== 0) {
    clearFromCursor(range, cursor, errno);
    return errno;
  }
  return cursorIndex(range, cursor);
}

/** F1. */
function* passes(range: HmmRange, mm: Mm, cursor: Cursor): Task<Errno> {
  const requests: Requests = {
    perPage: range.pfnFlagsMask === 0 ? undefined : range.request,
    mask: range.pfnFlagsMask,
    always: range.defaultFlags,
  };
  for (let pass = 0; pass < FAULT_PASSES_MAX; pass++) {
    cursor.page = range.startPage;
    const begun = yield* rangeReadBegin(range);
    if (begun !== 0) return begun;
    const walked = yield* walkRange(range, mm, cursor, requests, faultStep);
    if (walked !== 0) return walked;
    if (yield* isSequenceUnchanged(range)) return 0;
  }
  cursor.page = range.startPage;
  return EBUSY;
}

/**
 * One part of a leaf: as far as it goes without a fault, and then one fault.
 *
 * @stepped
 */
function faultStep(
  range: HmmRange,
  mm: Mm,
  cursor: Cursor,
  part: LeafPart,
  requests: Requests,
): Task<Errno> {
  const { words, pteAt, count } = part;
  const index = cursorIndex(range, cursor);
  const done = faultLeaf(words, pteAt, count, range.pfns, index, range.encoding, requests);
  cursor.page += done;
  if (done === count) return doneNumber(0);
  return faultPage(range, mm, cursor, part, requests);
}

/** Faults the cursor's page in; the walk then reads it again. */
function* faultPage(
  range: HmmRange,
  mm: Mm,
  cursor: Cursor,
  part: LeafPart,
  requests: Requests,
): Task<Errno> {
  const { machine, encoding } = range;
  const { page } = cursor;
  const need = needOf(
    pteOf(machine.memory, mm, page),
    requestOf(requests, cursorIndex(range, cursor)),
    encoding,
  );
  if (need === NEED_NOTHING) return 0; // another thread has faulted it in meanwhile
  if (need === NEED_IMPOSSIBLE) {
    cursor.isSpecial = true;
    return EFAULT;
  }
  const isWrite = need === NEED_WRITE;
  if (isWrite && (part.vma.flags & VM_WRITE) === 0) return EPERM;
  if (!mayFaultAgain(cursor)) return EBUSY;
  return yield* handleMmFault(machine, mm, part.vma, page, isWrite);
}

/**
 * The page's entry now; 0 when the space has no leaf there.
 *
 * @stepped pte
 */
function pteOf(memory: SharedMemory, mm: Mm, page: number): number {
  const leaf = leafOf(memory, mm.pgd, page);
  return leaf === 0 ? 0 : wordAt(memory.words, pteIndex(leaf, page));
}

/** Counts the faults of one page in a row. */
function mayFaultAgain(cursor: Cursor): boolean {
  if (cursor.faultedPage !== cursor.page) {
    cursor.faultedPage = cursor.page;
    cursor.faults = 0;
  }
  cursor.faults++;
  return cursor.faults <= FAULTS_OF_PAGE_MAX;
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
