/**
 * @module memory/heap/heap-blocks
 * Blocks of plain words for page tables: half a page (a leaf of 512 entries), or a power of two of
 * pages. They have no header, so that two leaves fit a page, and a table of 4096 entries takes four
 * pages, not five. The page map (heap-pages.ts) says what they are.
 *
 *   K1  A block is zeroed when it is allocated, and filled with POISON_FREE when it is freed.
 *   K2  A HALVES page carries in its OWNER word which halves are allocated (bits 0 and 1), and is
 *       in `halves` while exactly one is.
 *
 * Lock: heapLock.
 */

import { bug } from "../../sync/errors.ts";
import { access } from "../../sync/tasks/task.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { commitUndo, noteUndo, undoStore } from "../../sync/words/undo-log.ts";
import { orderFor } from "./buddy.ts";
import type { HeapPages } from "./heap-pages.ts";
import { BLOCK_CLASSES, HEAP_PAGE_WORDS, KIND_BLOCK, KIND_HALVES } from "./heap-pages.ts";
import { POISON_FREE, formatPointer } from "../layout/poison.ts";

const HALF_WORDS: number = HEAP_PAGE_WORDS / 2;
const BOTH_HALVES = 3;

/** Index into `blocksLive`: 0 for halves, 1 + order for whole pages. */
function classOf(count: number): number {
  const order = count === HALF_WORDS ? -1 : orderFor(count / HEAP_PAGE_WORDS);
  if (count !== classWords(order + 1) || order + 1 >= BLOCK_CLASSES) {
    bug(
      `Cannot handle a block of ${count} words: use ${HALF_WORDS} times a power of two up to ${classWords(BLOCK_CLASSES - 1)}`,
    );
  }
  return order + 1;
}

/** Words of a block of the class. */
export function classWords(sizeClass: number): number {
  return HALF_WORDS << sizeClass;
}

/**
 * A zeroed block that starts at an even word, or 0 when the budget is spent. With a `note` its
 * pointer is stored at that word of the heap in the same change (sync/words/undo-log.ts).
 */
export function* allocBlock(pages: HeapPages, count: number, note: number = 0): Task<number> {
  const sizeClass = classOf(count);
  yield* pages.lock.lock();
  const at = sizeClass === 0 ? takeHalf(pages) : takePages(pages, sizeClass);
  if (at !== 0) countBlocks(pages, sizeClass, 1);
  if (at !== 0 && note !== 0) {
    clearBlock(pages, at, count); // whoever finds the note reads the block
    undoStore(pages.memory, pages.lock.at, note, at);
  }
  yield* pages.lock.unlock();
  if (at === 0) return 0;
  yield* access(pages.memory, "alloc", at, count, "table");
  if (note === 0) clearBlock(pages, at, count);
  return at;
}

/**
 * Another thread may have grown the heap for the page of this half: it may lie beyond this thread's
 * view, and a fill beyond the end of an array does nothing.
 */
function clearBlock({ memory }: HeapPages, at: number, count: number): void {
  memory.ensure(at + count);
  memory.words.fill(0, at, at + count);
}

/**
 * Throws AssertionFailure for anything but a live block of `count` words. With a `note` 0 is stored
 * at that word in the same change.
 */
export function* freeBlock(
  pages: HeapPages,
  at: number,
  count: number,
  note: number = 0,
): Task<void> {
  const sizeClass = classOf(count);
  yield* access(pages.memory, "free", at, count, "table");
  yield* pages.lock.lock();
  const isLive = isLiveBlock(pages, at, sizeClass);
  if (isLive) {
    if (sizeClass === 0) putHalf(pages, at);
    else pages.freeLocked(at / HEAP_PAGE_WORDS, sizeClass - 1);
    countBlocks(pages, sizeClass, -1);
    if (note !== 0) undoStore(pages.memory, pages.lock.at, note, 0);
    commitUndo(pages.memory, pages.lock.at); // a block of which the free is undone is read
    pages.memory.ensure(at + count);
    pages.memory.words.fill(POISON_FREE, at, at + count);
  }
  yield* pages.lock.unlock();
  if (!isLive)
    bug(
      `Cannot free the table at ${formatPointer(at)}: no block of ${count} words lives there; free it once, with its own size`,
    );
}

/**
 * As `freeBlock`, but the block is never allocated again: see SlabCache.quarantine. The page map
 * stays as it is; the explorer has seen the first free and notices a second one.
 */
export function* quarantineBlock(pages: HeapPages, at: number, count: number): Task<void> {
  yield* access(pages.memory, "free", at, count, "table");
  const sizeClass = classOf(count);
  if (!isLiveBlock(pages, at, sizeClass))
    bug(`Cannot free the table at ${formatPointer(at)}: no block lives there`);
  pages.memory.words.fill(POISON_FREE, at, at + count);
  pages.memory.words[pages.header.blocksLive.at + sizeClass]!--; // unwatched, as there
}

function isLiveBlock(pages: HeapPages, at: number, sizeClass: number): boolean {
  const page = Math.floor(at / HEAP_PAGE_WORDS);
  const offset = at % HEAP_PAGE_WORDS;
  if (sizeClass === 0) {
    return (
      offset % HALF_WORDS === 0 &&
      pages.kindOf(page) === KIND_HALVES &&
      (pages.ownerOf(page) & halfBit(at)) !== 0
    );
  }
  return offset === 0 && pages.kindOf(page) === KIND_BLOCK && pages.ownerOf(page) === sizeClass;
}

function halfBit(at: number): number {
  return at % HEAP_PAGE_WORDS === 0 ? 1 : 2;
}

function takePages(pages: HeapPages, sizeClass: number): number {
  const page = pages.allocLocked(sizeClass - 1, KIND_BLOCK);
  if (page !== 0) pages.setOwner(page, sizeClass);
  return page * HEAP_PAGE_WORDS;
}

function takeHalf(pages: HeapPages): number {
  const { halves } = pages.header;
  const node = halves.first();
  if (node !== 0) {
    const page = pages.pageOfNode(node);
    const taken = pages.ownerOf(page);
    pages.nodeOf(page).del(pages.lock.at);
    pages.setOwner(page, BOTH_HALVES);
    return page * HEAP_PAGE_WORDS + (taken === 1 ? HALF_WORDS : 0);
  }
  const page = pages.allocLocked(0, KIND_HALVES);
  if (page === 0) return 0;
  pages.setOwner(page, 1);
  halves.add(pages.nodeOf(page), pages.lock.at);
  return page * HEAP_PAGE_WORDS;
}

function putHalf(pages: HeapPages, at: number): void {
  const page = Math.floor(at / HEAP_PAGE_WORDS);
  const left = pages.ownerOf(page) & ~halfBit(at);
  if (left !== 0) {
    pages.setOwner(page, left);
    pages.header.halves.add(pages.nodeOf(page), pages.lock.at);
    return;
  }
  pages.nodeOf(page).del(pages.lock.at);
  pages.freeLocked(page, 0);
}

function countBlocks(pages: HeapPages, sizeClass: number, by: number): void {
  const live = pages.header.blocksLive;
  const count = live.get(sizeClass);
  noteUndo(pages.memory, pages.lock.at, live.at + sizeClass, count);
  live.set(sizeClass, count + by);
}
