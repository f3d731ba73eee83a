/**
 * @module A fault in a mapping of a file, which maps what the cache has beside its page as well
 * (mm/fault/file-fault.ts): while another thread maps one of those pages, cuts them off, or lets
 * them go; and with the thread's death at any step. Each entry is of the frame that the cache has,
 * and counted once. In the twins a frame beside is counted and not mapped, mapped after the cache
 * was asked, or its count is noted nowhere for a step.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { MADV_DONTNEED, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { PAGE_BYTES, PTE_ACCESSED, holdsFrame, makePte, ptePfn } from "../../../../src/mm/pte.ts";
import { PageCache, cacheEntryAt, cacheEntryPfn } from "../../../../src/mm/vma/page-cache.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { atomicCompareExchange } from "../../../../src/sync/atomics.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, ONE_DIES, coveringOnHarness } from "../on-harness.ts";
import { FIRST, type StoreStage, loadWord, makeStage, resize } from "./store-stage.ts";

type Body = HarnessBody<StoreStage>;

const PAGES = 2;

function* discardAll({ machine, mm }: HmmHarness): Task<void> {
  const address = HARNESS_PAGE * PAGE_BYTES;
  const answer = yield* doMadvise(machine, mm, address, PAGES * PAGE_BYTES, MADV_DONTNEED);
  assert(answer === 0, `madvise answered ${answer}`);
}

/** The cache has both pages, and no entry has either. */
function setup(harness: HmmHarness): StoreStage {
  const stage = makeStage(harness, { pages: PAGES });
  for (let page = 0; page < PAGES; page++) harness.run(loadWord(harness, page));
  harness.run(discardAll(harness));
  return stage;
}

const loads = (page: number): Body =>
  function* (_stage, harness) {
    const seen = yield* loadWord(harness, page);
    assert(seen === FIRST, `page ${page} reads ${seen}`);
  };

const loadsOrFaults: Body = function* (_stage, harness) {
  const seen = yield* loadWord(harness);
  assert(seen === undefined || seen === FIRST, `the page reads ${seen}`);
};

const frameInCache = ({ machine }: HmmHarness, { cache }: StoreStage, page: number): number =>
  cacheEntryPfn(cacheEntryAt(machine.memory, PageCache.at(machine.memory, cache), page));

/** Counts the frame of the page beside, and does not map it. */
const holds: Body = function* (stage, harness) {
  yield* harness.machine.ram.refs.pageGet(frameInCache(harness, stage, 1));
  yield* loads(0)(stage, harness);
};

/** Maps what the cache had beside the page when it was asked. */
const mapsLate: Body = function* (stage, harness) {
  const { machine, mm } = harness;
  const pfn = frameInCache(harness, stage, 1);
  yield* loadsOrFaults(stage, harness);
  const leaf = leafOf(machine.memory, mm.pgd, HARNESS_PAGE);
  if (leaf === 0 || pfn === 0) return;
  const at = pteIndex(leaf, HARNESS_PAGE + 1);
  yield* access(machine.memory, "write", at, 1, "pte");
  atomicCompareExchange(machine.memory.words, at, 0, makePte(pfn, PTE_ACCESSED));
};

/** A count that a thread has in hand, and no note of it. */
const countsUnnoted: Body = function* (stage, harness) {
  const pfn = frameInCache(harness, stage, 1);
  yield* harness.machine.ram.refs.pageGet(pfn);
  yield* access(harness.machine.memory, "read", harness.mm.at, 1, "between");
  yield* harness.machine.ram.refs.pagePut(pfn);
};

/** An entry is of the cache's frame, and each frame has the cache's count and the entry's. */
function requireCounts(stage: StoreStage, harness: HmmHarness): void {
  for (let page = 0; page < PAGES; page++) {
    const pfn = frameInCache(harness, stage, page);
    const pte = harness.entryOf(HARNESS_PAGE + page);
    const mapped = holdsFrame(pte) ? ptePfn(pte) : 0;
    assert(mapped === 0 || mapped === pfn, `frame ${mapped} is mapped, and the cache has ${pfn}`);
    if (pfn === 0) continue;
    const count = harness.machine.ram.refs.pageCount(pfn);
    assert(count === (mapped === 0 ? 1 : 2), `frame ${pfn} is counted ${count} times`);
  }
}

function requireMapped(stage: StoreStage, harness: HmmHarness): void {
  requireCounts(stage, harness);
  for (let page = 0; page < PAGES; page++)
    assert(holdsFrame(harness.entryOf(HARNESS_PAGE + page)), `page ${page} is not mapped`);
}

const FAULT = ["mm/fault/cpu-fault.cpuFault", "mm/fault/fault-around.mapCached"];
const HOLDING = "It counts the frame of the page beside, and does not map it.";

const common = {
  layer: "mm",
  harness: { pages: 0, arenaWords: 16_384 },
  setup,
  reopen: ({ store }: StoreStage): void => store.reset(PAGES),
  mayRemain: "anything",
} as const;

export const fileAround: readonly Covered[] = [
  coveringOnHarness<StoreStage>({
    ...common,
    name: "file/load-vs-load-beside",
    summary: "Two threads load pages of a file that lie side by side: each maps the other's.",
    exploration: { engine: "bounded", preemptions: 1 },
    tasks: { one: [FAULT, loads(0)], other: [FAULT, loads(1)] },
    check: requireMapped,
    twins: [["holding", HOLDING, "assertion", { one: holds }]],
  }),
  coveringOnHarness<StoreStage>({
    ...common,
    name: "file/load-vs-truncate-beside",
    summary: "A thread loads a page of a file, of which the page beside is cut off.",
    exploration: { engine: "bounded", preemptions: 1 },
    tasks: {
      load: [FAULT, loadsOrFaults],
      truncate: [
        ["mm/source/size.refreshSize"],
        (stage, harness) => resize(harness, stage, PAGES - 1),
      ],
    },
    check: requireCounts,
    twins: [
      ["late", "It maps what the cache had before it loaded.", "assertion", { load: mapsLate }],
    ],
  }),
  coveringOnHarness<StoreStage>({
    ...common,
    name: "file/load-vs-discard-beside",
    summary: "A thread loads a page of a file, while another lets go of that page and the next.",
    exploration: { engine: "bounded", preemptions: 1 },
    tasks: {
      load: [FAULT, loads(0)],
      discard: [["mm/calls/madvise.doMadvise"], (_stage, harness) => discardAll(harness)],
    },
    check: requireCounts,
    twins: [["holding", HOLDING, "assertion", { load: holds }]],
  }),
  coveringOnHarness<StoreStage>({
    ...common,
    name: "death/load-of-cached",
    summary: "A thread dies at any step of a load of a file, and another loads the page beside.",
    ...ONE_DIES,
    tasks: { dies: [FAULT, loads(0)], load: [["mm/fault/cpu-fault.cpuFault"], loads(1)] },
    check: requireCounts,
    twins: [
      [
        "unnoted",
        "It has a count of the frame beside that it notes nowhere.",
        "assertion",
        { dies: countsUnnoted },
      ],
    ],
  }),
];
