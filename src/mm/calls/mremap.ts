/**
 * @module mm/calls/mremap
 * Resizes, moves or doubles mappings, keeping their frames. Follows Linux `mm/calls/mremap.c`:
 * which calls it allows, and its errno values in the order of its checks.
 *
 * Who moves takes every entry out of the old place and puts it at the new one inside an
 * invalidation of the old range: the frames stay, only their address changes, so views over them
 * stay good. A move is made of pieces, one for each mapping in the old range; only a move without
 * resizing may have several.
 *
 * All that can fail comes first (`prepare`), so that ENOMEM leaves everything as it was: splits,
 * new vmas, and the tables of the new place. Linux unmaps the new place first.
 */

import { EVENT_UNMAP, invalidateRange } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../notifier/mmu-notifier.ts";
import type { Machine } from "../../memory/machine.ts";
import { atomicExchange, atomicStore } from "../../sync/atomics.ts";
import { EBUSY, EFAULT, EINVAL, ENOMEM, type Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { Mm } from "../mm-struct.ts";
import {
  alignedPageOf,
  isFree,
  isLengthOrZero,
  lengthPagesOf,
  munmapLocked,
  pageOf,
  splitAtBoth,
  unmapSplit,
} from "./mmap.ts";
import {
  LEAF_WORDS,
  TASK_SIZE_PAGES,
  forEachLeaf,
  freeEmptyLeaves,
  leafAlloc,
  leafOf,
  pteIndex,
  wordAt,
} from "../../mmu/radix-table.ts";
import { PAGE_BYTES, PTE_PRESENT, PTE_TRACKED } from "../pte.ts";
import {
  getSource,
  insertVma,
  linkVma,
  mergeVmas,
  relocateVma,
  splitAround,
  splitVmaAt,
} from "../vma/vma-map.ts";
import { findFreeArea } from "../vma/vma-tree.ts";
import {
  VM_SHARED,
  Vma,
  type VmaKind,
  mappedPagesIn,
  offsetOf,
  partsIn,
  vmaOf,
} from "../vma/vma.ts";
import { overlapsHold } from "../view/view-hold.ts";

export interface MremapRequest {
  readonly address: number;
  readonly oldLengthBytes: number;
  readonly newLengthBytes: number;
  readonly mayMove: boolean;
  /**
   * Move exactly there, unmapping what is there (MREMAP_FIXED); undefined = wherever there is room.
   */
  readonly to: number | undefined;
  /** Move, and leave the old mapping where it is, empty (MREMAP_DONTUNMAP). Default false. */
  readonly keepOld?: boolean;
}

/** A request in pages that has passed the checks which need no look at the mappings. */
interface Remap {
  readonly startPage: number;
  readonly oldPages: number;
  readonly newPages: number;
  readonly mayMove: boolean;
  /** -1 = wherever there is room. */
  readonly target: number;
  readonly keepsOld: boolean;
}

/**
 * The new address, or EINVAL (addresses, lengths, or old and new place overlap), EFAULT (nothing is
 * mapped at the start of the old range, or what must lie in one mapping does not), ENOMEM (no room
 * and may not move, a limit, no memory), EBUSY (a write view of the range is open: it holds these
 * addresses).
 *
 * An old length of 0 makes a second mapping of the same shared memory. Only as much of the old
 * range as is moved or grown must lie in one mapping: what is cut off may be anything. A move to a
 * given place without resizing takes all that is mapped in the old range, holes and all, as Linux
 * does since 6.17.
 */
export function* doMremap(machine: Machine, mm: Mm, request: MremapRequest): Task<number> {
  const remap = checkRequest(request);
  if (remap === undefined) return EINVAL;
  yield* mm.mmapLock.downWrite();
  const result = yield* mremapLocked(machine, mm, remap);
  yield* mm.mmapLock.upWrite();
  return result;
}

/** Linux: `check_mremap_params`. */
function checkRequest(request: MremapRequest): Remap | undefined {
  const {
    address,
    oldLengthBytes,
    newLengthBytes,
    mayMove,
    to,
    keepOld: keepsOld = false,
  } = request;
  const startPage = alignedPageOf(address);
  const newPages = lengthPagesOf(newLengthBytes);
  if (startPage < 0 || newPages < 0 || !isLengthOrZero(oldLengthBytes)) return undefined;
  const oldPages = Math.ceil(oldLengthBytes / PAGE_BYTES);
  if (keepsOld && (!mayMove || oldPages !== newPages)) return undefined;
  if (to === undefined) return { startPage, oldPages, newPages, mayMove, target: -1, keepsOld };
  const target = pageOf(to);
  if (!mayMove || target < 0 || target + newPages > TASK_SIZE_PAGES) return undefined;
  // An empty old range inside the new one overlaps it too.
  if (target < startPage + oldPages && startPage < target + newPages) return undefined;
  return { startPage, oldPages, newPages, mayMove, target, keepsOld };
}

function* mremapLocked(machine: Machine, mm: Mm, remap: Remap): Task<number> {
  const { startPage, oldPages, newPages, target } = remap;
  const vma = vmaOf(machine.memory, mm, startPage);
  if (vma === undefined) return EFAULT;
  const isMove = target >= 0 || remap.keepsOld;
  if (oldPages === 0 && (vma.flags & VM_SHARED) === 0) return EINVAL;
  // What is cut off, and what is left as it is, may be anything; so may a move without resizing,
  // mapping by mapping.
  const isMovedOnly = target >= 0 && newPages === oldPages;
  const kept = Math.min(oldPages, newPages);
  if ((isMove || newPages > oldPages) && !isMovedOnly && vma.endPage - startPage < kept)
    return EFAULT;
  if (oldPages > newPages && startPage + oldPages > TASK_SIZE_PAGES) return EINVAL;
  if (overlapsHold(machine.memory, mm, startPage, startPage + oldPages)) return EBUSY;
  if (isMove) return yield* moveAway(machine, mm, remap);
  return newPages > oldPages
    ? yield* grow(machine, mm, remap, vma)
    : yield* shrink(machine, mm, remap);
}

/** In place: cuts off what is too long, whatever is mapped there. */
function* shrink(machine: Machine, mm: Mm, { startPage, oldPages, newPages }: Remap): Task<number> {
  const result =
    oldPages === newPages
      ? 0
      : yield* munmapLocked(machine, mm, startPage + newPages, startPage + oldPages);
  return result === 0 ? startPage * PAGE_BYTES : result;
}

/**
 * In place where there is room, else elsewhere if it may move. An old length of 0 never grows in
 * place.
 */
function* grow(machine: Machine, mm: Mm, remap: Remap, vma: Vma): Task<number> {
  const { startPage, oldPages, newPages } = remap;
  const endPage = startPage + oldPages;
  const newEndPage = startPage + newPages;
  if (mm.mappedPages + newPages - oldPages > mm.limitPages) return ENOMEM;
  if (
    vma.endPage === endPage &&
    newEndPage <= TASK_SIZE_PAGES &&
    isFree(machine, mm, endPage, newEndPage)
  ) {
    // The same mapping goes on above its end: a neighbour that merges.
    const kind = kindAt(vma, endPage);
    yield* getSource(machine, kind);
    const result = yield* insertVma(machine, mm, endPage, newEndPage, kind);
    return result === 0 ? startPage * PAGE_BYTES : result;
  }
  return remap.mayMove ? yield* moveAway(machine, mm, remap) : ENOMEM;
}

/** What a mapping would be that starts at `page` of `vma` (or right behind it). */
function kindAt(vma: Vma, page: number): VmaKind {
  const offsetPages = vma.source === 0 ? 0 : offsetOf(vma, page);
  return { flags: vma.flags, source: vma.source, offsetPages };
}

/** One mapping, or part of one, on its way. */
interface Piece {
  readonly startPage: number;
  /** Pages that are moved; 0 when only a second mapping is made. */
  readonly pages: number;
  readonly target: number;
  /** Pages that the mapping has there. */
  readonly newPages: number;
}

/** A move that is under way. */
interface Move {
  readonly pieces: readonly Piece[];
  /** The old mappings stay: of a doubled one, or empty. */
  readonly keepsOld: boolean;
  /** Cut off from the old range, and not moved. */
  readonly cutStartPage: number;
  readonly cutEndPage: number;
}

/**
 * Holding the mmap lock for writing. What is moved lies in one mapping, unless nothing is resized.
 */
function* moveAway(machine: Machine, mm: Mm, remap: Remap): Task<number> {
  const { startPage, oldPages, newPages } = remap;
  const target = remap.target >= 0 ? remap.target : findFreeArea(machine.memory, mm, newPages);
  if (target < 0) return ENOMEM;
  const move: Move = {
    pieces:
      oldPages === newPages
        ? Array.from(piecesIn(machine, mm, startPage, startPage + oldPages, target))
        : [{ startPage, pages: Math.min(oldPages, newPages), target, newPages }],
    keepsOld: remap.keepsOld || oldPages === 0,
    cutStartPage: startPage + Math.min(oldPages, newPages),
    cutEndPage: startPage + oldPages,
  };
  if (pagesAfter(machine, mm, move) > mm.limitPages) return ENOMEM;
  // The new place would take the mapping away that is to be doubled: its start is the only page of
  // it that must be there.
  if (oldPages === 0 && target === startPage) return EFAULT;
  const spares: number[] = [];
  const result = yield* prepare(machine, mm, move, spares);
  if (result === 0) yield* carryOut(machine, mm, move, spares);
  else yield* takeBack(machine, mm, move, spares);
  return result === 0 ? target * PAGE_BYTES : result;
}

/** What is mapped in [startPage, endPage), to go to `target` with its holes. */
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

/** Pages that the space will have mapped. Linux counts what grows, and not what goes. */
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
 * All of a move that can fail. ENOMEM: `takeBack` undoes what was done. `spares` gets a vma-to-be
 * for each piece of which the old mapping stays.
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
    // Nothing is merged before all is moved: the old place may lie right beside the new one.
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
    // 512 pages of an unaligned old place fall into at most two tables of the new one.
    if ((yield* leafAlloc(machine, mm.pgd, target + (page - startPage))) === 0) return false;
    if ((yield* leafAlloc(machine, mm.pgd, target + (last - startPage))) === 0) return false;
  }
  return true;
}

/** @stepped pte */
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
        // No device has copies of the new place, and those of the old one are gone: nothing to tell
        // at the next write.
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
