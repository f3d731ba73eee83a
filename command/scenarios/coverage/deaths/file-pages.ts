/**
 * @module A thread that dies while it reads pages of a file, writes them back, drops them, or cuts
 * them off (O2, O4 of mm/source/io.ts): each count of a frame is an entry's or the cache's. In the
 * twin a count is nobody's for a step.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import {
  MADV_COLD,
  MADV_PAGEOUT,
  MADV_WILLNEED,
  doMadvise,
} from "../../../../src/mm/calls/madvise.ts";
import { PAGE_BYTES, holdsFrame, ptePfn } from "../../../../src/mm/pte.ts";
import { readPages } from "../../../../src/mm/source/transfer.ts";
import {
  CACHE_READING,
  CACHE_WRITEBACK,
  PageCache,
  backingOf,
  cacheEntryAt,
  cacheEntryPfn,
} from "../../../../src/mm/vma/page-cache.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { growsAndStores } from "../mm/file-acts.ts";
import {
  ADDRESS,
  type StoreStage,
  loadWord,
  makeStage,
  resize,
  storeWord,
  sync,
} from "../mm/store-stage.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";

type Body = HarnessBody<StoreStage>;

const PAGES = 2;

const reads: Body = function* ({ cache: at, store }, { machine }) {
  const source = backingOf(machine, at) ?? bug("the cache has no source");
  yield* readPages(machine, PageCache.at(machine.memory, at), source, store, 0, PAGES);
};

/** The store refuses, so pages that were marked are absent again. */
const readsInVain: Body = function* (stage, harness) {
  stage.store.fails = true;
  yield* reads(stage, harness);
};

const writes: Body = (stage, harness) => sync(harness, stage);

const advises =
  (advice: number): Body =>
  (_stage, { machine, mm }) =>
    doMadvise(machine, mm, ADDRESS, PAGES * PAGE_BYTES, advice);

const cuts: Body = (stage, harness) => resize(harness, stage, 1);

/** A frame that nothing notes. */
const countsUnnoted: Body = function* (_stage, { machine, mm }) {
  const pfn = yield* machine.ram.allocFrame(false);
  yield* access(machine.memory, "read", mm.at, 1, "between");
  yield* machine.ram.refs.pagePut(pfn);
};

const LOADS: readonly [runs: readonly string[], body: Body] = [
  ["mm/fault/cpu-fault.cpuFault"],
  (_stage, harness) => loadWord(harness),
];

function check({ cache: at }: StoreStage, harness: HmmHarness): void {
  const { memory, ram, heap } = harness.machine;
  const cache = PageCache.at(memory, at);
  const frames = new Set<number>();
  let counts = 0;
  for (let page = 0; page < PAGES; page++) {
    const entry = cacheEntryAt(memory, cache, page);
    assert((entry & (CACHE_READING | CACHE_WRITEBACK)) === 0, `page ${page} keeps a mark`);
    const pte = harness.entryOf(HARNESS_PAGE + page);
    for (const pfn of [cacheEntryPfn(entry), holdsFrame(pte) ? ptePfn(pte) : 0]) {
      if (pfn === 0) continue;
      frames.add(pfn);
      counts++;
    }
    const isPast = page >= cache.pages;
    assert(!isPast || pte === 0, `the space has an entry of page ${page}, which was cut off`);
  }
  const { usedPages } = ram.usage();
  const { references } = ram.refs.total();
  assert(usedPages === frames.size, `${usedPages} frames are used, and ${frames.size} are named`);
  assert(references === counts, `${references} references of frames, and ${counts} have one`);
  const records = heap.accounting().filter(({ name }) => name === "sourceIo");
  assert(records.length === 0, "a record of a transfer is left");
  const mappings = backingOf(harness.machine, at)?.mappings;
  assert(mappings === 1, `the source counts ${mappings} mappings`);
}

function* storeAll(harness: HmmHarness): Task<void> {
  for (let page = 0; page < PAGES; page++) yield* storeWord(harness, 9, page);
}

const BETWEEN: ScenarioExploration = { engine: "bounded", preemptions: 0, deaths: 1 };

const clean = (_stage: StoreStage, harness: HmmHarness): void => {
  for (let page = 0; page < PAGES; page++) harness.run(loadWord(harness, page));
};
const dirty = (_stage: StoreStage, harness: HmmHarness): void => harness.run(storeAll(harness));

/** `before`: how the pages are at the beginning; default: absent. */
function dying(
  name: string,
  summary: string,
  runs: readonly string[],
  dies: Body,
  before?: (stage: StoreStage, harness: HmmHarness) => void,
  other: readonly [runs: readonly string[], body: Body] = LOADS,
): Covered {
  return coveringOnHarness<StoreStage>({
    layer: "mm",
    name: `death/${name}`,
    summary,
    harness: { pages: 0, arenaWords: 8192, frames: 8 },
    exploration: BETWEEN,
    killable: ["dies"],
    mustSurvive: true,
    mayRemain: "anything",
    setup: (harness) => {
      const stage = makeStage(harness, { pages: PAGES });
      before?.(stage, harness);
      return stage;
    },
    reopen: ({ store }) => store.reset(PAGES),
    tasks: { dies: [runs, dies], other },
    check,
    twins: [["unnoted", "A frame is nobody's for a step.", "assertion", { dies: countsUnnoted }]],
  });
}

export const deathsWithFilePages: readonly Covered[] = [
  dying(
    "read-pages",
    "A thread dies at any step of reading pages of a file, and another loads from one.",
    ["mm/source/transfer.readPages", "mm/source/transfer.finishRead"],
    reads,
  ),
  dying(
    "read-refused",
    "A thread dies at any step of a read that the store refuses.",
    ["mm/source/transfer.finishRead", "mm/source/io.putHands"],
    readsInVain,
  ),
  dying(
    "write-pages",
    "A thread dies at any step of writing dirty pages back, and another loads from one.",
    ["mm/source/transfer.beginWrite", "mm/source/transfer.finishWrite"],
    writes,
    dirty,
  ),
  dying(
    "page-out",
    "A thread dies at any step of writing pages back and dropping them.",
    ["mm/calls/advise-source.pageOut", "mm/source/reclaim.takeUnmapped"],
    advises(MADV_PAGEOUT),
    dirty,
  ),
  dying(
    "read-ahead",
    "A thread dies at any step of reading pages ahead of their use.",
    ["mm/calls/advise-source.readAhead"],
    advises(MADV_WILLNEED),
  ),
  dying(
    "cold",
    "A thread dies at any step of unmapping pages that it will not use soon.",
    ["mm/calls/advise-source.deactivate"],
    advises(MADV_COLD),
    clean,
  ),
  dying(
    "cut-off",
    "A thread dies at any step of following a file that has become shorter.",
    ["mm/source/cut.cutOff", "mm/source/cut.clearPage"],
    cuts,
    dirty,
  ),
  dying(
    "cut-and-grow",
    "A thread dies at any step of following a file that has become shorter; it grows again.",
    ["mm/source/size.changeSize", "mm/source/cut.cutOff"],
    cuts,
    clean,
    [growsAndStores.runs, growsAndStores.body],
  ),
];
