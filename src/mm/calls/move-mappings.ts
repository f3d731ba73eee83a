/**
 * @module mm/calls/move-mappings
 * Moves mappings to another place, or doubles them. Follows Linux `move_vma` and `move_page_tables`
 * in `mm/mremap.c`.
 *
 * Entries move, inside an invalidation of the old range, and frames stay; so a view over them stays
 * valid. A move consists of pieces, one for each mapping in the old range.
 *
 * All that can fail comes first (`prepare`): splits, new vmas, the tables of the new place. So
 * ENOMEM leaves everything as it was. Linux unmaps the new place first.
 */

import type { Machine } from "../../memory/machine.ts";
import {
  LEAF_WORDS,
  forEachLeaf,
  freeEmptyLeaves,
  leafAlloc,
  leafOf,
  pteIndex,
  wordAt,
} from "../../mmu/radix-table.ts";
import { EVENT_UNMAP, invalidateRange } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../notifier/mmu-notifier.ts";
import { atomicExchange, atomicStore } from "../../sync/atomics.ts";
import { EFAULT, ENOMEM, type Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { Mm } from "../mm-struct.ts";
import { PAGE_BYTES, PTE_PRESENT, PTE_TRACKED } from "../pte.ts";
import {
  getSource,
  linkVma,
  mergeVmas,
  relocateVma,
  splitAround,
  splitAtBoth,
  splitVmaAt,
} from "../vma/vma-map.ts";
import { findFreeArea } from "../vma/vma-tree.ts";
import { Vma, kindAt, mappedPagesIn, partsIn, vmaOf } from "../vma/vma.ts";
import { unmapSplit } from "./munmap.ts";

/** What is to be moved, in pages. */
export interface MoveRequest {
  readonly startPage: number;
  /** 0: the mapping is doubled. */
  readonly oldPages: number;
  readonly newPages: number;
  /** -1: wherever there is room. */
  readonly target: number;
  readonly keepsOld: boolean;
}

/** One mapping of the old range, or the part of it that lies there. */
interface Piece {
  readonly startPage: number;
  /** Pages that are moved; 0 when only a second mapping is made. */
  readonly pages: number;
  readonly target: number;
  /** Pages that the mapping has at `target`. */
  readonly newPages: number;
}

/** A move that is under way. */
interface Move {
  readonly pieces: readonly Piece[];
  /** The old mappings stay, empty unless they are doubled. */
  readonly keepsOld: boolean;
  /** Pages of the old range that are unmapped and not moved. */
  readonly cutStartPage: number;
  readonly cutEndPage: number;
}

/**
 * The new address, or ENOMEM, EFAULT; then nothing has changed. Holding the mmap lock for writing.
 * What is moved lies in one mapping, unless nothing is resized.
 */
export function* moveMappings(machine: Machine, mm: Mm, request: MoveRequest): Task<number> {
  const { startPage, oldPages, newPages } = request;
  const target = request.target >= 0 ? request.target : findFreeArea(machine.memory, mm, newPages);
  if (target < 0) return ENOMEM;
  const move: Move = {
    pieces:
      oldPages === newPages
        ? Array.from(piecesIn(machine, mm, startPage, startPage + oldPages, target))
        : [{ startPage, pages: Math.min(oldPages, newPages), target, newPages }],
    keepsOld: request.keepsOld || oldPages === 0,
    cutStartPage: startPage + Math.min(oldPages, newPages),
    cutEndPage: startPage + oldPages,
  };
  if (pagesAfter(machine, mm, move) > mm.limitPages) return ENOMEM;
  // The new place would replace the mapping that is to be doubled.
  if (oldPages === 0 && target === startPage) return EFAULT;
  const spares: number[] = [];
  const result = yield* prepare(machine, mm, move, spares);
  if (result === 0) yield* carryOut(machine, mm, move, spares);
  else yield* takeBack(machine, mm, move, spares);
  return result === 0 ? target * PAGE_BYTES : result;
}

/** The pieces of [startPage, endPage), each at its distance from `target`: holes move, too. */
function* piecesIn(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
  target: number,
): Generator<Piece, void, void> {
  for (const part of partsIn(machine.memory, mm, startPage, endPage)) {
    const pages = part.endPage - part.startPage;
    const place = target + (part.startPage - startPage);
    yield { startPage: part.startPage, pages, target: place, newPages: pages };
  }
}

/** Pages that will be mapped after the move. Linux counts what grows, and not what goes. */
function pagesAfter(
  { memory }: Machine,
  mm: Mm,
  { pieces, keepsOld, cutStartPage, cutEndPage }: Move,
): number {
  let pages = mm.mappedPages - mappedPagesIn(memory, mm, cutStartPage, cutEndPage);
  for (const piece of pieces) {
    pages += piece.newPages - (keepsOld ? 0 : piece.pages);
    pages -= mappedPagesIn(memory, mm, piece.target, piece.target + piece.newPages);
  }
  return pages;
}

/**
 * All of a move that can fail. After ENOMEM, `takeBack` undoes what was done. If the old mappings
 * stay, `spares` gets an allocated vma for each piece.
 */
function* prepare(machine: Machine, mm: Mm, move: Move, spares: number[]): Task<Errno> {
  const { pieces, keepsOld, cutStartPage, cutEndPage } = move;
  if (keepsOld) {
    if (mm.vmaCount + pieces.length > mm.limitVmas) return ENOMEM;
    while (spares.length < pieces.length) {
      const spare = yield* machine.heap.alloc(Vma);
      if (spare === 0) return ENOMEM;
      spares.push(spare);
    }
  } else {
    const first = pieces[0];
    const last = pieces.at(-1);
    if (first === undefined || last === undefined) bug("a move has no piece");
    const result = yield* splitAtBoth(machine, mm, first.startPage, last.startPage + last.pages);
    if (result !== 0) return result;
  }
  if (cutStartPage < cutEndPage) {
    const result = yield* splitVmaAt(machine, mm, cutEndPage);
    if (result !== 0) return result;
  }
  for (const { startPage, pages, target, newPages } of pieces) {
    const result = yield* splitAround(machine, mm, target, target + newPages);
    if (result !== 0) return result;
    if (!(yield* makeTables(machine, mm, startPage, startPage + pages, target))) return ENOMEM;
  }
  return 0;
}

/** Undoes `prepare`. */
function* takeBack(
  machine: Machine,
  mm: Mm,
  { pieces, cutEndPage }: Move,
  spares: readonly number[],
): Task<void> {
  for (const spare of spares) yield* machine.heap.free(Vma, spare);
  for (const { startPage, pages, target, newPages } of pieces) {
    yield* mergeVmas(machine, mm, startPage, startPage + pages);
    yield* mergeVmas(machine, mm, target, target + newPages);
  }
  yield* mergeVmas(machine, mm, cutEndPage, cutEndPage);
}

/** The rest of a move. Cannot fail. */
function* carryOut(machine: Machine, mm: Mm, move: Move, spares: readonly number[]): Task<void> {
  const { pieces, cutStartPage, cutEndPage } = move;
  for (const { target, newPages } of pieces)
    yield* unmapSplit(machine, mm, target, target + newPages, true);
  if (cutStartPage < cutEndPage) yield* unmapSplit(machine, mm, cutStartPage, cutEndPage);
  for (const [i, piece] of pieces.entries()) {
    const { startPage, pages, target, newPages } = piece;
    const vma = vmaOf(machine.memory, mm, startPage);
    if (vma === undefined) bug(`page ${startPage}, which is to be moved, is not mapped`);
    const spare = spares[i];
    // Merging comes after all moves: the old place may lie right beside the new one.
    if (spare === undefined) {
      relocateVma(machine, mm, vma, target, newPages);
    } else {
      const kind = kindAt(vma, startPage);
      yield* getSource(machine, kind);
      linkVma(machine, mm, spare, target, target + newPages, kind);
    }
    if (pages > 0) yield* moveEntries(machine, mm, startPage, startPage + pages, target);
  }
  for (const { target, newPages } of pieces)
    yield* mergeVmas(machine, mm, target, target + newPages);
}

/** The tables of the new place, where the old one has any. False: ENOMEM. */
function* makeTables(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
  target: number,
): Task<boolean> {
  for (let page = startPage; page < endPage; page = Math.min(page + LEAF_WORDS, endPage)) {
    const last = Math.min(page + LEAF_WORDS, endPage) - 1;
    if (leafOf(machine.memory, mm.pgd, page) === 0 && leafOf(machine.memory, mm.pgd, last) === 0)
      continue;
    // These pages need at most two tables at the new place, whatever its alignment.
    if ((yield* leafAlloc(machine, mm.pgd, target + (page - startPage))) === 0) return false;
    if ((yield* leafAlloc(machine, mm.pgd, target + (last - startPage))) === 0) return false;
  }
  return true;
}

/**
 * Moves what the entries hold, inside an invalidation of the old place.
 *
 * @stepped pte
 */
function* moveEntries(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
  target: number,
): Task<void> {
  const { memory } = machine;
  const range = invalidateRange(mm, startPage, endPage, EVENT_UNMAP);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  yield* forEachLeaf(
    memory,
    mm.pgd,
    startPage,
    endPage,
    function* (leaf, first, end): Task<number> {
      for (let page = first; page < end; page++) {
        const index = pteIndex(leaf, page);
        if (wordAt(memory.words, index) === 0) continue;
        const pte = atomicExchange(memory.words, index, 0);
        const moved = target + (page - startPage);
        // No device has a copy of the new place, and those of the old one are invalidated: the next
        // write need not call the notifiers.
        const kept = (pte & PTE_PRESENT) === 0 ? pte : pte & ~PTE_TRACKED;
        atomicStore(memory.words, pteIndex(leafOf(memory, mm.pgd, moved), moved), kept);
      }
      yield* mm.shootdown.flush(first, end);
      return 0;
    },
  );
  yield* freeEmptyLeaves(machine, mm, startPage, endPage);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
}
