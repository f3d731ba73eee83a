/**
 * @module mm/source/reclaim Takes pages out of a cache when RAM is short, or when nothing maps the
 * source any more. Only pages that are as the store has them, so they are read again when they are
 * needed. Plays a small part of Linux's `mm/vmscan.c`: a reader of a source takes pages of that
 * source alone, and all of them.
 */

import type { Machine } from "../../memory/machine.ts";
import { nextLeafPage, wordAt } from "../../mmu/radix-table.ts";
import { atomicStore } from "../../sync/atomics.ts";
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
import { unmapPages } from "./mappings.ts";

/**
 * Drops clean pages of the cache: those that nobody maps; if there are none, those that are mapped,
 * too. Returns how many. Holding no lock; the caller has a reference of the cache.
 */
export function* reclaim(machine: Machine, cache: PageCache, source: Source): Task<number> {
  const dropped = yield* dropUnmapped(machine, cache);
  if (dropped > 0) return dropped;
  yield* unmapPages(machine, cache, source, 0, cachePages(machine, cache.at), false);
  return yield* dropUnmapped(machine, cache);
}

/**
 * Drops the pages of [startPage, endPage) that are as the store has them and that nobody maps. They
 * are read again when they are needed. Returns how many.
 */
export function* dropUnmapped(
  machine: Machine,
  cache: PageCache,
  startPage: number = 0,
  endPage: number = CACHE_PAGES_MAX,
): Task<number> {
  let dropped = 0;
  const pastPage = Math.min(endPage, cachePages(machine, cache.at));
  for (let page = startPage; page < pastPage;) {
    const frames: number[] = [];
    const end = Math.min(nextLeafPage(page), pastPage);
    yield* takeUnmapped(machine, cache, page, end, frames);
    yield* machine.ram.refs.pagePutAll(frames);
    dropped += frames.length;
    page = end;
  }
  return dropped;
}

/**
 * What lies in one table of the cache, in one section. `frames` gets those of which the
 * cache had the only count.
 *
 * @stepped page cache
 */
function* takeUnmapped(
  machine: Machine,
  cache: PageCache,
  page: number,
  endPage: number,
  frames: number[],
): Task<void> {
  const { memory, ram } = machine;
  const first = slotIfThere(memory, cache, page);
  if (first === 0) return;
  yield* cache.lock.lock();
  for (let slot = first; slot < first + (endPage - page); slot++) {
    const entry = wordAt(memory.words, slot);
    if ((entry & 0xff) !== CACHE_UPTODATE || ram.refs.pageCount(cacheEntryPfn(entry)) !== 1)
      continue;
    atomicStore(memory.words, slot, 0);
    frames.push(cacheEntryPfn(entry));
  }
  yield* cache.lock.unlock();
}
