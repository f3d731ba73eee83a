/**
 * @module What threads do wrong with a mapping of a source, for the twins of files.ts.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { PAGE_BYTES, PTE_WRITE, WRITTEN_RIGHTS, makePte, ptePfn } from "../../../../src/mm/pte.ts";
import { unmapCached, unmapPages } from "../../../../src/mm/source/mappings.ts";
import { beginWrite, writeRun } from "../../../../src/mm/source/transfer.ts";
import { markDirty } from "../../../../src/mm/view/view-backed.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import {
  CACHE_DIRTY,
  CACHE_UPTODATE,
  PageCache,
  backingOf,
  cacheEntryAt,
  cacheEntryPfn,
  makeCacheEntry,
  slotIfThere,
} from "../../../../src/mm/vma/page-cache.ts";
import { type Source, setSourceSize } from "../../../../src/mm/vma/source.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { atomicOr, atomicStore } from "../../../../src/sync/atomics.ts";
import { bug } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import { type StoreStage, changeStore, loadWord, storeWord } from "./store-stage.ts";

export type FileBody = (stage: StoreStage, harness: HmmHarness) => Task<unknown>;

/** As `cutsOff`, but the page goes though it is being written. */
export const cutsOffWriting: FileBody = function* (stage, harness) {
  const cache = PageCache.at(harness.machine.memory, stage.cache);
  yield* changeStore(harness, stage, 0);
  yield* cache.lock.lock();
  setSourceSize(sourceOf(stage, harness), 0);
  const entry = takePage(stage, harness);
  yield* cache.lock.unlock();
  yield* unmapTaken(stage, harness, entry, true);
};
/** As `cutsOff`, but the store may grow again before all that was past its end is gone. */
export const cutsOffLate: FileBody = function* (stage, harness) {
  const { memory } = harness.machine;
  const cache = PageCache.at(memory, stage.cache);
  yield* changeStore(harness, stage, 0);
  yield* cache.lock.lock();
  setSourceSize(sourceOf(stage, harness), 0);
  atomicStore(memory.words, cache.at + PageCache.offset.pages, 0);
  yield* cache.lock.unlock();
  yield* cache.lock.lock();
  const entry = takePage(stage, harness);
  yield* cache.lock.unlock();
  yield* unmapTaken(stage, harness, entry, true);
};
/** As `growsInside`, but the page is read again though it is newer than the store. */
export const growsDropping: FileBody = function* (stage, harness) {
  const cache = PageCache.at(harness.machine.memory, stage.cache);
  yield* changeStore(harness, stage, 1);
  yield* cache.lock.lock();
  setSourceSize(sourceOf(stage, harness), PAGE_BYTES);
  const entry = takePage(stage, harness);
  yield* cache.lock.unlock();
  yield* unmapTaken(stage, harness, entry, false);
};

function sourceOf(stage: StoreStage, { machine }: HmmHarness): Source {
  return backingOf(machine, stage.cache) ?? bug("the cache has no source");
}

/** The first page's entry of the cache, which has it no more. Holding pageCacheLock. */
function takePage(stage: StoreStage, harness: HmmHarness): number {
  const { memory } = harness.machine;
  const cache = PageCache.at(memory, stage.cache);
  const source = sourceOf(stage, harness);
  const entry = cacheEntryAt(memory, cache, 0);
  atomicStore(memory.words, slotIfThere(memory, cache, 0), 0);
  if ((entry & CACHE_DIRTY) !== 0) source.dirtyPages -= 1;
  return entry;
}

function* unmapTaken(
  stage: StoreStage,
  harness: HmmHarness,
  entry: number,
  evenCopies: boolean,
): Task<void> {
  const { machine } = harness;
  const cache = PageCache.at(machine.memory, stage.cache);
  yield* unmapPages(machine, cache, sourceOf(stage, harness), 0, 1, evenCopies);
  yield* machine.ram.refs.pagePut(cacheEntryPfn(entry));
}

/** As MADV_COLD, but a fault may replace the frame after it was judged. */
export const coolsReading: FileBody = function* ({ cache }, { machine, mm }) {
  const page = { startPage: HARNESS_PAGE, endPage: HARNESS_PAGE + 1 };
  yield* mm.mmapLock.downRead();
  yield* unmapCached(machine, mm, cache, page);
  yield* mm.mmapLock.upRead();
};
/** As a view, but at its end its frame is the page's, whatever has become of that. */
export const viewsBlindly: FileBody = function* ({ cache: at }, { machine, mm }) {
  const { memory } = machine;
  const cache = PageCache.at(memory, at);
  const source = backingOf(machine, at) ?? bug("the cache has no source");
  const view = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true);
  if (view < 0) return;
  const slot = slotIfThere(memory, cache, 0);
  const pfn = cacheEntryPfn(cacheEntryAt(memory, cache, 0));
  yield* viewClose(machine, view);
  yield* cache.lock.lock();
  if ((cacheEntryAt(memory, cache, 0) & CACHE_DIRTY) === 0) source.dirtyPages += 1;
  atomicStore(memory.words, slot, makeCacheEntry(pfn, CACHE_UPTODATE | CACHE_DIRTY));
  yield* cache.lock.unlock();
};

/** A fault that makes the entry of a DIRTY page writable at once, and does not hold the lock. */
export const storesAtOnce: FileBody = function* ({ cache: at }, harness) {
  const { machine, mm } = harness;
  const { memory, ram } = machine;
  const cache = PageCache.at(memory, at);
  yield* mm.mmapLock.downRead();
  yield* access(memory, "read", slotIfThere(memory, cache, 0), 1, "page cache");
  const entry = cacheEntryAt(memory, cache, 0);
  if ((entry & CACHE_DIRTY) !== 0) {
    yield* ram.refs.pageGet(cacheEntryPfn(entry));
    const index = pteIndex(leafOf(memory, mm.pgd, HARNESS_PAGE), HARNESS_PAGE);
    yield* access(memory, "write", index, 1, "pte");
    atomicStore(memory.words, index, makePte(cacheEntryPfn(entry), WRITTEN_RIGHTS));
  }
  yield* mm.mmapLock.upRead();
  yield* storeWord(harness, 9);
};

/** A write-back that leaves the entries as they are: T4 of mm/source/transfer.ts is broken. */
export const syncsUnprotected: FileBody = function* ({ cache: at, store: pager }, { machine }) {
  const cache = PageCache.at(machine.memory, at);
  const source = backingOf(machine, at) ?? bug("the cache has no source");
  const run = yield* beginWrite(machine, cache, source, 0, 1);
  if (run === undefined || typeof run === "number") return;
  yield* writeRun(machine, cache, source, pager, run);
};

/**
 * DIRTY and WRITE in two sections: the right that page_mkwrite gives is not the mark's any more.
 */
export const storesInTwo: FileBody = function* ({ cache: at }, harness) {
  const { machine, mm } = harness;
  const { memory } = machine;
  yield* loadWord(harness);
  yield* mm.mmapLock.downRead();
  yield* markDirty(machine, at, 0, ptePfn(harness.entryOf(HARNESS_PAGE)), 1);
  const index = pteIndex(leafOf(memory, mm.pgd, HARNESS_PAGE), HARNESS_PAGE);
  yield* access(memory, "update", index, 1, "pte");
  atomicOr(memory.words, index, PTE_WRITE);
  yield* mm.mmapLock.upRead();
  yield* storeWord(harness, 9);
};
