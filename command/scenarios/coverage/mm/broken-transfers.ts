/**
 * @module What threads do wrong while a page of a source comes, is written or goes, for the twins
 * of files.ts: who reads a page beside another one, who does not wait for a write-back or finds
 * only a part of its entries, who takes a page that is still needed.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { dataStep } from "../../../../src/memory/frames/page-data.ts";
import { MADV_COLD, MADV_POPULATE, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import type { Mm } from "../../../../src/mm/mm-struct.ts";
import { PAGE_BYTES, PTE_WRITE, ptePfn } from "../../../../src/mm/pte.ts";
import { forEachMapping, unmapPages } from "../../../../src/mm/source/mappings.ts";
import { beginWrite, writeRun } from "../../../../src/mm/source/transfer.ts";
import { syncPages } from "../../../../src/mm/source/write-back.ts";
import { ViewHold } from "../../../../src/mm/view/view-hold.ts";
import { markDirty } from "../../../../src/mm/view/view-backed.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import {
  CACHE_DIRTY,
  CACHE_READING,
  CACHE_UPTODATE,
  PageCache,
  backingOf,
  cacheEntryAt,
  cacheEntryPfn,
  cacheSlot,
  makeCacheEntry,
  slotIfThere,
} from "../../../../src/mm/vma/page-cache.ts";
import { type Source, setSourceSize } from "../../../../src/mm/vma/source.ts";
import { vmasIn } from "../../../../src/mm/vma/vma.ts";
import { leafOf, pteIndex, wordAt } from "../../../../src/mmu/radix-table.ts";
import { atomicAnd, atomicOr, atomicStore } from "../../../../src/sync/atomics.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { FileBody } from "./broken-files.ts";
import { ADDRESS, type StoreStage, changeStore, loadWord, storeWord } from "./store-stage.ts";

/** The word of the store, once an msync says that it has been written. */
export function requireWritten({ store }: StoreStage): void {
  assert(store.words[0] === 5, `msync is over, and the store has ${store.words[0]}`);
}

/** Writes 9 to the page of an open view, past all entries. */
export function* writeThrough({ machine }: HmmHarness, view: number): Task<void> {
  const { pfn } = ViewHold.at(machine.memory, view);
  yield* dataStep(machine.memory, "write", pfn);
  const { sections } = machine.ram;
  sections.of(pfn).i32[sections.wordIndex(pfn)] = 9;
}

function cacheOf({ machine }: HmmHarness, { cache: at }: StoreStage): [PageCache, Source] {
  const cache = PageCache.at(machine.memory, at);
  return [cache, backingOf(machine, at) ?? bug("the cache has no source")];
}

/** Word index of the page's entry. */
function entryIndex({ machine }: HmmHarness, mm: Mm): number {
  return pteIndex(leafOf(machine.memory, mm.pgd, HARNESS_PAGE), HARNESS_PAGE);
}

/** Reads the page into a frame, as far as it can be read. */
function* fill({ machine }: HmmHarness, { store }: StoreStage, pfn: number): Task<void> {
  const { memory, ram } = machine;
  yield* dataStep(memory, "write", pfn);
  const section = ram.sections.of(pfn);
  const first = (pfn - section.basePfn) * PAGE_BYTES;
  const parts = [section.u8.subarray(first, first + PAGE_BYTES)];
  store.read({ offsetBytes: 0, storedBytes: PAGE_BYTES, parts, io: 0 });
}

/** A frame for the page, if it is absent, and where its entry in the cache is. */
function* frameIfAbsent(
  harness: HmmHarness,
  stage: StoreStage,
): Task<{ readonly slot: number; readonly pfn: number }> {
  const { machine } = harness;
  const [cache] = cacheOf(harness, stage);
  const slot = yield* cacheSlot(machine, cache, 0, 0);
  yield* access(machine.memory, "read", slot, 1, "page cache");
  if (cacheEntryAt(machine.memory, cache, 0) !== 0) return { slot, pfn: 0 };
  const pfn = yield* machine.ram.allocFrame(true);
  machine.ram.refs.setMapping(pfn, cache.at);
  return { slot, pfn };
}

/** As a fault that reads the page, but it does not look under the lock whether another one does. */
export const readsBlindly: FileBody = function* (stage, harness) {
  const [cache] = cacheOf(harness, stage);
  const { slot, pfn } = yield* frameIfAbsent(harness, stage);
  if (pfn !== 0) {
    yield* fill(harness, stage, pfn);
    yield* cache.lock.lock();
    atomicStore(cache.memory.words, slot, makeCacheEntry(pfn, CACHE_UPTODATE));
    yield* cache.lock.unlock();
  }
  yield* loadWord(harness);
};

/** Puts a frame of its own into the cache, in that state, if the page is absent. 0: it is not. */
function* claimPage(harness: HmmHarness, stage: StoreStage, state: number): Task<number> {
  const { machine } = harness;
  const [cache] = cacheOf(harness, stage);
  const { slot, pfn } = yield* frameIfAbsent(harness, stage);
  if (pfn === 0) return 0;
  yield* cache.lock.lock();
  const isOurs = wordAt(cache.memory.words, slot) === 0;
  if (isOurs) atomicStore(cache.memory.words, slot, makeCacheEntry(pfn, state));
  yield* cache.lock.unlock();
  if (!isOurs) yield* machine.ram.refs.pagePut(pfn);
  return isOurs ? pfn : 0;
}

/** As MADV_WILLNEED, but the page is up to date before it has been read. */
export const readsAheadEarly: FileBody = function* (stage, harness) {
  const pfn = yield* claimPage(harness, stage, CACHE_UPTODATE);
  if (pfn !== 0) yield* fill(harness, stage, pfn);
};

/** A read that fails, and wakes nobody. */
export const readsWithoutWaking: FileBody = function* (stage, harness) {
  const [cache] = cacheOf(harness, stage);
  stage.store.fails = true;
  const pfn = yield* claimPage(harness, stage, CACHE_READING);
  if (pfn === 0) return;
  yield* fill(harness, stage, pfn);
  yield* cache.lock.lock();
  const slot = slotIfThere(cache.memory, cache, 0);
  yield* access(cache.memory, "write", slot, 1, "page cache");
  atomicStore(cache.memory.words, slot, 0);
  yield* cache.lock.unlock();
  yield* harness.machine.ram.refs.pagePut(pfn);
};

/** As `cutsInside`, but the page in which the store ends is taken for one past the end. */
export const cutsRoundingDown: FileBody = function* (stage, harness) {
  const { machine } = harness;
  const [cache, source] = cacheOf(harness, stage);
  const bytes = PAGE_BYTES - 8;
  yield* changeStore(harness, stage, 1, 8);
  yield* cache.lock.lock();
  setSourceSize(source, bytes);
  const page = Math.floor(bytes / PAGE_BYTES);
  const entry = cacheEntryAt(machine.memory, cache, page);
  if (entry !== 0) atomicStore(machine.memory.words, slotIfThere(machine.memory, cache, page), 0);
  if ((entry & CACHE_DIRTY) !== 0) source.dirtyPages -= 1;
  yield* cache.lock.unlock();
  yield* unmapPages(machine, cache, source, page, page + 1, true);
  if (entry !== 0) yield* machine.ram.refs.pagePut(cacheEntryPfn(entry));
};

/** page_mkwrite, but whether the page is DIRTY already is looked up before the lock is taken. */
export const countsUnlocked: FileBody = function* (stage, harness) {
  const { machine, mm } = harness;
  const { memory } = machine;
  const [cache, source] = cacheOf(harness, stage);
  const slot = slotIfThere(memory, cache, 0);
  yield* mm.mmapLock.downRead();
  yield* access(memory, "read", slot, 1, "page cache");
  const isClean = (cacheEntryAt(memory, cache, 0) & CACHE_DIRTY) === 0;
  yield* cache.lock.lock();
  if (isClean) source.dirtyPages += 1;
  atomicOr(memory.words, slot, CACHE_DIRTY);
  yield* access(memory, "update", entryIndex(harness, mm), 1, "pte");
  atomicOr(memory.words, entryIndex(harness, mm), PTE_WRITE);
  yield* cache.lock.unlock();
  yield* mm.mmapLock.upRead();
  yield* storeWord(harness, 8);
};

/** A write-back that takes the right from entries by `clean`. */
function* writeBack(
  stage: StoreStage,
  harness: HmmHarness,
  clean: (cache: PageCache, source: Source) => Task<void>,
): Task<void> {
  const { machine } = harness;
  const [cache, source] = cacheOf(harness, stage);
  const run = yield* beginWrite(machine, cache, source, 0, 1);
  if (run === undefined || typeof run === "number") return;
  yield* clean(cache, source);
  yield* writeRun(machine, cache, source, stage.store, run);
}

/** Takes the right from the entry of one space, and flushes it. */
function* cleanIn(harness: HmmHarness, mm: Mm): Task<void> {
  const { memory } = harness.machine;
  const index = entryIndex(harness, mm);
  yield* access(memory, "update", index, 1, "pte");
  atomicAnd(memory.words, index, ~PTE_WRITE);
  yield* mm.shootdown.flush(HARNESS_PAGE, HARNESS_PAGE + 1);
}

/** As msync, but a page that another one is writing counts as written. */
export const syncsWithoutWaiting: FileBody = function* (stage, harness) {
  yield* writeBack(stage, harness, () => cleanIn(harness, harness.mm));
  requireWritten(stage);
};

/** As msync, but only the entries of the space that calls it become read-only. */
export const syncsOwnSpace: FileBody = function* (stage, harness) {
  const { mm } = harness;
  yield* writeBack(stage, harness, function* () {
    yield* mm.mmapLock.downRead();
    yield* cleanIn(harness, mm);
    yield* mm.mmapLock.upRead();
  });
};

/** As msync, but it looks for the mappings without the mmap lock. */
export const syncsUnlocked: FileBody = function* (stage, harness) {
  const { machine, mm } = harness;
  yield* writeBack(stage, harness, function* () {
    for (const vma of vmasIn(machine.memory, mm, HARNESS_PAGE, HARNESS_PAGE + 1))
      if (vma.source === stage.cache) yield* cleanIn(harness, mm);
  });
};

/** As msync, but the entry is loaded, and stored without the right, whatever it is by then. */
export const syncsStoring: FileBody = function* (stage, harness) {
  const { machine } = harness;
  const { memory } = machine;
  const pages = { startPage: 0, endPage: 1 };
  yield* writeBack(stage, harness, (cache, source) =>
    forEachMapping(machine, cache, source, pages, "read", function* (mm) {
      const index = entryIndex(harness, mm);
      yield* access(memory, "read", index, 1, "pte");
      const pte = wordAt(memory.words, index);
      yield* access(memory, "write", index, 1, "pte");
      if ((pte & PTE_WRITE) !== 0) atomicStore(memory.words, index, pte & ~PTE_WRITE);
      yield* mm.shootdown.flush(HARNESS_PAGE, HARNESS_PAGE + 1);
    }),
  );
};

/** As a write view, but its page is DIRTY from the beginning only. */
export const viewsMarkingOnce: FileBody = function* (stage, harness) {
  const { machine, mm } = harness;
  const { memory } = machine;
  const view = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, false);
  if (view < 0) return;
  yield* markDirty(machine, stage.cache, 0, ViewHold.at(memory, view).pfn, 1);
  yield* writeThrough(harness, view);
  yield* viewClose(machine, view);
};

/** Gives up the page's place in RAM, if `isTaken` says so of its entry in the cache. */
function* dropIf(
  harness: HmmHarness,
  stage: StoreStage,
  isTaken: (entry: number) => boolean,
): Task<void> {
  const { machine } = harness;
  const { memory, ram } = machine;
  const [cache, source] = cacheOf(harness, stage);
  yield* cache.lock.lock();
  const entry = cacheEntryAt(memory, cache, 0);
  const isDropped = (entry & CACHE_UPTODATE) !== 0 && isTaken(entry);
  if (isDropped) atomicStore(memory.words, slotIfThere(memory, cache, 0), 0);
  if (isDropped && (entry & CACHE_DIRTY) !== 0) source.dirtyPages -= 1;
  yield* cache.lock.unlock();
  if (isDropped) yield* ram.refs.pagePut(cacheEntryPfn(entry));
}

const cool = ({ machine, mm }: HmmHarness): Task<number> =>
  doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_COLD);

/** As MADV_PAGEOUT, but who has mapped the page since is not asked. */
export const pagesOutMapped: FileBody = function* (stage, harness) {
  yield* cool(harness);
  yield* syncPages(harness.machine, stage.cache, 0, 1);
  yield* dropIf(harness, stage, (entry) => (entry & 0xff) === CACHE_UPTODATE);
};

/** As MADV_PAGEOUT, but a page that is not DIRTY counts as written. */
export const pagesOutWriting: FileBody = function* (stage, harness) {
  yield* cool(harness);
  yield* dropIf(harness, stage, (entry) => (entry & CACHE_DIRTY) === 0);
};

/** As MADV_COLD, but a page that nobody maps counts as one that can be read again. */
export const coolsDropping: FileBody = function* (stage, harness) {
  const { refs } = harness.machine.ram;
  yield* cool(harness);
  yield* dropIf(harness, stage, (entry) => refs.pageCount(cacheEntryPfn(entry)) === 1);
};

/** As MADV_POPULATE, but the entry may be written at once, and the page is not DIRTY. */
export const populatesWritable: FileBody = function* (_stage, harness) {
  const { machine, mm } = harness;
  yield* doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_POPULATE);
  yield* mm.mmapLock.downRead();
  const index = entryIndex(harness, mm);
  yield* access(machine.memory, "update", index, 1, "pte");
  if (ptePfn(wordAt(machine.memory.words, index)) !== 0)
    atomicOr(machine.memory.words, index, PTE_WRITE);
  yield* mm.mmapLock.upRead();
};
