/**
 * @module mm/huge
 * Huge pages: 2 MiB of private memory that one entry maps, one level above the leaves. Follows
 * Linux `mm/huge_memory.c`. First faults and copy-on-write are in fault/huge-fault.ts, which
 * mappings have such pages in vma/huge-vma.ts, making one of small pages in calls/collapse.ts.
 *
 *     mid entry       leaf | MID_HUGE
 *     leaf            512 entries: entry i is that of entry 0, of the frame i frames after its own
 *                     (the page of zeros, and an entry without a frame: the same for all; if all
 *                     are 0, the huge page is empty, and the next fault fills it)
 *
 * Linux deposits an empty page table for each huge page, so that a split needs no memory. Here that
 * table is linked and filled. So whoever asks for one page walks as always: loads and stores of CPU
 * threads, device threads, pagemap. Whoever asks for MID_HUGE does a thing once for 512 pages: a
 * snapshot, a fault of a device, fork, a migration. Each frame has its count as ever, and so a
 * split changes no count, no entry and no translation. It clears one bit: no memory, no flush, no
 * notifier, and it cannot fail.
 *
 *   U1  While MID_HUGE is set, the entries are as in the picture, but for a change of all of them
 *       that is under way (U4).
 *   U2  MID_HUGE is set in two ways. A fresh leaf, filled before, is linked with the bit: by
 *       compare-and-swap from 0, the mmap lock held at least for reading. Or a leaf that is there
 *       gets it, with the mmap lock held for writing. So a thread that holds the lock and has found
 *       a leaf without the bit finds it so until it drops the lock.
 *   U3  It is cleared under pageTableLock, or with the mmap lock held for writing.
 *   U4  A thread that changes single entries has cleared the bit, or found it clear, under its hold
 *       of the mmap lock. One that holds pageTableLock (or the mmap lock for writing), and sees the
 *       bit set there, may change all 512 entries. Nobody else changes any of them meanwhile, and
 *       they keep their frames: a zap of a part clears the bit first, and one of the whole page
 *       holds the lock. What takes a right away, or a frame, is inside an invalidation and flushed,
 *       as for any entry (P2 of pte.ts).
 *   U5  A reader without pageTableLock may read entry 0 and conclude the others, while a change of
 *       all is at entry 5. If the change takes something away, the reader's range is stale, or its
 *       generation old, and it throws away what it read (R4, X1 to X5 of mmu/soft-tlb.ts). If it
 *       adds a right, the other entries will have it, too, unless the thread dies in between.
 *   U6  A leaf with the bit is freed like any other (W1, W3 of mmu/radix-table.ts): with the mmap
 *       lock held for writing, after it was unlinked and flushed. A split leaves it in use;
 *       collapse finds it in use, and fills it.
 *   U7  A huge page lies in one mapping: whoever makes a border inside one clears the bit. While it
 *       is isolated for a migration, its entries are the migration's (V1 to V3 of
 *       migrate/migrate-huge.ts).
 *   U8  A thread that dies while it changes all entries leaves 512 small pages, some of which have
 *       changed: what is undone with its lock (sync/words/undo-log.ts) is the bit (`splitIfDead`).
 *       So nobody sees the bit without U1. Frames that come or go are noted with each entry.
 *
 * Without U4:
 *
 *     thread 1 (store to page 5)                  thread 2 (store to page 7)
 *     page table lock; bit set, frames shared
 *       since a fork; so it wants to copy page 5
 *                                                 [child exits]
 *                                                 bit set, frames now exclusive: makes all 512
 *                                                   entries writable
 *     entry 5 := copy of its frame
 *                                                 bit still set: a device fault reads entry 0, and
 *                                                   gives the device the old frame of page 5
 */

import type { Machine } from "../memory/machine.ts";
import { counterPlace } from "../memory/space-counters.ts";
import {
  LEAF_WORDS,
  MID_HUGE,
  type TableNotes,
  leafIn,
  midAlloc,
  midEntryOf,
  midSlotOf,
  wordAt,
} from "../mmu/radix-table.ts";
import {
  atomicAnd,
  atomicOr,
  atomicStore,
  compareExchangeNoted,
  storeNoted,
} from "../sync/atomics.ts";
import { ENOMEM, type Errno } from "../sync/errno.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import type { Task } from "../sync/tasks/task.ts";
import { noteUndo } from "../sync/words/undo-log.ts";
import type { Mm } from "./mm-struct.ts";
import { KIND_FRAME, PFN_SHIFT, ZERO_PFN, pteKind, ptePfn } from "./pte.ts";

/** Pages of 4 KiB in a huge page. */
export const HUGE_PAGES: number = LEAF_WORDS;
/** Binary logarithm of the bytes of a huge page. */
export const HUGE_SHIFT = 21;

const HUGE_SPLITS = counterPlace("hugeSplits");

/** First page of the 2 MiB that `page` lies in. In plain numbers: pages go up to 2^32. */
export function hugeStart(page: number): number {
  return page - (page % HUGE_PAGES);
}

/** Entry `i` of a huge page whose entry 0 is `head`. */
export function hugePte(head: number, i: number): number {
  return ptePfn(head) === ZERO_PFN ? head : (head + (i << PFN_SHIFT)) | 0;
}

/** Entry 0 of a huge page whose entry `i` is `pte`. */
export function headOf(pte: number, i: number): number {
  return ptePfn(pte) === ZERO_PFN ? pte : (pte - (i << PFN_SHIFT)) | 0;
}

/**
 * Whether `page` lies in a huge page. U2 says for how long, if it does not.
 *
 * @stepped page table
 */
export function isHugeAt(memory: SharedMemory, mm: Mm, page: number): boolean {
  return (midEntryOf(memory, mm.pgd, page) & MID_HUGE) !== 0;
}

/**
 * The leaf of the huge page that `page` lies in, or 0.
 *
 * @stepped page table
 */
export function hugeLeafAt(memory: SharedMemory, mm: Mm, page: number): number {
  const entry = midEntryOf(memory, mm.pgd, page);
  return (entry & MID_HUGE) === 0 ? 0 : leafIn(entry);
}

/**
 * Makes 512 small pages of the huge page that `page` lies in, if it does. Their entries stay.
 * Holding the mmap lock at least for reading, and not pageTableLock. Linux: `split_huge_pmd`.
 */
export function* splitHuge({ memory }: Machine, mm: Mm, page: number): Task<void> {
  if (!isHugeAt(memory, mm, page)) return;
  mm.counters.add(HUGE_SPLITS);
  yield* mm.pageTableLock.lock();
  clearHuge(memory, mm, page);
  yield* mm.pageTableLock.unlock();
}

/**
 * The same at once, for the holder of pageTableLock, or of the mmap lock for writing (U3).
 *
 * @stepped page table
 */
export function clearHuge(memory: SharedMemory, mm: Mm, page: number): void {
  if (isHugeAt(memory, mm, page))
    atomicAnd(memory.words, midSlotOf(memory, mm.pgd, page), ~MID_HUGE);
}

/**
 * The entries of the huge page are about to change, all alike: if this thread dies with `lock`, the
 * page is split (U8). Holding that lock, pageTableLock or the mmap lock for writing.
 */
export function splitIfDead(memory: SharedMemory, mm: Mm, page: number, lock: number): void {
  const slot = midSlotOf(memory, mm.pgd, page);
  noteUndo(memory, lock, slot, leafIn(memory.words[slot]!));
}

/**
 * Changes all entries of a huge page to those of `head`: U4, after `splitIfDead`.
 *
 * @stepped pte
 */
export function rewriteHuge(words: Int32Array, leaf: number, head: number): void {
  for (let i = 0; i < HUGE_PAGES; i++) atomicStore(words, leaf + i, hugePte(head, i));
}

/**
 * The same; with entry `i` the word `note` becomes `first + i + 1`.
 *
 * @stepped pte
 */
export function rewriteHugeNoted(
  words: Int32Array,
  leaf: number,
  head: number,
  note: number,
  first: number = 0,
): void {
  for (let i = 0; i < HUGE_PAGES; i++)
    storeNoted(words, leaf + i, hugePte(head, i), words, note, first + i + 1);
}

/** The huge page is there. */
export const HUGE_LINKED = 0;
/** Another thread was faster: there is a leaf, huge or not. */
export const HUGE_OVERTAKEN = 1;

/** Words that note a huge page which is not linked yet, in case that the thread dies. */
export interface LinkNotes extends TableNotes {
  /**
   * 1 from before the leaf is filled. With it, a `leaf` that is 0 has been linked: what the entries
   * hold is theirs; of one that is not they count for nothing.
   */
  readonly links: number;
}

/**
 * Links a huge page whose entry 0 is `head` where no leaf is (U2). HUGE_LINKED, HUGE_OVERTAKEN, or
 * ENOMEM. What the entries hold is the caller's again unless it is linked. Holding the mmap lock at
 * least for reading.
 *
 * @stepped page table
 */
export function* linkHuge(
  machine: Machine,
  mm: Mm,
  page: number,
  head: number,
  notes: LinkNotes,
): Task<Errno> {
  const { memory, heap } = machine;
  if ((yield* midAlloc(machine, mm.pgd, page, notes.mid)) === 0) return ENOMEM;
  const leaf = yield* heap.allocWords(LEAF_WORDS, notes.leaf);
  if (leaf === 0) return ENOMEM;
  memory.ensure(leaf + LEAF_WORDS);
  noteLink(memory, notes, 1);
  fillFresh(memory.words, leaf, head);
  const { words } = memory;
  const slot = midSlotOf(memory, mm.pgd, page);
  if (compareExchangeNoted(words, slot, 0, leaf | MID_HUGE, words, notes.leaf, 0) === 0)
    return HUGE_LINKED;
  noteLink(memory, notes, 0);
  yield* heap.freeWords(leaf, LEAF_WORDS, notes.leaf);
  return HUGE_OVERTAKEN;
}

/** In this thread's own record. */
function noteLink({ words }: SharedMemory, { links }: LinkNotes, isLinking: 0 | 1): void {
  words[links] = isLinking;
}

/** Of a leaf that nobody else knows. */
function fillFresh(words: Int32Array, leaf: number, head: number): void {
  const step = ptePfn(head) === ZERO_PFN ? 0 : 1 << PFN_SHIFT;
  for (let i = 0, pte = head; i < HUGE_PAGES; i++, pte = (pte + step) | 0) words[leaf + i] = pte;
}

/**
 * Makes a huge page of the 512 pages from `page` on, if their entries are so already: present, of
 * frames in a row from an aligned one on, with equal rights. True: it is one. Holding the mmap lock
 * for writing; the mapping may have such pages.
 *
 * @stepped page table
 */
export function mergeHuge(memory: SharedMemory, mm: Mm, page: number): boolean {
  const entry = midEntryOf(memory, mm.pgd, page);
  if (entry === 0 || (entry & MID_HUGE) !== 0) return entry !== 0;
  if (!isUniform(memory.words, entry)) return false;
  atomicOr(memory.words, midSlotOf(memory, mm.pgd, page), MID_HUGE);
  return true;
}

/** @stepped pte */
function isUniform(words: Int32Array, leaf: number): boolean {
  const head = wordAt(words, leaf);
  if (pteKind(head) !== KIND_FRAME || ptePfn(head) % HUGE_PAGES !== 0) return false;
  for (let i = 1; i < HUGE_PAGES; i++)
    if (wordAt(words, leaf + i) !== hugePte(head, i)) return false;
  return true;
}
