/**
 * @module mm/source/reclaim Takes pages out of a cache when RAM is short, or when nothing maps the
 * source any more. Only pages that are as the store has them, so they are read again when they are
 * needed. Plays a small part of Linux's `mm/vmscan.c`: a reader of a source takes pages of that
 * source alone, and all of them.
 */

import { notedFrame } from "../../memory/frames/frame-allocator.ts";
import type { Machine } from "../../memory/machine.ts";
import { nextLeafPage, wordAt } from "../../mmu/radix-table.ts";
import { storeNoted } from "../../sync/atomics.ts";
import type { Task } from "../../sync/tasks/task.ts";
import {
  CACHE_PAGES_MAX,
  CACHE_UPTODATE,
  type PageCache,
  cacheEntryPfn,
  cachePages,
  slotIfThere,
} from "../vma/page-cache.ts";
import type { Source } from "../vma/source.ts";
import { handsAtOnce, type SourceIo, handOfIo, putHands } from "./io.ts";
import { unmapPages } from "./mappings.ts";

/**
 * Drops clean pages of the cache: those that nobody maps; if there are none, those that are mapped,
 * too. Returns how many. Holding no lock; the caller has a reference of the cache. What is about to
 * be put is in the hand of the transfer `io`, which has nothing there.
 */
export function* reclaim(
  machine: Machine,
  cache: PageCache,
  source: Source,
  io: SourceIo,
): Task<number> {
  const dropped = yield* dropUnmapped(machine, cache, io);
  if (dropped > 0) return dropped;
  yield* unmapPages(machine, cache, source, 0, cachePages(machine, cache.at), false);
  return yield* dropUnmapped(machine, cache, io);
}

/**
 * Drops the pages of [startPage, endPage) that are as the store has them and that nobody maps. They
 * are read again when they are needed. Returns how many. `io`: as of `reclaim`.
 */
export function* dropUnmapped(
  machine: Machine,
  cache: PageCache,
  io: SourceIo,
  startPage: number = 0,
  endPage: number = CACHE_PAGES_MAX,
): Task<number> {
  let dropped = 0;
  const pastPage = Math.min(endPage, cachePages(machine, cache.at));
  for (let page = startPage; page < pastPage;) {
    const end = Math.min(nextLeafPage(page), pastPage);
    const { next, taken } = yield* takeUnmapped(machine, cache, io, page, end);
    if (taken > 0) yield* putHands(machine, io);
    dropped += taken;
    page = next;
  }
  return dropped;
}

/** How far a section has come. */
interface Taken {
  /** The first page that it has not looked at. */
  readonly next: number;
  readonly taken: number;
}

/**
 * In one section what lies in one table of the cache, as far as there is room in hand: the frames
 * of which the cache had the only count.
 *
 * @stepped page cache
 */
function* takeUnmapped(
  machine: Machine,
  cache: PageCache,
  io: SourceIo,
  page: number,
  endPage: number,
): Task<Taken> {
  const { memory, ram } = machine;
  const first = slotIfThere(memory, cache, page);
  if (first === 0) return { next: endPage, taken: 0 };
  const hand = handOfIo(io);
  const pastSlot = first + (endPage - page);
  let slot = first;
  let taken = 0;
  const most = handsAtOnce(memory);
  yield* cache.lock.lock();
  for (; slot < pastSlot && taken < most; slot++) {
    const entry = wordAt(memory.words, slot);
    const pfn = cacheEntryPfn(entry);
    if ((entry & 0xff) !== CACHE_UPTODATE || ram.refs.pageCount(pfn) !== 1) continue;
    storeNoted(memory.words, slot, 0, memory.words, hand + taken, notedFrame(pfn));
    taken++;
  }
  yield* cache.lock.unlock();
  return { next: page + (slot - first), taken };
}
