/**
 * @module mm/calls/mremap
 * Resizes, moves or doubles mappings, which keep their frames. Follows Linux `mm/mremap.c`: which
 * calls it allows, and its errno values in the order of its checks. How a move is done is in
 * move-mappings.ts.
 */

import type { Machine } from "../../memory/machine.ts";
import { TASK_SIZE_PAGES } from "../../mmu/radix-table.ts";
import { EBUSY, EFAULT, EINVAL, ENOMEM } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { HUGE_PAGES } from "../huge.ts";
import { mmapWriteLock } from "../migration.ts";
import type { Mm } from "../mm-struct.ts";
import { PAGE_BYTES } from "../pte.ts";
import { overlapsHold } from "../view/view-hold.ts";
import { cutsHuge } from "../vma/huge-vma.ts";
import { extendVma } from "../vma/vma-map.ts";
import {
  type PageRange,
  VM_HUGETLB,
  VM_SHARED,
  type Vma,
  isFree,
  kindAt,
  offsetOf,
  vmaOf,
} from "../vma/vma.ts";
import { type MoveRequest, moveMappings } from "./move-mappings.ts";
import { munmapLocked } from "./munmap.ts";
import { alignedPageOf, isLengthOrZero, lengthPagesOf, pageOf } from "./page-arguments.ts";

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

/** A request in pages, after all checks that do not depend on the mappings. */
interface Remap extends MoveRequest {
  readonly mayMove: boolean;
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
  yield* mmapWriteLock(machine, mm);
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
  const old = { startPage, endPage: startPage + oldPages };
  const vma = vmaOf(machine.memory, mm, startPage);
  if (vma === undefined) return EFAULT;
  const isMove = target >= 0 || remap.keepsOld;
  if (oldPages === 0 && (vma.flags & VM_SHARED) === 0) return EINVAL;
  // One mapping must contain what is moved or grown. Anything may be cut off or left as it is, and
  // a move to a given place without resizing takes several mappings.
  const isMovedOnly = target >= 0 && newPages === oldPages;
  const kept = Math.min(oldPages, newPages);
  if ((isMove || newPages > oldPages) && !isMovedOnly && vma.endPage - startPage < kept)
    return EFAULT;
  if (oldPages > newPages && old.endPage > TASK_SIZE_PAGES) return EINVAL;
  if (!suitsHuge(machine, mm, remap, old, vma)) return EINVAL;
  // The offset of each page is a word (Linux: the sum wraps around).
  if (
    newPages > oldPages &&
    vma.source !== 0 &&
    offsetOf(vma, startPage) + newPages > TASK_SIZE_PAGES
  )
    return EINVAL;
  if (overlapsHold(machine.memory, mm, old)) return EBUSY;
  if (isMove) return yield* moveMappings(machine, mm, remap);
  return newPages > oldPages
    ? yield* grow(machine, mm, remap, vma)
    : yield* shrink(machine, mm, remap);
}

/**
 * An explicit huge mapping does not grow, and moves to given places that are multiples of 2 MiB. No
 * page of one is cut in two.
 */
function suitsHuge({ memory }: Machine, mm: Mm, remap: Remap, old: PageRange, vma: Vma): boolean {
  const { newPages, oldPages, target } = remap;
  const place = { startPage: target, endPage: target + newPages };
  if (cutsHuge(memory, mm, old) || (target >= 0 && cutsHuge(memory, mm, place))) return false;
  if (newPages < oldPages && cutsHuge(memory, mm, shrunk(remap))) return false;
  if ((vma.flags & VM_HUGETLB) === 0) return true;
  const isPlaced = target >= 0 ? target % HUGE_PAGES === 0 : !remap.keepsOld;
  return newPages <= oldPages && isPlaced;
}

/** What is left of a range that shrinks. */
function shrunk({ startPage, newPages }: Remap): PageRange {
  return { startPage, endPage: startPage + newPages };
}

/** In place: unmaps what is too long, whatever is mapped there. */
function* shrink(machine: Machine, mm: Mm, { startPage, oldPages, newPages }: Remap): Task<number> {
  const surplus = { startPage: startPage + newPages, endPage: startPage + oldPages };
  const result = oldPages === newPages ? 0 : yield* munmapLocked(machine, mm, surplus);
  return result === 0 ? startPage * PAGE_BYTES : result;
}

/**
 * In place where there is room, else elsewhere if it may move. An old length of 0 finds the mapping
 * itself there, so it never grows in place.
 */
function* grow(machine: Machine, mm: Mm, remap: Remap, vma: Vma): Task<number> {
  const { startPage, oldPages, newPages } = remap;
  const added = { startPage: startPage + oldPages, endPage: startPage + newPages };
  if (mm.mappedPages + newPages - oldPages > mm.limitPages) return ENOMEM;
  if (
    vma.endPage === added.startPage &&
    added.endPage <= TASK_SIZE_PAGES &&
    isFree(machine.memory, mm, added)
  ) {
    yield* extendVma(machine, mm, added, kindAt(vma, added.startPage));
    return startPage * PAGE_BYTES;
  }
  return remap.mayMove ? yield* moveMappings(machine, mm, remap) : ENOMEM;
}
