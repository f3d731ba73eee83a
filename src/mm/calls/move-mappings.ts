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
 *
 * If the thread dies, a mapping is at its old place with all its pages, or at the new one with all
 * of them: its entries follow, whoever moves them (K7 of mm/entries/move.ts). Of several some may
 * have moved, and what was mapped at their new places is gone.
 */

import type { Machine } from "../../memory/machine.ts";
import {
  LEAF_WORDS,
  type TableNotes,
  MID_HUGE,
  leafAlloc,
  midAlloc,
  midEntryOf,
  nextLeafPage,
  nextMidPage,
} from "../../mmu/radix-table.ts";
import { freeEmptyLeaves, isWholeLeaf } from "../../mmu/unlinked-leaves.ts";
import { EVENT_UNMAP, invalidateRange } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../notifier/mmu-notifier.ts";
import { EFAULT, ENOMEM, type Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { isHugeAt } from "../huge.ts";
import { closeLeaves } from "../entries/batch.ts";
import { tablesOf } from "../entries/hand.ts";
import { beginHand, beginInvalidation, endInvalidation } from "../entries/invalidation.ts";
import { beginMoveUnder, leavesAfterMove, openMove } from "../entries/move.ts";
import type { Mm } from "../mm-struct.ts";
import { moveEntries } from "../entries/moved-entries.ts";
import { PAGE_BYTES } from "../pte.ts";
import {
  type SpareVma,
  allocVma,
  freeVma,
  linkVma,
  relocateVma,
  spareOf,
} from "../vma/vma-link.ts";
import { flushPlace, takeSource } from "../vma/vma-source.ts";
import { mergeVmas, splitAround, splitAtBoth, splitVmaAt } from "../vma/vma-map.ts";
import { endVmaChange, findFreeArea } from "../vma/vma-tree.ts";
import { type PageRange, type Vma, kindAt, mappedPagesIn, partsIn, vmaOf } from "../vma/vma.ts";
import { freeLeaves } from "../entries/zap.ts";
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
  /** Pages that are moved; none when only a second mapping is made. */
  readonly old: PageRange;
  /** Pages that the mapping has at the new place. */
  readonly place: PageRange;
  /** Whether there are huge pages among those that move; known when there are tables for them. */
  hasHuge: boolean;
}

/** A move that is under way. */
interface Move {
  readonly pieces: readonly Piece[];
  /** The old mappings stay, empty unless they are doubled. */
  readonly keepsOld: boolean;
  /** Of mm/entries/moved-entries.ts. */
  readonly takesLeaves: boolean;
  /** Pages of the old range that are unmapped and not moved. */
  readonly cut: PageRange;
}

/**
 * The new address, or ENOMEM, EFAULT; then nothing has changed. Holding the mmap lock for writing.
 * What is moved lies in one mapping, unless nothing is resized.
 */
export function* moveMappings(machine: Machine, mm: Mm, request: MoveRequest): Task<number> {
  const { startPage, oldPages, newPages } = request;
  const target = request.target >= 0 ? request.target : findFreeArea(machine.memory, mm, newPages);
  if (target < 0) return ENOMEM;
  const old = { startPage, endPage: startPage + oldPages };
  const kept = { startPage, endPage: startPage + Math.min(oldPages, newPages) };
  const move: Move = {
    pieces:
      oldPages === newPages
        ? Array.from(piecesIn(machine, mm, old, target))
        : [{ old: kept, place: { startPage: target, endPage: target + newPages }, hasHuge: false }],
    keepsOld: request.keepsOld || oldPages === 0,
    takesLeaves: (yield* mm.notifiers.first()) === 0,
    cut: { startPage: kept.endPage, endPage: old.endPage },
  };
  if (pagesAfter(machine, mm, move) > mm.limitPages) return ENOMEM;
  // The new place would replace the mapping that is to be doubled.
  if (oldPages === 0 && target === startPage) return EFAULT;
  const spares: SpareVma[] = [];
  const result = yield* prepare(machine, mm, move, spares);
  if (result === 0) yield* carryOut(machine, mm, move, spares);
  else yield* takeBack(machine, mm, move, spares);
  return result === 0 ? target * PAGE_BYTES : result;
}

/** The pieces of a range, each at its distance from `target`: holes move, too. */
function* piecesIn(
  machine: Machine,
  mm: Mm,
  range: PageRange,
  target: number,
): Generator<Piece, void, void> {
  const distance = target - range.startPage;
  for (const { startPage, endPage } of partsIn(machine.memory, mm, range)) {
    const place = { startPage: startPage + distance, endPage: endPage + distance };
    yield { old: { startPage, endPage }, place, hasHuge: false };
  }
}

const sizeOf = ({ startPage, endPage }: PageRange): number => endPage - startPage;

/** Pages that will be mapped after the move. Linux counts what grows, and not what goes. */
function pagesAfter({ memory }: Machine, mm: Mm, { pieces, keepsOld, cut }: Move): number {
  let pages = mm.mappedPages - mappedPagesIn(memory, mm, cut);
  for (const { old, place } of pieces) {
    pages += sizeOf(place) - (keepsOld ? 0 : sizeOf(old));
    pages -= mappedPagesIn(memory, mm, place);
  }
  return pages;
}

/**
 * All of a move that can fail. After ENOMEM, `takeBack` undoes what was done. If the old mappings
 * stay, `spares` gets an allocated vma for each piece.
 */
function* prepare(machine: Machine, mm: Mm, move: Move, spares: SpareVma[]): Task<Errno> {
  const { pieces, keepsOld, cut } = move;
  if (keepsOld) {
    if (mm.vmaCount + pieces.length > mm.limitVmas) return ENOMEM;
    while (spares.length < pieces.length) {
      const spare = spareOf(machine, yield* allocVma(machine));
      if (spare.at === 0) return ENOMEM;
      spares.push(spare);
    }
  } else {
    const first = pieces[0];
    const last = pieces.at(-1);
    if (first === undefined || last === undefined) bug("a move has no piece");
    const whole = { startPage: first.old.startPage, endPage: last.old.endPage };
    const result = yield* splitAtBoth(machine, mm, whole);
    if (result !== 0) return result;
  }
  if (sizeOf(cut) > 0) {
    const result = yield* splitVmaAt(machine, mm, cut.endPage);
    if (result !== 0) return result;
  }
  for (const piece of pieces) {
    const result = yield* splitAround(machine, mm, piece.place);
    if (result !== 0) return result;
    if (!(yield* makeTables(machine, mm, piece, move.takesLeaves))) return ENOMEM;
  }
  return 0;
}

/** Undoes `prepare`. */
function* takeBack(
  machine: Machine,
  mm: Mm,
  { pieces, cut }: Move,
  spares: readonly SpareVma[],
): Task<void> {
  for (const spare of spares) yield* freeVma(machine, spare);
  for (const { old, place } of pieces) {
    yield* mergeVmas(machine, mm, old);
    yield* mergeVmas(machine, mm, place);
  }
  yield* mergeVmas(machine, mm, cut);
}

/** The rest of a move. Cannot fail. */
function* carryOut(machine: Machine, mm: Mm, move: Move, spares: readonly SpareVma[]): Task<void> {
  const { pieces, cut } = move;
  for (const { place } of pieces) yield* unmapSplit(machine, mm, place, true);
  if (sizeOf(cut) > 0) yield* unmapSplit(machine, mm, cut);
  for (const [i, piece] of pieces.entries()) yield* movePiece(machine, mm, move, piece, spares[i]);
  // Merging comes after all moves: the old place may lie right beside the new one.
  for (const { place } of pieces) yield* mergeVmas(machine, mm, place);
}

/** With its entries, if it has pages that move. `spare`: the mapping at the old place stays. */
function* movePiece(
  machine: Machine,
  mm: Mm,
  { takesLeaves }: Move,
  piece: Piece,
  spare: SpareVma | undefined,
): Task<void> {
  const { old, place } = piece;
  const vma = vmaOf(machine.memory, mm, old.startPage);
  if (vma === undefined) bug(`page ${old.startPage}, which is to be moved, is not mapped`);
  yield* flushPlace(mm, place, vma);
  if (spare !== undefined) yield* takeSource(machine, spare.at, kindAt(vma, old.startPage));
  if (sizeOf(old) === 0) {
    moveVma(machine, mm, vma, piece, spare);
    endVmaChange(machine.memory, mm);
    return;
  }
  const range = invalidateRange(mm, old.startPage, old.endPage, EVENT_UNMAP);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  if (piece.hasHuge) yield* freePlacesOfHuge(machine, mm, old, place.startPage);
  const operation = yield* beginInvalidation(mm, old.startPage, old.endPage);
  const entries = { ...old, target: place.startPage, takesLeaves };
  const notes = yield* openMove(machine, operation, entries);
  // The mapping, and that its entries follow (K7 of mm/entries/move.ts).
  moveVma(machine, mm, vma, piece, spare);
  beginMoveUnder(mm, operation);
  endVmaChange(machine.memory, mm);
  yield* moveEntries(machine, mm, entries, notes);
  const leaves = leavesAfterMove(machine, operation);
  yield* freeEmptyLeaves(machine, mm, old.startPage, old.endPage, leaves);
  yield* closeLeaves(machine, operation);
  endInvalidation(mm, operation);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
}

/** The caller says when the change has ended. */
function moveVma(
  machine: Machine,
  mm: Mm,
  vma: Vma,
  { old, place }: Piece,
  spare: SpareVma | undefined,
): void {
  if (spare === undefined) relocateVma(machine, mm, vma, place);
  else linkVma(machine, mm, spare, place, kindAt(vma, old.startPage));
}

/** The tables of the new place, where the old one has any. False: ENOMEM. */
function* makeTables(machine: Machine, mm: Mm, piece: Piece, takesLeaves: boolean): Task<boolean> {
  const operation = yield* beginHand(mm);
  const notes = tablesOf(operation);
  const isDone = yield* makeNotedTables(machine, mm, piece, takesLeaves, notes);
  endInvalidation(mm, operation);
  return isDone;
}

function* makeNotedTables(
  machine: Machine,
  mm: Mm,
  piece: Piece,
  takesLeaves: boolean,
  notes: TableNotes,
): Task<boolean> {
  const { startPage, endPage } = piece.old;
  const target = piece.place.startPage;
  let midEnd = 0; // there is a mid table for places below
  for (let page = startPage, next = 0; page < endPage; page = next) {
    next = Math.min(nextLeafPage(page), endPage);
    const entry = midEntryOf(machine.memory, mm.pgd, page);
    if (entry === 0) continue;
    const first = target + (page - startPage);
    const isHuge = (entry & MID_HUGE) !== 0;
    if (isHuge) piece.hasHuge = true;
    // What goes over as a whole brings its leaf along; other pages need two at most.
    if ((takesLeaves || isHuge) && isWholeLeaf(page, startPage, endPage, target)) {
      if (first < midEnd) continue;
      if ((yield* midAlloc(machine, mm.pgd, first, notes.mid)) === 0) return false;
      midEnd = nextMidPage(first);
    } else {
      const last = target + (next - 1 - startPage);
      if ((yield* leafAlloc(machine, mm.pgd, first, notes)) === 0) return false;
      if ((yield* leafAlloc(machine, mm.pgd, last, notes)) === 0) return false;
    }
  }
  return true;
}

/**
 * Frees the empty leaves that are where huge pages go, as a whole, so that they stay huge. What was
 * mapped there has been unmapped.
 */
function* freePlacesOfHuge(
  machine: Machine,
  mm: Mm,
  { startPage, endPage }: PageRange,
  target: number,
): Task<void> {
  for (let page = startPage; page < endPage; page = nextLeafPage(page)) {
    if (!isWholeLeaf(page, startPage, endPage, target)) continue;
    if (!isHugeAt(machine.memory, mm, page)) continue;
    const place = target + (page - startPage);
    yield* freeLeaves(machine, mm, { startPage: place, endPage: place + LEAF_WORDS });
  }
}
