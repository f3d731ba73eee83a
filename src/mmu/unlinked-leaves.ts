/**
 * @module mmu/unlinked-leaves
 * Leaves that leave their place in a page table: empty ones, which become free, and those that come
 * to another place as they are. Others may walk the table without its lock meanwhile (W3 of
 * radix-table.ts), so a flush lies between.
 */

import type { Machine } from "../memory/machine.ts";
import { atomicStore, exchangeNoted } from "../sync/atomics.ts";
import type { Shootdown } from "../sync/primitives/shootdown.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import type { Task } from "../sync/tasks/task.ts";
import {
  LEAF_SHIFT,
  LEAF_WORDS,
  MID_HUGE,
  MID_SPAN_PAGES,
  MID_WORDS,
  PGD_WORDS,
  leafIn,
  leafOf,
  linkLeaf,
  midEntryOf,
  midSlotOf,
  nextLeafPage,
  wordAt,
} from "./radix-table.ts";

/** Leaves that one flush serves. Bounds what is unlinked at once and not yet given back. */
const LEAVES_PER_FLUSH = 512;

/** A table that leaves are removed from, and the shootdown of those who walk it without a lock. */
export interface FlushedTable {
  /** Pointer of the top table. */
  readonly pgd: number;
  /** Makes all who walk the table without a lock drop what they remember. */
  readonly shootdown: Pick<Shootdown, "flush">;
}

/**
 * Frees the leaves that lie wholly inside [startPage, endPage), whose entries have been cleared.
 * Holding the lock for writing. Without this, a program that maps and unmaps at ever new addresses
 * would fill the heap with empty tables. The flush after the entries were cleared is not enough for
 * this: see W3 of radix-table.ts. Words [start, end) of `notes`, all of them 0, note the leaves
 * that are unlinked and not free yet, in case that the thread dies.
 *
 * @stepped page table
 */
export function* freeEmptyLeaves(
  machine: Machine,
  table: FlushedTable,
  startPage: number,
  endPage: number,
  notes: { readonly start: number; readonly end: number } = NO_LEAF_NOTES,
): Task<void> {
  const { memory } = machine;
  memory.ensure(table.pgd + PGD_WORDS);
  const isNoted = notes.start !== 0;
  const most = isNoted ? notes.end - notes.start : LEAVES_PER_FLUSH;
  const unlinked: number[] = [];
  let unlinkedFrom = startPage;
  const first = Math.ceil(startPage / LEAF_WORDS) * LEAF_WORDS;
  for (let page = first; page + LEAF_WORDS <= endPage;) {
    const mid = wordAt(memory.words, table.pgd + Math.floor(page / MID_SPAN_PAGES));
    if (mid === 0) {
      page = page - (page % MID_SPAN_PAGES) + MID_SPAN_PAGES;
      continue;
    }
    memory.ensure(mid + MID_WORDS);
    const index = mid + ((page >>> LEAF_SHIFT) & (MID_WORDS - 1));
    const leaf = leafIn(wordAt(memory.words, index));
    if (leaf !== 0) {
      if (unlinked.length === 0) unlinkedFrom = page;
      const { words } = memory;
      if (isNoted) exchangeNoted(words, index, 0, words, notes.start + unlinked.length, 0, 0);
      else atomicStore(words, index, 0);
      unlinked.push(leaf);
    }
    page += LEAF_WORDS;
    if (unlinked.length < most) continue;
    yield* table.shootdown.flush(unlinkedFrom, page);
    yield* freeUnlinked(machine, unlinked.splice(0), notes.start);
  }
  if (unlinked.length === 0) return;
  yield* table.shootdown.flush(unlinkedFrom, endPage);
  yield* freeUnlinked(machine, unlinked, notes.start);
}

const NO_LEAF_NOTES = { start: 0, end: 0 };

/** Frees leaves after the flush. The words from `note` on note them; 0: none does. */
function* freeUnlinked({ heap }: Machine, leaves: readonly number[], note: number): Task<void> {
  for (const [i, leaf] of leaves.entries())
    yield* heap.freeWords(leaf, LEAF_WORDS, note === 0 ? 0 : note + i);
}

/** Goes on with `freeEmptyLeaves` of a dead thread, after the flush. */
export function* freeLeftLeaves({ heap, memory }: Machine, start: number, end: number): Task<void> {
  for (let note = start; note < end; note++) {
    const leaf = leafIn(wordAt(memory.words, note));
    if (leaf !== 0) yield* heap.freeWords(leaf, LEAF_WORDS, note);
  }
}

/**
 * Whether the whole leaf of `page` lies in [startPage, endPage), and as one leaf at `target`, too.
 */
export function isWholeLeaf(
  page: number,
  startPage: number,
  endPage: number,
  target: number,
): boolean {
  const first = nextLeafPage(page) - LEAF_WORDS;
  return (
    (target - startPage) % LEAF_WORDS === 0 && first >= startPage && first + LEAF_WORDS <= endPage
  );
}

/** Words that note leaves which are at neither place, in case that the thread dies. */
export interface MovedLeafNotes {
  /** The page of the first. */
  readonly from: number;
  /** Words [start, end), all of them 0, are for the leaves from there on, one each 512 pages. */
  readonly start: number;
  readonly end: number;
}

/**
 * Moves leaves from [startPage, endPage) to `target`, as they are: those of which `isWholeLeaf` is
 * true, unless a leaf is at the new place. `onlyHuge`: only those with MID_HUGE, which they keep.
 * There are mid tables, where leaves come. Holding the lock for writing. Linux: `move_normal_pmd`,
 * `move_huge_pmd`. A flush and two words for 512 entries: a move of 128 MiB took 4.2 ms entry by
 * entry, 75 times as long as the kernel's.
 *
 * A leaf is in neither place during the flush, and noted. At both, a walker without the lock could
 * store through the new place, and find that through a translation of the old one (W3 of
 * radix-table.ts).
 *
 * @stepped page table
 */
export function* moveLeaves(
  { memory }: Machine,
  { pgd, shootdown }: FlushedTable,
  startPage: number,
  endPage: number,
  target: number,
  onlyHuge: boolean,
  notes: MovedLeafNotes,
): Task<void> {
  const distance = target - startPage;
  if (distance % LEAF_WORDS !== 0) return;
  let from = -1; // of the leaves that are noted
  const first = Math.ceil(startPage / LEAF_WORDS) * LEAF_WORDS;
  for (let page = first; page + LEAF_WORDS <= endPage; page += LEAF_WORDS) {
    const entry = midEntryOf(memory, pgd, page);
    const isMoved = onlyHuge ? (entry & MID_HUGE) !== 0 : entry !== 0;
    if (isMoved && leafOf(memory, pgd, page + distance) === 0) {
      if (from < 0) from = beginNotes(memory, notes, page);
      const { words } = memory;
      const note = notes.start + (page - from) / LEAF_WORDS;
      exchangeNoted(words, midSlotOf(memory, pgd, page), 0, words, note, 0, 0);
    }
    const end = page + LEAF_WORDS;
    const isFull = from >= 0 && (end - from) / LEAF_WORDS === notes.end - notes.start;
    if (from < 0 || (!isFull && end + LEAF_WORDS <= endPage)) continue;
    yield* shootdown.flush(from, end);
    yield* linkNoted(memory, pgd, notes, distance);
    from = -1;
  }
}

/** The first leaf is that of `page`, which is returned. */
function beginNotes({ words }: SharedMemory, { from }: MovedLeafNotes, page: number): number {
  words[from] = page;
  return page;
}

/** Links the leaves that are noted at their new places. The old ones have been flushed. */
export function* linkNoted(
  memory: SharedMemory,
  pgd: number,
  { from, start, end }: MovedLeafNotes,
  distance: number,
): Task<void> {
  const firstPage = (memory.words[from]! >>> 0) + distance;
  for (let note = start; note < end; note++) {
    const entry = memory.words[note]!;
    if (entry !== 0) linkLeaf(memory, pgd, firstPage + (note - start) * LEAF_WORDS, entry, note);
  }
}
