/**
 * @module mm/view/view-backed Views of mappings that have a source with a backing store: the frames
 * are those of the page cache, and need no entries. They are brought in first, without the mmap
 * lock; where none was in the cache, they are read into frames in a row (source/bring-in.ts), so
 * that nothing has to move.
 */

import type { Machine } from "../../memory/machine.ts";
import { pteAt, wordAt } from "../../mmu/radix-table.ts";
import { storeNoted } from "../../sync/atomics.ts";
import { DIRTY_PAGES, noteStore } from "../vma/source.ts";
import type { Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { PAGE_ABSENT } from "../migrate/migrate-to-run.ts";
import type { Mm } from "../mm-struct.ts";
import { holdsFrame, ptePfn } from "../pte.ts";
import { populate } from "../source/bring-in.ts";
import { forEachBacked } from "../source/backed-parts.ts";
import { IO_READ } from "../source/io.ts";
import {
  CACHE_DIRTY,
  CACHE_UPTODATE,
  PageCache,
  backingOf,
  cacheEntryAt,
  cacheEntryPfn,
  findEntry,
  rowLength,
  slotIfThere,
} from "../vma/page-cache.ts";
import { oneSourceOf } from "../vma/vma-source.ts";
import {
  type PageRange,
  VM_BACKED,
  VM_SHARED,
  type VmaPart,
  offsetOf,
  partsIn,
} from "../vma/vma.ts";
import { ViewHold } from "./view-hold.ts";

/** A page is not in its cache: it is to be brought in without the mmap lock. No errno. */
export const VIEW_ABSENT: number = PAGE_ABSENT;
/** What `pinCached` answers where the frames are not those of the cache, in a row. */
export const NOT_PINNED = 0;
/** Pages that are pinned in one section of pageCacheLock. */
const PIN_PAGES = 512;

/** What of the range has a source with a backing store. Holding the mmap lock. */
function backedParts(machine: Machine, mm: Mm, range: PageRange): VmaPart[] {
  return Array.from(partsIn(machine.memory, mm, range)).filter(
    ({ vma }) => (vma.flags & VM_BACKED) !== 0,
  );
}

/**
 * How many pages of the range have neither an entry nor a page in their cache, as far as `most`.
 * Holding the lock.
 */
export function absentPages(machine: Machine, mm: Mm, range: PageRange, most: number): number {
  const { memory } = machine;
  let absent = 0;
  for (const { vma, startPage, endPage } of backedParts(machine, mm, range)) {
    const cache = PageCache.at(memory, vma.source);
    const [first, end] = [offsetOf(vma, startPage), offsetOf(vma, endPage)];
    for (let offset = first; offset < end && absent < most; offset++) {
      offset = findEntry(memory, cache, offset, end, CACHE_UPTODATE, true);
      const page = startPage + (offset - first);
      if (offset < end && !holdsFrame(pteAt(memory, mm.pgd, page))) absent++;
    }
  }
  return absent;
}

/**
 * Brings all pages of sources in the range into their caches. 0, or why one cannot be had. Takes
 * the mmap lock; the caller holds an mm user, and no lock.
 */
export function* bringRangeIn(machine: Machine, mm: Mm, range: PageRange): Task<Errno> {
  let failed: Errno = 0;
  const wanted = { kind: IO_READ, flags: 0 } as const;
  const { errno } = yield* forEachBacked(machine, mm, range, wanted, function* (io) {
    failed = yield* populate(machine, io.cache, io.startPage, io.endPage);
    return failed === 0;
  });
  return failed === 0 ? errno : failed;
}

/** The whole range as one part, if all of it is of one source with a backing store. */
export function wholeBacked(machine: Machine, mm: Mm, range: PageRange): VmaPart | undefined {
  const vma = oneSourceOf(machine.memory, mm, range);
  const { startPage, endPage } = range;
  const isBacked = vma !== undefined && (vma.flags & VM_BACKED) !== 0;
  return isBacked ? { vma, startPage, endPage } : undefined;
}

/**
 * Pins the cache's frames of a part for a view, if they are in a row in one section, and are what
 * the space sees: the first of them, or NOT_PINNED, and then some may be pinned. Holding the mmap
 * lock for writing.
 */
export function* pinCached(machine: Machine, mm: Mm, part: VmaPart, hold: ViewHold): Task<number> {
  const { memory, ram } = machine;
  const { vma, startPage, endPage } = part;
  const isWrite = hold.isWrite !== 0;
  const isShared = (vma.flags & VM_SHARED) !== 0;
  if (isWrite && !isShared) return NOT_PINNED;
  const cache = PageCache.at(memory, vma.source);
  const offset = offsetOf(vma, startPage);
  const pages = endPage - startPage;
  const pfn = cacheEntryPfn(cacheEntryAt(memory, cache, offset));
  if (pfn === 0) return NOT_PINNED;
  const section = ram.sections.of(pfn);
  if (pfn + pages > section.basePfn + section.pages) return NOT_PINNED;
  if (!isShared && hasOtherFrames(machine, mm, part, pfn)) return NOT_PINNED;
  hold.pfn = pfn;
  for (let pinned = 0; pinned < pages; pinned = hold.pinned) {
    const wanted = Math.min(PIN_PAGES, pages - pinned);
    if ((yield* pinRow(machine, cache, offset, hold, wanted)) < wanted) return NOT_PINNED;
  }
  return pfn;
}

/** Whether a private mapping has a frame for a page that is not the cache's. Holding the lock. */
function hasOtherFrames({ memory }: Machine, mm: Mm, part: VmaPart, pfn: number): boolean {
  for (let i = 0; i < part.endPage - part.startPage; i++) {
    const pte = pteAt(memory, mm.pgd, part.startPage + i);
    if (pte !== 0 && !(holdsFrame(pte) && ptePfn(pte) === pfn + i)) return true;
  }
  return false;
}

/**
 * How many of the next `pages` pages are in the frames behind those that the view has pinned, and
 * pinned now. Its first page is at `offset` of the cache.
 */
function* pinRow(
  machine: Machine,
  cache: PageCache,
  offset: number,
  { at, pfn, pinned }: ViewHold,
  pages: number,
): Task<number> {
  yield* cache.lock.lock();
  const found = rowLength(machine.memory, cache, offset + pinned, pfn + pinned, pages);
  machine.ram.refs.pinRunNoted(pfn + pinned, found, at + ViewHold.offset.pinned, pinned);
  yield* cache.lock.unlock();
  return found;
}

/**
 * Pages of a write view are newer than the backing store, where they have not been cut off. The
 * caller has a claim of the source.
 *
 * @stepped page cache
 */
export function* markDirty(
  machine: Machine,
  at: number,
  offset: number,
  pfn: number,
  pages: number,
): Task<void> {
  const { memory } = machine;
  const cache = PageCache.at(memory, at);
  const source = backingOf(machine, at);
  if (source === undefined) return;
  for (let first = 0; first < pages; first += PIN_PAGES) {
    yield* cache.lock.lock();
    for (let i = first; i < Math.min(first + PIN_PAGES, pages); i++) {
      const slot = slotIfThere(memory, cache, offset + i);
      const entry = slot === 0 ? 0 : wordAt(memory.words, slot);
      if ((entry & CACHE_UPTODATE) === 0 || cacheEntryPfn(entry) !== pfn + i) continue;
      const dirty = source.dirtyPages + ((entry & CACHE_DIRTY) === 0 ? 1 : 0);
      const { words } = memory;
      noteStore(source, DIRTY_PAGES);
      storeNoted(words, slot, entry | CACHE_DIRTY, words, source.at + DIRTY_PAGES, dirty);
    }
    yield* cache.lock.unlock();
  }
}
