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
 *       each entry took 8 ns of a page's 44. Frames come first: if there is no memory for a table,
 *       what was set is taken back.
 */

import type { Machine } from "../../memory/machine.ts";
import {
  leafAside,
  leafOf,
  linkLeaf,
  nextLeafPage,
  pteIndex,
  wordAt,
} from "../../mmu/radix-table.ts";
import { EVENT_CLEAR, invalidateRange } from "../../notifier/events.ts";
import { atomicStore } from "../../sync/atomics.ts";
import { ENOMEM } from "../../sync/errno.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { HUGE_PAGES, clearHuge, mergeHuge } from "../huge.ts";
import { tablesOf, unpinInHand } from "../entries/hand.ts";
import { beginInvalidation } from "../entries/invalidation.ts";
import { endRun, putUnset, runOf, runUsedOf } from "../entries/run.ts";
import type { Mm } from "../mm-struct.ts";
import { PFN_SHIFT, PTE_ACCESSED, WRITTEN_RIGHTS, makePte } from "../pte.ts";
import { wantsHuge } from "../vma/huge-vma.ts";
import { VM_BACKED, VM_BUFFER, VM_SHARED, VM_WRITE, type VmaPart, partsIn } from "../vma/vma.ts";
import { zapRange } from "../entries/zap.ts";
import { NOT_PINNED } from "./view-backed.ts";
import { ViewHold } from "./view-hold.ts";

const { pfn: PFN, pinned: PINNED } = ViewHold.offset;

/** Mappings whose pages may have a frame without an entry. */
const HAS_SOURCE: number = VM_SHARED | VM_BACKED | VM_BUFFER;

/** Where it is noted which frames a view has pinned (view-hold.ts). */
type Hold = Pick<ViewHold, "at" | "startPage" | "endPage">;

/**
 * First of the range's new frames, in a row, zeroed, and pinned as the hold says from then on;
 * NOT_PINNED where somebody has touched a page; or ENOMEM. Holding the mmap lock for writing (U1),
 * over a range that is mapped throughout. If the thread dies, pages that have no entry yet get none
 * (K6 of mm/entries/run.ts), and the pins are the hold's.
 */
export function* populateRow(machine: Machine, mm: Mm, hold: Hold): Task<number> {
  const { startPage, endPage } = hold;
  const { memory, ram } = machine;
  const pages = endPage - startPage;
  for (const { vma } of partsIn(memory, mm, hold))
    if ((vma.flags & HAS_SOURCE) !== 0) return NOT_PINNED;
  if (!isUntouched(memory, mm.pgd, startPage, endPage)) return NOT_PINNED;
  // Before a table is made for each 2 MiB, of what may be the whole address space.
  if (pages > ram.usage().totalPages) return ENOMEM;
  const operation = yield* beginInvalidation(mm, startPage, endPage);
  const pfn = yield* ram.allocRun(pages, true, true, runOf(memory, operation, pages));
  if (pfn !== 0) noteRun(memory, hold, pfn, operation);
  const isDone = pfn !== 0 && (yield* setPages(machine, mm, hold, pfn, operation));
  if (isDone) for (const part of partsIn(memory, mm, hold)) mergeInPart(memory, mm, part);
  else if (pfn !== 0) yield* takeBack(machine, mm, hold, pfn, operation);
  endRun(mm, operation);
  return isDone ? pfn : ENOMEM;
}

/**
 * The pins are the hold's, and a reference of each frame is for its page. No function is entered.
 */
function noteRun({ words }: SharedMemory, hold: Hold, pfn: number, operation: number): void {
  const { at, startPage, endPage } = hold;
  const used = runUsedOf(operation);
  words[at + PFN] = pfn;
  words[at + PINNED] = endPage - startPage;
  words[used] = 1;
}

/** False: there is no memory for a table. Some pages have their frames then. */
function* setPages(
  machine: Machine,
  mm: Mm,
  { startPage, endPage }: Hold,
  pfn: number,
  operation: number,
): Task<boolean> {
  const { memory } = machine;
  const notes = tablesOf(operation);
  for (let page = startPage, end = 0; page < endPage; page = end) {
    end = Math.min(nextLeafPage(page), endPage);
    const linked = leafOf(memory, mm.pgd, page);
    if (linked !== 0) clearHuge(memory, mm, page); // an empty one
    const leaf = linked !== 0 ? linked : yield* leafAside(machine, mm.pgd, page, notes);
    if (leaf === 0) return false;
    for (const part of partsIn(memory, mm, { startPage: page, endPage: end })) {
      const rights = (part.vma.flags & VM_WRITE) === 0 ? PTE_ACCESSED : WRITTEN_RIGHTS;
      const index = pteIndex(leaf, part.startPage);
      const first = makePte(pfn + (part.startPage - startPage), rights);
      const count = part.endPage - part.startPage;
      if (linked === 0) fillAside(memory.words, index, first, count);
      else setEntries(memory.words, index, first, count);
    }
    if (linked === 0) linkLeaf(memory, mm.pgd, page, leaf, notes.leaf);
  }
  return true;
}

/** Gives back what some pages have got. */
function* takeBack(
  machine: Machine,
  mm: Mm,
  { at, startPage, endPage }: Hold,
  pfn: number,
  operation: number,
): Task<void> {
  yield* putUnset(machine, operation);
  yield* zapRange(machine, mm, invalidateRange(mm, startPage, endPage, EVENT_CLEAR));
  yield* unpinInHand(machine, operation, pfn, at + PINNED);
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
 * Stores `count` entries of frames in a row, whose first is `pte`.
 *
 * @stepped pte
 */
function setEntries(words: Int32Array, index: number, pte: number, count: number): void {
  for (let i = 0; i < count; i++) atomicStore(words, index + i, pte + (i << PFN_SHIFT));
}

/** The same in a leaf that nobody knows yet (U3). */
function fillAside(words: Int32Array, index: number, pte: number, count: number): void {
  for (let i = 0; i < count; i++) words[index + i] = pte + (i << PFN_SHIFT);
}
