/**
 * @module A fault in a mapping of a file that another thread overtakes: it unmaps the page, or maps
 * it first. What a fault waits for it looks up while it holds the mmap lock, and what it does not
 * need it gives back. In the twins it looks afterwards, or keeps a reference.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { MADV_WILLNEED, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { waitForSource } from "../../../../src/mm/fault/cpu-fault.ts";
import { handleMmFault } from "../../../../src/mm/fault/fault.ts";
import { PAGE_BYTES, ptePfn } from "../../../../src/mm/pte.ts";
import { bringIn } from "../../../../src/mm/source/bring-in.ts";
import {
  PageCache,
  cacheEntryAt,
  cacheEntryPfn,
  cachePut,
} from "../../../../src/mm/vma/page-cache.ts";
import { vmaOf } from "../../../../src/mm/vma/vma.ts";
import { LEAF_WORDS } from "../../../../src/mmu/radix-table.ts";
import { ENOMEM } from "../../../../src/sync/errno.ts";
import { SegmentationFault, assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  type HarnessBody,
  type HarnessTasks,
  type HarnessTwin,
  coveringOnHarness,
} from "../on-harness.ts";
import { cachedUnmapped } from "./file-checks.ts";
import { ADDRESS, FIRST, type StoreStage, makeStage } from "./store-stage.ts";

type Body = HarnessBody<StoreStage>;

/** The page's word; undefined: the access is refused, for whatever reason. */
function* loadIfMapped(harness: HmmHarness): Task<number | undefined> {
  try {
    return yield* new HarnessCpu(harness).load(ADDRESS);
  } catch (error) {
    if (error instanceof SegmentationFault) return undefined;
    throw error;
  }
}

const load: Body = function* (_stage, harness) {
  const seen = yield* loadIfMapped(harness);
  assert(seen === undefined || seen === FIRST, `the page reads ${seen}`);
};

const loadForSure: Body = function* (_stage, harness) {
  const seen = yield* loadIfMapped(harness);
  assert(seen === FIRST, `the page reads ${seen}`);
};

/** The store fails. */
const failToLoad: Body = function* ({ store }, harness) {
  store.fails = true;
  const seen = yield* loadIfMapped(harness);
  assert(seen === undefined, `the page reads ${seen}`);
};

const readAhead: Body = function* (_stage, { machine, mm }) {
  const answer = yield* doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_WILLNEED);
  assert(answer === 0 || answer === ENOMEM, `the advice was answered with ${answer}`);
};

const unmap: Body = (_stage, { machine, mm }) => doMunmap(machine, mm, ADDRESS, PAGE_BYTES);

/** The page table of the page becomes free, too. */
const unmapTable: Body = (_stage, { machine, mm }) =>
  doMunmap(machine, mm, 0, LEAF_WORDS * PAGE_BYTES);

/** Looks up what it waits for when it has given up the mmap lock. */
const loadLate: Body = function* (_stage, { machine, mm }) {
  yield* mm.mmapLock.downRead();
  const vma = vmaOf(machine.memory, mm, HARNESS_PAGE);
  const result =
    vma === undefined ? 0 : yield* handleMmFault(machine, mm, vma, HARNESS_PAGE, false);
  yield* mm.mmapLock.upRead();
  const wait = vma === undefined ? 0 : yield* waitForSource(machine, vma, HARNESS_PAGE, result);
  if (wait > 0) yield* bringIn(machine, wait);
};

/** Keeps a reference of the frame that it has found, and does not map. */
const loadHolding: Body = function* (stage, harness) {
  const { machine } = harness;
  const entry = cacheEntryAt(machine.memory, PageCache.at(machine.memory, stage.cache), 0);
  yield* machine.ram.refs.pageGet(cacheEntryPfn(entry));
  yield* load(stage, harness);
};

/** The mapping is the last that has the cache. */
const putCache = ({ cache }: StoreStage, harness: HmmHarness): void => {
  harness.run(cachePut(harness.machine, cache));
};

/** The frame is the cache's and the entry's, and nobody else's. */
function requireCounted({ cache }: StoreStage, harness: HmmHarness): void {
  const { memory, ram } = harness.machine;
  const pfn = cacheEntryPfn(cacheEntryAt(memory, PageCache.at(memory, cache), 0));
  const mapped = ptePfn(harness.entryOf(HARNESS_PAGE));
  assert(mapped === pfn, `frame ${mapped} is mapped, and the cache has ${pfn}`);
  const count = ram.refs.pageCount(pfn);
  assert(count === 2, `the frame is counted ${count} times`);
}

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly before?: (stage: StoreStage, harness: HmmHarness) => void;
  readonly tasks: HarnessTasks<StoreStage>;
  readonly check?: (stage: StoreStage, harness: HmmHarness) => void;
  readonly twins?: readonly HarnessTwin<StoreStage>[];
}

function overtaken({ name, summary, before, tasks, check, twins = [] }: Parts): Covered {
  return coveringOnHarness<StoreStage>({
    layer: "mm",
    name: `file/${name}`,
    summary,
    harness: { pages: 0, arenaWords: 16_384 },
    exploration: { engine: "bounded", preemptions: 1 },
    setup(harness) {
      const stage = makeStage(harness);
      before?.(stage, harness);
      return stage;
    },
    reopen: ({ store }) => store.reset(1),
    tasks,
    ...(check === undefined ? {} : { check }),
    mayRemain: "anything",
    twins,
  });
}

const FAULT = ["mm/fault/cpu-fault.cpuFault", "mm/fault/cpu-fault.waitForSource"];
const UNMAP = ["mm/calls/munmap.doMunmap"];

export const filesOvertaken: readonly Covered[] = [
  overtaken({
    name: "load-vs-munmap",
    summary: "A thread waits for a page of a file, whose mapping goes meanwhile.",
    before: putCache,
    tasks: { loader: [FAULT, load], unmapper: [UNMAP, unmap] },
    twins: [
      [
        "late",
        "It looks up what it waits for when it has given up the lock.",
        "use-after-free",
        { loader: loadLate },
      ],
    ],
  }),
  overtaken({
    name: "failing-load-vs-munmap",
    summary: "A page of a file cannot be read, and its page table goes before that is explained.",
    tasks: {
      loader: [["mm/fault/cpu-fault.throwFault"], failToLoad],
      unmapper: [UNMAP, unmapTable],
    },
  }),
  overtaken({
    name: "willneed-vs-munmap",
    summary: "A file is read ahead, whose mapping goes meanwhile.",
    before: putCache,
    tasks: {
      reader: [["mm/calls/advise-source.readAhead"], readAhead],
      unmapper: [UNMAP, unmap],
    },
  }),
  overtaken({
    name: "load-vs-load-of-cached",
    summary: "Two threads map a page that is in the cache: one of them was not needed.",
    before: cachedUnmapped,
    tasks: {
      one: [["mm/fault/file-fault.fileFault"], loadForSure],
      other: [["mm/fault/file-fault.fileFault"], loadForSure],
    },
    check: requireCounted,
    twins: [["holding", "One keeps its reference.", "assertion", { one: loadHolding }]],
  }),
];
