/**
 * @module How the page of a source is when the threads of files.ts begin, and what must be true of
 * it when they have ended.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { PAGE_BYTES, holdsFrame, ptePfn } from "../../../../src/mm/pte.ts";
import {
  CACHE_DIRTY,
  CACHE_WRITEBACK,
  PageCache,
  backingOf,
  cacheEntryAt,
  cacheEntryPfn,
} from "../../../../src/mm/vma/page-cache.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type StoreStage, loadWord, resize, storeWord, sync } from "./store-stage.ts";
import { discards } from "./file-acts.ts";

/** The page is dirty and its entry writable when the threads begin. */
export const dirtied = (_stage: StoreStage, harness: HmmHarness): void => {
  harness.run(storeWord(harness, 5));
};
export const touched = (_stage: StoreStage, harness: HmmHarness): void => {
  harness.run(loadWord(harness));
};
/** The page is in the cache, and has no entry. */
export const cachedUnmapped = (stage: StoreStage, harness: HmmHarness): void => {
  touched(stage, harness);
  harness.run(discards.body(stage, harness));
};
/** The same, and dirty. */
export const dirtiedUnmapped = (stage: StoreStage, harness: HmmHarness): void => {
  dirtied(stage, harness);
  harness.run(discards.body(stage, harness));
};
/** The store ends inside the page, which is in the cache with its entry. */
export const touchedInside = (stage: StoreStage, harness: HmmHarness): void => {
  harness.run(resize(harness, stage, 1, PAGE_BYTES - 8));
  touched(stage, harness);
};
/** The same, without its entry. */
export const cachedInside = (stage: StoreStage, harness: HmmHarness): void => {
  touchedInside(stage, harness);
  harness.run(discards.body(stage, harness));
};
/** Written and written back: the entry is there, read-only. */
export const syncedBefore = (stage: StoreStage, harness: HmmHarness): void => {
  harness.run(storeWord(harness, 5));
  harness.run(sync(harness, stage));
};

/** The frame of the page's entry in the cache, 0 if there is none. */
export function cachedFrame({ machine }: HmmHarness, { cache }: StoreStage): number {
  return cacheEntryPfn(cacheEntryAt(machine.memory, PageCache.at(machine.memory, cache), 0));
}

/** An entry of the space is of the frame that the cache has. */
export function requireNoStaleEntry(stage: StoreStage, harness: HmmHarness): void {
  const pte = harness.entryOf(HARNESS_PAGE);
  if (!holdsFrame(pte)) return;
  const frame = cachedFrame(harness, stage);
  assert(ptePfn(pte) === frame, `the space has frame ${ptePfn(pte)}, the cache ${frame}`);
}

/** What was stored since the store is as long as before is there. */
export function requireGrown(stage: StoreStage, harness: HmmHarness): void {
  requireNoStaleEntry(stage, harness);
  if (stage.store.words.length < stage.pages) return;
  const { frame } = stateOf(harness, stage);
  assert(frame === 9, `the page reads ${frame} after a store of 9`);
}

/** Nothing has the page any more, and nothing will be written. */
export function requireCutOff(stage: StoreStage, harness: HmmHarness): void {
  requireNoStaleEntry(stage, harness);
  assert(cachedFrame(harness, stage) === 0, "the cache has a page past the end");
  const source = backingOf(harness.machine, stage.cache);
  assert(source?.dirtyPages === 0, `${source?.dirtyPages} pages past the end are dirty`);
}

/**
 * What the store has, or will have after the next write-back, which takes what is DIRTY; and a page
 * that is not DIRTY is as the store has it.
 */
export function requireStored(
  ...allowed: readonly number[]
): (s: StoreStage, h: HmmHarness) => void {
  return (stage, harness) => {
    requireNoStaleEntry(stage, harness);
    const { cache, frame } = stateOf(harness, stage);
    const isDirty = (cache & CACHE_DIRTY) !== 0;
    assert((cache & CACHE_WRITEBACK) === 0, "a write-back has not ended");
    const source = backingOf(harness.machine, stage.cache);
    assert(
      source?.dirtyPages === (isDirty ? 1 : 0),
      `${source?.dirtyPages} pages are counted dirty`,
    );
    const stored = stage.store.words[0]!;
    assert(isDirty || frame === undefined || frame === stored, `${frame} will never be written`);
    const last = isDirty ? frame : stored;
    assert(last !== undefined && allowed.includes(last), `the store will have ${last}`);
  };
}

/** The entry is gone, and what was stored through it is not. */
export function requireGone(stage: StoreStage, harness: HmmHarness): void {
  assert(harness.entryOf(HARNESS_PAGE) === 0, "an entry that was cleared is back");
  requireStored(5)(stage, harness);
}

/** The page's entry in the cache, and the first word of its frame, if it has one. */
function stateOf(
  { machine }: HmmHarness,
  stage: StoreStage,
): { readonly cache: number; readonly frame: number | undefined } {
  const entry = cacheEntryAt(machine.memory, PageCache.at(machine.memory, stage.cache), 0);
  const pfn = cacheEntryPfn(entry);
  const { sections } = machine.ram;
  const frame = pfn === 0 ? undefined : sections.of(pfn).i32[sections.wordIndex(pfn)];
  return { cache: entry, frame };
}
