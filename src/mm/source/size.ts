/**
 * @module mm/source/size The size of a backing store that others make longer or shorter. Follows
 * Linux `truncate_pagecache` and `unmap_mapping_range`. Nobody tells us when a file changes, so its
 * size is asked: when a read comes back short, at a fault past the end, at msync.
 *
 *     the size is set                 faults past it are SIGBUS, reads stop there
 *     entries of the cache are cleared, once they are not under write-back
 *     mmap lock of each space, for writing: entries there are cleared (zap.ts), private copies, too
 *
 * The mmap lock is taken for writing because a fault takes a frame out of the cache and maps it
 * under the lock for reading: it has done both, or it will find the page gone.
 *
 *     fault, for reading                              truncation
 *     finds the frame, gets a count
 *                                                     size, cache entry cleared
 *     maps it
 *     drops the mmap lock                             mmap lock for writing: zaps the entry
 */

import { notedFrame } from "../../memory/frames/frame-allocator.ts";
import type { Machine } from "../../memory/machine.ts";
import { wordAt } from "../../mmu/radix-table.ts";
import { atomicStore } from "../../sync/atomics.ts";
import { EFBIG, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { noteUndo } from "../../sync/words/undo-log.ts";
import { PAGE_BYTES } from "../pte.ts";
import {
  CACHE_DIRTY,
  CACHE_PAGES_MAX,
  CACHE_READING,
  CACHE_WRITEBACK,
  PageCache,
  backingOf,
  cacheEntryAt,
  cacheEntryPfn,
  slotIfThere,
} from "../vma/page-cache.ts";
import { DIRTY_PAGES, type Source, setSourceSize, sourceSize } from "../vma/source.ts";
import { HANDS, IO_SIZE, SourceIo, handOfIo, ioBegin, ioEnd, storeMark } from "./io.ts";
import { unmapPages } from "./mappings.ts";
import { pagerOf } from "./pager.ts";
import { askOnce } from "./requests.ts";
import { waitWhileWriting, zeroBeyond } from "./transfer.ts";

/**
 * Asks for the size, and makes the cache follow it. 0, or why it could not be asked; EFBIG past 8
 * GiB. Holding no lock; the caller has a reference of the cache.
 */
export function* refreshSize(machine: Machine, at: number): Task<Errno> {
  const source = backingOf(machine, at);
  if (source === undefined) return 0;
  const pager = pagerOf(machine, at);
  if (pager !== undefined) {
    const bytes = pager.sizeBytes();
    return bytes < 0 ? bytes : yield* setSize(machine, at, bytes);
  }
  const io = yield* ioBegin(machine, at, IO_SIZE, 0, 0);
  if (io < 0) return io;
  return yield* askOnce(machine, source, io);
}

/** The store has `bytes` now. In a thread that has the code. 0 or EFBIG. */
function* setSize(machine: Machine, at: number, bytes: number): Task<Errno> {
  const source = backingOf(machine, at);
  const pages = Math.ceil(bytes / PAGE_BYTES);
  if (pages > CACHE_PAGES_MAX) return EFBIG;
  if (source === undefined) return 0;
  const cache = PageCache.at(machine.memory, at);
  yield* cache.lock.lock();
  const before = sourceSize(source);
  setSourceSize(source, bytes, cache.lock.at);
  storePages(cache, pages);
  yield* cache.lock.unlock();
  if (bytes === before) return 0;
  // Without memory for a record nothing notes what is about to be put.
  const io = yield* ioBegin(machine, at, IO_SIZE, 0, 0);
  const hand = io < 0 ? 0 : handOfIo(SourceIo.at(machine.memory, io));
  const cut = { machine, cache, source, hand };
  if (bytes < before) yield* cutOff(cut, bytes, before);
  // The page that was the last one has zeros where the store has bytes now.
  else if (before % PAGE_BYTES !== 0) yield* dropClean(cut, Math.floor(before / PAGE_BYTES));
  if (io > 0) yield* ioEnd(machine, io);
  return 0;
}

/** A cache of which pages go. */
interface Cut {
  readonly machine: Machine;
  readonly cache: PageCache;
  readonly source: Source;
  /** The word that notes a frame which is about to be put, or 0. */
  readonly hand: number;
}

/** The entry is cleared, and the word `hand`, if there is one, notes the count of its frame. */
function* takeEntry(source: Source, slot: number, dirty: number, hand: number): Task<void> {
  const { words } = source.memory;
  const noted = notedFrame(cacheEntryPfn(words[slot]!));
  storeMark(words, slot, 0, source.at + DIRTY_PAGES, dirty);
  if (hand !== 0) words[hand] = noted; // in a row (H1 of sync/lockdep/held-locks.ts)
}

/** Holding pageCacheLock, with which it is undone. @stepped page cache */
function storePages(cache: PageCache, pages: number): void {
  noteUndo(cache.memory, cache.lock.at, cache.at + PageCache.offset.pages, cache.pages);
  atomicStore(cache.memory.words, cache.at + PageCache.offset.pages, pages);
}

function* cutOff(cut: Cut, bytes: number, before: number): Task<void> {
  const { machine, cache, source } = cut;
  const startPage = Math.ceil(bytes / PAGE_BYTES);
  const endPage = Math.ceil(before / PAGE_BYTES);
  for (let page = startPage; page < endPage; page++) {
    yield* waitWhileWriting(machine, cache, source, page);
    yield* clearPage(cut, page, true);
  }
  if (bytes % PAGE_BYTES !== 0) yield* zeroTail(machine, cache, source, startPage - 1);
  yield* unmapPages(machine, cache, source, startPage, endPage, true);
}

/** The rest of the last page reads as zeros, as when it is read. @stepped page cache */
function* zeroTail(machine: Machine, cache: PageCache, source: Source, page: number): Task<void> {
  yield* cache.lock.lock();
  const entry = cacheEntryAt(machine.memory, cache, page);
  if (entry !== 0 && (entry & CACHE_READING) === 0)
    zeroBeyond(machine, source, page, cacheEntryPfn(entry));
  yield* cache.lock.unlock();
}

/** A page that is to be read again, unless it is newer than the store. */
function* dropClean(cut: Cut, page: number): Task<void> {
  const { machine, cache, source } = cut;
  if (yield* clearPage(cut, page, false))
    yield* unmapPages(machine, cache, source, page, page + 1, false);
}

/**
 * Clears the entry and drops the cache's count of its frame. Not of a page that is READING: whoever
 * reads it finds that it lies past the end (T2 of transfer.ts). Returns whether it did.
 *
 * @stepped page cache
 */
function* clearPage(
  { machine, cache, source, hand }: Cut,
  page: number,
  alsoDirty: boolean,
): Task<boolean> {
  const { memory, ram } = machine;
  const slot = slotIfThere(memory, cache, page);
  if (slot === 0) return false;
  yield* cache.lock.lock();
  const entry = wordAt(memory.words, slot);
  const kept = CACHE_READING | CACHE_WRITEBACK | (alsoDirty ? 0 : CACHE_DIRTY);
  const isCleared = entry !== 0 && (entry & kept) === 0;
  const pfn = cacheEntryPfn(entry);
  if (isCleared) {
    const dirty = source.dirtyPages - ((entry & CACHE_DIRTY) === 0 ? 0 : 1);
    yield* takeEntry(source, slot, dirty, hand);
  }
  yield* cache.lock.unlock();
  if (isCleared && hand === 0) yield* ram.refs.pagePut(pfn);
  else if (isCleared) yield* ram.refs.putNoted(hand, hand + 1, hand + HANDS);
  return isCleared;
}
