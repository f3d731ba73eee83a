/**
 * @module A thread that dies while it changes a huge page, at any step: the page is split, or as it
 * was, or as it shall be, and each frame is counted as often as it is named (U8 of mm/huge.ts, K8
 * of mm/entries/row.ts). In the twins the bit stays, frames or references are taken without a note,
 * or entries become a migration's that is not listed.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { MADV_DONTNEED, MADV_HUGEPAGE, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { HUGE_PAGES, hugePte, linkHuge, rewriteHuge } from "../../../../src/mm/huge.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { mmapWriteLock } from "../../../../src/mm/migration.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import {
  KIND_MIGRATION,
  PAGE_BYTES,
  WRITTEN_RIGHTS,
  isResident,
  makeNonPresent,
  makePte,
  pteKind,
  ptePfn,
  withWrite,
} from "../../../../src/mm/pte.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { leafOf } from "../../../../src/mmu/radix-table.ts";
import { atomicStore } from "../../../../src/sync/atomics.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { START, isolateBlock, requireWhole } from "../mm/huge-stage.ts";
import type { HugeWorld } from "../mm/huge-stage.ts";
import { type HarnessBody, type HarnessTwin, coveringOnHarness } from "../on-harness.ts";

interface World extends Pick<HugeWorld, "child" | "referencesBefore"> {
  /** That there is at the beginning; 0: none. */
  readonly firstChild: number;
  /** Frames that are not the block's. */
  readonly usedBefore: number;
}
type Body = HarnessBody<World>;

const ADDRESS: number = START * PAGE_BYTES;
const BYTES: number = HUGE_PAGES * PAGE_BYTES;

function mapBlock({ machine, mm }: HmmHarness, huge: boolean): Task<number> {
  const place = { address: ADDRESS, placement: MAP_FIXED_NOREPLACE, lengthBytes: BYTES };
  const kind = { protection: VM_READ | VM_WRITE, shared: false, huge } as const;
  return doMmap(machine, mm, { ...place, ...kind, bufferPfn: 0, offsetPages: 0 });
}

/** Private memory that is to have huge pages, which nobody has touched. */
function* advised(harness: HmmHarness): Task<number> {
  const { machine, mm } = harness;
  yield* mapBlock(harness, false);
  yield* doMadvise(machine, mm, ADDRESS, BYTES, MADV_HUGEPAGE);
  return 0;
}

function* written(harness: HmmHarness): Task<number> {
  yield* advised(harness);
  yield* new HarnessCpu(harness).store(ADDRESS, 7);
  return 0;
}

/** A huge page without frames. */
function* emptied(harness: HmmHarness): Task<number> {
  yield* written(harness);
  yield* doMadvise(harness.machine, harness.mm, ADDRESS, BYTES, MADV_DONTNEED);
  return 0;
}

/** Read-only, since a child has had it, too. */
function* returned(harness: HmmHarness): Task<number> {
  const { machine, mm } = harness;
  yield* written(harness);
  const child = yield* doFork(machine, mm);
  yield* mmput(machine, Mm.at(machine.memory, child));
  return 0;
}

/** An explicit huge mapping that a child shares. */
function* sharedExplicit(harness: HmmHarness): Task<number> {
  const { machine, mm } = harness;
  yield* mapBlock(harness, true);
  return yield* doFork(machine, mm);
}

const touchIt: Body = (_world, { machine, mm }) => cpuFault(machine, mm, START + 3, true);

const fork: Body = function* (world, { machine, mm }) {
  const child = yield* doFork(machine, mm);
  if (child < 0) bug(`the fork answered ${child}`);
  world.child = child;
};

/** All pages become a migration's, which only a death ends. */
const isolate: Body = function* (_world, { machine, mm }) {
  yield* mm.mmapLock.downRead();
  yield* isolateBlock(machine, mm);
  yield* mm.mmapLock.upRead();
};

/** Frames are taken, and noted nowhere. */
const touchUnnoted: Body = function* (_world, { machine, mm }) {
  yield* mm.mmapLock.downRead();
  const scratch = yield* machine.heap.allocWords(HUGE_PAGES);
  const notes = { leaf: scratch, mid: scratch + 1, links: scratch + 2 };
  const pfn = yield* machine.ram.allocRun(HUGE_PAGES, true);
  yield* linkHuge(machine, mm, START, makePte(pfn, WRITTEN_RIGHTS), notes);
  yield* mm.mmapLock.upRead();
};

/** The same for a huge page that was cleared. */
const refillUnnoted: Body = function* (_world, { machine, mm }) {
  const { memory } = machine;
  yield* mm.mmapLock.downRead();
  const pfn = yield* machine.ram.allocRun(HUGE_PAGES, true);
  yield* mm.pageTableLock.lock();
  rewriteHuge(memory.words, leafOf(memory, mm.pgd, START), makePte(pfn, WRITTEN_RIGHTS));
  yield* mm.pageTableLock.unlock();
  yield* mm.mmapLock.upRead();
};

/** The frames of a huge page. */
function row(pfn: number): number[] {
  return Array.from({ length: HUGE_PAGES }, (_, i) => pfn + i);
}

/** The same for a copy. The frames that were shared are put when all entries have others. */
const copyUnnoted: Body = function* (_world, { machine, mm }) {
  const { memory, ram } = machine;
  yield* mm.mmapLock.downRead();
  const head = memory.words[leafOf(memory, mm.pgd, START)]!;
  const pfn = yield* machine.ram.allocRun(HUGE_PAGES, false);
  yield* ram.copyRun(ptePfn(head), pfn, HUGE_PAGES);
  yield* mm.pageTableLock.lock();
  rewriteHuge(memory.words, leafOf(memory, mm.pgd, START), makePte(pfn, WRITTEN_RIGHTS));
  yield* mm.pageTableLock.unlock();
  yield* mm.shootdown.flush(START, START + HUGE_PAGES);
  yield* ram.refs.pagePutAll(row(ptePfn(head)));
  yield* mm.mmapLock.upRead();
};

/** Takes the references that a child's entries are to get, notes them nowhere, and gives up. */
const forkUnnoted: Body = function* (_world, { machine, mm }) {
  const { memory, ram } = machine;
  yield* mmapWriteLock(machine, mm);
  const pfn = ptePfn(memory.words[leafOf(memory, mm.pgd, START)]!);
  for (const one of row(pfn)) yield* ram.refs.pageGet(one);
  yield* ram.refs.pagePutAll(row(pfn));
  yield* mm.mmapLock.upWrite();
};

/** All entries become a migration's, and it is listed nowhere. */
const isolateUnnoted: Body = function* (_world, { machine, mm }) {
  const { memory } = machine;
  yield* mm.mmapLock.downRead();
  yield* mm.pageTableLock.lock();
  const leaf = leafOf(memory, mm.pgd, START);
  const head = memory.words[leaf]!;
  rewriteHuge(memory.words, leaf, makeNonPresent(KIND_MIGRATION, ptePfn(head)));
  yield* mm.pageTableLock.unlock();
  yield* mm.mmapLock.upRead();
};

/** All entries become writable, and a death undoes nothing. */
const reuseUnnoted: Body = function* (_world, { machine, mm }) {
  const { memory } = machine;
  yield* mm.mmapLock.downRead();
  yield* mm.pageTableLock.lock();
  const leaf = leafOf(memory, mm.pgd, START);
  const head = memory.words[leaf]!;
  for (let i = 0; i < HUGE_PAGES; i++) {
    yield* access(memory, "write", leaf + i, 1, "pte");
    atomicStore(memory.words, leaf + i, withWrite(hugePte(head, i)));
  }
  yield* mm.pageTableLock.unlock();
  yield* mm.mmapLock.upRead();
};

/** Whoever takes the lock for writing ends a migration that is left. */
const endLeft: Body = function* (_world, { machine, mm }) {
  yield* mmapWriteLock(machine, mm);
  yield* mm.mmapLock.upWrite();
};

function check(world: World, harness: HmmHarness): void {
  const { machine, mm } = harness;
  if (!mm.moving.isEmpty()) return; // nobody has come since the death
  requireWhole(world, harness);
  const leaf = leafOf(machine.memory, mm.pgd, START);
  for (let i = 0; i < (leaf === 0 ? 0 : HUGE_PAGES); i++)
    assert(
      pteKind(machine.memory.words[leaf + i]!) !== KIND_MIGRATION,
      `entry ${i} is a migration's, and there is none`,
    );
  const used = machine.ram.usage().usedPages - world.usedBefore;
  const named = frames(world, harness).size;
  assert(used === named, `${used} frames are in use, and ${named} are named`);
}

/** The block's, in both spaces. */
function frames({ child }: World, { machine, mm }: HmmHarness): Set<number> {
  const found = new Set<number>();
  for (const space of child > 0 ? [mm, Mm.at(machine.memory, child)] : [mm]) {
    const leaf = leafOf(machine.memory, space.pgd, START);
    for (let i = 0; i < (leaf === 0 ? 0 : HUGE_PAGES); i++) {
      const pte = machine.memory.words[leaf + i]!;
      if (isResident(pte)) found.add(ptePfn(pte));
    }
  }
  return found;
}

interface Parts {
  readonly name: string;
  readonly does: string;
  /** Returns a child, or 0. */
  readonly prepare: (harness: HmmHarness) => Task<number>;
  readonly dies: readonly [runs: readonly string[], body: Body];
  readonly twins?: readonly HarnessTwin<World>[];
}

function changing({ name, does, prepare, dies, twins = [] }: Parts): Covered {
  return coveringOnHarness<World>({
    layer: "mm",
    name: `death/huge-${name}`,
    summary: `A thread dies at any step while it ${does}.`,
    harness: { pages: 0, hugePages: 3, arenaWords: 16_384 },
    exploration: {
      engine: "bounded",
      preemptions: 0,
      deaths: 1,
      maxSteps: 40_000,
    },
    killable: ["dies"],
    mustSurvive: true,
    mayRemain: "anything",
    setup(harness) {
      const { references } = harness.machine.ram.refs.total();
      const { usedPages } = harness.machine.ram.usage();
      const child = harness.run(prepare(harness));
      const before = { referencesBefore: references, usedBefore: usedPages };
      return { child, firstChild: child, ...before };
    },
    reopen(world) {
      world.child = world.firstChild;
    },
    tasks: { dies, next: [["mm/migration.mmapWriteLock"], endLeft] },
    check,
    twins,
  });
}

/** Nothing is mapped at the beginning. */
function* nothing(): Task<number> {
  return 0;
}

const mapExplicit: Body = (_world, harness) => mapBlock(harness, true);

export const deathsInHugeChanges: readonly Covered[] = [
  changing({
    name: "map",
    does: "maps explicit huge memory, which has its pages at once",
    prepare: nothing,
    dies: [["mm/calls/hugetlb.populateHugetlb", "mm/entries/row.giveRow"], mapExplicit],
    twins: [
      ["unnoted", "It notes nowhere which frames it takes.", "assertion", { dies: touchUnnoted }],
    ],
  }),
  changing({
    name: "first-touch",
    does: "fills 2 MiB that nobody has touched",
    prepare: advised,
    dies: [["mm/huge.linkHuge", "mm/entries/row.takeRow"], touchIt],
    twins: [
      ["unnoted", "It notes nowhere which frames it takes.", "assertion", { dies: touchUnnoted }],
    ],
  }),
  changing({
    name: "touch-of-empty",
    does: "fills a huge page that was cleared",
    prepare: emptied,
    dies: [["mm/huge.rewriteHugeNoted", "mm/entries/row.endRow"], touchIt],
    twins: [
      ["unnoted", "It notes nowhere which frames it takes.", "assertion", { dies: refillUnnoted }],
    ],
  }),
  changing({
    name: "reuse",
    does: "makes all entries of a huge page writable",
    prepare: returned,
    dies: [["mm/fault/huge-fault.reuseOrSplit", "mm/huge.splitIfDead"], touchIt],
    twins: [["bit-stays", "The bit stays.", "assertion", { dies: reuseUnnoted }]],
  }),
  changing({
    name: "copy",
    does: "copies an explicit huge page that a child shares",
    prepare: sharedExplicit,
    dies: [["mm/fault/huge-fault.copyHuge", "mm/entries/row.putRow"], touchIt],
    twins: [
      ["unnoted", "It notes nowhere which frames it takes.", "assertion", { dies: copyUnnoted }],
    ],
  }),
  changing({
    name: "fork",
    does: "forks a space that has a huge page",
    prepare: written,
    dies: [["mm/lifetime/fork.doFork", "mm/entries/row.getRow"], fork],
    twins: [
      ["unnoted", "References come first, without a note.", "assertion", { dies: forkUnnoted }],
    ],
  }),
  changing({
    name: "isolation",
    does: "makes a huge page a migration's",
    prepare: written,
    dies: [["mm/migrate/migrate-huge.isolateHuge", "mm/huge.splitIfDead"], isolate],
    twins: [["unnoted", "It is listed nowhere.", "assertion", { dies: isolateUnnoted }]],
  }),
];
