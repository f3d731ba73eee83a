/**
 * @module mm/source/bring-in
 * Brings a page of a source into its cache, for a fault that found it absent. Follows Linux
 * `filemap_fault`, with what Linux calls VM_FAULT_RETRY in every case: a fault never waits for a
 * backing store while it holds the mmap lock.
 *
 *     mmap lock held            the fault finds the page absent: FAULT_RETRY
 *                               `beginWait`: a record that keeps the cache (O1 of io.ts)
 *     mmap lock dropped
 *                               `bringIn`: reads it, or waits for who does
 *     the access is made again  it finds the page, or faults once more
 *
 * So the owner of an asynchronous source can take the mmap lock for writing while others wait for
 * it. What was decided under the lock (the vma, its right) is decided again.
 *
 * Read-ahead: a thread that reads on where the last read of the source ended gets twice as many
 * pages as before, READ_AHEAD_MAX at most, and so does one that goes backwards from where it began;
 * another place gets READ_AHEAD_MIN. Advice says it at once: MADV_SEQUENTIAL reads READ_AHEAD_MAX
 * everywhere, MADV_RANDOM the one page. If the read fails, the page is read alone.
 */

import type { Machine } from "../../memory/machine.ts";
import { atomicLoad } from "../../sync/atomics.ts";
import { EAGAIN, EFAULT, EIO, type Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import { monotonicMs } from "../../sync/tasks/clock.ts";
import { currentTask } from "../../sync/tasks/current-task.ts";
import { DONE, type Task } from "../../sync/tasks/task.ts";
import {
  CACHE_READING,
  CACHE_UPTODATE,
  PageCache,
  backingOf,
  cacheEntryAt,
  findEntry,
  cachePages,
  slotIfThere,
} from "../vma/page-cache.ts";
import type { Source } from "../vma/source.ts";
import { type PageRange, VM_RANDOM, VM_SEQUENTIAL } from "../vma/vma.ts";
import { IO_OWN, IO_READ, IO_SIZE, SourceIo, ioBegin, isOfPage, thenCleanUp } from "./io.ts";
import { settle } from "./cut.ts";
import { type Pager, SIZE_CHANGED, TRANSFERS_MAX, pagerOf, pendingHere } from "./pager.ts";
import { ask, endWait } from "./requests.ts";
import { refreshSize } from "./size.ts";
import { readPages } from "./transfer.ts";

/** Pages that are read for an access at random. */
export const READ_AHEAD_MIN = 4;
/** Pages of 4 KiB that are read at once for a sequential reader: 1 MiB. */
export const READ_AHEAD_MAX = 256;
/** Tries of one page: each failure means that it was taken away again. */
const TRIES_MAX = 1000;

/**
 * A wait for page `page` of the cache, which a mapping with `vmaFlags` needs: its record, or
 * ENOMEM, EMFILE. Holding the mmap lock of a space that maps it. The caller drops the lock, then
 * calls `bringIn` until it does not answer EAGAIN, or `endWait`.
 */
export function* beginWait(
  machine: Machine,
  cache: number,
  page: number,
  vmaFlags: number,
): Task<number> {
  const at = yield* ioBegin(machine, cache, IO_READ, page, page + 1);
  if (at > 0) SourceIo.at(machine.memory, at).vmaFlags = vmaFlags;
  return at;
}

/**
 * As `beginWait`, for a page past the end: `bringIn` asks for the size of the source, and answers
 * EFAULT if the page is past the end still.
 */
export function beginSizeWait(machine: Machine, cache: number, page: number): Task<number> {
  return ioBegin(machine, cache, IO_SIZE, page, page + 1);
}

/**
 * Waits, at most `timeoutMs`, until it is worth while to take the fault again: 0, and the record is
 * freed. EAGAIN: the time went by; call again. Else why the page cannot be had, and the record is
 * freed, too. Throws HmmError EDEADLK if the thread would block for its own code. Holding no lock.
 */
export function* bringIn(machine: Machine, at: number, timeoutMs: number = Infinity): Task<Errno> {
  let result: Errno = 0;
  const wait = function* (): Task<Errno> {
    result = yield* waitForPage(machine, at, timeoutMs);
    return result;
  };
  return yield* thenCleanUp(wait(), () => (result === EAGAIN ? DONE : endWait(machine, at)));
}

function* waitForPage(machine: Machine, at: number, timeoutMs: number): Task<Errno> {
  const io = SourceIo.at(machine.memory, at);
  const cache = PageCache.at(machine.memory, io.cache);
  const source = backingOf(machine, io.cache) ?? bug("a page without a source is awaited");
  const page = io.startPage;
  if (io.kind === IO_SIZE) return yield* waitForSize(machine, source, at, timeoutMs);
  const pager = pagerOf(machine, io.cache);
  // Asked before: the answer of that request is waited for.
  if (io.state !== IO_OWN) return yield* ask(machine, source, at, timeoutMs);
  const deadlineMs = timeoutMs === Infinity ? Infinity : monotonicMs() + timeoutMs;
  yield* settle(machine, io.cache);
  let isAlone = false;
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    if (page >= cachePages(machine, cache.at)) return 0;
    const entry = cacheEntryAt(machine.memory, cache, page);
    if ((entry & CACHE_UPTODATE) !== 0) return 0;
    const leftMs = deadlineMs === Infinity ? Infinity : Math.max(0, deadlineMs - monotonicMs());
    let errno: Errno;
    if ((entry & CACHE_READING) !== 0) {
      errno = yield* waitWhileReading(machine, cache, source, page, leftMs);
    } else if (pager !== undefined) {
      const window = yield* readAhead(machine, cache, source, io);
      const { startPage, endPage } = isAlone ? { startPage: page, endPage: page + 1 } : window;
      const pages = endPage - startPage;
      errno = yield* readAndFollow(machine, cache, source, pager, startPage, pages);
    } else {
      return yield* ask(machine, source, at, leftMs);
    }
    if (errno === EAGAIN || (errno !== 0 && isAlone)) return errno;
    // It may be a page behind this one that could not be read.
    if (errno !== 0) isAlone = true;
  }
  return EIO;
}

/** 0: the source has grown past the page. EFAULT: it has not. */
function* waitForSize(
  machine: Machine,
  source: Source,
  at: number,
  timeoutMs: number,
): Task<Errno> {
  const { cache, startPage } = SourceIo.at(machine.memory, at);
  const errno =
    pagerOf(machine, cache) === undefined
      ? yield* ask(machine, source, at, timeoutMs)
      : yield* refreshSize(machine, cache);
  if (errno === EAGAIN) return EAGAIN;
  return startPage < cachePages(machine, cache) ? 0 : EFAULT;
}

/**
 * 0: it is not READING any more, and is to be looked at again. EAGAIN: the time went by. Else why
 * it could not be read. Of two reads that failed, the source knows the last: who waited for a page
 * of the other one reads it himself.
 */
function* waitWhileReading(
  machine: Machine,
  cache: PageCache,
  source: Source,
  page: number,
  timeoutMs: number,
): Task<Errno> {
  const { memory } = machine;
  const slot = slotIfThere(memory, cache, page);
  const isOver = (): boolean => (atomicLoad(memory.words, slot) & CACHE_READING) === 0;
  const isOwn = (): boolean => {
    for (const at of pendingHere(machine)) if (isOfPage(machine, at, cache.at, page)) return true;
    return false;
  };
  const reads = { at: slot, words: 1 };
  if (!(yield* source.doneQueue.waitEvent(isOver, timeoutMs, isOwn, reads))) return EAGAIN;
  if ((cacheEntryAt(memory, cache, page) & CACHE_UPTODATE) !== 0) return 0;
  yield* cache.lock.lock();
  const { readErrno, failedPage, failedEndPage } = source;
  yield* cache.lock.unlock();
  return page >= failedPage && page < failedEndPage ? readErrno : 0;
}

/** Reads; where the size of the store turned out to be another one, the cache follows it. */
function* readAndFollow(
  machine: Machine,
  cache: PageCache,
  source: Source,
  pager: Pager,
  page: number,
  wantedPages: number,
): Task<Errno> {
  const answer = yield* readPages(machine, cache, source, pager, page, wantedPages);
  return answer === SIZE_CHANGED ? yield* refreshSize(machine, cache.at) : answer;
}

/** Which pages are to be read for a wait; an eighth of the free RAM at most. */
function* readAhead(
  machine: Machine,
  cache: PageCache,
  source: Source,
  { startPage: page, vmaFlags }: SourceIo,
): Task<PageRange> {
  const { freePages } = machine.ram.usage();
  yield* cache.lock.lock();
  const isBackwards = page + 1 === source.readStart;
  const goesOn = isBackwards || page === source.readNext;
  const window = windowOf(vmaFlags, goesOn ? source.readWindow : 0);
  const pages = Math.max(1, Math.min(window, Math.floor(freePages / 8)));
  const startPage = isBackwards ? absentFrom(machine, cache, page, pages) : page;
  const endPage = isBackwards ? page + 1 : page + pages;
  source.readWindow = window;
  source.readStart = startPage;
  source.readNext = endPage;
  yield* cache.lock.unlock();
  return { startPage, endPage };
}

/**
 * The first of at most `most` pages up to `page`, which nobody has read. Holding pageCacheLock.
 *
 * @stepped page cache
 */
function absentFrom({ memory }: Machine, cache: PageCache, page: number, most: number): number {
  let first = page;
  while (first > 0 && page - first + 1 < most && cacheEntryAt(memory, cache, first - 1) === 0)
    first--;
  return first;
}

/** `readBefore`: pages that the read before had, if this one goes on where that one ended. */
function windowOf(vmaFlags: number, readBefore: number): number {
  if ((vmaFlags & VM_RANDOM) !== 0) return 1;
  if ((vmaFlags & VM_SEQUENTIAL) !== 0) return READ_AHEAD_MAX;
  return Math.min(Math.max(readBefore * 2, READ_AHEAD_MIN), READ_AHEAD_MAX);
}

/**
 * Reads what is absent of [startPage, endPage), as far as that goes without waiting for this
 * thread's own code; who needs a page that could not be read finds out why. The caller holds a
 * reference of the cache, and no lock.
 */
export function* readAheadRange(
  machine: Machine,
  at: number,
  startPage: number,
  endPage: number,
): Task<void> {
  const cache = PageCache.at(machine.memory, at);
  const source = backingOf(machine, at);
  const pager = pagerOf(machine, at);
  const begun: number[] = [];
  for (let page = startPage; page < Math.min(endPage, cachePages(machine, at)); page++) {
    if (source === undefined || cacheEntryAt(machine.memory, cache, page) !== 0) continue;
    const oldest = begun.length < TRANSFERS_MAX ? undefined : begun.shift();
    if (oldest !== undefined) {
      if (currentTask.isBlocking) return; // its own code may have to end it
      if ((yield* waitWhileReading(machine, cache, source, oldest, Infinity)) !== 0) return;
    }
    begun.push(page);
    const errno =
      pager === undefined
        ? yield* bringPageIn(machine, at, page)
        : yield* readAndFollow(machine, cache, source, pager, page, endPage - page);
    if (errno !== 0) return;
  }
}

/**
 * Brings all of [startPage, endPage) in, as far as the source has pages: with frames in a row where
 * none was there. 0, or why a page cannot be had. The caller holds a reference of the cache, and no
 * lock.
 */
export function* populate(
  machine: Machine,
  at: number,
  startPage: number,
  endPage: number,
): Task<Errno> {
  const cache = PageCache.at(machine.memory, at);
  const source = backingOf(machine, at);
  if (source === undefined) return 0;
  const pager = pagerOf(machine, at);
  for (let page = startPage; page < Math.min(endPage, cachePages(machine, at));) {
    const end = Math.min(endPage, cachePages(machine, at));
    page = findEntry(machine.memory, cache, page, end, CACHE_UPTODATE, true);
    if (page >= end) break;
    const entry = cacheEntryAt(machine.memory, cache, page);
    if ((entry & CACHE_UPTODATE) !== 0) continue;
    const errno =
      entry === 0 && pager !== undefined
        ? yield* readAndFollow(machine, cache, source, pager, page, endPage - page)
        : yield* bringPageIn(machine, at, page);
    if (errno !== 0) return errno;
  }
  return 0;
}

/** One page, with what is read ahead. The caller holds a reference of the cache, and no lock. */
export function* bringPageIn(machine: Machine, cache: number, page: number): Task<Errno> {
  const io = yield* beginWait(machine, cache, page, 0);
  return io < 0 ? io : yield* bringIn(machine, io);
}
