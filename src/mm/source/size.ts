/**
 * @module mm/source/size The size of a backing store that others make longer or shorter. Nobody
 * tells us when a file changes, so its size is asked: when a read comes back short, at a fault past
 * the end, at msync. The cache follows it (cut.ts).
 */

import type { Machine } from "../../memory/machine.ts";
import { atomicStore } from "../../sync/atomics.ts";
import { EFBIG, EIO, type Errno } from "../../sync/errno.ts";
import { DONE, type Task } from "../../sync/tasks/task.ts";
import { noteUndo } from "../../sync/words/undo-log.ts";
import { PAGE_BYTES } from "../pte.ts";
import { CACHE_PAGES_MAX, PageCache, backingOf } from "../vma/page-cache.ts";
import {
  type Source,
  changeSourceSize,
  countAnswer,
  isUnsettled,
  sourceSize,
} from "../vma/source.ts";
import { beginCut, settle, settleAs } from "./cut.ts";
import { IO_SIZE, ioBegin, ioEnd, thenCleanUp } from "./io.ts";
import { type Pager, pagerOf } from "./pager.ts";
import { askOnce } from "./requests.ts";

/** How often the size is asked once more, because another thread has changed it meanwhile. */
const TRIES_MAX = 1000;

/**
 * Asks for the size, and makes the cache follow it. 0, or why it could not be asked; EFBIG past 8
 * GiB; EIO where it changes all the time. Holding no lock; the caller has a reference of the cache.
 */
export function* refreshSize(machine: Machine, at: number): Task<Errno> {
  const source = backingOf(machine, at);
  if (source === undefined) return 0;
  const pager = pagerOf(machine, at);
  if (pager !== undefined)
    return yield* followSize(machine, PageCache.at(machine.memory, at), source, pager);
  const io = yield* ioBegin(machine, at, IO_SIZE, 0, 0);
  if (io < 0) return io;
  return yield* askOnce(machine, source, io);
}

/**
 * In a thread that has the code. An answer counts only if no other one has counted since it was
 * asked for: it may be older than that.
 *
 *     this thread                         another one
 *     asks: 1 page
 *                                         [the store grows] asks: 2 pages
 *                                         stores to the second page
 *     would note 1 page, and drop
 *     the second one
 */
function* followSize(
  machine: Machine,
  cache: PageCache,
  source: Source,
  pager: Pager,
): Task<Errno> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    yield* settle(machine, cache.at);
    const known = yield* knownSize(cache, source);
    const bytes = pager.sizeBytes();
    if (bytes < 0) return bytes;
    if (bytes > CACHE_PAGES_MAX * PAGE_BYTES) return EFBIG;
    const isNoted =
      bytes === known.bytes
        ? yield* noteSize(cache, source, known.answers, bytes)
        : yield* changeSize(machine, cache, source, known.answers, bytes);
    if (isNoted) return 0;
  }
  return EIO;
}

/** A size, and how many answers had counted until then. */
interface KnownSize {
  readonly bytes: number;
  readonly answers: number;
}

function* knownSize(cache: PageCache, source: Source): Task<KnownSize> {
  yield* cache.lock.lock();
  const known = { bytes: sourceSize(source), answers: source.answers };
  yield* cache.lock.unlock();
  return known;
}

/** The size is another one. False: since `answers` was read, another answer has counted. */
function* changeSize(
  machine: Machine,
  cache: PageCache,
  source: Source,
  answers: number,
  bytes: number,
): Task<boolean> {
  const io = yield* beginCut(machine, cache.at);
  const change = function* (): Task<boolean> {
    const isNoted = yield* noteSize(cache, source, answers, bytes);
    if (isNoted) yield* settleAs(machine, cache, source, io);
    return isNoted;
  };
  return yield* thenCleanUp(change(), () => (io > 0 ? ioEnd(machine, io) : DONE));
}

/**
 * The store has `bytes` (C1 of cut.ts). False: since `answers` was read, another answer has
 * counted, or something is not settled yet.
 */
function* noteSize(
  cache: PageCache,
  source: Source,
  answers: number,
  bytes: number,
): Task<boolean> {
  yield* cache.lock.lock();
  const isNoted = source.answers === answers && !isUnsettled(source);
  const before = sourceSize(source);
  if (isNoted) countAnswer(source, cache.lock.at);
  if (isNoted && bytes !== before) {
    const cutEndPage = bytes < before ? Math.ceil(before / PAGE_BYTES) : 0;
    const isStale = bytes > before && before % PAGE_BYTES !== 0;
    const stalePage = isStale ? Math.ceil(before / PAGE_BYTES) : 0;
    changeSourceSize(source, cache.lock.at, bytes, cutEndPage, stalePage);
    storePages(cache, Math.ceil(bytes / PAGE_BYTES));
  }
  yield* cache.lock.unlock();
  return isNoted;
}

/** Holding pageCacheLock, with which it is undone. @stepped page cache */
function storePages(cache: PageCache, pages: number): void {
  noteUndo(cache.memory, cache.lock.at, cache.at + PageCache.offset.pages, cache.pages);
  atomicStore(cache.memory.words, cache.at + PageCache.offset.pages, pages);
}
