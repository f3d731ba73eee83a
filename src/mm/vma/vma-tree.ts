/**
 * @module mm/vma/vma-tree
 * The vmas of a space as an AVL tree by address. Each node has the widest hole below any vma of its
 * subtree, so one descent finds a free area of a given size. Linux augmented its red-black tree in
 * the same way, before the maple tree. An AVL tree has the least code of the balanced trees, and
 * favours lookups, which are frequent. Everything here holds the mmap lock; changes hold it for
 * writing.
 *
 * A change goes down once, keeps the way, and goes up only as far as something changes. Nodes are
 * pointers here, not views (S4 of memory/layout/struct.ts).
 *
 *   T1  height(node) = 1 + max(height of its two sides). The two differ by at most 1.
 *   T2  maxGapPages(node) = max(own hole, both sides'). The own hole of a vma is from the end of
 *       the vma before it (or FIRST_PAGE) to its start.
 */

import { bug } from "../../sync/errors.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Mm } from "../mm-struct.ts";
import { TASK_SIZE_PAGES } from "../../mmu/radix-table.ts";
import { Vma } from "./vma.ts";

/**
 * No free area below 64 KiB is found, so a null pointer with a small offset faults. Fixed mappings
 * may be there.
 */
export const FIRST_PAGE = 16;

const START = Vma.plain("startPage");
const END = Vma.plain("endPage");
const PREV = Vma.plain("prev");
const NEXT = Vma.plain("next");
const LEFT = Vma.plain("left");
const RIGHT = Vma.plain("right");
const HEIGHT = Vma.plain("height");
const GAP = Vma.plain("maxGapPages");

/** The nodes from the root down to the place of a change: more than any tree is high (T1). */
const way: Int32Array = new Int32Array(64);

function heightOf(memory: SharedMemory, at: number): number {
  return at === 0 ? 0 : HEIGHT.load(memory, at);
}

function gapOf(memory: SharedMemory, at: number): number {
  return at === 0 ? 0 : GAP.load(memory, at);
}

/** The hole directly below a vma. */
function ownGap(memory: SharedMemory, at: number): number {
  const prev = PREV.load(memory, at);
  const below = prev === 0 ? FIRST_PAGE : Math.max(END.load(memory, prev), FIRST_PAGE);
  return Math.max(START.load(memory, at) - below, 0);
}

/** Restores the height (T1) and T2 of one node from its sides. Returns whether either changes. */
function refresh(memory: SharedMemory, at: number): boolean {
  const left = LEFT.load(memory, at);
  const right = RIGHT.load(memory, at);
  const height = 1 + Math.max(heightOf(memory, left), heightOf(memory, right));
  const gap = Math.max(ownGap(memory, at), gapOf(memory, left), gapOf(memory, right));
  if (height === HEIGHT.load(memory, at) && gap === GAP.load(memory, at)) return false;
  HEIGHT.store(memory, at, height);
  GAP.store(memory, at, gap);
  return true;
}

function rotateRight(memory: SharedMemory, at: number): number {
  const pivot = LEFT.load(memory, at);
  LEFT.store(memory, at, RIGHT.load(memory, pivot));
  RIGHT.store(memory, pivot, at);
  refresh(memory, at);
  refresh(memory, pivot);
  return pivot;
}

function rotateLeft(memory: SharedMemory, at: number): number {
  const pivot = RIGHT.load(memory, at);
  RIGHT.store(memory, at, LEFT.load(memory, pivot));
  LEFT.store(memory, pivot, at);
  refresh(memory, at);
  refresh(memory, pivot);
  return pivot;
}

/** How much higher the left side is. */
function tiltOf(memory: SharedMemory, at: number): number {
  return heightOf(memory, LEFT.load(memory, at)) - heightOf(memory, RIGHT.load(memory, at));
}

/**
 * Restores T1 at a node whose sides keep it and differ by 2. Returns the root of the subtree.
 */
function rotate(memory: SharedMemory, at: number, tilt: number): number {
  if (tilt > 0) {
    const left = LEFT.load(memory, at);
    if (tiltOf(memory, left) < 0) LEFT.store(memory, at, rotateLeft(memory, left));
    return rotateRight(memory, at);
  }
  const right = RIGHT.load(memory, at);
  if (tiltOf(memory, right) > 0) RIGHT.store(memory, at, rotateRight(memory, right));
  return rotateLeft(memory, at);
}

/** Puts `fresh` where `old` is, below the last of `depth` nodes of the way. */
function replaceChild(
  memory: SharedMemory,
  mm: Mm,
  depth: number,
  old: number,
  fresh: number,
): void {
  const parent = depth === 0 ? 0 : way[depth - 1]!;
  if (parent === 0) mm.vmaRoot = fresh;
  else if (LEFT.load(memory, parent) === old) LEFT.store(memory, parent, fresh);
  else RIGHT.store(memory, parent, fresh);
}

/**
 * Restores T1 and T2 from the last of `depth` nodes of the way up. A subtree that has the same
 * root, height and widest hole as before changes nothing above it.
 */
function mend(memory: SharedMemory, mm: Mm, depth: number): void {
  for (let i = depth - 1; i >= 0; i--) {
    const at = way[i]!;
    const tilt = tiltOf(memory, at);
    if (tilt > 1 || tilt < -1) replaceChild(memory, mm, i, at, rotate(memory, at, tilt));
    else if (!refresh(memory, at)) return;
  }
}

/** Fills the way down to `vma`, which is in the tree, without it. Returns how many nodes it has. */
function wayTo(memory: SharedMemory, mm: Mm, vma: number): number {
  const startPage = START.load(memory, vma);
  let depth = 0;
  for (let at = mm.vmaRoot; at !== vma;) {
    if (at === 0) bug(`the vma at page ${startPage} is not in the tree`);
    way[depth++] = at;
    at = (startPage < START.load(memory, at) ? LEFT : RIGHT).load(memory, at);
  }
  return depth;
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

/** Links a vma whose range is free (V1 of vma-map.ts): list and tree. */
export function treeInsert(memory: SharedMemory, mm: Mm, vma: Vma): void {
  const { at: fresh, startPage } = vma;
  let depth = 0;
  let prev = 0;
  let next = 0;
  for (let at = mm.vmaRoot; at !== 0;) {
    way[depth++] = at;
    if (startPage < START.load(memory, at)) {
      next = at;
      at = LEFT.load(memory, at);
    } else {
      prev = at;
      at = RIGHT.load(memory, at);
    }
  }
  vma.prev = prev;
  vma.next = next;
  vma.left = 0;
  vma.right = 0;
  if (prev === 0) mm.vmaFirst = fresh;
  else NEXT.store(memory, prev, fresh);
  if (next !== 0) PREV.store(memory, next, fresh);
  if (depth === 0) mm.vmaRoot = fresh;
  else (way[depth - 1] === prev ? RIGHT : LEFT).store(memory, way[depth - 1]!, fresh);
  refresh(memory, fresh);
  mend(memory, mm, depth);
  if (next !== 0) updateNode(memory, mm, next);
}

/**
 * Takes a vma out of the tree. The next higher one takes the place of a vma with two sides: it is
 * relinked and not copied, because others point to it.
 */
function removeNode(memory: SharedMemory, mm: Mm, vma: number): void {
  let depth = wayTo(memory, mm, vma);
  const left = LEFT.load(memory, vma);
  const right = RIGHT.load(memory, vma);
  if (left === 0 || right === 0) {
    replaceChild(memory, mm, depth, vma, left === 0 ? right : left);
    mend(memory, mm, depth);
    return;
  }
  const place = depth++;
  let heir = right;
  for (; LEFT.load(memory, heir) !== 0; heir = LEFT.load(memory, heir)) way[depth++] = heir;
  if (heir !== right) {
    LEFT.store(memory, way[depth - 1]!, RIGHT.load(memory, heir));
    RIGHT.store(memory, heir, right);
  }
  LEFT.store(memory, heir, left);
  // What the place had: `mend` compares with it.
  HEIGHT.store(memory, heir, HEIGHT.load(memory, vma));
  GAP.store(memory, heir, GAP.load(memory, vma));
  replaceChild(memory, mm, place, vma, heir);
  way[place] = heir;
  mend(memory, mm, depth);
  // The place has changed even if nothing below it has.
  mend(memory, mm, place + 1);
}

/** Unlinks a vma from list and tree. */
export function treeRemove(memory: SharedMemory, mm: Mm, vma: Vma): void {
  const { prev, next } = vma;
  if (prev === 0) mm.vmaFirst = next;
  else NEXT.store(memory, prev, next);
  if (next !== 0) PREV.store(memory, next, prev);
  removeNode(memory, mm, vma.at);
  if (next !== 0) updateNode(memory, mm, next);
}

/** Restores T2 on the path to a vma whose own hole has changed. */
export function treeUpdate(memory: SharedMemory, mm: Mm, vma: Vma): void {
  updateNode(memory, mm, vma.at);
}

function updateNode(memory: SharedMemory, mm: Mm, vma: number): void {
  if (refresh(memory, vma)) mend(memory, mm, wayTo(memory, mm, vma));
}

/** The lowest free area of `pages` pages at or above FIRST_PAGE, or -1. Linux: `unmapped_area`. */
export function findFreeArea(memory: SharedMemory, mm: Mm, pages: number): number {
  for (let at = gapOf(memory, mm.vmaRoot) >= pages ? mm.vmaRoot : 0; at !== 0;) {
    if (gapOf(memory, LEFT.load(memory, at)) >= pages) {
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
