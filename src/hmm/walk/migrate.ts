/**
 * @module hmm/walk/migrate
 * Moves the pages of a registered range to a device's memory or back, vma by vma. Follows how
 * Linux's drivers walk the vmas of a range and call `migrate_vma_setup` for each. The steps of one
 * migration are mm/migrate/migrate-vma.ts.
 */

import { GRANULE_SHIFT } from "../../memory/frames/section-records.ts";
import {
  type MoveResult,
  type PageMover,
  mayPagesMove,
  migrateRange,
} from "../../mm/migrate/migrate-vma.ts";
import { holdsFrame, ptePfn } from "../../mm/pte.ts";
import { vmaOf } from "../../mm/vma/vma.ts";
import { LEAF_WORDS, leafOf, pteIndex, wordAt } from "../../mmu/radix-table.ts";
import { EINVAL, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { type HmmRange, checkRegistered, mmOfRange } from "../range/range.ts";

/** Which pages of a range are moved, and for whom. */
export interface HmmMigrateOptions {
  /**
   * SELECT_SYSTEM: pages in RAM, and places where nothing is yet. SELECT_DEVICE: pages in memory of
   * a device with the `owner`.
   */
  readonly select: number;
  /** The owner of the device memory (`makeDeviceMemory`); it goes with the event. */
  readonly owner: number;
}

/**
 * Moves the selected pages of the registered range into frames that `mover` makes, as far as that
 * can be done: a page that is pinned, shared, under way, or another device's stays where it is. The
 * range's `pfns` are not read. Other devices are notified (EVENT_MIGRATE, with the owner), and so
 * is this driver: its call-back may leave an event with its own owner alone, if the driver clears
 * its table by itself. Holding the mmap lock at least for reading (`mmOfRange(range).mmapLock`),
 * and no lock that a driver's call-back takes.
 *
 * Returns how many pages moved, and how many found no frame; or EINVAL: a hole, a mapping that may
 * not be read, or one of a user's buffer. What lies before it has been moved then.
 */
export function* hmmRangeMigrate(
  range: HmmRange,
  { select, owner }: HmmMigrateOptions,
  mover: PageMover,
): Task<MoveResult | Errno> {
  checkRegistered(range, "migrate");
  const { machine, startPage, endPage } = range;
  const mm = mmOfRange(range);
  mm.mmapLock.assertHeld();
  let moved = 0;
  let lacking = 0;
  for (let page = startPage; page < endPage;) {
    const vma = vmaOf(machine.memory, mm, page);
    if (vma === undefined || !mayPagesMove(vma)) return EINVAL;
    const end = Math.min(vma.endPage, endPage);
    const args = { machine, mm, vma, startPage: page, endPage: end, select, owner };
    const result = yield* migrateRange(args, mover);
    if (typeof result === "number") return result;
    moved += result.moved;
    lacking += result.lacking;
    page = end;
  }
  return { moved, lacking };
}

/**
 * The first page of the registered range that has no mapping whose pages can be moved, for which
 * `hmmRangeMigrate` answers EINVAL; or the range's end. Holding the mmap lock.
 */
export function hmmRangeMovableEnd(range: HmmRange): number {
  checkRegistered(range, "look at the mappings of");
  const { machine, startPage, endPage } = range;
  const mm = mmOfRange(range);
  let page = startPage;
  while (page < endPage) {
    const vma = vmaOf(machine.memory, mm, page);
    if (vma === undefined || !mayPagesMove(vma)) return page;
    page = Math.min(vma.endPage, endPage);
  }
  return page;
}

/**
 * How many pages of the registered range are in memory of the device `owner`. Holding the mmap
 * lock.
 *
 * @stepped
 */
export function hmmRangeCountOwn(range: HmmRange, owner: number): number {
  return findOwn(range, owner, Infinity).pages;
}

/**
 * The first page of the registered range that is in memory of the device `owner`, or the range's
 * end. Holding the mmap lock.
 *
 * @stepped
 */
export function hmmRangeFirstOwn(range: HmmRange, owner: number): number {
  return findOwn(range, owner, 1).page;
}

/**
 * Looks at the pages until `most` are found. `page`: the last of these, or the range's end.
 *
 * @stepped pte
 */
function findOwn(
  range: HmmRange,
  owner: number,
  most: number,
): { readonly pages: number; readonly page: number } {
  checkRegistered(range, "look at the pages of");
  const { machine, startPage, endPage } = range;
  const { memory, ram } = machine;
  const { pgd } = mmOfRange(range);
  const { ownEndPfn } = ram;
  let pages = 0;
  let leaf = 0;
  let granule = 0; // of RAM
  let isOwn = false;
  for (let page = startPage; page < endPage; page++) {
    if (page === startPage || page % LEAF_WORDS === 0) leaf = leafOf(memory, pgd, page);
    const pte = leaf === 0 ? 0 : wordAt(memory.words, pteIndex(leaf, page));
    if (!holdsFrame(pte) || ptePfn(pte) < ownEndPfn) continue;
    if (ptePfn(pte) >>> GRANULE_SHIFT !== granule) {
      granule = ptePfn(pte) >>> GRANULE_SHIFT;
      isOwn = ram.sections.deviceKindOf(ptePfn(pte)) >>> 2 === owner;
    }
    if (isOwn && ++pages === most) return { pages, page };
  }
  return { pages, page: endPage };
}
