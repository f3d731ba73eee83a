/**
 * @module mm/fault/fault-around What a fault maps beside its own page, where the frames are there
 * already: a fault costs more than fifteen entries. Linux: `do_fault_around` and
 * `filemap_map_pages`, which are not for stores.
 */

import { notedFrame } from "../../memory/frames/frame-allocator.ts";
import { LEAF_WORDS, wordAt } from "../../mmu/radix-table.ts";
import { compareExchangeNoted } from "../../sync/atomics.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { makePte } from "../pte.ts";
import {
  CACHE_UPTODATE,
  PageCache,
  cacheEntryPfn,
  cachePages,
  slotIfThere,
} from "../vma/page-cache.ts";
import { type PageRange, offsetOf } from "../vma/vma.ts";
import type { VmFault } from "./vm-fault.ts";

/** Linux: `fault_around_bytes`. A power of two, so all of them lie in one leaf. */
const AROUND_PAGES = 16;

/** Those of a source of `sourcePages` that lie in one row with `fault.page`, itself included. */
export function pagesAround({ vma, page }: VmFault, sourcePages: number): PageRange {
  const pastSource = page - offsetOf(vma, page) + sourcePages;
  const first = page - (page % AROUND_PAGES);
  return {
    startPage: Math.max(first, vma.startPage),
    endPage: Math.min(first + AROUND_PAGES, vma.endPage, pastSource),
  };
}

/**
 * Maps what the cache has beside `fault.page`, with `rights`. In one section of pageCacheLock: a
 * page that the cache has then is the source's. Where a first look finds none, as while memory is
 * touched for the first time, the lock is not taken.
 *
 * @stepped page cache
 */
export function* mapCached(fault: VmFault, rights: number, hand: number): Task<void> {
  const { machine, vma, page, index } = fault;
  const { words } = machine.memory;
  const cache = PageCache.at(machine.memory, vma.source);
  const offset = offsetOf(vma, page);
  const { startPage, endPage } = pagesAround(fault, cachePages(machine, vma.source));
  // Those of the same table of the cache.
  const first = Math.max(startPage, page - (offset % LEAF_WORDS));
  const end = Math.min(endPage, page + LEAF_WORDS - (offset % LEAF_WORDS));
  const slot = slotIfThere(machine.memory, cache, offset);
  if (slot === 0) return;
  const found = firstToMap(words, slot, index, first - page, end - page);
  if (found === end - page) return;
  yield* cache.lock.lock();
  for (let away = found; away < end - page; away++) {
    const entry = wordAt(words, slot + away);
    if ((entry & CACHE_UPTODATE) === 0 || wordAt(words, index + away) !== 0) continue;
    const pfn = cacheEntryPfn(entry);
    machine.ram.refs.pageGetNoted(pfn, hand, notedFrame(pfn));
    const pte = makePte(pfn, rights);
    // Else another thread has mapped it: the count stays in hand, and the caller puts it.
    if (compareExchangeNoted(words, index + away, 0, pte, words, hand, 0) !== 0) break;
  }
  yield* cache.lock.unlock();
}

/**
 * From `first` to `end`, how far away the first page is that the cache has and no entry maps.
 *
 * @stepped page cache
 */
function firstToMap(
  words: Int32Array,
  slot: number,
  index: number,
  first: number,
  end: number,
): number {
  for (let away = first; away < end; away++)
    if ((wordAt(words, slot + away) & CACHE_UPTODATE) !== 0 && wordAt(words, index + away) === 0)
      return away;
  return end;
}
