/**
 * @module mm/vma/vma-tree
 * The vmas of a space as an AVL tree by address. Each node has the widest hole below any vma of its
 * subtree, so one descent finds a free area of a given size. Linux augmented its red-black tree in
 * the same way, before the maple tree. An AVL tree has the least code of the balanced trees, and
 * favours lookups, which are frequent. Everything here holds the mmap lock; changes hold it for
 * writing.
 *
 *   T1  height(node) = 1 + max(height of its two sides). The two differ by at most 1.
 *   T2  maxGapPages(node) = max(own hole, both sides'). The own hole of a vma is from the end of
 *       the vma before it (or FIRST_PAGE) to its start.
 */

import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Mm } from "../mm-struct.ts";
import { TASK_SIZE_PAGES } from "../../mmu/radix-table.ts";
import { Vma } from "./vma.ts";

/**
 * No free area below 64 KiB is found, so a null pointer with a small offset faults. Fixed mappings
 * may be there.
 */
export const FIRST_PAGE = 16;

function heightOf(memory: SharedMemory, at: number): number {
  return at === 0 ? 0 : Vma.at(memory, at).height;
}

function gapOf(memory: SharedMemory, at: number): number {
  return at === 0 ? 0 : Vma.at(memory, at).maxGapPages;
}

/** The hole directly below a vma. */
function ownGap(memory: SharedMemory, vma: Vma): number {
  const below =
    vma.prev === 0 ? FIRST_PAGE : Math.max(Vma.at(memory, vma.prev).endPage, FIRST_PAGE);
  return Math.max(vma.startPage - below, 0);
}

/** Restores the height (T1) and T2 of one node from its sides. */
function refresh(memory: SharedMemory, vma: Vma): void {
  const { left, right } = vma;
  vma.height = 1 + Math.max(heightOf(memory, left), heightOf(memory, right));
  vma.maxGapPages = Math.max(ownGap(memory, vma), gapOf(memory, left), gapOf(memory, right));
}

function rotateRight(memory: SharedMemory, vma: Vma): number {
  const pivot = Vma.at(memory, vma.left);
  vma.left = pivot.right;
  pivot.right = vma.at;
  refresh(memory, vma);
  refresh(memory, pivot);
  return pivot.at;
}

function rotateLeft(memory: SharedMemory, vma: Vma): number {
  const pivot = Vma.at(memory, vma.right);
  vma.right = pivot.left;
  pivot.left = vma.at;
  refresh(memory, vma);
  refresh(memory, pivot);
  return pivot.at;
}

/**
 * Restores T1 at a node whose sides keep it and differ by at most 2. Returns the root of the
 * subtree.
 */
function rebalance(memory: SharedMemory, vma: Vma): number {
  const tilt = heightOf(memory, vma.left) - heightOf(memory, vma.right);
  if (tilt > 1) {
    const left = Vma.at(memory, vma.left);
    if (heightOf(memory, left.left) < heightOf(memory, left.right))
      vma.left = rotateLeft(memory, left);
    return rotateRight(memory, vma);
  }
  if (tilt < -1) {
    const right = Vma.at(memory, vma.right);
    if (heightOf(memory, right.right) < heightOf(memory, right.left))
      vma.right = rotateRight(memory, right);
    return rotateLeft(memory, vma);
  }
  refresh(memory, vma);
  return vma.at;
}

function insertBelow(memory: SharedMemory, root: number, vma: Vma): number {
  if (root === 0) {
    refresh(memory, vma);
    return vma.at;
  }
  const node = Vma.at(memory, root);
  if (vma.startPage < node.startPage) node.left = insertBelow(memory, node.left, vma);
  else node.right = insertBelow(memory, node.right, vma);
  return rebalance(memory, node);
}

/** The vma with the highest start below `page`, or 0. */
export function predecessor(memory: SharedMemory, mm: Mm, page: number): number {
  let best = 0;
  for (let at = mm.vmaRoot; at !== 0;) {
    const node = Vma.at(memory, at);
    if (node.startPage < page) {
      best = at;
      at = node.right;
    } else {
      at = node.left;
    }
  }
  return best;
}

/** Links a vma whose range is free (V1 of vma-map.ts): list and tree. */
export function treeInsert(memory: SharedMemory, mm: Mm, vma: Vma): void {
  const prev = predecessor(memory, mm, vma.startPage);
  const next = prev === 0 ? mm.vmaFirst : Vma.at(memory, prev).next;
  vma.prev = prev;
  vma.next = next;
  vma.left = 0;
  vma.right = 0;
  if (prev === 0) mm.vmaFirst = vma.at;
  else Vma.at(memory, prev).next = vma.at;
  if (next !== 0) Vma.at(memory, next).prev = vma.at;
  mm.vmaRoot = insertBelow(memory, mm.vmaRoot, vma);
  if (next !== 0) treeUpdate(memory, mm, Vma.at(memory, next));
}

/**
 * Removes the lowest node from a subtree and returns the new root. The caller links the node
 * elsewhere.
 */
function removeLowest(memory: SharedMemory, root: number): number {
  const node = Vma.at(memory, root);
  if (node.left === 0) return node.right;
  node.left = removeLowest(memory, node.left);
  return rebalance(memory, node);
}

function lowest(memory: SharedMemory, root: number): Vma {
  let node = Vma.at(memory, root);
  while (node.left !== 0) node = Vma.at(memory, node.left);
  return node;
}

function removeBelow(memory: SharedMemory, root: number, vma: Vma): number {
  const node = Vma.at(memory, root);
  if (node.at !== vma.at) {
    if (vma.startPage < node.startPage) node.left = removeBelow(memory, node.left, vma);
    else node.right = removeBelow(memory, node.right, vma);
    return rebalance(memory, node);
  }
  if (node.left === 0) return node.right;
  if (node.right === 0) return node.left;
  // The next higher vma takes the place of this one. It is relinked and not copied, because others
  // point to it.
  const heir = lowest(memory, node.right);
  heir.right = removeLowest(memory, node.right);
  heir.left = node.left;
  return rebalance(memory, heir);
}

/** Unlinks a vma from list and tree. */
export function treeRemove(memory: SharedMemory, mm: Mm, vma: Vma): void {
  const { prev, next } = vma;
  if (prev === 0) mm.vmaFirst = next;
  else Vma.at(memory, prev).next = next;
  if (next !== 0) Vma.at(memory, next).prev = prev;
  mm.vmaRoot = removeBelow(memory, mm.vmaRoot, vma);
  if (next !== 0) treeUpdate(memory, mm, Vma.at(memory, next));
}

/** Restores T2 on the path to a vma whose own hole has changed. */
export function treeUpdate(memory: SharedMemory, mm: Mm, vma: Vma): void {
  updateBelow(memory, mm.vmaRoot, vma);
}

function updateBelow(memory: SharedMemory, root: number, vma: Vma): void {
  const node = Vma.at(memory, root);
  if (vma.at !== node.at)
    updateBelow(memory, vma.startPage < node.startPage ? node.left : node.right, vma);
  refresh(memory, node);
}

/** The lowest free area of `pages` pages at or above FIRST_PAGE, or -1. Linux: `unmapped_area`. */
export function findFreeArea(memory: SharedMemory, mm: Mm, pages: number): number {
  for (let at = gapOf(memory, mm.vmaRoot) >= pages ? mm.vmaRoot : 0; at !== 0;) {
    const node = Vma.at(memory, at);
    if (gapOf(memory, node.left) >= pages) {
      at = node.left;
    } else if (ownGap(memory, node) >= pages) {
      return node.startPage - ownGap(memory, node);
    } else {
      at = node.right;
    }
  }
  const last = predecessor(memory, mm, TASK_SIZE_PAGES);
  const top = last === 0 ? FIRST_PAGE : Math.max(Vma.at(memory, last).endPage, FIRST_PAGE);
  return top + pages <= TASK_SIZE_PAGES ? top : -1;
}
