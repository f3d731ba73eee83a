/**
 * @module mm/source/cut What a cache has yet when the size of its source has changed: pages past
 * the end, and the page that was the last one. Follows Linux `truncate_pagecache` and
 * `unmap_mapping_range`.
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
 *
 *   C1  The new size, and what does not fit it yet (`cutEndPage`, `stalePage` of vma/source.ts),
 *       are one change under pageCacheLock, and the size stays until that is settled. So what lies
 *       past the end is from before the cut. Linux has `inode->i_rwsem`, which a thread that dies
 *       would keep.
 *   C2  Whoever needs the source settles what another has begun, and does not wait for it. Each
 *       does all. `sizes` is looked at where something goes: under pageCacheLock before an entry of
 *       the cache is cleared, under the mmap lock before entries of a space are.
 *
 *         two threads that settle                         a third one
 *         first: all done, noted as settled
 *                                                         the store has grown: notes the size
 *                                                         stores to a page that had been cut off
 *         second: comes to this page, `sizes` is another
 *
 *   C3  If the thread that has noted the size dies, the reaper clears the entries of the spaces,
 *       for a load through one of them asks nobody. What the cache has past the end cannot be
 *       mapped.
 */

import { notedFrame } from "../../memory/frames/frame-allocator.ts";
import { Machine } from "../../memory/machine.ts";
import { wordAt } from "../../mmu/radix-table.ts";
import { registerHeir, resourceKind } from "../../sync/lockdep/resources.ts";
import { bug } from "../../sync/errors.ts";
import { DONE, type Task } from "../../sync/tasks/task.ts";
import { PAGE_BYTES } from "../pte.ts";
import {
  CACHE_DIRTY,
  CACHE_READING,
  CACHE_WRITEBACK,
  PageCache,
  backingOf,
  cacheEntryAt,
  cacheEntryPfn,
  slotIfThere,
} from "../vma/page-cache.ts";
import {
  DIRTY_PAGES,
  type Source,
  isUnsettled,
  noteSettled,
  noteStore,
  sourceSize,
} from "../vma/source.ts";
import {
  HANDS,
  IO_SIZE,
  SourceIo,
  handOfIo,
  ioBegin,
  ioEnd,
  releaseDead,
  storeMark,
  thenCleanUp,
} from "./io.ts";
import { unmapPages } from "./mappings.ts";
import { waitWhileWriting, zeroBeyond } from "./transfer.ts";

const CUT_RESOURCE: number = resourceKind("change of a source's size");

/** What does not fit the size of a source. */
interface Unsettled {
  readonly machine: Machine;
  readonly cache: PageCache;
  readonly source: Source;
  readonly sizes: number;
  readonly bytes: number;
  readonly cutEndPage: number;
  readonly stalePage: number;
  /** The word that notes a frame which is about to be put, or 0. */
  readonly hand: number;
}

/**
 * The record of a change of the size, before it is noted (C3). Ended by `ioEnd`. ENOMEM, EMFILE:
 * then nothing notes what is about to be put.
 */
export function beginCut(machine: Machine, cache: number): Task<number> {
  return ioBegin(machine, cache, IO_SIZE, 0, 0, CUT_RESOURCE);
}

/**
 * Settles what another thread has begun, if there is something (C2). Holding no lock; the caller
 * has a reference of the cache. Throws HmmError EDEADLK as `bringIn` does.
 */
export function* settle(machine: Machine, at: number): Task<void> {
  const source = backingOf(machine, at);
  if (source === undefined) return;
  const cache = PageCache.at(machine.memory, at);
  if ((yield* unsettledOf(machine, cache, source, 0)) === undefined) return;
  const io = yield* beginCut(machine, at);
  const end = (): Task<void> => (io > 0 ? ioEnd(machine, io) : DONE);
  yield* thenCleanUp(settleAs(machine, cache, source, io), end);
}

/** As `settle`, with the record `io` of `beginCut`. */
export function* settleAs(
  machine: Machine,
  cache: PageCache,
  source: Source,
  io: number,
): Task<void> {
  const hand = io > 0 ? handOfIo(SourceIo.at(machine.memory, io)) : 0;
  const unsettled = yield* unsettledOf(machine, cache, source, hand);
  if (unsettled === undefined) return;
  if (unsettled.cutEndPage !== 0) yield* cutOff(unsettled);
  else yield* dropStale(unsettled);
  yield* cache.lock.lock();
  if (isInForce(unsettled)) noteSettled(source, cache.lock.at);
  yield* cache.lock.unlock();
}

function* unsettledOf(
  machine: Machine,
  cache: PageCache,
  source: Source,
  hand: number,
): Task<Unsettled | undefined> {
  yield* cache.lock.lock();
  const { sizes, cutEndPage, stalePage } = source;
  const bytes = sourceSize(source);
  const isNeeded = isUnsettled(source);
  yield* cache.lock.unlock();
  if (!isNeeded) return undefined;
  return { machine, cache, source, sizes, bytes, cutEndPage, stalePage, hand };
}

/** C2: the size is the same. Holding pageCacheLock. */
function isInForce({ source, sizes }: Unsettled): boolean {
  return source.sizes === sizes;
}

function* isInForceNow(unsettled: Unsettled): Task<boolean> {
  yield* unsettled.cache.lock.lock();
  const isNow = isInForce(unsettled);
  yield* unsettled.cache.lock.unlock();
  return isNow;
}

/** The entry is cleared, and the word `hand`, if there is one, notes the count of its frame. */
function* takeEntry(source: Source, slot: number, dirty: number, hand: number): Task<void> {
  const { words } = source.memory;
  const noted = notedFrame(cacheEntryPfn(words[slot]!));
  noteStore(source, DIRTY_PAGES);
  storeMark(words, slot, 0, source.at + DIRTY_PAGES, dirty);
  if (hand !== 0) words[hand] = noted; // in a row (H1 of sync/lockdep/held-locks.ts)
}

function* cutOff(unsettled: Unsettled): Task<void> {
  const { machine, cache, source, bytes, cutEndPage } = unsettled;
  const startPage = Math.ceil(bytes / PAGE_BYTES);
  for (let page = startPage; page < cutEndPage; page++) {
    yield* waitWhileWriting(machine, cache, source, page);
    yield* clearPage(unsettled, page, true);
  }
  if (bytes % PAGE_BYTES !== 0) yield* zeroTail(unsettled, startPage - 1);
  yield* unmapCut(unsettled);
}

/** No space maps what is past the end, nor has a copy of it. */
function* unmapCut(unsettled: Unsettled): Task<void> {
  const { machine, cache, source, bytes, cutEndPage } = unsettled;
  const startPage = Math.ceil(bytes / PAGE_BYTES);
  const isCut = (): Task<boolean> => isInForceNow(unsettled);
  yield* unmapPages(machine, cache, source, startPage, cutEndPage, true, isCut);
}

/** The rest of the last page reads as zeros, as when it is read. @stepped page cache */
function* zeroTail(unsettled: Unsettled, page: number): Task<void> {
  const { machine, cache, source } = unsettled;
  yield* cache.lock.lock();
  const entry = cacheEntryAt(machine.memory, cache, page);
  if (isInForce(unsettled) && entry !== 0 && (entry & CACHE_READING) === 0)
    zeroBeyond(machine, source, page, cacheEntryPfn(entry));
  yield* cache.lock.unlock();
}

/**
 * The page that was the last one has zeros where the store has bytes now. It is to be read again,
 * unless it is newer than the store.
 */
function* dropStale(unsettled: Unsettled): Task<void> {
  const { machine, cache, source, stalePage } = unsettled;
  const page = stalePage - 1;
  yield* waitWhileWriting(machine, cache, source, page);
  yield* clearPage(unsettled, page, false);
  yield* unmapPages(machine, cache, source, page, page + 1, false);
}

/**
 * Clears the entry and drops the cache's count of its frame. Not of a page that is READING: whoever
 * reads it finds that the size has changed (T2 of transfer.ts).
 *
 * @stepped page cache
 */
function* clearPage(unsettled: Unsettled, page: number, alsoDirty: boolean): Task<void> {
  const { machine, cache, source, hand } = unsettled;
  const { memory, ram } = machine;
  const slot = slotIfThere(memory, cache, page);
  if (slot === 0) return;
  yield* cache.lock.lock();
  const entry = wordAt(memory.words, slot);
  const kept = CACHE_READING | CACHE_WRITEBACK | (alsoDirty ? 0 : CACHE_DIRTY);
  const isCleared = isInForce(unsettled) && entry !== 0 && (entry & kept) === 0;
  const pfn = cacheEntryPfn(entry);
  if (isCleared) {
    const dirty = source.dirtyPages - ((entry & CACHE_DIRTY) === 0 ? 0 : 1);
    yield* takeEntry(source, slot, dirty, hand);
  }
  yield* cache.lock.unlock();
  if (isCleared && hand === 0) yield* ram.refs.pagePut(pfn);
  else if (isCleared) yield* ram.refs.putNoted(hand, hand + 1, hand + HANDS);
}

/** For the reaper (C3). May be done again, for a reaper that dies in it. */
registerHeir(CUT_RESOURCE, function* (memory, at, slot) {
  const machine = Machine.of(memory);
  const { cache: cacheAt } = SourceIo.at(memory, at);
  if (cacheAt !== 0) {
    const cache = PageCache.at(memory, cacheAt);
    const source = backingOf(machine, cacheAt) ?? bug("a change of a size has no source");
    const unsettled = yield* unsettledOf(machine, cache, source, 0);
    if (unsettled !== undefined && unsettled.cutEndPage !== 0) yield* unmapCut(unsettled);
  }
  yield* releaseDead(machine, at, slot);
});
