/**
 * @module A thread that dies while it maps shared memory, touches it, or unmaps it: the page cache
 * is some mapping's, or is freed, and so is each of its frames (V3, V4 of vma/vma-map.ts, H7 of
 * vma/page-cache.ts). In the twins a cache, or a count of a frame, is noted nowhere for a step.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { PAGE_BYTES, holdsFrame } from "../../../../src/mm/pte.ts";
import {
  PageCache,
  cacheCreate,
  cachePut,
  slotIfThere,
} from "../../../../src/mm/vma/page-cache.ts";
import { VM_READ, VM_WRITE, vmaAt } from "../../../../src/mm/vma/vma.ts";
import { LEAF_WORDS, leafOf } from "../../../../src/mmu/radix-table.ts";
import { mmapWriteLock } from "../../../../src/mm/migration.ts";
import { migrateToRun } from "../../../../src/mm/migrate/migrate-to-run.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";

type Body = HarnessBody<undefined>;

/** Where the set-up has mapped shared memory, and where a thread maps some. */
const SHARED = HARNESS_PAGE + 8;
const OWN = HARNESS_PAGE + 16;

function* mapOwn({ machine, mm }: HmmHarness): Task<void> {
  const place = { address: OWN * PAGE_BYTES, placement: MAP_FIXED_NOREPLACE };
  const request = {
    ...place,
    lengthBytes: PAGE_BYTES,
    protection: VM_READ | VM_WRITE,
    shared: true,
  };
  const address = yield* doMmap(machine, mm, { ...request, bufferPfn: 0, offsetPages: 0 });
  assert(address === OWN * PAGE_BYTES, `mmap answered ${address}`);
}

const mapsAndUnmaps: Body = function* (_world, harness) {
  const { machine, mm } = harness;
  yield* mapOwn(harness);
  yield* doMunmap(machine, mm, OWN * PAGE_BYTES, PAGE_BYTES);
};

const makesUnnoted: Body = function* (_world, { machine, mm }) {
  const at = yield* cacheCreate(machine, 1);
  assert(at !== 0, "there is memory for a cache");
  yield* access(machine.memory, "read", mm.at, 1, "between");
  yield* cachePut(machine, at);
};

const touches: Body = (_world, { machine, mm }) => cpuFault(machine, mm, SHARED, true);

const countsUnnoted: Body = function* (_world, { machine, mm }) {
  const pfn = yield* machine.ram.allocFrame(true);
  yield* access(machine.memory, "read", mm.at, 1, "between");
  yield* machine.ram.refs.pagePut(pfn);
};

/** Into another frame, if there is one already. */
const moves: Body = function* (_world, { machine, mm }) {
  yield* mmapWriteLock(machine, mm);
  const pfn = yield* migrateToRun(machine, mm, { startPage: SHARED, endPage: SHARED + 1 });
  assert(pfn > 0, `the move answered ${pfn}`);
  yield* mm.mmapLock.upWrite();
};

const allocatesUnnoted: Body = function* (_world, { machine, mm }) {
  const table = yield* machine.heap.allocWords(LEAF_WORDS);
  yield* access(machine.memory, "read", mm.at, 1, "between");
  yield* machine.heap.freeWords(table, LEAF_WORDS);
};

/**
 * Each cache is some mapping's, each table a cache's or the space's, and each count of a frame an
 * entry's or a cache's.
 */
function check(_world: undefined, harness: HmmHarness): void {
  const { machine, mm } = harness;
  const { memory, heap, ram } = machine;
  assert(memory.words[mm.mmapLock.at] === 0, "somebody still holds the mmap lock");
  const sources = new Set<number>();
  for (let vma = vmaAt(memory, mm.vmaFirst); vma !== undefined; vma = vmaAt(memory, vma.next))
    if (vma.source !== 0) sources.add(vma.source);
  const caches = heap.accounting().find(({ name }) => name === "pageCache")?.live ?? 0;
  assert(caches === sources.size, `${caches} page caches of ${sources.size} mappings`);
  const tables = heap.accounting().find(({ name }) => name === "words512")?.live ?? 0;
  let linked = leafOf(memory, mm.pgd, SHARED) === 0 ? 0 : 1;
  for (const source of sources)
    linked += slotIfThere(memory, PageCache.at(memory, source), 0) === 0 ? 1 : 2; // the directory
  assert(tables === linked, `there are ${tables} tables, of which ${linked} are linked`);
  let entries = 0;
  for (let page = HARNESS_PAGE; page < OWN + 1; page++)
    if (holdsFrame(harness.entryOf(page))) entries++;
  const frames = ram.usage().usedPages;
  const inCaches = holdsFrame(harness.entryOf(SHARED)) ? 1 : frames - entries;
  const { references } = ram.refs.total();
  assert(frames - entries <= 1 && inCaches <= 1, `${frames} frames are used, ${entries} mapped`);
  assert(references === entries + inCaches, `${references} references, ${entries} of entries`);
}

function dying(
  name: string,
  summary: string,
  [runs, dies]: readonly [runs: readonly string[], dies: Body],
  twin: readonly [name: string, summary: string, dies: Body],
): Covered {
  return coveringOnHarness<undefined>({
    layer: "mm",
    name: `death/${name}`,
    summary,
    harness: { pages: 1, arenaWords: 8192 },
    exploration: { engine: "bounded", preemptions: 1, deaths: 1 },
    killable: ["dies"],
    mustSurvive: true,
    mayRemain: "anything",
    setup(harness) {
      harness.map(SHARED, 1, VM_READ | VM_WRITE, true);
      return undefined;
    },
    tasks: { dies: [runs, dies], touches: [["mm/fault/shared-fault.sharedFault"], touches] },
    check,
    twins: [[twin[0], twin[1], "assertion", { dies: twin[2] }]],
  });
}

export const deathsWithSharedMemory: readonly Covered[] = [
  dying(
    "map-shared",
    "A thread dies at any step of mapping shared memory, or of unmapping it, and another touches some.",
    [["mm/calls/mmap.mapSource", "mm/vma/page-cache.endCache"], mapsAndUnmaps],
    ["unnoted", "The cache is nobody's for a step.", makesUnnoted],
  ),
  dying(
    "touch-shared",
    "A thread dies at any step of the first touch of shared memory, and another touches it, too.",
    [["mm/fault/shared-fault.sharedFault", "mm/vma/page-cache.takeEntry"], touches],
    ["unnoted", "A frame is nobody's for a step.", countsUnnoted],
  ),
  dying(
    "move-shared",
    "A thread dies at any step of moving shared memory that nobody has touched to a frame of its own, and another touches it.",
    [["mm/migrate/migrate-to-run.makeTables", "mm/vma/page-cache.cacheMove"], moves],
    ["unnoted", "A table is nobody's for a step.", allocatesUnnoted],
  ),
];
