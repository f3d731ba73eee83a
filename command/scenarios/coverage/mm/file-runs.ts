/**
 * @module A write-back of pages that lie apart: two runs, which are marked and cleaned together
 * (mm/source/write-back.ts). What is stored to either of them meanwhile is written, or the page is
 * DIRTY again. In the twins only the first run is cleaned, and both are before they are marked.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { PTE_WRITE } from "../../../../src/mm/pte.ts";
import { type WriteRun, beginWrite, writeRun } from "../../../../src/mm/source/transfer.ts";
import {
  CACHE_DIRTY,
  CACHE_WRITEBACK,
  PageCache,
  backingOf,
  cacheEntryAt,
  cacheEntryPfn,
} from "../../../../src/mm/vma/page-cache.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { atomicAnd } from "../../../../src/sync/atomics.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, type HarnessTwin, coveringOnHarness } from "../on-harness.ts";
import { type StoreStage, loadWord, makeStage, storeWord, sync } from "./store-stage.ts";

type Body = HarnessBody<StoreStage>;

/** The pages that are dirty; the one between is not. */
const DIRTY = [0, 2];

/** Twice, so that the second one may go through an entry that the write-back has seen. */
const storesTo = (page: number): Body =>
  function* (_stage, harness) {
    yield* storeWord(harness, 8, page);
    yield* storeWord(harness, 9, page);
  };

const syncs: Body = (stage, harness) => sync(harness, stage);

function* begin(harness: HmmHarness, stage: StoreStage, page: number): Task<WriteRun | undefined> {
  const { machine } = harness;
  const source = backingOf(machine, stage.cache) ?? bug("the cache has no source");
  const cache = PageCache.at(machine.memory, stage.cache);
  const run = yield* beginWrite(machine, cache, source, page, page + 1);
  return typeof run === "number" ? bug(`the write-back answered ${run}`) : run;
}

function* write(harness: HmmHarness, stage: StoreStage, run: WriteRun): Task<void> {
  const { machine } = harness;
  const source = backingOf(machine, stage.cache) ?? bug("the cache has no source");
  yield* writeRun(machine, PageCache.at(machine.memory, stage.cache), source, stage.store, run);
}

/** Takes the right from the page's entry, and flushes it. */
function* clean({ machine, mm }: HmmHarness, page: number): Task<void> {
  const { memory } = machine;
  const at = HARNESS_PAGE + page;
  yield* mm.mmapLock.downRead();
  const index = pteIndex(leafOf(memory, mm.pgd, at), at);
  yield* access(memory, "update", index, 1, "pte");
  atomicAnd(memory.words, index, ~PTE_WRITE);
  yield* mm.shootdown.flush(at, at + 1);
  yield* mm.mmapLock.upRead();
}

const syncsCleaningOne: Body = function* (stage, harness) {
  const runs: WriteRun[] = [];
  for (const page of DIRTY) {
    const run = yield* begin(harness, stage, page);
    if (run !== undefined) runs.push(run);
  }
  const [first] = runs;
  if (first !== undefined) yield* clean(harness, first.startPage);
  for (const run of runs) yield* write(harness, stage, run);
};

const syncsCleaningEarly: Body = function* (stage, harness) {
  for (const page of DIRTY) yield* clean(harness, page);
  for (const page of DIRTY) {
    const run = yield* begin(harness, stage, page);
    if (run !== undefined) yield* write(harness, stage, run);
  }
};

/** A page that is not DIRTY is as the store has it. */
function requireKept(stage: StoreStage, { machine }: HmmHarness): void {
  const { memory, ram } = machine;
  const cache = PageCache.at(memory, stage.cache);
  for (const page of DIRTY) {
    const entry = cacheEntryAt(memory, cache, page);
    assert((entry & CACHE_WRITEBACK) === 0, `the write-back of page ${page} has not ended`);
    const pfn = cacheEntryPfn(entry);
    const frame = ram.sections.of(pfn).i32[ram.sections.wordIndex(pfn)];
    const stored = stage.store.words[page];
    const isDirty = (entry & CACHE_DIRTY) !== 0;
    assert(isDirty || frame === stored, `page ${page}: ${frame} will never be written`);
  }
}

function beside(page: number, place: string, twins: readonly HarnessTwin<StoreStage>[]): Covered {
  return coveringOnHarness<StoreStage>({
    layer: "mm",
    name: `file-runs/store-to-${place}`,
    summary: `A thread stores to the ${place} of two runs of pages while both are written back.`,
    harness: { pages: 0, arenaWords: 16_384, frames: 8 },
    exploration: { engine: "bounded", preemptions: 2 },
    setup: (harness) => {
      const stage = makeStage(harness, { pages: 3 });
      for (const dirty of DIRTY) harness.run(storeWord(harness, 5, dirty));
      harness.run(loadWord(harness, 1));
      return stage;
    },
    reopen: ({ store, pages }) => store.reset(pages),
    mayRemain: "anything",
    tasks: {
      syncs: [["mm/calls/msync.doMsync", "mm/source/write-back.cleanEntries"], syncs],
      stores: [["mm/fault/file-fault.fileWriteFault"], storesTo(page)],
    },
    check: requireKept,
    twins,
  });
}

export const fileRuns: readonly Covered[] = [
  beside(0, "first", [
    [
      "early",
      "The entries lose their right to write before the pages are marked.",
      "assertion",
      { syncs: syncsCleaningEarly },
    ],
  ]),
  beside(2, "second", [
    ["one", "Only the first run is cleaned.", "assertion", { syncs: syncsCleaningOne }],
  ]),
];
