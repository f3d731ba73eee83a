/**
 * @module mm/vma/vma-tree
 * The vmas of a space as a balanced tree by address (memory/layout/avl-tree.ts). Each node has the
 * widest hole below any vma of its subtree, so one descent finds a free area of a given size. Linux
 * augmented its red-black tree in the same way, before the maple tree. Everything here holds the
 * mmap lock; changes hold it for writing.
 *
 * The own hole of a vma, of which the subtree remembers the widest (T2 of avl-tree.ts), is from the
 * end of the vma before it (or FIRST_PAGE) to its start.
 */

import { AvlTree } from "../../memory/layout/avl-tree.ts";
import { undoField } from "../../memory/layout/undo-field.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { commitUndo, hasUndo } from "../../sync/words/undo-log.ts";
import { Mm } from "../mm-struct.ts";
import { TASK_SIZE_PAGES } from "../../mmu/radix-table.ts";
import { END_PAGE as END, START_PAGE as START, Vma } from "./vma.ts";

/**
 * No free area below 64 KiB is found, so a null pointer with a small offset faults. Fixed mappings
 * may be there.
 */
export const FIRST_PAGE = 16;

const PREV = undoField(Vma, "prev");
const NEXT = undoField(Vma, "next");
const LEFT = undoField(Vma, "left");
const RIGHT = undoField(Vma, "right");
const ROOT = undoField(Mm, "vmaRoot");
const FIRST = undoField(Mm, "vmaFirst");

const tree: AvlTree = new AvlTree({
  left: LEFT,
  right: RIGHT,
  height: undoField(Vma, "height"),
  highest: undoField(Vma, "maxGapPages"),
  isBefore: (memory, a, b) => START.load(memory, a) < START.load(memory, b),
  ownNumber: ownGap,
});

/** The hole directly below a vma. */
function ownGap(memory: SharedMemory, at: number): number {
  const prev = PREV.load(memory, at);
  const below = prev === 0 ? FIRST_PAGE : Math.max(END.load(memory, prev), FIRST_PAGE);
  return Math.max(START.load(memory, at) - below, 0);
}

/** The vma with the highest start below `page`, or 0. */
export function predecessor(memory: SharedMemory, mm: Mm, page: number): number {
  let best = 0;
  for (let at = mm.vmaRoot; at !== 0;) {
    if (START.load(memory, at) < page) {
      best = at;
      at = RIGHT.load(memory, at);
    } else {
      at = LEFT.load(memory, at);
    }
  }
  return best;
}

/**
 * What is stored next of vmas, of their tree and of their numbers is undone if this thread dies
 * before `endVmaChange`, or before it releases the mmap lock. Until then it waits for nothing, or
 * calls this again.
 */
export function beginVmaChange(memory: SharedMemory, mm: Mm): void {
  memory.undoLock = mm.mmapLock.at;
}

/** The vmas are as they should be. Before anything is freed that they do not have any more. */
export function endVmaChange(memory: SharedMemory, mm: Mm): void {
  if (hasUndo(memory)) commitUndo(memory, mm.mmapLock.at);
}

/** The vma behind one in the list, or 0. */
export function nextVma(memory: SharedMemory, at: number): number {
  return NEXT.load(memory, at);
}

/** Links a vma whose range is free (V1 of vma-map.ts): list and tree. */
export function treeInsert(memory: SharedMemory, mm: Mm, at: number): void {
  const prev = predecessor(memory, mm, START.load(memory, at));
  const next = prev === 0 ? mm.vmaFirst : NEXT.load(memory, prev);
  beginVmaChange(memory, mm);
  PREV.store(memory, at, prev);
  NEXT.store(memory, at, next);
  if (prev === 0) FIRST.store(memory, mm.at, at);
  else NEXT.store(memory, prev, at);
  if (next !== 0) PREV.store(memory, next, at);
  ROOT.store(memory, mm.at, tree.insert(memory, mm.vmaRoot, at));
  if (next !== 0) updateNode(memory, mm, next);
}

/** Unlinks a vma from list and tree. */
export function treeRemove(memory: SharedMemory, mm: Mm, at: number): void {
  const prev = PREV.load(memory, at);
  const next = NEXT.load(memory, at);
  beginVmaChange(memory, mm);
  if (prev === 0) FIRST.store(memory, mm.at, next);
  else NEXT.store(memory, prev, next);
  if (next !== 0) PREV.store(memory, next, prev);
  ROOT.store(memory, mm.at, tree.remove(memory, mm.vmaRoot, at));
  if (next !== 0) updateNode(memory, mm, next);
}

/** After the bounds of a vma have changed in place: so have the holes around it. */
export function treeUpdate(memory: SharedMemory, mm: Mm, at: number): void {
  updateNode(memory, mm, at);
  const next = NEXT.load(memory, at);
  if (next !== 0) updateNode(memory, mm, next);
}

/** Restores the widest holes on the path to a vma whose own hole has changed. */
function updateNode(memory: SharedMemory, mm: Mm, at: number): void {
  beginVmaChange(memory, mm);
  const root = tree.update(memory, mm.vmaRoot, at);
  if (root !== mm.vmaRoot) ROOT.store(memory, mm.at, root);
}

/**
 * A free area of `pages` pages from a multiple of `alignment` on, or -1. It is the lowest that has
 * room for that wherever it begins. Linux: `__thp_get_unmapped_area`.
 */
export function findAlignedArea(
  memory: SharedMemory,
  mm: Mm,
  pages: number,
  alignment: number,
): number {
  const page = findFreeArea(memory, mm, pages + alignment - 1);
  return page < 0 ? -1 : Math.ceil(page / alignment) * alignment;
}

/** The lowest free area of `pages` pages at or above FIRST_PAGE, or -1. Linux: `unmapped_area`. */
export function findFreeArea(memory: SharedMemory, mm: Mm, pages: number): number {
  for (let at = tree.highestOf(memory, mm.vmaRoot) >= pages ? mm.vmaRoot : 0; at !== 0;) {
    if (tree.highestOf(memory, LEFT.load(memory, at)) >= pages) {
      at = LEFT.load(memory, at);
    } else if (ownGap(memory, at) >= pages) {
      return START.load(memory, at) - ownGap(memory, at);
    } else {
      at = RIGHT.load(memory, at);
    }
  }
  const last = predecessor(memory, mm, TASK_SIZE_PAGES);
  const top = last === 0 ? FIRST_PAGE : Math.max(END.load(memory, last), FIRST_PAGE);
  return top + pages <= TASK_SIZE_PAGES ? top : -1;
}
