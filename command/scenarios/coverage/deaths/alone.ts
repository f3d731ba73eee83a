/**
 * @module One thread alone, which dies at any step: of a first touch where there is no table of any
 * level, or while it frees page tables. Whoever takes the mmap lock next finds it dead, and what it
 * had got, unlinked or cleared is where it belongs or is free. In the twins a table is noted
 * nowhere.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { BATCH_FEW } from "../../../../src/mm/entries/batch.ts";
import { freeLeaves } from "../../../../src/mm/entries/zap.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { mmapWriteLock } from "../../../../src/mm/migration.ts";
import { holdsFrame } from "../../../../src/mm/pte.ts";
import {
  LEAF_WORDS,
  MID_SPAN_PAGES,
  MID_WORDS,
  PGD_WORDS,
  leafIn,
  leafOf,
  midSlotOf,
} from "../../../../src/mmu/radix-table.ts";
import { atomicStore } from "../../../../src/sync/atomics.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";

interface World {
  /** Tables of these sizes that are no tables of the space. */
  readonly otherTables: number;
}

type Body = HarnessBody<World>;

/** The first page of the space's second table of the second level. */
const FAR: number = MID_SPAN_PAGES;
const BLOCK: number = 2 * LEAF_WORDS;
/** So many leaves that an operation cannot note them in its own words. */
const LEAVES: number = BATCH_FEW + 1;

const SIZES: ReadonlySet<string> = new Set([`words${LEAF_WORDS}`, `words${MID_WORDS}`]);

function allocated({ machine }: HmmHarness): number {
  const live = machine.heap.accounting().filter(({ name }) => SIZES.has(name));
  return live.reduce((sum, account) => sum + account.live, 0);
}

/** The tables below the top one, and the entries that have a frame. */
function linked({ machine, mm }: HmmHarness): { tables: number; frames: number } {
  const { words } = machine.memory;
  let [tables, frames] = [0, 0];
  for (const mid of words.subarray(mm.pgd, mm.pgd + PGD_WORDS)) {
    if (mid === 0) continue;
    tables++;
    for (const entry of words.subarray(mid, mid + MID_WORDS)) {
      const leaf = leafIn(entry);
      if (leaf === 0) continue;
      tables++;
      for (const pte of words.subarray(leaf, leaf + LEAF_WORDS)) if (holdsFrame(pte)) frames++;
    }
  }
  return { tables, frames };
}

function check({ otherTables }: World, harness: HmmHarness): void {
  const { machine, mm } = harness;
  assert(machine.memory.words[mm.mmapLock.at] === 0, "somebody still holds the lock");
  const { tables, frames } = linked(harness);
  const { references } = machine.ram.refs.total();
  const { usedPages } = machine.ram.usage();
  assert(
    references === frames && usedPages === frames,
    `${references} references of ${usedPages} frames, in ${frames} entries`,
  );
  const lost = allocated(harness) - otherTables - tables;
  assert(lost === 0, `${lost} tables are allocated, and linked nowhere`);
}

/** Whoever takes the lock finds the thread dead. */
const comesNext: Body = function* (_world, { machine, mm }) {
  yield* mmapWriteLock(machine, mm);
  yield* mm.mmapLock.upWrite();
};

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly setup: (harness: HmmHarness) => void;
  readonly runs: readonly string[];
  readonly body: Body;
  readonly twin: Body;
}

function alone({ name, summary, setup, runs, body, twin }: Parts): Covered {
  return coveringOnHarness<World>({
    layer: "mm",
    name: `death/alone/${name}`,
    summary,
    harness: { pages: 0, arenaWords: 16_384 },
    exploration: { engine: "bounded", preemptions: 0, deaths: 1 },
    killable: ["dies"],
    mustSurvive: true,
    mayRemain: "anything",
    setup(harness) {
      setup(harness);
      return { otherTables: allocated(harness) - linked(harness).tables };
    },
    tasks: { dies: [runs, body], next: [["mm/migration.mmapWriteLock"], comesNext] },
    check,
    twins: [["unnoted", "It notes nowhere which table it has.", "assertion", { dies: twin }]],
  });
}

/** Gets a table, and gives it back. */
const tableUnnoted: Body = function* (_world, { machine }) {
  const at = yield* machine.heap.allocWords(LEAF_WORDS);
  yield* machine.heap.freeWords(at, LEAF_WORDS);
};

/** Unlinks the table of a page, which is empty, and frees it. */
function freesUnnoted(page: number): Body {
  return function* (_world, { machine, mm }) {
    const { memory } = machine;
    yield* mmapWriteLock(machine, mm);
    const [leaf, slot] = [leafOf(memory, mm.pgd, page), midSlotOf(memory, mm.pgd, page)];
    yield* access(memory, "write", slot, 1, "page table");
    atomicStore(memory.words, slot, 0);
    yield* mm.shootdown.flush(page, page + LEAF_WORDS);
    yield* machine.heap.freeWords(leaf, LEAF_WORDS);
    yield* mm.mmapLock.upWrite();
  };
}

/** The part of a munmap that frees the tables. */
function freesLeaves(startPage: number, pages: number): Body {
  return function* (_world, { machine, mm }) {
    yield* mmapWriteLock(machine, mm);
    yield* freeLeaves(machine, mm, { startPage, endPage: startPage + pages });
    yield* mm.mmapLock.upWrite();
  };
}

/** Maps the pages. Those of `touched` have a frame, which they give up if `empties`. */
function maps(
  startPage: number,
  pages: number,
  touched: readonly number[],
  empties: boolean,
): (harness: HmmHarness) => void {
  return (harness) => {
    harness.map(startPage, pages);
    for (const page of touched) {
      harness.run(cpuFault(harness.machine, harness.mm, page, true));
      if (empties) harness.run(harness.discard(page, 1));
    }
  };
}

const LAST: number = BLOCK + (LEAVES - 1) * LEAF_WORDS;

export const deathsAlone: readonly Covered[] = [
  alone({
    name: "first-touch",
    summary: "A thread dies at any step of a first touch, which makes tables of two levels.",
    setup: maps(FAR, 1, [], false),
    runs: ["mm/fault/cpu-fault.cpuFault", "mmu/radix-table.leafAlloc"],
    body: (_world, { machine, mm }) => cpuFault(machine, mm, FAR, true),
    twin: tableUnnoted,
  }),
  alone({
    name: "free-of-leaf",
    summary: "A thread dies at any step of freeing a page table.",
    setup: maps(BLOCK, LEAF_WORDS, [BLOCK], true),
    runs: ["mm/entries/zap.freeLeaves", "mmu/unlinked-leaves.freeEmptyLeaves"],
    body: freesLeaves(BLOCK, LEAF_WORDS),
    twin: freesUnnoted(BLOCK),
  }),
  alone({
    name: "free-of-leaves",
    summary:
      "A thread dies at any step of freeing page tables, among so many that they are noted in a table.",
    setup: maps(BLOCK, LEAVES * LEAF_WORDS, [BLOCK, LAST], true),
    runs: ["mm/entries/zap.freeLeaves", "mm/entries/batch.openLeaves"],
    body: freesLeaves(BLOCK, LEAVES * LEAF_WORDS),
    twin: freesUnnoted(BLOCK),
  }),
];
