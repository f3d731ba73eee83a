/**
 * @module hmm/walk/exclusive
 * Makes a range's pages exclusive to the range's device, and reads them. Follows how Linux's
 * drivers use `make_device_exclusive`. There a driver holds the page's lock until it has programmed
 * the device; here it does what it does for every translation (R4): it checks under its own lock
 * that no invalidation has come since read-begin. A touch of the CPU is one, and it notifies before
 * it gives the page to the CPU (mm/fault/device-exclusive.ts). So is another device that takes the
 * page (X3 of mm/migrate/exclusive.ts). Read-begin comes before the pages are taken, and what takes
 * them leaves this range's number alone, as Linux's drivers skip their own notification. Begun
 * after it, two devices could have one page:
 *
 *     device A                                  device B
 *     takes the page, notifies
 *                                               takes it, notifies: A's range is invalid
 *                                               read-begin, reads, checks: valid
 *     read-begin, reads, checks: valid
 */

import { makeDeviceExclusive } from "../../mm/migrate/exclusive.ts";
import { KIND_DEVICE_EXCLUSIVE, pteKind, ptePfn } from "../../mm/pte.ts";
import { pteAt } from "../../mmu/radix-table.ts";
import { EBUSY, EINVAL } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { makeEntry } from "../entry.ts";
import { type HmmRange, checkRegistered, mmOfRange } from "../range/range.ts";
import { isSequenceUnchanged, rangeReadBegin } from "../range/valid.ts";
import { FAULT_PASSES_MAX } from "./fault.ts";

/**
 * Makes all pages of the registered range exclusive to the device `owner`, and fills `pfns` with
 * their frames, valid and writable. Until the driver's `invalidate` comes, nobody but the device
 * reaches them. Holding the mmap lock at least for reading, and no lock that a driver's call-back
 * takes; the driver's own call-back may be called (EVENT_EXCLUSIVE, with the owner).
 *
 * | result | meaning | pfns |
 * | --- | --- | --- |
 * | pages of the range | done; use them only after `hmmRangeValid` under the driver lock | all written |
 * | EBUSY | others touch a page all the time, or it is pinned, or an invalidation is in flight | `values.none` |
 * | EFAULT, EPERM, EOPNOTSUPP, ENOMEM | of the first page that cannot be had | `values.none` |
 * | EINVAL | the range has larger pages than 4 KiB | as they were |
 * | ENODEV | the mirror's thread died | `values.none` |
 *
 * The errors of a page are those of makeDeviceExclusive.
 */
export function* hmmRangeExclusive(range: HmmRange, owner: number): Task<number> {
  checkRegistered(range, "make exclusive");
  const { machine, pfns, encoding, startPage, endPage } = range;
  const mm = mmOfRange(range);
  mm.mmapLock.assertHeld();
  const pages = endPage - startPage;
  if (range.pagesPerEntry !== 1) return EINVAL;
  pfns.fill(encoding.values.none, 0, pages);
  for (let pass = 0; pass < FAULT_PASSES_MAX; pass++) {
    const begun = yield* rangeReadBegin(range);
    if (begun !== 0) return begun;
    const taker = { owner, range: range.record.at };
    const failed = yield* makeDeviceExclusive(machine, mm, { startPage, endPage }, taker);
    if (failed !== 0) return failed;
    if (readExclusive(range) && (yield* isSequenceUnchanged(range))) return pages;
    pfns.fill(encoding.values.none, 0, pages);
  }
  return EBUSY;
}

/**
 * Fills `pfns`. False: a page is not exclusive any more.
 *
 * @stepped pte
 */
function readExclusive(range: HmmRange): boolean {
  const { machine, pfns, encoding, startPage, endPage } = range;
  const { pgd } = mmOfRange(range);
  for (let page = startPage; page < endPage; page++) {
    const pte = pteAt(machine.memory, pgd, page);
    if (pteKind(pte) !== KIND_DEVICE_EXCLUSIVE) return false;
    pfns[page - startPage] = makeEntry(ptePfn(pte), encoding.flags.write, encoding);
  }
  return true;
}
