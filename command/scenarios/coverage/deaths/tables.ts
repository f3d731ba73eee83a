/**
 * @module A thread that dies while it opens a view of pages that nobody has touched, or while it
 * unmaps so much that page tables become free. What it had got, and not linked yet, is given back
 * by whoever finds it dead (K5 of mm/entries/batch.ts, K6 of mm/entries/run.ts). In the twins it
 * gets frames, or unlinks a table, and notes it nowhere.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { PAGE_BYTES, PTE_ACCESSED, holdsFrame, makePte } from "../../../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import {
  LEAF_WORDS,
  leafAlloc,
  leafOf,
  midSlotOf,
  pteIndex,
} from "../../../../src/mmu/radix-table.ts";
import { atomicStore } from "../../../../src/sync/atomics.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { ONE_DIES, coveringOnHarness } from "../on-harness.ts";
import type { HarnessBody, HarnessTwin } from "../on-harness.ts";

/** First page of a block of 2 MiB, which is mapped as a whole. */
const BLOCK: number = 2 * LEAF_WORDS;
/**
 * The pages of which the view is: of the block and of the one behind it, where nothing is mapped.
 */
const VIEW_PAGES = 2;

interface World {
  /** Leaves of the page table, and those that are allocated besides. */
  readonly otherLeaves: number;
}

type Body = HarnessBody<World>;

function allocatedLeaves({ machine }: HmmHarness): number {
  return machine.heap.accounting().find(({ name }) => name === "words512")?.live ?? 0;
}

function linkedLeaves({ machine, mm }: HmmHarness): number {
  return [BLOCK, BLOCK + LEAF_WORDS].filter((page) => leafOf(machine.memory, mm.pgd, page) !== 0)
    .length;
}

/**
 * Nothing is lost: frames, pins, users, tables. What a migration has that is left is not: whoever
 * comes next ends it (migrate-deaths.ts).
 */
function check({ otherLeaves }: World, harness: HmmHarness): void {
  const { machine, mm } = harness;
  assert(machine.memory.words[mm.mmapLock.at] === 0, "somebody still holds the lock");
  assert(mm.users.read() === 1, `the space has ${mm.users.read()} users`);
  if (!mm.moving.isEmpty()) return;
  let mapped = 0;
  for (let page = BLOCK; page < BLOCK + 2 * LEAF_WORDS; page++)
    if (holdsFrame(harness.entryOf(page))) mapped++;
  const { usedPages } = machine.ram.usage();
  assert(usedPages === mapped, `${usedPages} frames are in use, and ${mapped} are mapped`);
  const { references, pins } = machine.ram.refs.total();
  assert(references === mapped, `${references} references of ${mapped} frames`);
  assert(pins === 0, `${pins} pins are left`);
  const lost = allocatedLeaves(harness) - otherLeaves - linkedLeaves(harness);
  assert(lost === 0, `${lost} page tables are allocated, and linked nowhere`);
}

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly isTouched: boolean;
  readonly dies: readonly [runs: readonly string[], body: Body];
  readonly twins: readonly HarnessTwin<World>[];
}

function dying({ name, summary, isTouched, dies, twins }: Parts): Covered {
  return coveringOnHarness<World>({
    layer: "mm",
    name: `death/${name}`,
    summary,
    harness: { pages: 0, arenaWords: 8192 },
    ...ONE_DIES,
    mayRemain: "anything",
    setup(harness) {
      harness.map(BLOCK, LEAF_WORDS + VIEW_PAGES);
      if (isTouched) harness.run(cpuFault(harness.machine, harness.mm, BLOCK + 1, true));
      return { otherLeaves: allocatedLeaves(harness) - linkedLeaves(harness) };
    },
    tasks: {
      dies,
      touch: [
        ["mm/fault/cpu-fault.cpuFault"],
        (_world, { machine, mm }) => cpuFault(machine, mm, BLOCK + LEAF_WORDS, true),
      ],
    },
    check,
    twins,
  });
}

/** Of the last page of the block and the first behind it: two tables. */
const view: Body = function* (_world, { machine, mm }) {
  const first = BLOCK + LEAF_WORDS - 1;
  const at = yield* viewOpen(machine, mm, first, first + VIEW_PAGES, true);
  assert(at > 0, `the view answered ${at}`);
  yield* viewClose(machine, at);
};

/** A frame for a page, without a note. */
const fillUnnoted: Body = function* (_world, { machine, mm }) {
  yield* mm.mmapLock.downWrite();
  const page = BLOCK + 3;
  const leaf = yield* leafAlloc(machine, mm.pgd, page);
  const pfn = yield* machine.ram.allocRun(1, true);
  const index = pteIndex(leaf, page);
  yield* access(machine.memory, "write", index, 1, "pte");
  atomicStore(machine.memory.words, index, makePte(pfn, PTE_ACCESSED));
  yield* mm.mmapLock.upWrite();
};

const unmap: Body = (_world, { machine, mm }) =>
  doMunmap(machine, mm, BLOCK * PAGE_BYTES, LEAF_WORDS * PAGE_BYTES);

/** The table of the block, whose pages are given up, is freed without a note. */
const freeUnnoted: Body = function* (_world, harness) {
  const { machine, mm } = harness;
  const { memory } = machine;
  yield* harness.discard(BLOCK, LEAF_WORDS);
  yield* mm.mmapLock.downWrite();
  const leaf = leafOf(memory, mm.pgd, BLOCK);
  const slot = midSlotOf(memory, mm.pgd, BLOCK);
  yield* access(memory, "write", slot, 1, "page table");
  atomicStore(memory.words, slot, 0);
  yield* mm.shootdown.flush(BLOCK, BLOCK + LEAF_WORDS);
  if (leaf !== 0) yield* machine.heap.freeWords(leaf, LEAF_WORDS);
  yield* mm.mmapLock.upWrite();
};

export const deathsWithTables: readonly Covered[] = [
  dying({
    name: "untouched-view",
    summary:
      "A thread dies at any step of a view of pages that nobody has touched, in two tables, while another touches one.",
    isTouched: false,
    dies: [["mm/view/view-populate.populateRow", "sync/death/recovery.recover"], view],
    twins: [
      ["unnoted", "It notes nowhere which frames it has got.", "assertion", { dies: fillUnnoted }],
    ],
  }),
  dying({
    name: "munmap-tables",
    summary:
      "A thread dies at any step of a munmap that frees a page table, while another touches a page beside it.",
    isTouched: true,
    dies: [["mm/calls/munmap.doMunmap", "mmu/unlinked-leaves.freeEmptyLeaves"], unmap],
    twins: [
      [
        "unnoted",
        "It notes nowhere which table it has unlinked.",
        "assertion",
        { dies: freeUnnoted },
      ],
    ],
  }),
];
