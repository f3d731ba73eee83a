/**
 * @module mm/source/reclaim Takes pages out of a cache when RAM is short, or when nothing maps the
 * source any more. Only pages that are as the store has them, so they are read again when they are
 * needed. Plays a small part of Linux's `mm/vmscan.c`: a reader of a source takes pages of that
 * source alone, and all of them.
 */

import type { Machine } from "../../memory/machine.ts";
import { LEAF_WORDS, wordAt } from "../../mmu/radix-table.ts";
import { atomicStore } from "../../sync/atomics.ts";
import type { Task } from "../../sync/tasks/task.ts";
import {
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
 * Drops the pages that are as the store has them and that nobody maps. They are read again when
 * they are needed. Returns how many.
 */
export function* dropUnmapped(machine: Machine, cache: PageCache): Task<number> {
  let dropped = 0;
  const pages = cachePages(machine, cache.at);
  for (let page = 0; page < pages; page += LEAF_WORDS) {
    const frames: number[] = [];
    yield* takeUnmapped(machine, cache, page, frames);
    for (const pfn of frames) yield* machine.ram.refs.pagePut(pfn);
    dropped += frames.length;
  }
  return dropped;
}

/**
 * One table of the cache, in one section. `frames` gets those of which the cache had the only
 * count.
 *
 * @stepped page cache
 */
function* takeUnmapped(
  machine: Machine,
  cache: PageCache,
  page: number,
  frames: number[],
): Task<void> {
  const { memory, ram } = machine;
  const first = slotIfThere(memory, cache, page);
  if (first === 0) return;
  yield* cache.lock.lock();
  for (let slot = first; slot < first + LEAF_WORDS; slot++) {
    const entry = wordAt(memory.words, slot);
    if ((entry & 0xff) !== CACHE_UPTODATE || ram.refs.pageCount(cacheEntryPfn(entry)) !== 1)
      continue;
    atomicStore(memory.words, slot, 0);
    frames.push(cacheEntryPfn(entry));
  }
  yield* cache.lock.unlock();
}
