/**
 * @module mm/calls/hugetlb
 * Explicit huge mappings (Linux: MAP_HUGETLB, `mm/hugetlb.c`). Linux takes their pages from a pool
 * that the administrator has filled, and reserves them when they are mapped. Here a mapping gets
 * its pages at once, so a touch cannot fail for lack of memory, unless the pages were dropped or
 * are copied after a fork (then it is ENOMEM; Linux: SIGBUS). They are never split: calls that
 * would cut one in two are EINVAL (`cutsHuge` of vma/huge-vma.ts).
 */

import type { Machine } from "../../memory/machine.ts";
import { freeEmptyLeaves } from "../../mmu/unlinked-leaves.ts";
import { ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { HUGE_LINKED, HUGE_PAGES, linkHuge } from "../huge.ts";
import { beginHand } from "../entries/invalidation.ts";
import { endRow, giveRow, linkNotesOf, takeRow } from "../entries/row.ts";
import type { Mm } from "../mm-struct.ts";
import { KIND_PROT_NONE, PTE_ACCESSED, WRITTEN_RIGHTS, makeNonPresent, makePte } from "../pte.ts";
import { type PageRange, VM_READ, VM_WRITE } from "../vma/vma.ts";
import { munmapLocked } from "./munmap.ts";

/**
 * Gives a new mapping all its pages. 0 or ENOMEM: it is unmapped again. Holding the mmap lock for
 * writing.
 */
export function* populateHugetlb(
  machine: Machine,
  mm: Mm,
  range: PageRange,
  flags: number,
): Task<Errno> {
  // Nothing is mapped there, but a leaf may be left of what was.
  yield* freeEmptyLeaves(machine, mm, range.startPage, range.endPage);
  for (let page = range.startPage; page < range.endPage; page += HUGE_PAGES) {
    if ((yield* populateBlock(machine, mm, page, flags)) === HUGE_LINKED) continue;
    yield* munmapLocked(machine, mm, range);
    return ENOMEM;
  }
  return 0;
}

function* populateBlock(machine: Machine, mm: Mm, page: number, flags: number): Task<Errno> {
  const operation = yield* beginHand(mm);
  const pfn = yield* takeRow(machine, operation, true);
  const head = headFor(pfn, flags);
  const linked =
    pfn === 0 ? ENOMEM : yield* linkHuge(machine, mm, page, head, linkNotesOf(operation));
  if (linked === HUGE_LINKED) giveRow(machine.memory, operation);
  yield* endRow(machine, operation);
  return linked;
}

/** Entry 0 of a huge page with the rights of a mapping. */
function headFor(pfn: number, flags: number): number {
  if ((flags & VM_READ) === 0) return makeNonPresent(KIND_PROT_NONE, pfn);
  return makePte(pfn, (flags & VM_WRITE) === 0 ? PTE_ACCESSED : WRITTEN_RIGHTS);
}
