/**
 * @module mm/source/transfer
 * Moves pages between a cache and its backing store. Begins a transfer, hands it to this thread's
 * pager, and finishes it. Holding no lock. The states of an entry are in vma/page-cache.ts.
 *
 *   T1  READING and WRITEBACK are put on a run of pages in one section of pageCacheLock, for a
 *       record that is a resource of this thread already (O2 of io.ts).
 *   T2  A page that is READING has one count of its frame, the cache's. Nobody maps it. It becomes
 *       UPTODATE only when all of it holds what the store has there, and zeros beyond its end. So
 *       what was read while the size changed is thrown away: it may be from before that, or end
 *       where the store ended before.
 *   T3  A write-back holds a count of each frame from mark to finish. So the frame is neither
 *       migrated nor freed, even if the page is cut off meanwhile. It is finished in sections of
 *       pageCacheLock in which HANDS counts come into hand at most (O4 of io.ts).
 *   T4  DIRTY is cleared, then the entries of all spaces lose their right to write, then the frame
 *       is read. A store before that is written; a store after it faults, and makes the page DIRTY
 *       once more (page_mkwrite, fault/file-fault.ts).
 *
 *       write-back                                      storing thread
 *       DIRTY cleared, WRITEBACK
 *                                                       store, through an old entry
 *       entries read-only, flushed
 *                                                       store: faults, page DIRTY, entry writable
 *       frame written: has the first store, and
 *       may have the second
 *       WRITEBACK cleared                               the page is DIRTY: it is written again
 */

import type { Machine } from "../../memory/machine.ts";
import { notedFrame } from "../../memory/frames/frame-allocator.ts";
import { dataStep } from "../../memory/frames/page-data.ts";
import { LEAF_WORDS, wordAt } from "../../mmu/radix-table.ts";
import { atomicLoad, storeNoted } from "../../sync/atomics.ts";
import { EAGAIN, ENOMEM, type Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import { EXPLORED } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { PAGE_BYTES } from "../pte.ts";
import {
  CACHE_DIRTY,
  CACHE_READING,
  CACHE_UPTODATE,
  CACHE_WRITEBACK,
  PageCache,
  backingOf,
  cacheEntryPfn,
  cachePages,
  cacheSlot,
  makeCacheEntry,
  slotIfThere,
} from "../vma/page-cache.ts";
import {
  DIRTY_PAGES,
  type Source,
  noteStore,
  noteWriteFailure,
  sourceSize,
} from "../vma/source.ts";
import {
  handsAtOnce,
  IO_READ,
  IO_WRITE,
  SourceIo,
  dropMarks,
  endPageOf,
  finishPage,
  handOfIo,
  ioBegin,
  ioEnd,
  isOfPage,
  noteMarks,
  noteOne,
  putHands,
  putRest,
  runOfIo,
  startPageOf,
  storeMark,
  tableOfIo,
} from "./io.ts";
import {
  PENDING,
  type Pager,
  SIZE_CHANGED,
  forgetPending,
  notePending,
  pendingHere,
} from "./pager.ts";
import { reclaim } from "./reclaim.ts";

/** Most pages that one write-back takes. */
export const WRITE_PAGES_MAX = 256;

/**
 * Reads absent pages from `page` on, `wantedPages` at most, as far as they lie in a row and frames
 * in a row are free. 0: done, or begun (PENDING), or another thread is reading the page.
 * SIZE_CHANGED: the size is to be asked first, and the pages read again. ENOMEM, EMFILE, or what
 * the pager answered.
 */
export function* readPages(
  machine: Machine,
  cache: PageCache,
  source: Source,
  pager: Pager,
  page: number,
  wantedPages: number,
): Task<number> {
  const at = yield* ioBegin(machine, cache.at, IO_READ, page, page);
  if (at < 0) return at;
  const io = SourceIo.at(machine.memory, at);
  let run = yield* allocFrames(machine, cache, io, wantedPages, pager.wantsZeroes);
  if (run.errno === ENOMEM && (yield* reclaim(machine, cache, source, io)) > 0)
    run = yield* allocFrames(machine, cache, io, wantedPages, pager.wantsZeroes);
  const marked = run.errno === 0 ? yield* markReading(machine, cache, source, io, run) : 0;
  yield* putRest(machine, io, marked);
  if (marked === 0) {
    yield* ioEnd(machine, at);
    return run.errno;
  }
  const offsetBytes = page * PAGE_BYTES;
  const parts = [bytesOf(machine, run.pfn, marked)];
  const storedBytes = Math.min(marked * PAGE_BYTES, yield* bytesLeft(cache, source, offsetBytes));
  if (machine.memory.mode === EXPLORED)
    for (let i = 0; i < marked; i++) yield* dataStep(machine.memory, "write", run.pfn + i);
  notePending(machine, at);
  const answer = pager.read({ offsetBytes, storedBytes, parts, io: at });
  if (answer === PENDING) return 0;
  const hasChanged = answer === SIZE_CHANGED;
  const result = yield* finishTransfer(machine, at, hasChanged ? EAGAIN : answer);
  return hasChanged ? SIZE_CHANGED : result;
}

/** How much of the store lies at `offsetBytes` and after it. */
function* bytesLeft(cache: PageCache, source: Source, offsetBytes: number): Task<number> {
  yield* cache.lock.lock();
  const bytes = sourceSize(source);
  yield* cache.lock.unlock();
  return Math.max(0, bytes - offsetBytes);
}

/** Frames for a read, each with one count. */
interface FrameRun {
  readonly pfn: number;
  readonly pages: number;
  readonly errno: Errno;
}

/**
 * Frames in a row and the tables for their entries; fewer than wanted where RAM is short. `io`
 * notes them (O4 of io.ts).
 */
function* allocFrames(
  machine: Machine,
  cache: PageCache,
  io: SourceIo,
  wantedPages: number,
  zeroed: boolean,
): Task<FrameRun> {
  const page = io.startPage;
  const none = { pfn: 0, pages: 0, errno: ENOMEM };
  let pages = Math.min(wantedPages, cachePages(machine, cache.at) - page);
  if (pages <= 0) return { ...none, errno: 0 };
  for (let first = page; first < page + pages; first += LEAF_WORDS) {
    const slot = yield* cacheSlot(machine, cache, first, tableOfIo(io));
    // Cut off meanwhile: then there is nothing to read.
    if (slot <= 0) return slot === 0 ? none : { ...none, errno: 0 };
  }
  const last = yield* cacheSlot(machine, cache, page + pages - 1, tableOfIo(io));
  if (last <= 0) return last === 0 ? none : { ...none, errno: 0 };
  for (; pages > 1; pages = Math.floor(pages / 2)) {
    const pfn = yield* machine.ram.allocRun(pages, zeroed, false, runOfIo(io, pages));
    if (pfn === 0) continue;
    io.isRunUsed = 1;
    return { pfn, pages, errno: 0 };
  }
  const pfn = yield* machine.ram.allocFrame(zeroed, handOfIo(io));
  if (pfn === 0) return none;
  noteOne(io, pfn);
  return { pfn, pages: 1, errno: 0 };
}

/**
 * T1. How many pages of the run are READING now: it ends at a page that is not absent.
 *
 * @stepped page cache
 */
function* markReading(
  machine: Machine,
  cache: PageCache,
  source: Source,
  io: SourceIo,
  { pfn, pages }: FrameRun,
): Task<number> {
  const { memory, ram } = machine;
  const { startPage } = io;
  for (let i = 0; i < pages; i++) ram.refs.setMapping(pfn + i, cache.at);
  yield* cache.lock.lock();
  const most = Math.min(pages, Math.max(0, cachePages(machine, cache.at) - startPage));
  let marked = 0;
  for (let slot = 0; marked < most; marked++, slot++) {
    if (marked === 0 || (startPage + marked) % LEAF_WORDS === 0)
      slot = slotIfThere(memory, cache, startPage + marked);
    if (wordAt(memory.words, slot) !== 0) break;
    if (marked === 0) noteMarks(source, io, startPage);
    const entry = makeCacheEntry(pfn + marked, CACHE_READING);
    storeNoted(memory.words, slot, entry, memory.words, endPageOf(io), startPage + marked + 1);
  }
  yield* cache.lock.unlock();
  return marked;
}

/** The bytes of frames in a row. */
function bytesOf(machine: Machine, pfn: number, pages: number): Uint8Array {
  const section = machine.ram.sections.of(pfn);
  const start = (pfn - section.basePfn) * PAGE_BYTES;
  return section.u8.subarray(start, start + pages * PAGE_BYTES);
}

/** A run of dirty pages that is being written, and its frames. */
export interface WriteRun {
  readonly io: number;
  readonly startPage: number;
  readonly endPage: number;
  readonly pfns: readonly number[];
}

/**
 * T1, T3: the first dirty pages of [startPage, endPage) that are not being written, as a run.
 * Undefined: there are none. ENOMEM, EMFILE.
 */
export function* beginWrite(
  machine: Machine,
  cache: PageCache,
  source: Source,
  startPage: number,
  endPage: number,
): Task<WriteRun | Errno | undefined> {
  if (!(yield* isAnyDirty(cache, source))) return undefined;
  const at = yield* ioBegin(machine, cache.at, IO_WRITE, startPage, startPage);
  if (at < 0) return at;
  const pfns: number[] = [];
  const first = yield* markWriteback(machine, cache, source, at, endPage, pfns);
  if (first >= 0) return { io: at, startPage: first, endPage: first + pfns.length, pfns };
  yield* ioEnd(machine, at);
  return undefined;
}

/** Whether there is something to write. */
function* isAnyDirty(cache: PageCache, source: Source): Task<boolean> {
  yield* cache.lock.lock();
  const isDirty = source.dirtyPages > 0;
  yield* cache.lock.unlock();
  return isDirty;
}

/** The first page of the run, or -1. @stepped page cache */
function* markWriteback(
  machine: Machine,
  cache: PageCache,
  source: Source,
  at: number,
  endPage: number,
  pfns: number[],
): Task<number> {
  const { memory, ram } = machine;
  const io = SourceIo.at(memory, at);
  let first = -1;
  yield* cache.lock.lock();
  const end = Math.min(endPage, cachePages(machine, cache.at));
  for (let page = io.startPage; page < end && pfns.length < WRITE_PAGES_MAX; page++) {
    const slot = slotIfThere(memory, cache, page);
    const entry = slot === 0 ? 0 : wordAt(memory.words, slot);
    const isWanted = (entry & CACHE_DIRTY) !== 0 && (entry & CACHE_WRITEBACK) === 0;
    if (!isWanted && first < 0) continue;
    if (!isWanted) break;
    if (first < 0) noteMarks(source, io, page);
    if (first < 0) first = page;
    const pfn = cacheEntryPfn(entry);
    ram.refs.pageGetNoted(pfn, handOfIo(io), notedFrame(pfn));
    pfns.push(pfn);
    yield* markPage(source, io, page, slot, (entry & ~CACHE_DIRTY) | CACHE_WRITEBACK);
  }
  yield* cache.lock.unlock();
  return first;
}

/** The entry at `slot` is marked, and the page the transfer's, with the reference in hand. */
function* markPage(
  source: Source,
  io: SourceIo,
  page: number,
  slot: number,
  fresh: number,
): Task<void> {
  const { words } = source.memory;
  const [hand, endAt] = [handOfIo(io), endPageOf(io)];
  const dirty = source.dirtyPages - 1;
  noteStore(source, DIRTY_PAGES);
  storeMark(words, slot, fresh, source.at + DIRTY_PAGES, dirty);
  words[hand] = 0; // in a row (H1 of sync/lockdep/held-locks.ts)
  words[endAt] = page + 1;
}

/**
 * Writes a run whose entries are read-only now (T4). 0: done or begun; else what the pager
 * answered.
 */
export function* writeRun(
  machine: Machine,
  cache: PageCache,
  source: Source,
  pager: Pager,
  { io, startPage, pfns }: WriteRun,
): Task<Errno> {
  const offsetBytes = startPage * PAGE_BYTES;
  const leftBytes = yield* bytesLeft(cache, source, offsetBytes);
  for (const pfn of pfns) yield* dataStep(machine.memory, "read", pfn);
  const parts = clipped(partsOf(machine, pfns), leftBytes);
  const storedBytes = Math.min(leftBytes, pfns.length * PAGE_BYTES);
  notePending(machine, io);
  const answer = parts.length === 0 ? 0 : pager.write({ offsetBytes, storedBytes, parts, io });
  return answer === PENDING ? 0 : yield* finishTransfer(machine, io, answer);
}

/** The bytes of frames in order; those that follow each other as one part. */
function partsOf(machine: Machine, pfns: readonly number[]): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let i = 0; i < pfns.length;) {
    const section = machine.ram.sections.of(pfns[i]!);
    let end = i + 1;
    const last = section.basePfn + section.pages;
    while (end < pfns.length && pfns[end] === pfns[i]! + (end - i) && pfns[end]! < last) end++;
    parts.push(bytesOf(machine, pfns[i]!, end - i));
    i = end;
  }
  return parts;
}

/** As much as the store has: a mapping does not make it longer. */
function clipped(parts: readonly Uint8Array[], mostBytes: number): Uint8Array[] {
  const kept: Uint8Array[] = [];
  let leftBytes = mostBytes;
  for (const part of parts) {
    if (leftBytes <= 0) break;
    kept.push(part.length <= leftBytes ? part : part.subarray(0, leftBytes));
    leftBytes -= part.length;
  }
  return kept;
}

/**
 * Ends a transfer with `answer`, 0 or an errno, which it returns; EAGAIN of a read: the pages are
 * to be read again. Of a transfer that was PENDING, in the thread that began it. Until then it is
 * counted as a mapping (O2 of io.ts), so the thread goes on serving.
 */
export function* finishTransfer(machine: Machine, at: number, answer: Errno): Task<Errno> {
  const io = SourceIo.at(machine.memory, at);
  const cache = PageCache.at(machine.memory, io.cache);
  const source = backingOf(machine, io.cache) ?? bug("a transfer without a source has ended");
  const { startPage } = io;
  forgetPending(machine, at);
  let isLast = false;
  for (let isFinished = false; !isFinished;) {
    yield* cache.lock.lock();
    if (io.kind === IO_READ) yield* finishRead(machine, cache, source, io, answer, startPage);
    else yield* finishWrite(machine, cache, source, io, answer);
    isFinished = io.startPage === io.endPage;
    if (isFinished) isLast = yield* dropMarks(source, io);
    yield* cache.lock.unlock();
    yield* putHands(machine, io);
  }
  if (isLast) yield* source.serveQueue.wakeAll();
  yield* source.doneQueue.wakeAll();
  yield* ioEnd(machine, at);
  return answer;
}

/**
 * T2, of the next pages. The frames of those that are absent again come into hand. The read began
 * with `firstPage`: who waits for a page that is finished may look before the last one is. Holding
 * pageCacheLock.
 *
 * @stepped page cache
 */
function* finishRead(
  machine: Machine,
  cache: PageCache,
  source: Source,
  io: SourceIo,
  answer: Errno,
  firstPage: number,
): Task<void> {
  const { memory } = machine;
  const pages = cachePages(machine, cache.at);
  const isWhole = answer === 0 && io.sizes === source.sizes;
  const { startPage, endPage } = io;
  const startAt = startPageOf(io);
  let hand = handOfIo(io);
  const pastHands = hand + handsAtOnce(memory);
  for (let page = startPage, slot = 0; page < endPage && hand < pastHands; page++, slot++) {
    if (page === startPage || page % LEAF_WORDS === 0) slot = slotIfThere(memory, cache, page);
    const pfn = cacheEntryPfn(wordAt(memory.words, slot));
    const isKept = isWhole && page < pages;
    if (isKept && page === pages - 1) zeroBeyond(machine, source, page, pfn);
    if (isKept) {
      const entry = makeCacheEntry(pfn, CACHE_UPTODATE);
      storeNoted(memory.words, slot, entry, memory.words, startAt, page + 1);
      continue;
    }
    yield* finishPage(source, io, slot, 0, source.dirtyPages, hand);
    hand++;
  }
  source.readErrno = answer === EAGAIN ? 0 : answer;
  source.failedPage = firstPage;
  source.failedEndPage = endPage;
}

/** The last page reads as zeros past the end of the store. Holding pageCacheLock. */
export function zeroBeyond(machine: Machine, source: Source, page: number, pfn: number): void {
  const usedBytes = sourceSize(source) - page * PAGE_BYTES;
  if (usedBytes < PAGE_BYTES) bytesOf(machine, pfn, 1).fill(0, Math.max(0, usedBytes));
}

/**
 * T3, of the next pages. The counts that the transfer had of their frames come into hand. Holding
 * pageCacheLock.
 *
 * @stepped page cache
 */
function* finishWrite(
  machine: Machine,
  cache: PageCache,
  source: Source,
  io: SourceIo,
  answer: Errno,
): Task<void> {
  const { memory } = machine;
  const { startPage } = io;
  const endPage = Math.min(io.endPage, startPage + handsAtOnce(machine.memory));
  const hand = handOfIo(io);
  for (let page = startPage; page < endPage; page++) {
    const slot = slotIfThere(memory, cache, page);
    const entry = wordAt(memory.words, slot);
    // Who cuts a page off waits until it has been written (size.ts).
    if ((entry & CACHE_WRITEBACK) === 0) bug(`page ${page} lost its mark during a write-back`);
    const isDirty = answer !== 0 || (entry & CACHE_DIRTY) !== 0;
    const isMore = isDirty && (entry & CACHE_DIRTY) === 0;
    const fresh = (entry & ~(CACHE_WRITEBACK | CACHE_DIRTY)) | (isDirty ? CACHE_DIRTY : 0);
    const dirty = source.dirtyPages + (isMore ? 1 : 0);
    yield* finishPage(source, io, slot, fresh, dirty, hand + (page - startPage));
  }
  if (answer !== 0) noteWriteFailure(source, answer);
}

/** Until the page is not under write-back. Throws HmmError EDEADLK as `bringIn` does. */
export function* waitWhileWriting(
  machine: Machine,
  cache: PageCache,
  source: Source,
  page: number,
): Task<void> {
  const { memory } = machine;
  const slot = slotIfThere(memory, cache, page);
  if (slot === 0) return;
  const isOver = (): boolean => (atomicLoad(memory.words, slot) & CACHE_WRITEBACK) === 0;
  const isOwn = (): boolean => {
    for (const at of pendingHere(machine)) if (isOfPage(machine, at, cache.at, page)) return true;
    return false;
  };
  yield* source.doneQueue.waitEvent(isOver, Infinity, isOwn, { at: slot, words: 1 });
}
