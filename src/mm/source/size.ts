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

import type { Machine } from "../../memory/machine.ts";
import { wordAt } from "../../mmu/radix-table.ts";
import { atomicStore, storeNoted } from "../../sync/atomics.ts";
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
import { IO_SIZE, ioBegin } from "./io.ts";
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
  if (bytes < before) yield* cutOff(machine, cache, source, bytes, before);
  // The page that was the last one has zeros where the store has bytes now.
  else if (bytes > before && before % PAGE_BYTES !== 0)
    yield* dropClean(machine, cache, source, Math.floor(before / PAGE_BYTES));
  return 0;
}

/** Holding pageCacheLock, with which it is undone. @stepped page cache */
function storePages(cache: PageCache, pages: number): void {
  noteUndo(cache.memory, cache.lock.at, cache.at + PageCache.offset.pages, cache.pages);
  atomicStore(cache.memory.words, cache.at + PageCache.offset.pages, pages);
}

function* cutOff(
  machine: Machine,
  cache: PageCache,
  source: Source,
  bytes: number,
  before: number,
): Task<void> {
  const startPage = Math.ceil(bytes / PAGE_BYTES);
  const endPage = Math.ceil(before / PAGE_BYTES);
  for (let page = startPage; page < endPage; page++) {
    yield* waitWhileWriting(machine, cache, source, page);
    yield* clearPage(machine, cache, source, page, true);
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
function* dropClean(machine: Machine, cache: PageCache, source: Source, page: number): Task<void> {
  if (yield* clearPage(machine, cache, source, page, false))
    yield* unmapPages(machine, cache, source, page, page + 1, false);
}

/**
 * Clears the entry and drops the cache's count of its frame. Not of a page that is READING: whoever
 * reads it finds that it lies past the end (T2 of transfer.ts). Returns whether it did.
 *
 * @stepped page cache
 */
function* clearPage(
  machine: Machine,
  cache: PageCache,
  source: Source,
  page: number,
  alsoDirty: boolean,
): Task<boolean> {
  const { memory } = machine;
  const slot = slotIfThere(memory, cache, page);
  if (slot === 0) return false;
  yield* cache.lock.lock();
  const entry = wordAt(memory.words, slot);
  const kept = CACHE_READING | CACHE_WRITEBACK | (alsoDirty ? 0 : CACHE_DIRTY);
  const isCleared = entry !== 0 && (entry & kept) === 0;
  if (isCleared) {
    const dirty = source.dirtyPages - ((entry & CACHE_DIRTY) === 0 ? 0 : 1);
    storeNoted(memory.words, slot, 0, memory.words, source.at + DIRTY_PAGES, dirty);
  }
  yield* cache.lock.unlock();
  if (isCleared) yield* machine.ram.refs.pagePut(cacheEntryPfn(entry));
  return isCleared;
}
