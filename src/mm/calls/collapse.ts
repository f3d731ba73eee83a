/**
 * @module mm/calls/collapse
 * Advice about huge pages (mm/huge.ts). Follows Linux `madvise_collapse` and `collapse_huge_page`
 * in `mm/khugepaged.c`. There is no thread that collapses by itself.
 *
 * Pages that have their frames in a row already, as those of a split huge page have, only get the
 * bit. Others are moved into such frames as for a view (migrate/migrate-to-run.ts): with the mmap
 * lock held for writing, so nobody adds entries meanwhile. The leaf stays in use.
 */

import type { Machine } from "../../memory/machine.ts";
import { freeEmptyLeaves, leafOf, wordAt } from "../../mmu/radix-table.ts";
import { EVENT_CLEAR, invalidateRange } from "../../notifier/events.ts";
import { EAGAIN, EBUSY, EINVAL, ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { allocHuge, rightsIn } from "../fault/huge-fault.ts";
import { HUGE_LINKED, HUGE_PAGES, hugeStart, linkHuge, mergeHuge } from "../huge.ts";
import { migrateToRun } from "../migrate/migrate-to-run.ts";
import type { Mm } from "../mm-struct.ts";
import { holdsFrame, makePte, ptePfn } from "../pte.ts";
import { mayCollapse, wantsHuge } from "../vma/huge-vma.ts";
import { type PageRange, VM_HUGETLB, type VmaPart, partsIn } from "../vma/vma.ts";
import { zapRange } from "../zap.ts";

/**
 * Makes huge pages of all 2 MiB that lie in the range and in one mapping. 0; EINVAL: a mapping that
 * cannot have any, or is advised against them; EAGAIN: some pages are pinned, or a device's;
 * ENOMEM: a hole, or no frames in a row. What could be done is done. Takes the mmap lock.
 */
export function* collapseRange(machine: Machine, mm: Mm, range: PageRange): Task<Errno> {
  let result: Errno = 0;
  let page = range.startPage;
  while (page < range.endPage && result !== ENOMEM) {
    yield* mm.mmapLock.downWrite();
    const part = firstPart(machine, mm, { startPage: page, endPage: range.endPage });
    const isHole = part === undefined || part.startPage > page;
    const answer = part === undefined ? ENOMEM : yield* collapseFirst(machine, mm, part);
    yield* mm.mmapLock.upWrite();
    if (answer !== 0) result = answer;
    if (isHole) result = ENOMEM;
    if (part === undefined) break;
    page = Math.min(hugeStart(part.startPage) + HUGE_PAGES, part.endPage);
  }
  return result;
}

/** What the mapping with the lowest pages has of the range. */
function firstPart({ memory }: Machine, mm: Mm, range: PageRange): VmaPart | undefined {
  for (const part of partsIn(memory, mm, range)) return part;
  return undefined;
}

/**
 * The 2 MiB at the start of a part, if it begins with all of them. Holding the lock for writing.
 */
function* collapseFirst(machine: Machine, mm: Mm, part: VmaPart): Task<Errno> {
  const { vma, startPage, endPage } = part;
  if (!mayCollapse(vma.flags)) return EINVAL;
  if (startPage !== hugeStart(startPage) || startPage + HUGE_PAGES > endPage) return 0;
  const { memory } = machine;
  if (leafOf(memory, mm.pgd, startPage) === 0) {
    const pfn = yield* allocHuge(machine, true);
    if (pfn === 0) return ENOMEM;
    const linked = yield* linkHuge(machine, mm, startPage, makePte(pfn, rightsIn(vma)));
    if (linked !== HUGE_LINKED) yield* machine.ram.refs.putRun(pfn, HUGE_PAGES);
    return linked;
  }
  if (mergeHuge(memory, mm, startPage)) return 0;
  if (isOfDevice(machine, mm, startPage)) return EAGAIN;
  const run = yield* migrateToRun(machine, mm, { startPage, endPage: startPage + HUGE_PAGES });
  if (run < 0) return run === EBUSY ? EAGAIN : run;
  return mergeHuge(memory, mm, startPage) ? 0 : EAGAIN;
}

/** Whether a page of the 2 MiB is in a device's memory. */
function isOfDevice({ memory, ram }: Machine, mm: Mm, startPage: number): boolean {
  if (mm.isDeviceSpace === 0) return false;
  const leaf = leafOf(memory, mm.pgd, startPage);
  for (let i = 0; i < HUGE_PAGES; i++) {
    const pte = wordAt(memory.words, leaf + i);
    if (holdsFrame(pte) && ptePfn(pte) >= ram.ownEndPfn) return true;
  }
  return false;
}

/**
 * After the pages of the range have been dropped: frees the leaves that are empty now, so that the
 * next touch gives a huge page again, where the mapping has them. Of explicit huge mappings it
 * drops the pages first: a fault there must find a huge page or no leaf. Takes the mmap lock.
 */
export function* freeHugeLeaves(machine: Machine, mm: Mm, range: PageRange): Task<void> {
  yield* mm.mmapLock.downWrite();
  for (const part of partsIn(machine.memory, mm, range)) {
    const { vma, startPage, endPage } = part;
    if (!wantsHuge(mm, vma.flags)) continue;
    if ((vma.flags & VM_HUGETLB) !== 0)
      yield* zapRange(machine, mm, invalidateRange(mm, startPage, endPage, EVENT_CLEAR));
    const first = Math.ceil(startPage / HUGE_PAGES) * HUGE_PAGES;
    for (let page = first; page + HUGE_PAGES <= endPage; page += HUGE_PAGES)
      if (isEmptyLeaf(machine, mm, page))
        yield* freeEmptyLeaves(machine, mm, page, page + HUGE_PAGES);
  }
  yield* mm.mmapLock.upWrite();
}

/** Holding the mmap lock for writing. */
function isEmptyLeaf({ memory }: Machine, mm: Mm, page: number): boolean {
  const leaf = leafOf(memory, mm.pgd, page);
  if (leaf === 0) return false;
  for (let i = 0; i < HUGE_PAGES; i++) if (wordAt(memory.words, leaf + i) !== 0) return false;
  return true;
}
