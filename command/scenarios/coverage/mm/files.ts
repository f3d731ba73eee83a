/**
 * @module A mapping of a source by two threads: faults of one page, stores beside a write-back, and
 * truncation, munmap, fork and exit beside each of them. No store is lost, no page that was cut off
 * is reached, and no frame is left.
 */

import type { FindingKind } from "../../../../src/checker/findings/finding.ts";
import { type HmmHarness, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Covered } from "../covered.ts";
import {
  type FileBody,
  coolsReading,
  cutsOffLate,
  cutsOffWriting,
  growsDropping,
  storesAtOnce,
  storesInTwo,
  syncsUnprotected,
  viewsBlindly,
} from "./broken-files.ts";
import {
  coolsDropping,
  countsUnlocked,
  cutsRoundingDown,
  pagesOutMapped,
  pagesOutWriting,
  populatesWritable,
  readsAheadEarly,
  readsBlindly,
  readsWithoutWaking,
  syncsOwnSpace,
  syncsStoring,
  syncsUnlocked,
  syncsWithoutWaiting,
  viewsMarkingOnce,
} from "./broken-transfers.ts";
import { readingOnly } from "./left-out.ts";
import { type StageOptions, type StoreStage, makeStage } from "./store-stage.ts";
import {
  type Act,
  storesOnce,
  stores,
  storesTwice,
  syncs,
  syncsForSure,
  loads,
  loadsOrFaults,
  failsToLoad,
  cutsInside,
  cutsOff,
  growsAndStores,
  growsInside,
  unmaps,
  discards,
  pagesOut,
  pagesOutForOthers,
  cools,
  readsAhead,
  populates,
  keepsStore,
  forks,
  views,
  viewsIfThere,
  viewsPrivately,
} from "./file-acts.ts";
import {
  dirtied,
  touched,
  touchedInside,
  cachedInside,
  cachedUnmapped,
  dirtiedUnmapped,
  syncedBefore,
  cachedFrame,
  requireNoStaleEntry,
  requireCutOff,
  requireGrown,
  requireStored,
  requireGone,
} from "./file-checks.ts";

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
    twin: {
      name: "blind",
      summary:
        "A thread that has read the page does not look under the lock whether another one has: one of the two frames is lost, and the entries of it are stale.",
      expects: "assertion",
      first: readsBlindly,
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
  pair({
    first: syncsForSure,
    second: syncsForSure,
    check: requireStored(5),
    before: dirtied,
    twin: {
      name: "without-waiting",
      summary:
        "A page that another thread is writing counts as written: msync returns before the store has it.",
      expects: "assertion",
      first: syncsWithoutWaiting,
    },
  }),
  pair({
    first: failsToLoad,
    second: failsToLoad,
    check: (stage, harness) =>
      assert(cachedFrame(harness, stage) === 0, "the cache has a page that was not read"),
    exploration: { engine: "bounded", preemptions: 1 },
    twin: {
      name: "silent",
      summary: "The read fails, and nobody is woken: who waits for the page sleeps for ever.",
      expects: "lost-wakeup",
      first: readsWithoutWaking,
    },
  }),
  pair({
    first: cutsInside,
    second: cutsInside,
    check: requireStored(5),
    before: dirtied,
    exploration: { engine: "bounded", preemptions: 1 },
    twin: {
      name: "rounds-down",
      summary:
        "The page in which the store ends is taken for one past the end, and with it what was stored in front of the end.",
      expects: "assertion",
      first: cutsRoundingDown,
    },
  }),
  pair({
    first: stores(8),
    second: stores(9),
    check: requireStored(8, 9),
    before: touched,
    twin: {
      name: "counts-unlocked",
      summary:
        "Whether the page is dirty already is looked up before the lock is taken: it is counted twice.",
      expects: "assertion",
      first: countsUnlocked,
    },
  }),
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
    first: stores(8),
    second: growsInside,
    check: requireStored(8),
    before: touchedInside,
    exploration: { engine: "bounded", preemptions: 1 },
    twin: {
      name: "dropping",
      summary: "The page that was the last one is read again though it is newer than the store.",
      expects: "assertion",
      second: growsDropping,
    },
  }),
  pair({
    first: loads,
    second: growsInside,
    check: requireNoStaleEntry,
    before: cachedInside,
    exploration: { engine: "bounded", preemptions: 1 },
  }),
  pair({
    first: growsAndStores,
    second: cutsOff,
    check: requireGrown,
    before: touched,
    exploration: { engine: "bounded", preemptions: 1 },
    twin: {
      name: "late",
      summary: "The store may grow again before all that was past its end is gone.",
      expects: "endless",
      second: cutsOffLate,
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
  pair({
    first: syncs,
    second: unmaps,
    check: requireGone,
    before: dirtied,
    twin: {
      name: "unlocked",
      summary: "The write-back looks for the mappings of the page without the mmap lock.",
      expects: "data-race",
      first: syncsUnlocked,
    },
  }),
  pair({
    first: syncs,
    second: discards,
    check: requireGone,
    before: dirtied,
    twin: {
      name: "stores",
      summary:
        "The write-back loads the entry, and stores it without the right a moment later: an entry that was cleared in between is back, without a count.",
      expects: "assertion",
      first: syncsStoring,
    },
  }),
  pair({
    first: syncs,
    second: forks,
    check: requireStored(9),
    before: dirtied,
    twin: {
      name: "own-space",
      summary:
        "The write-back makes the entries of its own space read-only, and not those of the child.",
      expects: "assertion",
      first: syncsOwnSpace,
    },
  }),
  pair({
    first: syncs,
    second: views,
    check: requireStored(9),
    before: dirtied,
    twin: {
      name: "marks-once",
      summary:
        "The page is dirty when the view opens, and not again when it closes: a write-back in between takes the mark, and what is stored after it is never written.",
      expects: "assertion",
      second: viewsMarkingOnce,
    },
  }),
  pair({
    first: storesTwice,
    second: pagesOut,
    check: requireStored(9),
    before: dirtied,
    twin: {
      name: "mapped",
      summary:
        "A page that was written leaves the cache although a thread has mapped it since: its entry stays, and no store through it is written.",
      expects: "assertion",
      second: pagesOutMapped,
    },
  }),
  pair({
    first: syncs,
    second: pagesOut,
    check: requireStored(5),
    before: dirtied,
    twin: {
      name: "writing",
      summary:
        "A page that is not dirty leaves the cache, although a write-back of it is under way.",
      expects: "assertion",
      second: pagesOutWriting,
    },
  }),
  pair({
    first: stores(9),
    second: cools,
    check: requireStored(9),
    before: dirtied,
    twin: {
      name: "drops",
      summary: "A page that nobody maps leaves the cache, though it is newer than the store.",
      expects: "assertion",
      second: coolsDropping,
    },
  }),
  pair({
    first: loads,
    second: readsAhead,
    check: requireNoStaleEntry,
    twin: {
      name: "early",
      summary: "The page is up to date before it has been read: a load in between finds zeros.",
      expects: "assertion",
      second: readsAheadEarly,
    },
  }),
  pair({
    first: stores(9),
    second: populates,
    check: requireStored(9),
    exploration: { engine: "bounded", preemptions: 1 },
    twin: {
      name: "writable",
      summary:
        "The entry may be written at once, as in memory without a source: no fault marks the page, and the store is never written.",
      expects: "assertion",
      second: populatesWritable,
    },
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
  pair({
    first: viewsIfThere,
    second: cutsOff,
    suffix: "/cached",
    check: requireCutOff,
    before: cachedUnmapped,
    exploration: { engine: "bounded", preemptions: 1 },
  }),
  pair({
    first: viewsIfThere,
    second: unmaps,
    check: requireNoStaleEntry,
    exploration: { engine: "bounded", preemptions: 1 },
  }),
  pair({
    first: viewsPrivately,
    second: pagesOutForOthers,
    check: () => {},
    options: { shared: false },
    suffix: "/private",
    before: cachedUnmapped,
  }),
];
