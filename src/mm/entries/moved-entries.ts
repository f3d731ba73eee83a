/**
 * @module mm/entries/moved-entries
 * Moves entries of the page table to another place. Follows Linux `move_page_tables` in
 * `mm/mremap.c`. An entry, or a leaf of 512, is at neither place for a moment, and noted then. So
 * if the thread dies, whoever finds it dead puts what is noted in its place, and moves the rest (K7
 * of move.ts):
 *
 *     thread that dies                  recoverer
 *     mapping: new place
 *     entry 0 moved
 *     entry 1 cleared, noted
 *     [dead]
 *                                       flush
 *                                       entry 1 := as noted
 *                                       entries 2, 3, ... moved
 *                                       gives up the mmap lock
 *
 * Holding the mmap lock for writing, inside an invalidation of the old place. The new place has its
 * tables, and no entry.
 */

import type { Machine } from "../../memory/machine.ts";
import { forEachLeaf, leafOf, nextLeafPage, pteIndex, wordAt } from "../../mmu/radix-table.ts";
import { type MovedLeafNotes, linkNoted, moveLeaves } from "../../mmu/unlinked-leaves.ts";
import { exchangeNoted, storeNoted } from "../../sync/atomics.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { clearHuge } from "../huge.ts";
import type { Mm } from "../mm-struct.ts";
import { KIND_DEVICE_EXCLUSIVE, PTE_PRESENT, PTE_TRACKED, endExclusive, pteKind } from "../pte.ts";

/** What moves, in pages. */
export interface EntryMove {
  readonly startPage: number;
  readonly endPage: number;
  readonly target: number;
  /**
   * Leaves go over as they are, where they can. Not while there is a notifier: then entries change
   * as they move (`movedEntry`), but for those of huge pages, which no device has tracked or for
   * itself. No notifier is added meanwhile, for that takes the mmap lock for writing; and what a
   * device that is gone has left in an entry means the same at the new place.
   */
  readonly takesLeaves: boolean;
}

/** Words of the heap that note what is at neither place. */
export interface MoveNotes {
  /** The entry; 0: none. */
  readonly entry: number;
  /** The word that it is for. */
  readonly place: number;
  readonly leaves: MovedLeafNotes;
}

/**
 * An entry as it is at its new place. No device has a copy of that, and those of the old one are
 * invalidated: the next write need not call the notifiers. A device's exclusive access has ended
 * for the same reason. A page in a device's private memory stays there.
 */
function movedEntry(pte: number): number {
  if (pteKind(pte) === KIND_DEVICE_EXCLUSIVE) return endExclusive(pte);
  return (pte & PTE_PRESENT) === 0 ? pte : pte & ~PTE_TRACKED;
}

/** Moves what the entries hold. May be done again, for a thread that died in it. */
export function* moveEntries(
  machine: Machine,
  mm: Mm,
  { startPage, endPage, target, takesLeaves }: EntryMove,
  notes: MoveNotes,
): Task<void> {
  const { memory } = machine;
  yield* moveLeaves(machine, mm, startPage, endPage, target, !takesLeaves, notes.leaves);
  yield* forEachLeaf(
    memory,
    mm.pgd,
    startPage,
    endPage,
    function* (leaf, first, end): Task<number> {
      clearHuge(memory, mm, first);
      for (let page = first, next = 0; page < end; page = next) {
        const moved = target + (page - startPage);
        clearHuge(memory, mm, moved); // an empty one, of what was unmapped there
        next = Math.min(end, page + (nextLeafPage(moved) - moved));
        const place = pteIndex(leafOf(memory, mm.pgd, moved), moved);
        moveRow(memory.words, pteIndex(leaf, page), place, next - page, notes);
      }
      yield* mm.shootdown.flush(first, end);
      return 0;
    },
  );
}

/** Goes on with the move of a dead thread. */
export function* finishMove(
  machine: Machine,
  mm: Mm,
  move: EntryMove,
  notes: MoveNotes,
): Task<void> {
  const { memory } = machine;
  yield* mm.shootdown.flush(move.startPage, move.endPage);
  yield* linkNoted(memory, mm.pgd, notes.leaves, move.target - move.startPage);
  const pte = memory.words[notes.entry]!;
  if (pte !== 0) {
    const place = memory.words[notes.place]!;
    memory.ensure(place + 1);
    placeEntry(memory.words, place, pte, notes.entry);
  }
  yield* moveEntries(machine, mm, move, notes);
}

/**
 * Moves `count` entries within two leaves.
 *
 * @stepped pte
 */
function moveRow(
  words: Int32Array,
  from: number,
  to: number,
  count: number,
  notes: MoveNotes,
): void {
  for (let i = 0; i < count; i++) {
    if (wordAt(words, from + i) === 0) continue;
    notePlace(words, notes, to + i);
    const pte = exchangeNoted(words, from + i, 0, words, notes.entry, 0, 0);
    storeNoted(words, to + i, movedEntry(pte), words, notes.entry);
  }
}

/** In this thread's own record. */
function notePlace(words: Int32Array, { place }: MoveNotes, index: number): void {
  words[place] = index;
}

/** @stepped pte */
function placeEntry(words: Int32Array, index: number, pte: number, note: number): void {
  storeNoted(words, index, movedEntry(pte), words, note);
}
