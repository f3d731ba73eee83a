/**
 * @module mm/view/view-populate
 * Frames in a row for a range that nobody has touched, for a view. Follows Linux's `MAP_POPULATE`
 * more than its migration: there is nothing to move, and no entry that anybody may have used.
 *
 *   U1  The mmap lock is held for writing. So no fault adds an entry between the look at the
 *       entries and the last store to them. No right is taken from anybody, so nothing is flushed
 *       and no notifier is called: a thread that walks without the lock finds an entry or none, as
 *       with a fault.
 *   U2  Frames get their pins before anybody knows them, with their first reference: no atomic
 *       operation is needed. Everything but the entries and the frame table is done once a leaf or
 *       once a view. A page by itself took 0.7 us.
 *   U3  A leaf that was not there gets its entries first, by plain stores, and is linked by an
 *       atomic one after. So whoever walks to an entry finds the frame ready. An atomic store of
 *       each entry took 8 ns of a page's 44.
 */

import type { Machine } from "../../memory/machine.ts";
import {
  LEAF_WORDS,
  leafAside,
  leafOf,
  linkLeaf,
  nextLeafPage,
  pteIndex,
  wordAt,
} from "../../mmu/radix-table.ts";
import { atomicStore } from "../../sync/atomics.ts";
import { ENOMEM } from "../../sync/errno.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { beginHalfDone } from "../half-done.ts";
import { HUGE_PAGES, clearHuge, mergeHuge } from "../huge.ts";
import type { Mm } from "../mm-struct.ts";
import { PTE_ACCESSED, WRITTEN_RIGHTS, makePte } from "../pte.ts";
import { wantsHuge } from "../vma/huge-vma.ts";
import {
  type PageRange,
  VM_BACKED,
  VM_BUFFER,
  VM_SHARED,
  VM_WRITE,
  type VmaPart,
  partsIn,
} from "../vma/vma.ts";
import { NOT_PINNED } from "./view-backed.ts";

/** Mappings whose pages may have a frame without an entry. */
const HAS_SOURCE: number = VM_SHARED | VM_BACKED | VM_BUFFER;

/**
 * First of the range's new frames, in a row, pinned and zeroed; NOT_PINNED where somebody has
 * touched a page; or ENOMEM. Holding the mmap lock for writing (U1), over a range that is mapped
 * throughout. But for NOT_PINNED, nobody else can finish what this does (mm/half-done.ts): the
 * caller ends that when it has noted the frames.
 */
export function* populateRow(machine: Machine, mm: Mm, range: PageRange): Task<number> {
  const { startPage, endPage } = range;
  const { memory, ram } = machine;
  for (const { vma } of partsIn(memory, mm, range))
    if ((vma.flags & HAS_SOURCE) !== 0) return NOT_PINNED;
  if (!isUntouched(memory, mm.pgd, startPage, endPage)) return NOT_PINNED;
  beginHalfDone(mm);
  // Before a table is made for each 2 MiB, of what may be the whole address space.
  if (endPage - startPage > ram.usage().totalPages) return ENOMEM;
  const leaves = yield* makeLeaves(machine, mm, range);
  const pfn = leaves === undefined ? 0 : yield* ram.allocRun(endPage - startPage, true, true);
  if (leaves === undefined || pfn === 0) {
    if (leaves !== undefined) yield* freeLeaves(machine, leaves);
    return ENOMEM;
  }
  for (const part of partsIn(memory, mm, range)) {
    const rights = (part.vma.flags & VM_WRITE) === 0 ? PTE_ACCESSED : WRITTEN_RIGHTS;
    setEntries(memory, mm.pgd, part, pfn + (part.startPage - startPage), rights, leaves);
  }
  for (const [page, leaf] of leaves) linkLeaf(memory, mm.pgd, page, leaf);
  for (const part of partsIn(memory, mm, range)) mergeInPart(memory, mm, part);
  return pfn;
}

/** By the first page of its block: a leaf that is not linked (U3). */
type LeavesAside = Map<number, number>;

/** Leaves for the blocks of the range that have none; undefined: no memory. */
function* makeLeaves(
  machine: Machine,
  mm: Mm,
  { startPage, endPage }: PageRange,
): Task<LeavesAside | undefined> {
  const { memory } = machine;
  const leaves: LeavesAside = new Map();
  for (let page = startPage; page < endPage; page = nextLeafPage(page)) {
    if (leafOf(memory, mm.pgd, page) !== 0) {
      clearHuge(memory, mm, page); // an empty one
      continue;
    }
    const leaf = yield* leafAside(machine, mm.pgd, page);
    if (leaf === 0) {
      yield* freeLeaves(machine, leaves);
      return undefined;
    }
    leaves.set(nextLeafPage(page) - LEAF_WORDS, leaf);
  }
  return leaves;
}

function* freeLeaves({ heap }: Machine, leaves: LeavesAside): Task<void> {
  for (const leaf of leaves.values()) yield* heap.freeWords(leaf, LEAF_WORDS);
}

/** Huge pages, where the mapping has them, and the frames begin at the right place. */
function mergeInPart(memory: SharedMemory, mm: Mm, { vma, startPage, endPage }: VmaPart): void {
  if (!wantsHuge(mm, vma.flags)) return;
  const first = Math.ceil(startPage / HUGE_PAGES) * HUGE_PAGES;
  for (let page = first; page + HUGE_PAGES <= endPage; page += HUGE_PAGES)
    mergeHuge(memory, mm, page);
}

/**
 * Whether no page of the range has an entry.
 *
 * @stepped pte
 */
function isUntouched(
  memory: SharedMemory,
  pgd: number,
  startPage: number,
  endPage: number,
): boolean {
  for (let page = startPage; page < endPage;) {
    const end = Math.min(nextLeafPage(page), endPage);
    const leaf = leafOf(memory, pgd, page);
    if (leaf !== 0) {
      const first = pteIndex(leaf, page);
      for (let i = 0; i < end - page; i++) if (wordAt(memory.words, first + i) !== 0) return false;
    }
    page = end;
  }
  return true;
}

/**
 * Gives the pages of the range the frames from `pfn` on. Each has a leaf, aside or linked.
 *
 * @stepped pte
 */
function setEntries(
  memory: SharedMemory,
  pgd: number,
  { startPage, endPage }: PageRange,
  pfn: number,
  rights: number,
  leaves: LeavesAside,
): void {
  const { words } = memory;
  for (let page = startPage; page < endPage;) {
    const end = Math.min(nextLeafPage(page), endPage);
    const aside = leaves.get(nextLeafPage(page) - LEAF_WORDS);
    const index = pteIndex(aside ?? leafOf(memory, pgd, page), page);
    const firstPfn = pfn + (page - startPage);
    for (let i = 0; i < end - page; i++) {
      const pte = makePte(firstPfn + i, rights);
      if (aside === undefined) atomicStore(words, index + i, pte);
      else words[index + i] = pte;
    }
    page = end;
  }
}
