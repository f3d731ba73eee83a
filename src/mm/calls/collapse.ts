/**
 * @module mm/calls/collapse
 * Advice about huge pages (mm/huge.ts). Follows Linux `madvise_collapse` and `collapse_huge_page`
 * in `mm/khugepaged.c`. There is no thread that collapses by itself.
 *
 * Pages that have their frames in a row already, as those of a split huge page have, only get the
 * bit: one step. Others are moved into such frames as for a view (migrate/migrate-to-run.ts): with
 * the mmap lock held for writing, so nobody adds entries meanwhile. The leaf stays in use.
 */

import type { Machine } from "../../memory/machine.ts";
import { leafOf, pteAt, wordAt } from "../../mmu/radix-table.ts";
import { EAGAIN, EBUSY, EINVAL, ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { HUGE_PAGES, hugeStart, mergeHuge } from "../huge.ts";
import { migrateToRun } from "../migrate/migrate-to-run.ts";
import { mmapWriteLock } from "../migration.ts";
import type { Mm } from "../mm-struct.ts";
import { holdsFrame, ptePfn } from "../pte.ts";
import { mayCollapse } from "../vma/huge-vma.ts";
import { type PageRange, type VmaPart, partsIn } from "../vma/vma.ts";

/**
 * Makes huge pages of all 2 MiB that lie in the range and in one mapping. 0; EINVAL: a mapping that
 * cannot have any, or is advised against them; EAGAIN: some pages are pinned, or a device's;
 * ENOMEM: a hole, or no frames in a row. What could be done is done. Takes the mmap lock.
 */
export function* collapseRange(machine: Machine, mm: Mm, range: PageRange): Task<Errno> {
  let result: Errno = 0;
  let page = range.startPage;
  while (page < range.endPage && result !== ENOMEM) {
    yield* mmapWriteLock(machine, mm);
    const part = firstPart(machine, mm, { startPage: page, endPage: range.endPage });
    const isHole = part === undefined || part.startPage > page;
    const answer = part === undefined ? ENOMEM : yield* collapseFirst(machine, mm, part);
    yield* mm.mmapLock.upWrite();
    if (answer !== 0) result = answer;
    if (isHole) result = ENOMEM;
    if (part === undefined) break;
    const next = Math.min(hugeStart(part.startPage) + HUGE_PAGES, part.endPage);
    page = answer === EINVAL ? part.endPage : next; // of the mapping, which may have 16 TiB
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
  const hasFrames = holdsFrame(pteAt(memory, mm.pgd, startPage));
  if (hasFrames && mergeHuge(memory, mm, startPage)) return 0;
  if (isOfDevice(machine, mm, startPage)) return EAGAIN;
  const run = yield* migrateToRun(machine, mm, { startPage, endPage: startPage + HUGE_PAGES });
  if (run < 0) return run === EBUSY ? EAGAIN : run;
  return mergeHuge(memory, mm, startPage) ? 0 : EAGAIN;
}

/** Whether a page of the 2 MiB is in a device's memory. */
function isOfDevice({ memory, ram }: Machine, mm: Mm, startPage: number): boolean {
  if (mm.isDeviceSpace === 0) return false;
  const leaf = leafOf(memory, mm.pgd, startPage);
  if (leaf === 0) return false;
  for (let i = 0; i < HUGE_PAGES; i++) {
    const pte = wordAt(memory.words, leaf + i);
    if (holdsFrame(pte) && ptePfn(pte) >= ram.ownEndPfn) return true;
  }
  return false;
}
