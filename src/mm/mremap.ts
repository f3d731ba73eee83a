/**
 * @module mm/mremap
 * Resizes or moves a mapping, keeping its frames. Follows Linux `mm/mremap.c`.
 *
 * Moving takes every entry out of the old place and puts it at the new one inside an invalidation of the old range: the frames stay, only their address
 * changes, so views over them stay good.
 */

import { EVENT_UNMAP } from "../notifier/events.ts";
import { mmuNotifierInvalidateRangeEnd, mmuNotifierInvalidateRangeStart } from "../notifier/mmu-notifier.ts";
import type { Machine } from "../memory/machine.ts";
import { atomicExchange, atomicStore } from "../sync/atomics.ts";
import { EBUSY, EFAULT, EINVAL, ENOMEM, type Errno } from "../sync/errno.ts";
import type { Task } from "../sync/task.ts";
import type { Mm } from "./mm-struct.ts";
import { isFree, lengthPagesOf, munmapLocked, pageOf, pagesOf, splitAtBoth } from "./mmap.ts";
import {
  LEAF_WORDS,
  TASK_SIZE_PAGES,
  forEachLeaf,
  freeEmptyLeaves,
  leafAlloc,
  leafOf,
  pteIndex,
  wordAt,
} from "./page-table.ts";
import { PAGE_BYTES, PTE_PRESENT, PTE_TRACKED } from "./pte.ts";
import { getSource, insertVma, linkVma, mergeVmas, removeVma } from "./vma-map.ts";
import { findFreeArea } from "./vma-tree.ts";
import { Vma, type VmaKind, mappedPagesIn, vmaOf } from "./vma.ts";
import { overlapsHold } from "./view-hold.ts";
import { invalidateRange } from "./zap.ts";

export interface MremapRequest {
  readonly address: number;
  readonly oldLengthBytes: number;
  readonly newLengthBytes: number;
  readonly mayMove: boolean;
  /** Move exactly there, unmapping what is there; undefined = wherever there is room. */
  readonly to: number | undefined;
}

/**
 * The new address, or EINVAL (addresses, lengths, or old and new place overlap), EFAULT (the old range is not inside one mapping), ENOMEM (no room and may not move, a limit, no
 * memory), EBUSY (a write view of the range is open: it holds these addresses).
 */
export function* doMremap(machine: Machine, mm: Mm, request: MremapRequest): Task<number> {
  const old = pagesOf(request.address, request.oldLengthBytes);
  const newPages = lengthPagesOf(request.newLengthBytes);
  if (old === undefined || newPages < 0) return EINVAL;
  if (request.to !== undefined && !isValidTarget(request, old, newPages)) return EINVAL;
  yield* mm.mmapLock.downWrite();
  const result = yield* mremapLocked(machine, mm, request, old.startPage, old.endPage, newPages);
  yield* mm.mmapLock.upWrite();
  return result;
}

function isValidTarget(
  request: MremapRequest,
  old: { readonly startPage: number; readonly endPage: number },
  newPages: number,
): boolean {
  const target = pageOf(request.to ?? 0);
  if (!request.mayMove || target < 0 || target + newPages > TASK_SIZE_PAGES) return false;
  return target + newPages <= old.startPage || target >= old.endPage;
}

function* mremapLocked(
  machine: Machine,
  mm: Mm,
  request: MremapRequest,
  startPage: number,
  endPage: number,
  newPages: number,
): Task<number> {
  const { memory } = machine;
  const vma = vmaOf(memory, mm, startPage);
  if (vma === undefined || vma.endPage < endPage) return EFAULT;
  const oldPages = endPage - startPage;
  if (overlapsHold(memory, mm, startPage, endPage)) return EBUSY;
  if (newPages < oldPages) {
    const result = yield* munmapLocked(machine, mm, startPage + newPages, endPage);
    if (result !== 0) return result;
  }
  const keptEndPage = startPage + Math.min(oldPages, newPages);
  if (request.to !== undefined) return yield* moveTo(machine, mm, startPage, keptEndPage, newPages, pageOf(request.to));
  if (newPages <= oldPages) return startPage * PAGE_BYTES;
  if (mm.mappedPages + newPages - oldPages > mm.limitPages) return ENOMEM;
  const canGrow = vma.endPage === endPage && startPage + newPages <= TASK_SIZE_PAGES;
  if (canGrow && isFree(machine, mm, endPage, startPage + newPages)) {
    const result = yield* growInPlace(machine, mm, vma, endPage, startPage + newPages);
    return result === 0 ? startPage * PAGE_BYTES : result;
  }
  if (!request.mayMove) return ENOMEM;
  const target = findFreeArea(memory, mm, newPages);
  return target < 0 ? ENOMEM : yield* moveTo(machine, mm, startPage, endPage, newPages, target);
}

/** The same mapping goes on above its end: a neighbour that merges. */
function* growInPlace(machine: Machine, mm: Mm, vma: Vma, endPage: number, newEndPage: number): Task<Errno> {
  const kind = kindAt(vma, endPage);
  yield* getSource(machine, kind);
  return yield* insertVma(machine, mm, endPage, newEndPage, kind);
}

/** What a mapping would be that starts at `page` of `vma` (or right behind it). */
function kindAt(vma: Vma, page: number): VmaKind {
  const offsetPages = vma.source === 0 ? 0 : vma.offsetPages + (page - vma.startPage);
  return { flags: vma.flags, source: vma.source, offsetPages };
}

/** Moves [startPage, endPage) to `target`, where it gets `newPages` pages. Holding the mmap lock for writing. */
function* moveTo(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
  newPages: number,
  target: number,
): Task<number> {
  const replacedPages = mappedPagesIn(machine.memory, mm, target, target + newPages);
  if (mm.mappedPages - (endPage - startPage) - replacedPages + newPages > mm.limitPages) return ENOMEM;
  const spare = yield* machine.heap.alloc(Vma);
  if (spare === 0) return ENOMEM;
  const result = yield* prepareMove(machine, mm, startPage, endPage, newPages, target);
  const vma = vmaOf(machine.memory, mm, startPage);
  if (result !== 0 || vma === undefined) {
    yield* machine.heap.free(Vma, spare);
    return result;
  }
  const kind = kindAt(vma, startPage);
  yield* getSource(machine, kind);
  // Not merged before the old place is gone: it may lie right beside the new one.
  linkVma(machine, mm, spare, target, target + newPages, kind);
  yield* moveEntries(machine, mm, startPage, endPage, target);
  yield* removeVma(machine, mm, vma);
  yield* mergeVmas(machine, mm, target, target + newPages);
  return target * PAGE_BYTES;
}

/**
 * All of a move that can fail: makes room at the new place, the old place a vma of its own, and every table of the new place, so that once entries have begun to move nothing
 * can fail. On ENOMEM what was at the new place may be unmapped (as in Linux); the old place is as it was.
 */
function* prepareMove(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
  newPages: number,
  target: number,
): Task<Errno> {
  let result = yield* munmapLocked(machine, mm, target, target + newPages);
  if (result === 0) result = yield* splitAtBoth(machine, mm, startPage, endPage);
  if (result !== 0 || (yield* makeTables(machine, mm, startPage, endPage, target))) return result;
  yield* mergeVmas(machine, mm, startPage, endPage);
  return ENOMEM;
}

function* makeTables(machine: Machine, mm: Mm, startPage: number, endPage: number, target: number): Task<boolean> {
  for (let page = startPage; page < endPage; page = Math.min(page + LEAF_WORDS, endPage)) {
    const last = Math.min(page + LEAF_WORDS, endPage) - 1;
    if (leafOf(machine.memory, mm.pgd, page) === 0 && leafOf(machine.memory, mm.pgd, last) === 0) continue;
    // 512 pages of an unaligned old place fall into at most two tables of the new one.
    if ((yield* leafAlloc(machine, mm, target + (page - startPage))) === 0) return false;
    if ((yield* leafAlloc(machine, mm, target + (last - startPage))) === 0) return false;
  }
  return true;
}

function* moveEntries(machine: Machine, mm: Mm, startPage: number, endPage: number, target: number): Task<void> {
  const { memory } = machine;
  const range = invalidateRange(mm, startPage, endPage, EVENT_UNMAP);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  yield* forEachLeaf(memory, mm.pgd, startPage, endPage, function* (leaf, first, end): Task<number> {
    for (let page = first; page < end; page++) {
      const index = pteIndex(leaf, page);
      if (wordAt(memory.words, index) === 0) continue;
      const pte = atomicExchange(memory.words, index, 0);
      const moved = target + (page - startPage);
      // No device has copies of the new place, and those of the old one are gone: nothing to tell at the next write.
      const kept = (pte & PTE_PRESENT) === 0 ? pte : pte & ~PTE_TRACKED;
      atomicStore(memory.words, pteIndex(leafOf(memory, mm.pgd, moved), moved), kept);
    }
    yield* mm.shootdown.flush(first, end);
    return 0;
  });
  yield* freeEmptyLeaves(machine, mm, startPage, endPage);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
}
