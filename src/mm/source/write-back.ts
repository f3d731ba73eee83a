/**
 * @module mm/source/write-back
 * Writes dirty pages of a source to its backing store. Follows Linux `write_cache_pages`,
 * `folio_clear_dirty_for_io` and `page_mkclean`. Holding no lock; the caller has a reference of the
 * cache.
 */

import type { Machine } from "../../memory/machine.ts";
import { forEachLeaf, pteIndex, wordAt } from "../../mmu/radix-table.ts";
import { EVENT_PROTECTION_PAGE, invalidateRange } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../notifier/mmu-notifier.ts";
import { atomicCompareExchange } from "../../sync/atomics.ts";
import { EIO, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { beginInvalidation, endInvalidation } from "../entries/invalidation.ts";
import type { Mm } from "../mm-struct.ts";
import { PTE_PRESENT, PTE_WRITE } from "../pte.ts";
import {
  CACHE_DIRTY,
  CACHE_WRITEBACK,
  PageCache,
  backingOf,
  cachePages,
  findEntry,
} from "../vma/page-cache.ts";
import { type Source, WRITE_LOST } from "../vma/source.ts";
import { type PageRange, VM_SHARED } from "../vma/vma.ts";
import { IO_WRITE, ioBegin } from "./io.ts";
import { forEachMapping } from "./mappings.ts";
import { type Pager, TRANSFERS_MAX, pagerOf } from "./pager.ts";
import { askOnce } from "./requests.ts";
import { refreshSize } from "./size.ts";
import { type WriteRun, beginWrite, waitWhileWriting, writeRun } from "./transfer.ts";

/**
 * Writes what is dirty in pages [startPage, endPage) now, and waits until it is written: 0, or why
 * it could not be; then those pages are still dirty. EIO also where no thread serves the source. If
 * the code is another thread's, that thread does it.
 */
export function* syncPages(
  machine: Machine,
  at: number,
  startPage: number,
  endPage: number,
): Task<Errno> {
  const source = backingOf(machine, at);
  if (source === undefined || source.isWritable === 0) return 0;
  if (pagerOf(machine, at) !== undefined)
    return yield* syncHere(machine, PageCache.at(machine.memory, at), source, startPage, endPage);
  if (!isAnyUnwritten(machine, at, startPage, endPage)) return 0;
  const io = yield* ioBegin(machine, at, IO_WRITE, startPage, endPage);
  if (io < 0) return io;
  return yield* askOnce(machine, source, io);
}

/** Whether a page of the range is to be written, or is being written by another thread. */
function isAnyUnwritten(machine: Machine, at: number, startPage: number, endPage: number): boolean {
  const cache = PageCache.at(machine.memory, at);
  const end = Math.min(endPage, cachePages(machine, at));
  return findEntry(machine.memory, cache, startPage, end, CACHE_DIRTY | CACHE_WRITEBACK) < end;
}

/** In a thread that has the code. A pass more for each write-back that dies with its thread. */
function* syncHere(
  machine: Machine,
  cache: PageCache,
  source: Source,
  startPage: number,
  endPage: number,
): Task<Errno> {
  const pager = pagerOf(machine, cache.at);
  if (pager === undefined) return EIO;
  const pages = { startPage, endPage };
  // What others have cut off must not be written: that would make the store longer again.
  const asked = yield* refreshSize(machine, cache.at);
  if (asked !== 0 && !isAnyUnwritten(machine, cache.at, startPage, endPage)) return 0;
  for (;;) {
    const failures = yield* failuresSoFar(cache, source);
    const written = yield* writeDirty(machine, cache, source, pager, pages);
    yield* waitForWrites(machine, cache, source, startPage, endPage);
    if (written !== 0) return written;
    const failed = yield* failureSince(machine, cache, source, failures, pages);
    if (failed !== WRITE_LOST) return asked === 0 ? failed : asked;
  }
}

/** One pass: what is stored meanwhile may stay dirty. */
function* writeDirty(
  machine: Machine,
  cache: PageCache,
  source: Source,
  pager: Pager,
  { startPage, endPage }: PageRange,
): Task<Errno> {
  let result: Errno = 0;
  const begun: number[] = [];
  for (let page = startPage; page < endPage;) {
    while (begun.length > TRANSFERS_MAX - BATCH_RUNS)
      yield* waitWhileWriting(machine, cache, source, begun.shift()!); // there is one
    const batch = yield* beginBatch(machine, cache, source, page, endPage);
    const { runs, errno } = batch;
    if (errno !== 0 && runs.length === 0) return errno;
    yield* cleanEntries(machine, cache, source, runs);
    for (const run of runs) {
      const answer = yield* writeRun(machine, cache, source, pager, run);
      if (answer !== 0) result = answer;
      begun.push(run.startPage);
    }
    page = batch.endPage;
  }
  return result;
}

/** Runs that are cleaned by one walk over the mappings; as many may be under way meanwhile. */
const BATCH_RUNS: number = TRANSFERS_MAX / 2;

/** Runs that have begun, in order. */
interface WriteBatch {
  readonly runs: readonly WriteRun[];
  /** Nothing is to be written from the last run up to here. */
  readonly endPage: number;
  /** ENOMEM, EMFILE: there may be more, but no record for it now. */
  readonly errno: Errno;
}

/**
 * What another write-back took before is written by that; what was stored since, by this one. The
 * runs are marked first, all of them, and then cleaned by one walk: a file may have tens of
 * thousands of mappings, and each walk looks at all.
 */
function* beginBatch(
  machine: Machine,
  cache: PageCache,
  source: Source,
  startPage: number,
  endPage: number,
): Task<WriteBatch> {
  const runs: WriteRun[] = [];
  let page = startPage;
  while (page < endPage && runs.length < BATCH_RUNS) {
    const run = yield* beginWrite(machine, cache, source, page, endPage);
    if (typeof run === "number") return { runs, endPage: page, errno: run };
    if (run === undefined) return { runs, endPage, errno: 0 };
    runs.push(run);
    page = run.endPage;
  }
  return { runs, endPage: page, errno: 0 };
}

/** Waits for the writes that are under way in the range. */
function* waitForWrites(
  machine: Machine,
  cache: PageCache,
  source: Source,
  startPage: number,
  endPage: number,
): Task<void> {
  for (let page = startPage; ; page++) {
    const end = Math.min(endPage, cachePages(machine, cache.at));
    page = findEntry(machine.memory, cache, page, end, CACHE_WRITEBACK);
    if (page >= end) return;
    yield* waitWhileWriting(machine, cache, source, page);
  }
}

function* failuresSoFar(cache: PageCache, source: Source): Task<number> {
  yield* cache.lock.lock();
  const { writeFailures } = source;
  yield* cache.lock.unlock();
  return writeFailures;
}

/**
 * Why a page of the range has not been written since `failures` were counted, which may be
 * WRITE_LOST; or 0. What another write-back had taken before may have failed without a wait for it:
 *
 *     this thread                                  another one
 *                                                  page WRITEBACK, its code writes it
 *     nothing is dirty
 *                                                  it fails: DIRTY again
 *     nothing is being written
 */
function* failureSince(
  machine: Machine,
  cache: PageCache,
  source: Source,
  failures: number,
  { startPage, endPage }: PageRange,
): Task<Errno> {
  yield* cache.lock.lock();
  const { writeFailures, writeErrno } = source;
  yield* cache.lock.unlock();
  if (writeFailures === failures) return 0;
  const end = Math.min(endPage, cachePages(machine, cache.at));
  // They may have been others, or have been written since.
  return findEntry(machine.memory, cache, startPage, end, CACHE_DIRTY) < end ? writeErrno : 0;
}

/** T4 of transfer.ts, in every space that shares the pages. Linux: `page_mkclean`. */
function* cleanEntries(
  machine: Machine,
  cache: PageCache,
  source: Source,
  runs: readonly WriteRun[],
): Task<void> {
  const [first, last] = [runs[0], runs.at(-1)];
  if (first === undefined || last === undefined) return;
  const pages = { startPage: first.startPage, endPage: last.endPage };
  yield* forEachMapping(machine, cache, source, pages, "read", function* (mm, { vma, ...part }) {
    if ((vma.flags & VM_SHARED) === 0) return;
    const shift = vma.startPage - vma.offsetPages; // from a page of the source to one of the space
    for (let i = firstPast(runs, part.startPage - shift); i < runs.length; i++) {
      const startPage = Math.max(part.startPage, runs[i]!.startPage + shift); // in bounds
      const endPage = Math.min(part.endPage, runs[i]!.endPage + shift);
      if (startPage >= endPage) break;
      yield* protectPages(machine, mm, { startPage, endPage });
    }
  });
}

/** The first of the runs that ends after `page`. */
function firstPast(runs: readonly WriteRun[], page: number): number {
  let [low, high] = [0, runs.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (runs[middle]!.endPage > page) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Takes WRITE from the entries of the pages, as one invalidation. Holding the mmap lock. */
function* protectPages(machine: Machine, mm: Mm, pages: PageRange): Task<void> {
  const { startPage, endPage } = pages;
  const range = invalidateRange(mm, startPage, endPage, EVENT_PROTECTION_PAGE);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  yield* forEachLeaf(
    machine.memory,
    mm.pgd,
    startPage,
    endPage,
    function* (leaf, first, end): Task<number> {
      const operation = yield* beginInvalidation(mm, first, end);
      for (let page = first; page < end; page++)
        protectEntry(machine.memory.words, pteIndex(leaf, page));
      yield* mm.shootdown.flush(first, end);
      endInvalidation(mm, operation);
      return 0;
    },
  );
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
}

/** Faults of other threads may add rights meanwhile. @stepped pte */
function protectEntry(words: Int32Array, index: number): void {
  for (;;) {
    const pte = wordAt(words, index);
    if ((pte & PTE_PRESENT) === 0 || (pte & PTE_WRITE) === 0) return;
    if (atomicCompareExchange(words, index, pte, pte & ~PTE_WRITE) === pte) return;
  }
}
