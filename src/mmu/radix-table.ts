/**
 * @module mmu/radix-table
 * A radix page table in the kernel heap: of an address space, or of a device. Follows the shape of
 * Linux's page tables with three levels. The owner defines what an entry of a leaf means.
 *
 *     page number   31          20 19           9 8         0
 *                  +--------------+--------------+-----------+
 *                  | pgd: 4096    | mid: 2048    | leaf: 512 |
 *                  +--------------+--------------+-----------+
 *
 * An upper entry is the word index of the next table, or 0. Every table, the top one too, may lie
 * beyond the end of this thread's view of the heap, so `ensure` is called before a pointer to one
 * is followed. Tables start at even words, so bit 0 of a mid entry is free: MID_HUGE. It says that
 * the 512 entries of the leaf are one mapping of 2 MiB. What that means, and who may set and clear
 * it, is the owner's business (mm/huge.ts). The leaf has all its entries all the same, so a walk
 * that does not ask reads a page like any other.
 *
 * The table's lock is the mmap lock of a space (for reading, others may add tables at the same
 * time), the driver lock of a device.
 *
 *   W1  An upper entry goes from 0 to a table by compare-and-swap, the table's lock held at least
 *       for reading, and back to 0 only where nobody else walks under that lock: it is held for
 *       writing (`freeEmptyLeaves`: leaves only), or the owner has died (`freeTables`: all).
 *   W2  A walker under the lock therefore never meets a freed table. One without it (the CPU's
 *       translation, mm/fault/cpu-fault.ts; a thread of a device) may meet a freed leaf, but no
 *       freed mid or top table: it has a user of the space, or a device of which the table is.
 *   W3  A leaf is unlinked, then flushed, then freed or linked elsewhere
 *       (unlinked-leaves.ts). The walker without a lock read the generation of the leaf's block
 *       before it walked. If it did so before the flush, it finds the generation changed afterwards
 *       and throws away whatever it read; if after it, it finds no leaf. (X1 to X5 of
 *       mmu/soft-tlb.ts; the flush waits for stores.) Heap memory stays readable for ever, so the
 *       read of a freed leaf is harmless.
 *
 *      walking thread                              unmapping thread
 *      --------------                              ----------------
 *                                                  entries cleared, flush
 *      generation g read, leaf found
 *                                                  leaf unlinked, flush [generation := g + 1]
 *                                                  leaf freed, allocated as another space's
 *                                                  leaf, filled
 *      entry read: the other space's frame
 *      generation read: g + 1 [not g: thrown away]
 */

import type { Machine } from "../memory/machine.ts";
import { atomicCompareExchange, compareExchangeNoted, storeNoted } from "../sync/atomics.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { type Task, doneNumber } from "../sync/tasks/task.ts";

/** Words of a top table: a size that the heap has. */
export const PGD_WORDS = 4096;
export const MID_WORDS = 2048;
export const LEAF_WORDS = 512;
export const MID_SHIFT = 20;
export const LEAF_SHIFT = 9;
/** What every leaf entry has in common: a frame number from this bit on. */
export const ENTRY_PFN_SHIFT = 8;
/** And this: a load may use the frame. */
export const ENTRY_READABLE = 0x01;
/** Of a mid entry: the entries of the leaf are one mapping of 2 MiB. */
export const MID_HUGE = 0x01;
/** Pages that one mid table covers (4 GiB). */
export const MID_SPAN_PAGES: number = 2 ** MID_SHIFT;

/**
 * One past the last page number of any space: 16 TiB less the last leaf, so that `endPage` always
 * fits an unsigned word.
 */
export const TASK_SIZE_PAGES: number = 2 ** 32 - LEAF_WORDS;

/**
 * A word of the heap as a number. Callers index inside a table that `SharedMemory.ensure` covers.
 */
export function wordAt(words: Int32Array, index: number): number {
  return words[index] as number;
}

/**
 * The mid table that covers `page`, or 0 when there is none.
 *
 * @stepped page table
 */
function midOf(memory: SharedMemory, pgd: number, page: number): number {
  memory.ensure(pgd + PGD_WORDS);
  return wordAt(memory.words, pgd + (page >>> MID_SHIFT));
}

/**
 * The mid entry for `page`: its leaf, perhaps with MID_HUGE, or 0. Without the lock: see the head.
 *
 * @stepped page table
 */
export function midEntryOf(memory: SharedMemory, pgd: number, page: number): number {
  const mid = midOf(memory, pgd, page);
  if (mid === 0) return 0;
  memory.ensure(mid + MID_WORDS);
  const entry = wordAt(memory.words, mid + ((page >>> LEAF_SHIFT) & (MID_WORDS - 1)));
  if (entry !== 0) memory.ensure((entry & ~MID_HUGE) + LEAF_WORDS);
  return entry;
}

/**
 * Word index of the mid entry for `page`, with all that follow it in its table; 0 when there is no
 * table. Holding the lock.
 */
export function midIndexOf(memory: SharedMemory, pgd: number, page: number): number {
  const mid = midOf(memory, pgd, page);
  if (mid === 0) return 0;
  memory.ensure(mid + MID_WORDS);
  return mid + ((page >>> LEAF_SHIFT) & (MID_WORDS - 1));
}

/** The leaf that a mid entry names. */
export function leafIn(midEntry: number): number {
  return midEntry & ~MID_HUGE;
}

/**
 * The leaf that covers `page`, or 0 when there is none. Without the lock: see the head.
 *
 * @stepped page table
 */
export function leafOf(memory: SharedMemory, pgd: number, page: number): number {
  return midEntryOf(memory, pgd, page) & ~MID_HUGE;
}

/**
 * The same for a caller who is alone with the tables: no other thread reads them, so these reads
 * are no steps of the explorer.
 */
const midOfAlone: typeof midOf = midOf;
const midEntryOfAlone: typeof midEntryOf = midEntryOf;

/**
 * The first entry of the top table from `slot` on that is not 0; `endSlot` if there is none before
 * it. The caller is alone with the tables.
 */
function nextInTop(
  { words }: SharedMemory,
  pgd: number,
  slot: number,
  endSlot: number = PGD_WORDS,
): number {
  let next = slot;
  while (next < endSlot && wordAt(words, pgd + next) === 0) next++;
  return next;
}

/**
 * The first page from `page` on whose entry in the mid table is not 0; where the table or the leaf
 * of `lastPage` ends, if there is none before. A table is read to its end only for a range that
 * goes so far: an invalidation of one page looks at one entry. The caller is alone with the tables.
 */
function firstInMid(memory: SharedMemory, mid: number, page: number, lastPage: number): number {
  memory.ensure(mid + MID_WORDS);
  const first = (page >>> LEAF_SHIFT) & (MID_WORDS - 1);
  const leaves = (lastPage >>> LEAF_SHIFT) - (page >>> LEAF_SHIFT) + 1;
  const endSlot = Math.min(MID_WORDS, first + leaves);
  let slot = first;
  while (slot < endSlot && wordAt(memory.words, mid + slot) === 0) slot++;
  return slot === first ? page : ((page >>> LEAF_SHIFT) + slot - first) * LEAF_WORDS;
}

/** Word index of the entry of `page` in its leaf. */
export function pteIndex(leaf: number, page: number): number {
  return leaf + (page & (LEAF_WORDS - 1));
}

/**
 * The entry of `page`, 0 where there is no leaf. Holding the lock.
 *
 * @stepped pte
 */
export function pteAt(memory: SharedMemory, pgd: number, page: number): number {
  const leaf = leafOf(memory, pgd, page);
  return leaf === 0 ? 0 : wordAt(memory.words, pteIndex(leaf, page));
}

/**
 * First page that another leaf covers. In plain numbers: pages go up to 2^32, past signed 32-bit
 * arithmetic.
 */
export function nextLeafPage(page: number): number {
  return ((page >>> LEAF_SHIFT) + 1) * LEAF_WORDS;
}

/** First page that another mid table covers. */
export function nextMidPage(page: number): number {
  return ((page >>> MID_SHIFT) + 1) * MID_SPAN_PAGES;
}

/** Words that note a table which is not linked yet, in case that the thread dies. */
export interface TableNotes {
  /** Of a leaf; 0 none. */
  readonly leaf: number;
  /** Of a mid table; 0 none. */
  readonly mid: number;
}

const NO_NOTES: TableNotes = { leaf: 0, mid: 0 };

/**
 * The leaf that covers `page`, made if needed. 0 = ENOMEM. Holding the lock at least for reading.
 */
export function* leafAlloc(
  machine: Machine,
  pgd: number,
  page: number,
  notes: TableNotes = NO_NOTES,
): Task<number> {
  const found = leafOf(machine.memory, pgd, page);
  if (found !== 0) return found;
  const mid = yield* midAlloc(machine, pgd, page, notes.mid);
  if (mid === 0) return 0;
  const index = mid + ((page >>> LEAF_SHIFT) & (MID_WORDS - 1));
  return yield* tableAt(machine, index, LEAF_WORDS, notes.leaf);
}

/**
 * A leaf for the block of `page`, which has none, that nobody reaches before `linkLeaf`. `notes`
 * note it until then. 0 = ENOMEM. Holding the lock for writing.
 */
export function* leafAside(
  machine: Machine,
  pgd: number,
  page: number,
  notes: TableNotes,
): Task<number> {
  if ((yield* midAlloc(machine, pgd, page, notes.mid)) === 0) return 0;
  const leaf = yield* machine.heap.allocWords(LEAF_WORDS, notes.leaf);
  machine.memory.ensure(leaf + LEAF_WORDS);
  return leaf;
}

/**
 * The leaf is that of the block of `page` from now on, and the word `note`, which notes it, is 0.
 * Whoever finds it finds the entries that were stored before. Holding the lock for writing.
 *
 * @stepped page table
 */
export function linkLeaf(
  memory: SharedMemory,
  pgd: number,
  page: number,
  leaf: number,
  note: number,
): void {
  const { words } = memory;
  storeNoted(words, midSlotOf(memory, pgd, page), leaf, words, note);
}

/**
 * The mid table that covers `page`, made if needed. 0 = ENOMEM. Holding the lock at least for
 * reading.
 *
 * @stepped page table
 */
export function midAlloc(
  machine: Machine,
  pgd: number,
  page: number,
  note: number = 0,
): Task<number> {
  const mid = midOf(machine.memory, pgd, page);
  return mid === 0
    ? tableAt(machine, pgd + (page >>> MID_SHIFT), MID_WORDS, note)
    : doneNumber(mid);
}

/**
 * The table that the entry at `index` points to, made if it is 0. If two threads make it at once,
 * the loser frees its table and uses the winner's.
 *
 * @stepped page table
 */
export function* tableAt(
  machine: Machine,
  index: number,
  tableWords: number,
  note: number = 0,
): Task<number> {
  const { memory, heap } = machine;
  let table = leafIn(wordAt(memory.words, index));
  if (table === 0) {
    const fresh = yield* heap.allocWords(tableWords, note);
    if (fresh === 0) return 0;
    const { words } = memory;
    const before =
      note === 0
        ? atomicCompareExchange(words, index, 0, fresh)
        : compareExchangeNoted(words, index, 0, fresh, words, note, 0);
    const winner = leafIn(before);
    if (winner !== 0) yield* heap.freeWords(fresh, tableWords, note);
    table = winner === 0 ? fresh : winner;
  }
  memory.ensure(table + tableWords);
  return table;
}

/**
 * Called for each leaf that exists in the range, with the pages of the range that it covers, and
 * whether it had MID_HUGE.
 */
export type LeafVisitor = (
  leaf: number,
  startPage: number,
  endPage: number,
  isHuge: boolean,
) => Task<number>;

/**
 * Visits the existing leaves of [startPage, endPage) in order; skips what has none at the cost of
 * one read for each 4 GiB or 2 MiB. Stops at the first nonzero answer and returns it. Holding the
 * lock, or `isAlone`: nobody else adds a table, because the lock excludes everybody or the owner
 * has died.
 */
export function* forEachLeaf(
  memory: SharedMemory,
  pgd: number,
  startPage: number,
  endPage: number,
  visit: LeafVisitor,
  isAlone: boolean = false,
): Task<number> {
  const lastPage = endPage - 1;
  for (let page = startPage; page < endPage;) {
    const mid = isAlone ? midOfAlone(memory, pgd, page) : midOf(memory, pgd, page);
    if (mid === 0) {
      const endSlot = (lastPage >>> MID_SHIFT) + 1;
      page = isAlone
        ? nextInTop(memory, pgd, page >>> MID_SHIFT, endSlot) * MID_SPAN_PAGES
        : nextMidPage(page);
      continue;
    }
    if (isAlone) {
      const first = firstInMid(memory, mid, page, lastPage);
      if (first !== page) {
        page = first;
        continue;
      }
    }
    const end = Math.min(nextLeafPage(page), endPage);
    const entry = isAlone ? midEntryOfAlone(memory, pgd, page) : midEntryOf(memory, pgd, page);
    if (entry !== 0) {
      const answer = yield* visit(leafIn(entry), page, end, (entry & MID_HUGE) !== 0);
      if (answer !== 0) return answer;
    }
    page = end;
  }
  return 0;
}

/**
 * Frees every table. The entries must be empty; the caller is alone (exit). What names a table
 * becomes 0 in the step that frees it, for the top one the word `note`, if there is one: another
 * thread goes on if this one dies.
 */
export function* freeTables(machine: Machine, pgd: number, note: number = 0): Task<void> {
  const { memory, heap } = machine;
  memory.ensure(pgd + PGD_WORDS);
  for (
    let top = nextInTop(memory, pgd, 0);
    top < PGD_WORDS;
    top = nextInTop(memory, pgd, top + 1)
  ) {
    const mid = wordAt(memory.words, pgd + top);
    memory.ensure(mid + MID_WORDS);
    for (let i = 0; i < MID_WORDS; i++) {
      const leaf = leafIn(wordAt(memory.words, mid + i));
      if (leaf !== 0) yield* heap.freeWords(leaf, LEAF_WORDS, mid + i);
    }
    yield* heap.freeWords(mid, MID_WORDS, pgd + top);
  }
  yield* heap.freeWords(pgd, PGD_WORDS, note);
}

/** Word index of the entry of a mid table, which is there, for the leaf of `page`. */
export function midSlotOf(memory: SharedMemory, pgd: number, page: number): number {
  const mid = memory.words[pgd + (page >>> MID_SHIFT)]!;
  return mid + ((page >>> LEAF_SHIFT) & (MID_WORDS - 1));
}
