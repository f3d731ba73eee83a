/**
 * @module One thread alone with a huge page (mm/huge.ts): there are no frames in a row for it, a
 * device tracks a page of it, a part of an explicit one is given up. And two threads that touch the
 * same memory first, of which one has made a page table for nothing.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { HarnessOptions, HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { MADV_DONTNEED, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { doMprotect } from "../../../../src/mm/calls/mprotect.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { trackRange } from "../../../../src/mm/fault/track.ts";
import { HUGE_PAGES, isHugeAt } from "../../../../src/mm/huge.ts";
import { PAGE_BYTES, PTE_TRACKED, PTE_WRITE, ZERO_PTE } from "../../../../src/mm/pte.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { leafOf } from "../../../../src/mmu/radix-table.ts";
import { EINVAL, ENOMEM } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";
import {
  AFTER,
  BEFORE,
  START,
  type State,
  contentsOf,
  makeBlock,
  requireWhole,
} from "./huge-stage.ts";

interface World {
  readonly child: number;
  readonly referencesBefore: number;
  /** Tables of 512 words before anything was mapped. */
  readonly tablesBefore: number;
}

type Body = HarnessBody<World>;

const ADDRESS: number = START * PAGE_BYTES;
const BYTES: number = HUGE_PAGES * PAGE_BYTES;

const addressOf = (page: number): number => ADDRESS + page * PAGE_BYTES;

const tables = ({ machine }: HmmHarness): number =>
  machine.heap.accounting().find(({ name }) => name === "words512")?.live ?? 0;

const isHuge = ({ machine, mm }: HmmHarness): boolean => isHugeAt(machine.memory, mm, START);

/** RAM for so many huge pages, and the block in that state. */
function stage(
  hugePages: number,
  state: State,
): { readonly harness: HarnessOptions; readonly setup: (harness: HmmHarness) => World } {
  return {
    harness: { pages: 0, hugePages, arenaWords: 8192 },
    setup(harness) {
      const { references } = harness.machine.ram.refs.total();
      const tablesBefore = tables(harness);
      const child = makeBlock(harness, state);
      return { child, referencesBefore: references, tablesBefore };
    },
  };
}

const exploration = { maxSteps: 40_000 } as const;

function* store(harness: HmmHarness, page: number): Task<void> {
  yield* new HarnessCpu(harness).store(addressOf(page), AFTER);
  assert(contentsOf(harness, page) === AFTER, "the store is lost");
}

/** Where no frames are in a row the block becomes small pages, of which one is there. */
function requireSmall(world: World, harness: HmmHarness): void {
  assert(!isHuge(harness), "a huge page has small ones");
  requireWhole(world, harness);
}

const storeOnZeros: Body = function* (world, harness) {
  yield* store(harness, 5);
  requireSmall(world, harness);
  assert(harness.entryOf(START + 7) === ZERO_PTE, "another page has changed");
};

const storeWhereEmpty: Body = function* (world, harness) {
  const { machine, mm } = harness;
  yield* doMadvise(machine, mm, ADDRESS, BYTES, MADV_DONTNEED);
  assert(isHuge(harness), "a huge page that is given up is split");
  yield* store(harness, 5);
  requireSmall(world, harness);
  assert(harness.entryOf(START + 7) === 0, "another page has changed");
};

const storeInRow: Body = function* (world, harness) {
  yield* store(harness, 5);
  assert(isHuge(harness), "a huge page of zeros is split, and there are frames for it");
  requireWhole(world, harness);
};

/** Nobody was allowed to touch it for a while: its frames are the same after that. */
const storeAfterNone: Body = function* (world, harness) {
  const { machine, mm } = harness;
  for (const protection of [0, VM_READ | VM_WRITE])
    yield* doMprotect(machine, mm, ADDRESS, BYTES, protection);
  yield* store(harness, 7);
  assert(isHuge(harness) && contentsOf(harness, 5) === BEFORE, "its contents are lost");
  requireWhole(world, harness);
};

/** A device begins to track one page: the others may be written as before. */
const trackOne: Body = function* (world, harness) {
  const { machine, mm } = harness;
  const page = START + 5;
  const copyable = new Uint8Array(1);
  yield* mm.mmapLock.downRead();
  const wasWritable = yield* trackRange(machine, mm, page, page + 1, copyable);
  yield* mm.mmapLock.upRead();
  assert(wasWritable && copyable[0] === 1, "the page was not writable, or is not to be copied");
  const [own, next] = [harness.entryOf(page), harness.entryOf(page + 1)];
  assert((own & (PTE_TRACKED | PTE_WRITE)) === PTE_TRACKED, `the tracked entry is ${own}`);
  assert((next & (PTE_TRACKED | PTE_WRITE)) === PTE_WRITE, `the entry beside it is ${next}`);
  requireWhole(world, harness);
};

/** EINVAL, and all pages stay: the end of the range lies inside a page of the mapping. */
const giveUpPart: Body = function* (world, harness) {
  const { machine, mm } = harness;
  const answer = yield* doMadvise(machine, mm, ADDRESS, 6 * PAGE_BYTES, MADV_DONTNEED);
  assert(answer === EINVAL, `a part of an explicit huge page is given up: ${answer}`);
  assert(isHuge(harness), "an explicit huge page is split");
  assert(contentsOf(harness, 5) === BEFORE, "a page of it is gone");
  requireWhole(world, harness);
};

const read: Body = (_world, { machine, mm }) => cpuFault(machine, mm, START + 5, false);

/** A middle table has 2048 words, and a leaf 512. */
const ROOM_FOR_LEAF = 1024;

/** ENOMEM, and nothing is linked. */
const touchWithoutMid: Body = function* (world, harness) {
  const { machine, mm } = harness;
  const answer = yield* cpuFault(machine, mm, START + 5, false);
  assert(answer === ENOMEM, `the fault answered ${answer}`);
  assert(leafOf(machine.memory, mm.pgd, START) === 0, "a leaf is linked");
  const more = tables(harness) - world.tablesBefore;
  assert(more === 0, `${more} page tables are there, and linked nowhere`);
};

/** The other table has been given back. */
function requireOneTable({ tablesBefore }: World, harness: HmmHarness): void {
  assert(isHuge(harness), "the page is not a huge one");
  assert(harness.entryOf(START + 5) === ZERO_PTE, "the page is not there");
  const more = tables(harness) - tablesBefore;
  assert(more === 1, `${more} page tables are there for one block`);
}

const ALONE = { layer: "mm", exploration } as const;
const TRACK = ["mm/fault/track.trackRange", "mm/huge.splitHuge"] as const;

export const hugeAlone: readonly Covered[] = [
  coveringOnHarness<World>({
    ...ALONE,
    ...stage(0, "zeros"),
    name: "alone/huge/zeros-without-row",
    summary: "A store to a huge page of zeros, for which there are no frames in a row.",
    tasks: { thread: [["mm/fault/huge-fault.replaceHugeZero"], storeOnZeros] },
    twins: [],
  }),
  coveringOnHarness<World>({
    ...ALONE,
    ...stage(0, "zeros"),
    name: "alone/huge/empty-without-row",
    summary: "A store to a huge page that was given up, and there are no frames in a row.",
    tasks: { thread: [["mm/fault/huge-fault.hugeFault"], storeWhereEmpty] },
    twins: [],
  }),
  coveringOnHarness<World>({
    ...ALONE,
    ...stage(1, "zeros"),
    name: "alone/huge/zeros",
    summary: "A store to a huge page of zeros, which gets frames in a row.",
    tasks: { thread: [["mm/fault/huge-fault.replaceHugeZero"], storeInRow] },
    twins: [],
  }),
  coveringOnHarness<World>({
    ...ALONE,
    ...stage(1, "written"),
    name: "alone/huge/after-none",
    summary: "A store to a huge page that nobody was allowed to touch for a while.",
    tasks: { thread: [["mm/fault/huge-fault.changeIfStill"], storeAfterNone] },
    twins: [],
  }),
  coveringOnHarness<World>({
    ...ALONE,
    ...stage(1, "written"),
    name: "alone/huge/track",
    summary: "A device begins to track one page of a huge page.",
    tasks: { thread: [TRACK, trackOne] },
    twins: [],
  }),
  coveringOnHarness<World>({
    ...ALONE,
    ...stage(1, "explicit"),
    name: "alone/huge/advise-part",
    summary: "A part of an explicit huge page is to be given up, which is refused.",
    tasks: { thread: [["mm/calls/madvise.doMadvise"], giveUpPart] },
    twins: [],
  }),
  coveringOnHarness<World>({
    ...ALONE,
    ...stage(0, "untouched"),
    harness: { pages: 0, arenaWords: ROOM_FOR_LEAF },
    name: "alone/huge/touch-without-table",
    summary: "There is memory for a leaf, and none for the table that it is linked in.",
    tasks: { thread: [["mm/huge.linkHuge"], touchWithoutMid] },
    twins: [],
  }),
  coveringOnHarness<World>({
    layer: "mm",
    ...stage(0, "untouched"),
    name: "huge/read-vs-read",
    exploration: { engine: "bounded", preemptions: 1, ...exploration },
    summary: "Two threads read memory first: the page table of one is given back.",
    tasks: {
      first: [["mm/huge.linkHuge"], read],
      second: [["mm/huge.linkHuge"], read],
    },
    check: requireOneTable,
    twins: [],
  }),
];
