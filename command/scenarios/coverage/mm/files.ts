/**
 * @module A mapping of a source by two threads: faults of one page, stores beside a write-back, and
 * truncation, munmap, fork and exit beside each of them. No store is lost, no page that was cut off
 * is reached, and no frame is left.
 */

import type { FindingKind } from "../../../../src/checker/findings/finding.ts";
import {
  HARNESS_PAGE,
  type HmmHarness,
  harnessScenario,
} from "../../../../src/checker/harness/hmm-harness.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import {
  MADV_COLD,
  MADV_DONTNEED,
  MADV_PAGEOUT,
  MADV_POPULATE,
  MADV_WILLNEED,
  doMadvise,
} from "../../../../src/mm/calls/madvise.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { PAGE_BYTES, holdsFrame, ptePfn } from "../../../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import {
  CACHE_DIRTY,
  CACHE_WRITEBACK,
  PageCache,
  backingOf,
  cacheEntryAt,
  cacheEntryPfn,
} from "../../../../src/mm/vma/page-cache.ts";
import { EFAULT } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Covered } from "../covered.ts";
import {
  type FileBody,
  coolsReading,
  cutsOffWriting,
  storesAtOnce,
  storesInTwo,
  syncsUnprotected,
  viewsBlindly,
} from "./broken-files.ts";
import { readingOnly } from "./left-out.ts";
import {
  ADDRESS,
  FIRST,
  type StageOptions,
  type StoreStage,
  loadWord,
  makeStage,
  resize,
  storeWord,
  sync,
} from "./store-stage.ts";

interface Act {
  readonly name: string;
  readonly runs: readonly string[];
  readonly body: FileBody;
}

const FAULT = ["mm/fault/cpu-fault.cpuFault", "mm/fault/file-fault.fileFault"];
const READ = ["mm/source/bring-in.bringIn", "mm/source/transfer.readPages"];
const STORE = ["mm/fault/file-fault.fileWriteFault"];
const WRITE_BACK = ["mm/calls/msync.doMsync", "mm/source/write-back.syncPages"];

const storesOnce: Act = {
  name: "first-store",
  runs: [...FAULT, ...STORE],
  *body(_stage, harness) {
    yield* storeWord(harness, 9);
  },
};
const stores = (value: number): Act => ({
  name: "store",
  runs: [...FAULT, ...STORE],
  *body(_stage, harness) {
    yield* storeWord(harness, value);
  },
});
/** Twice, so that the second one may go through an entry that a write-back has seen. */
const storesTwice: Act = {
  name: "stores",
  runs: [...FAULT, ...STORE],
  *body(_stage, harness) {
    yield* storeWord(harness, 8);
    yield* storeWord(harness, 9);
  },
};
const syncs: Act = {
  name: "msync",
  runs: WRITE_BACK,
  body: (stage, harness) => sync(harness, stage),
};
const loads: Act = {
  name: "load",
  runs: [...FAULT, ...READ],
  *body(_stage, harness) {
    const seen = yield* loadWord(harness);
    assert(seen === FIRST, `the page reads ${seen}; the store has ${FIRST}`);
  },
};
const loadsOrFaults: Act = {
  name: "load",
  runs: FAULT,
  *body(_stage, harness) {
    const seen = yield* loadWord(harness);
    assert(seen === undefined || seen === FIRST, `the page reads ${seen}`);
  },
};
/** The store fails, and is asked twice. */
const failsToLoad: Act = {
  name: "failing-load",
  runs: [...FAULT, ...READ],
  *body({ store }, harness) {
    store.fails = true;
    for (let tries = 0; tries < 2; tries++) {
      const seen = yield* loadWord(harness);
      assert(seen === undefined, `the page reads ${seen}`);
    }
  },
};
/** The store ends inside the page. */
const cutsInside: Act = {
  name: "cut",
  runs: ["mm/source/size.refreshSize"],
  body: (stage, harness) => resize(harness, stage, 1, PAGE_BYTES - 8),
};
const cutsOff: Act = {
  name: "truncate",
  runs: ["mm/source/size.refreshSize"],
  body: (stage, harness) => resize(harness, stage, 0),
};
const unmaps: Act = {
  name: "munmap",
  runs: ["mm/calls/munmap.doMunmap"],
  body: (_stage, { machine, mm }) => doMunmap(machine, mm, ADDRESS, PAGE_BYTES),
};
const discards: Act = {
  name: "discard",
  runs: ["mm/calls/madvise.doMadvise"],
  body: (_stage, { machine, mm }) => doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_DONTNEED),
};
const advises = (name: string, advice: number, run: string): Act => ({
  name,
  runs: ["mm/calls/madvise.doMadvise", run],
  *body(_stage, { machine, mm }) {
    const answer = yield* doMadvise(machine, mm, ADDRESS, PAGE_BYTES, advice);
    assert(answer === 0, `madvise answered ${answer}`);
  },
});
const pagesOut = advises("pageout", MADV_PAGEOUT, "mm/calls/advise-source.pageOut");
const cools = advises("cold", MADV_COLD, "mm/calls/advise-source.deactivate");
const readsAhead = advises("willneed", MADV_WILLNEED, "mm/calls/advise-source.readAhead");
const populates = advises("populate", MADV_POPULATE, "mm/calls/populate.populateRange");
/** In a private mapping: the copy is what the space sees from then on. */
const keepsStore: Act = {
  name: "own-store",
  runs: [...FAULT, "mm/fault/copy-on-write.writeProtectedPrivate"],
  *body(_stage, harness) {
    yield* storeWord(harness, 9);
    const seen = yield* loadWord(harness);
    assert(seen === 9, `the page reads ${seen} after a store of 9`);
  },
};
const forks: Act = {
  name: "fork",
  runs: ["mm/lifetime/fork.doFork", "mm/lifetime/mm.mmput", "mm/fault/file-fault.fileWriteFault"],
  *body(_stage, harness) {
    const child = Mm.at(harness.machine.memory, yield* doFork(harness.machine, harness.mm));
    yield* storeWord(harness, 9, 0, child);
    yield* mmput(harness.machine, child);
  },
};
const views: Act = {
  name: "write-view",
  runs: [
    "mm/view/view-open.viewOpen",
    "mm/view/view-open.viewClose",
    "mm/view/view-backed.markDirty",
  ],
  *body(_stage, { machine, mm }) {
    const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true);
    assert(at > 0, `the view answered ${at}`);
    yield* viewClose(machine, at);
  },
};

/** The store may have become shorter before. */
const viewsIfThere: Act = {
  ...views,
  *body(_stage, { machine, mm }) {
    const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true);
    assert(at > 0 || at === EFAULT, `the view answered ${at}`);
    if (at > 0) yield* viewClose(machine, at);
  },
};
/** The frame of the page's entry in the cache, 0 if there is none. */
function cachedFrame({ machine }: HmmHarness, { cache }: StoreStage): number {
  return cacheEntryPfn(cacheEntryAt(machine.memory, PageCache.at(machine.memory, cache), 0));
}

/** An entry of the space is of the frame that the cache has. */
function requireNoStaleEntry(stage: StoreStage, harness: HmmHarness): void {
  const pte = harness.entryOf(HARNESS_PAGE);
  if (!holdsFrame(pte)) return;
  const frame = cachedFrame(harness, stage);
  assert(ptePfn(pte) === frame, `the space has frame ${ptePfn(pte)}, the cache ${frame}`);
}

/** Nothing has the page any more, and nothing will be written. */
function requireCutOff(stage: StoreStage, harness: HmmHarness): void {
  requireNoStaleEntry(stage, harness);
  assert(cachedFrame(harness, stage) === 0, "the cache has a page past the end");
  const source = backingOf(harness.machine, stage.cache);
  assert(source?.dirtyPages === 0, `${source?.dirtyPages} pages past the end are dirty`);
}

/**
 * What the store has, or will have after the next write-back, which takes what is DIRTY; and a page
 * that is not DIRTY is as the store has it.
 */
function requireStored(...allowed: readonly number[]): (s: StoreStage, h: HmmHarness) => void {
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

interface Twin {
  readonly name: string;
  readonly summary: string;
  readonly expects: FindingKind;
  readonly first?: FileBody;
  readonly second?: FileBody;
}

interface Pair {
  readonly first: Act;
  readonly second: Act;
  readonly check: (stage: StoreStage, harness: HmmHarness) => void;
  /** What has happened before. */
  readonly before?: (stage: StoreStage, harness: HmmHarness) => void;
  readonly suffix?: string;
  readonly options?: StageOptions;
  readonly exploration?: ScenarioExploration;
  readonly twin?: Twin;
}

function pair(parts: Pair): Covered {
  const { first, second, check, before, suffix = "", options, exploration, twin } = parts;
  const name = `coverage/mm/file/${first.name}-vs-${second.name}${suffix}`;
  const make = (broken?: Twin): ReturnType<typeof harnessScenario> =>
    harnessScenario<StoreStage>({
      name: broken === undefined ? name : `${name}/${broken.name}`,
      summary:
        broken?.summary ??
        `Two threads over a mapping of a source: ${first.name} and ${second.name} at the same time.`,
      ...(broken === undefined ? {} : { expects: broken.expects }),
      harness: { pages: 0, arenaWords: 16_384, frames: 8 },
      exploration: exploration ?? { engine: "bounded", preemptions: 2 },
      setup: (harness) => {
        const stage = makeStage(harness, options);
        before?.(stage, harness);
        return stage;
      },
      reopen: ({ store: words }) => words.reset(options?.pages ?? 1),
      tasks: {
        one: broken?.first ?? first.body,
        other: broken?.second ?? second.body,
      },
      check,
    });
  return {
    layer: "mm",
    scenario: make(),
    twins: twin === undefined ? [] : [make(twin)],
    runs: { one: first.runs, other: second.runs },
  };
}

/** The page is dirty and its entry writable when the threads begin. */
const dirtied = (_stage: StoreStage, harness: HmmHarness): void => {
  harness.run(storeWord(harness, 5));
};
const touched = (_stage: StoreStage, harness: HmmHarness): void => {
  harness.run(loadWord(harness));
};
/** The page is in the cache, and has no entry. */
const cachedUnmapped = (stage: StoreStage, harness: HmmHarness): void => {
  touched(stage, harness);
  harness.run(discards.body(stage, harness));
};
/** The same, and dirty. */
const dirtiedUnmapped = (stage: StoreStage, harness: HmmHarness): void => {
  dirtied(stage, harness);
  harness.run(discards.body(stage, harness));
};
/** Written and written back: the entry is there, read-only. */
const syncedBefore = (stage: StoreStage, harness: HmmHarness): void => {
  harness.run(storeWord(harness, 5));
  harness.run(sync(harness, stage));
};

/** The fault that has found the frame maps it after the truncation. */
const cutsReading: Twin = {
  name: "reading",
  summary: "The truncation clears entries holding the mmap lock for reading.",
  expects: "assertion",
  second: (stage, harness) => readingOnly(cutsOff.body(stage, harness)),
};

export const files: readonly Covered[] = [
  pair({
    first: loads,
    second: loads,
    check: (stage, harness) => {
      requireNoStaleEntry(stage, harness);
      assert(stage.store.reads === 1, `the page was read ${stage.store.reads} times`);
    },
  }),
  pair({
    first: storesTwice,
    second: syncs,
    check: requireStored(9),
    before: dirtied,
    twin: {
      name: "unprotected",
      summary:
        "The write-back takes no right from the entries: a store that comes after it marks nothing, and is never written.",
      expects: "assertion",
      second: syncsUnprotected,
    },
  }),
  pair({
    first: storesOnce,
    second: syncs,
    check: requireStored(9),
    before: syncedBefore,
    twin: {
      name: "in-two",
      summary:
        "The page is marked, and the entry made writable a moment later: a write-back in between takes the mark, and finds no right to take.",
      expects: "assertion",
      first: storesInTwo,
    },
  }),
  pair({ first: syncs, second: syncs, check: requireStored(5), before: dirtied }),
  pair({
    first: failsToLoad,
    second: failsToLoad,
    check: (stage, harness) =>
      assert(cachedFrame(harness, stage) === 0, "the cache has a page that was not read"),
    exploration: { engine: "bounded", preemptions: 1 },
  }),
  pair({
    first: cutsInside,
    second: cutsInside,
    check: requireStored(5),
    before: dirtied,
    exploration: { engine: "bounded", preemptions: 1 },
  }),
  pair({ first: stores(8), second: stores(9), check: requireStored(8, 9), before: touched }),
  pair({
    first: loadsOrFaults,
    second: cutsOff,
    check: requireCutOff,
    twin: cutsReading,
  }),
  pair({
    first: loadsOrFaults,
    second: cutsOff,
    suffix: "/cached",
    check: requireCutOff,
    before: cachedUnmapped,
    twin: cutsReading,
  }),
  pair({
    first: stores(8),
    second: cutsOff,
    check: requireCutOff,
    before: touched,
    twin: {
      name: "writing",
      summary: "The truncation takes the page from the cache before it takes its entries.",
      expects: "assertion",
      second: cutsOffWriting,
    },
  }),
  pair({
    first: syncs,
    second: cutsOff,
    check: requireCutOff,
    before: dirtied,
    twin: {
      name: "writing",
      summary: "The truncation does not wait until the page has been written.",
      expects: "assertion",
      second: cutsOffWriting,
    },
  }),
  pair({
    first: viewsIfThere,
    second: cutsOff,
    check: requireCutOff,
    before: touched,
    twin: {
      name: "blind",
      summary: "At the end of a view its frame is put into the cache, where the page was cut off.",
      expects: "assertion",
      first: viewsBlindly,
    },
  }),
  pair({
    first: storesOnce,
    second: syncs,
    suffix: "/unmapped",
    check: requireStored(9),
    before: dirtiedUnmapped,
    twin: {
      name: "at-once",
      summary:
        "A fault finds the page dirty and makes its entry writable, without the lock: a write-back in between takes the mark, and finds no entry.",
      expects: "assertion",
      first: storesAtOnce,
    },
  }),
  pair({ first: syncs, second: unmaps, check: requireStored(5), before: dirtied }),
  pair({ first: syncs, second: discards, check: requireStored(5), before: dirtied }),
  pair({ first: syncs, second: forks, check: requireStored(9), before: dirtied }),
  pair({ first: syncs, second: views, check: requireStored(5), before: dirtied }),
  pair({ first: storesTwice, second: pagesOut, check: requireStored(9), before: dirtied }),
  pair({ first: syncs, second: pagesOut, check: requireStored(5), before: dirtied }),
  pair({ first: stores(9), second: cools, check: requireStored(9), before: dirtied }),
  pair({ first: loads, second: readsAhead, check: requireNoStaleEntry }),
  pair({
    first: stores(9),
    second: populates,
    check: requireStored(9),
    exploration: { engine: "bounded", preemptions: 1 },
  }),
  pair({
    first: keepsStore,
    second: cools,
    check: () => {},
    options: { shared: false },
    suffix: "/private",
    before: touched,
    twin: {
      name: "reading",
      summary:
        "MADV_COLD judges the entry holding the mmap lock for reading: a fault puts a copy there, and the copy is cleared, and its store lost.",
      expects: "assertion",
      second: coolsReading,
    },
  }),
  pair({
    first: loadsOrFaults,
    second: cutsOff,
    check: requireNoStaleEntry,
    options: { shared: false },
    suffix: "/private",
    before: cachedUnmapped,
    twin: cutsReading,
  }),
];
