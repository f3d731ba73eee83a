/**
 * @module mm/fault/file-fault Faults in mappings of a source with a backing store. Follows Linux
 * `filemap_fault`, `do_cow_fault` and `do_page_mkwrite` in `mm/memory.c`.
 *
 *   - A page that is not in the cache is not read here, because the mmap lock is held: FAULT_RETRY
 *     (source/bring-in.ts).
 *   - The first entry is read-only in every case. In a private mapping a store then copies the
 *   frame
 *     (copy-on-write.ts). In a shared one it faults once more, and marks the page DIRTY.
 *   - DIRTY and WRITE are set in one section of pageCacheLock (page_mkwrite). A write-back clears
 *     DIRTY in such a section, and takes WRITE from the entries afterwards: so an entry that has
 *     WRITE is of a page that is DIRTY, or whose write-back is about to take it (T4 of
 *     source/transfer.ts). With two sections a store would be lost:
 *
 *         fault                                    write-back
 *         page DIRTY
 *                                                  DIRTY cleared; entry has no WRITE yet
 *         entry writable; store
 *                                                  writes the frame as it is now; later stores
 *                                                  are never written
 */

import { counterPlace } from "../../memory/space-counters.ts";
import { wordAt } from "../../mmu/radix-table.ts";
import { storeNoted } from "../../sync/atomics.ts";
import { EFAULT, ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { handOf, putHand, tablesOf } from "../entries/hand.ts";
import { beginHand, endInvalidation } from "../entries/invalidation.ts";
import { PTE_ACCESSED, makePte, ptePfn, withWrite } from "../pte.ts";
import {
  CACHE_ABSENT,
  CACHE_BEYOND_END,
  CACHE_DIRTY,
  CACHE_HANDS,
  CACHE_UPTODATE,
  PageCache,
  backingOf,
  cacheEntryPfn,
  cacheFrame,
  cachePages,
  slotIfThere,
} from "../vma/page-cache.ts";
import { DIRTY_PAGES, noteStore } from "../vma/source.ts";
import { offsetOf } from "../vma/vma.ts";
import { mapCached } from "./fault-around.ts";
import { FAULT_RETRY, type VmFault, replacePte, replacePteNoted } from "./vm-fault.ts";

const SOURCE_FAULTS = counterPlace("sourceFaults");
const SOURCE_READS = counterPlace("sourceReads");
const WRITE_FAULTS = counterPlace("writeFaults");

/** Of an empty entry: maps the cache's frame, read-only, and those beside it. */
export function* fileFault(fault: VmFault): Task<Errno> {
  const { machine, mm, vma, page } = fault;
  const operation = yield* beginHand(mm);
  const hand = handOf(operation);
  const { leaf: table } = tablesOf(operation);
  const pfn = yield* cacheFrame(machine, vma.source, offsetOf(vma, page), hand, table);
  if (pfn > 0 && replacePteNoted(fault, makePte(pfn, PTE_ACCESSED), hand, 0))
    yield* mapCached(fault, PTE_ACCESSED, hand);
  yield* putHand(machine, operation, CACHE_HANDS);
  endInvalidation(mm, operation);
  if (pfn === CACHE_ABSENT) mm.counters.add(SOURCE_READS);
  else if (pfn > 0) mm.counters.add(SOURCE_FAULTS);
  return pfn > 0 ? 0 : (NO_FRAME.get(pfn) ?? ENOMEM);
}

const NO_FRAME: ReadonlyMap<number, Errno> = new Map([
  [CACHE_BEYOND_END, EFAULT],
  [CACHE_ABSENT, FAULT_RETRY],
]);

/**
 * Of a present entry of a shared mapping that is read-only: the page becomes DIRTY, the entry
 * writable. FAULT_RETRY: the cache has let the page go, and this entry is still to be cleared,
 * which the wait for the page does (C2 of source/cut.ts). A retry alone would take as long as
 * whoever has begun it, and for ever if that thread has died.
 */
export function* fileWriteFault(fault: VmFault): Task<Errno> {
  const { machine, vma, page } = fault;
  const offset = offsetOf(vma, page);
  if (offset >= cachePages(machine, vma.source)) return EFAULT;
  fault.mm.counters.add(WRITE_FAULTS);
  return (yield* makeDirtyAndWritable(fault, offset)) ? 0 : FAULT_RETRY;
}

/** page_mkwrite. False: the cache has another frame, or none. @stepped page cache */
function* makeDirtyAndWritable(fault: VmFault, offset: number): Task<boolean> {
  const { machine, vma, pte } = fault;
  const { memory } = machine;
  const cache = PageCache.at(memory, vma.source);
  const source = backingOf(machine, vma.source);
  const slot = slotIfThere(memory, cache, offset);
  if (slot === 0 || source === undefined) return false;
  yield* cache.lock.lock();
  const entry = wordAt(memory.words, slot);
  const isOurs = (entry & CACHE_UPTODATE) !== 0 && cacheEntryPfn(entry) === ptePfn(pte);
  if (isOurs) {
    const dirty = source.dirtyPages + ((entry & CACHE_DIRTY) === 0 ? 1 : 0);
    noteStore(source, DIRTY_PAGES);
    storeNoted(
      memory.words,
      slot,
      entry | CACHE_DIRTY,
      memory.words,
      source.at + DIRTY_PAGES,
      dirty,
    );
    replacePte(fault, withWrite(pte));
  }
  yield* cache.lock.unlock();
  return isOurs;
}
