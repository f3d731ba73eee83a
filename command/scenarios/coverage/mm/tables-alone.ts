/**
 * @module One thread alone with page tables: so many become free at once that they are noted in a
 * table of their own (K3 and K5 of mm/entries/batch.ts), and huge pages stay huge where they are
 * moved, given up or sent to a device as a whole. After each call the tables are counted.
 */

import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { MADV_DONTNEED, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { doMremap } from "../../../../src/mm/calls/mremap.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { BATCH_FEW } from "../../../../src/mm/entries/batch.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { HUGE_PAGES, isHugeAt } from "../../../../src/mm/huge.ts";
import { makeDeviceExclusive } from "../../../../src/mm/migrate/exclusive.ts";
import {
  KIND_DEVICE_EXCLUSIVE,
  KIND_DEVICE_PRIVATE,
  PAGE_BYTES,
  pteKind,
} from "../../../../src/mm/pte.ts";
import { LEAF_WORDS, leafOf } from "../../../../src/mmu/radix-table.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { coveringOnHarness } from "../on-harness.ts";
import {
  type HugeWorld,
  MOVED,
  OWNER,
  START,
  huge,
  makeBlock,
  moveToDevice,
} from "./huge-stage.ts";

/** Of so many leaves that an operation cannot note them in its own words, two are there. */
const LEAVES: number = BATCH_FEW + 1;
const PRESENT = 2;
const FIRST: number = 2 * LEAF_WORDS;
const PAGES: number = LEAVES * LEAF_WORDS;
const TARGET: number = 64 * LEAF_WORDS;

interface World {
  /** Tables of this size before anything was mapped. */
  readonly before: number;
}

const tables = ({ machine }: HmmHarness): number =>
  machine.heap.accounting().find(({ name }) => name === "words512")?.live ?? 0;

/** So many leaves are linked from `page` on, and no other table of this size is left. */
function requireTables({ before }: World, harness: HmmHarness, page: number, count: number): void {
  const { machine, mm } = harness;
  let linked = 0;
  for (let i = 0; i < LEAVES; i++)
    if (leafOf(machine.memory, mm.pgd, page + i * LEAF_WORDS) !== 0) linked++;
  assert(linked === count, `${linked} leaves are linked from page ${page} on`);
  const more = tables(harness) - before - linked;
  assert(more === 0, `${more} tables more are allocated`);
}

function* move({ machine, mm }: HmmHarness, from: number, pages: number, to: number): Task<void> {
  const lengthBytes = pages * PAGE_BYTES;
  const answer = yield* doMremap(machine, mm, {
    address: from * PAGE_BYTES,
    oldLengthBytes: lengthBytes,
    newLengthBytes: lengthBytes,
    mayMove: true,
    to: to * PAGE_BYTES,
    keepOld: false,
  });
  assert(answer === to * PAGE_BYTES, `the move answered ${answer}`);
}

/** Given up in part, moved, unmapped. */
function* changesMany(world: World, harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  for (let times = 0; times < 2; times++) {
    const bytes = (BATCH_FEW + 1) * PAGE_BYTES;
    yield* doMadvise(machine, mm, (FIRST + 1) * PAGE_BYTES, bytes, MADV_DONTNEED);
    requireTables(world, harness, FIRST, PRESENT);
  }
  yield* move(harness, FIRST, PAGES, TARGET);
  requireTables(world, harness, TARGET, PRESENT);
  assert(leafOf(machine.memory, mm.pgd, FIRST) === 0, "a leaf is left at the old place");
  yield* doMunmap(machine, mm, TARGET * PAGE_BYTES, PAGES * PAGE_BYTES);
  requireTables(world, harness, TARGET, 0);
  const { usedPages } = machine.ram.usage();
  assert(usedPages === 0, `${usedPages} frames are left`);
}

/** The block goes to where an empty table is left, and is given up there. */
function* movesHuge(_none: undefined, harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  yield* move(harness, START, HUGE_PAGES, MOVED);
  assert(isHugeAt(machine.memory, mm, MOVED), "a huge page is split by a move");
  const bytes = HUGE_PAGES * PAGE_BYTES;
  yield* doMadvise(machine, mm, MOVED * PAGE_BYTES, bytes, MADV_DONTNEED);
  assert(isHugeAt(machine.memory, mm, MOVED), "a huge page that is given up is split");
  assert(harness.entryOf(MOVED) === 0, "a huge page that is given up is still there");
}

/** One page of the block goes to a device alone: the others are no huge page any more. */
function* takesOne(_world: HugeWorld, { machine, mm }: HmmHarness): Task<void> {
  const page = { startPage: START + 5, endPage: START + 6 };
  yield* mm.mmapLock.downRead();
  const answer = yield* makeDeviceExclusive(machine, mm, page, { owner: OWNER, range: 0 });
  yield* mm.mmapLock.upRead();
  assert(answer === 0, `a page of a huge page cannot be had: ${answer}`);
  assert(!isHugeAt(machine.memory, mm, START), "a huge page has an entry that is not like others");
}

const MANY = [
  "mm/calls/move-mappings.movePiece",
  "mm/entries/zap.freeLeaves",
  "mm/entries/batch.openLeaves",
];

export const tablesAlone: readonly Covered[] = [
  coveringOnHarness<World>({
    layer: "mm",
    name: "alone/tables",
    summary: "The entries of so many page tables move that those that become free are noted apart.",
    harness: { pages: 0, arenaWords: 16_384 },
    exploration: { maxSteps: 40_000 },
    setup(harness) {
      HarnessDevice.registered(harness); // else tables go over as a whole
      const before = tables(harness);
      harness.map(FIRST, PAGES);
      for (const page of [FIRST, FIRST + PAGES - LEAF_WORDS])
        harness.run(cpuFault(harness.machine, harness.mm, page, true));
      return { before };
    },
    tasks: { thread: [MANY, changesMany] },
    twins: [],
  }),
  coveringOnHarness<undefined>({
    layer: "mm",
    name: "alone/huge-move",
    summary: "A huge page moves to where a page table is left, and is given up.",
    harness: { pages: 0, arenaWords: 8192 },
    exploration: { maxSteps: 40_000 },
    setup(harness) {
      const { machine, mm } = harness;
      makeBlock(harness, "zeros");
      harness.map(MOVED, 1);
      harness.run(cpuFault(machine, mm, MOVED, true));
      harness.run(doMunmap(machine, mm, MOVED * PAGE_BYTES, PAGE_BYTES));
      assert(leafOf(machine.memory, mm.pgd, MOVED) !== 0, "no table is left");
      return undefined;
    },
    tasks: { thread: [["mm/calls/move-mappings.freePlacesOfHuge"], movesHuge] },
    twins: [],
  }),
  huge({
    name: "exclusive-page",
    summary: "A device takes a page of a huge page for itself.",
    state: "written",
    tasks: {
      thread: [["mm/migrate/exclusive.makeDeviceExclusive", "mm/huge.splitHuge"], takesOne],
    },
    check(_world, harness) {
      const kind = pteKind(harness.entryOf(START + 5));
      assert(kind === KIND_DEVICE_EXCLUSIVE, `the entry is of kind ${kind}`);
    },
    twins: [],
  }),
  huge({
    name: "untouched-to-device",
    summary: "Memory that nobody has touched goes to a device as one huge page.",
    state: "untouched",
    tasks: {
      mover: [["mm/migrate/migrate-huge.prepareHuge", "mm/huge.linkHuge"], moveToDevice],
    },
    check(_world, harness) {
      const { machine, mm } = harness;
      assert(isHugeAt(machine.memory, mm, START), "a huge page is split by its migration");
      const kind = pteKind(harness.entryOf(START + 1));
      assert(kind === KIND_DEVICE_PRIVATE, `an entry is of kind ${kind}`);
    },
    twins: [],
  }),
];
