/**
 * @module Loads of pages that their thread has met before, by the word that it keeps of each, while
 * another thread takes pages away: X3 and X7 of mmu/soft-tlb.ts. Taken away, the frame is given to
 * a new owner, who writes at once. The primitives are spelled out, so the generation and the epoch
 * are raised in two steps.
 */

import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { Cell } from "../../../../src/checker/primitives/program.ts";
import { PAGE_BYTES } from "../../../../src/memory/ram.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { ptePfn } from "../../../../src/mm/pte.ts";
import { NEAR_PAGES } from "../../../../src/mmu/page-words.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { SegmentationFault, bug } from "../../../../src/sync/errors.ts";
import { GENERATIONS } from "../../../../src/sync/primitives/shootdown.ts";
import { atomicStore } from "../../../../src/sync/runners/stepping/accesses.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { coveringOnHarness } from "../on-harness.ts";

const ADDRESS: number = HARNESS_PAGE * PAGE_BYTES;
const NEXT: number = ADDRESS + PAGE_BYTES;
const FAR_PAGE: number = NEAR_PAGES + HARNESS_PAGE;
const BEFORE = 7;
const OF_NEXT = 8;
const OF_NEW_OWNER = 9;
/** What a load that faulted saw. */
const FAULTED = -1;

interface World {
  /** In the order of the loads. */
  readonly seen: number[];
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;

function* see({ seen }: World, cpu: HarnessCpu, address: number): Task<void> {
  try {
    seen.push(yield* cpu.load(address));
  } catch (error) {
    if (!(error instanceof SegmentationFault)) throw error;
    seen.push(FAULTED);
  }
}

function loading(...addresses: readonly number[]): Body {
  return function* (world, harness) {
    const cpu = new HarnessCpu(harness);
    for (const address of addresses) yield* see(world, cpu, address);
  };
}

/** The new epoch is believed, but nothing is dropped. */
function droppingNothing(...addresses: readonly number[]): Body {
  return function* (world, harness) {
    const cpu = new HarnessCpu(harness);
    cpu.memory.tlb.pageWords.drop = () => {};
    for (const address of addresses) yield* see(world, cpu, address);
  };
}

/** X1 of mmu/soft-tlb.ts, by hand: `flush` says how the translation is shot down. */
function takeAway(page: number, flush: (harness: HmmHarness, page: number) => Task<void>): Body {
  return function* (_world, harness) {
    const { machine, mm } = harness;
    const { memory, ram } = machine;
    const pfn = ptePfn(harness.entryOf(page));
    const entry = pteIndex(leafOf(memory, mm.pgd, page), page);
    yield* new Cell(memory, entry, "pte").store(0);
    yield* flush(harness, page);
    const { i32, basePfn } = ram.sections.of(pfn);
    yield* atomicStore("data", i32, ((pfn - basePfn) * PAGE_BYTES) / 4, OF_NEW_OWNER);
  };
}

const asShipped = ({ mm }: HmmHarness, page: number): Task<void> =>
  mm.shootdown.flush(page, page + 1);

function* generationOnly({ machine, mm }: HmmHarness, page: number): Task<void> {
  yield* new Cell(machine.memory, mm.shootdown.generationWord(page), "generation").add(1);
}

function* epochFirst(harness: HmmHarness, page: number): Task<void> {
  const { machine, mm } = harness;
  yield* new Cell(machine.memory, mm.shootdown.at + GENERATIONS, "epoch").add(1);
  yield* generationOnly(harness, page);
}

function sawNoNewOwner({ seen }: World): void {
  if (seen.includes(OF_NEW_OWNER)) bug(`Loads gave ${seen.join(", ")}: the new owner's`);
}

/** The page that stays is what it was; the other one is gone for good once a load has faulted. */
function sawNoGhost({ seen }: World): void {
  const [, first, second, next] = seen;
  const isOrdered = first === BEFORE || (first === FAULTED && second === FAULTED);
  if (next !== OF_NEXT || !isOrdered || (second !== BEFORE && second !== FAULTED))
    bug(`Loads gave ${seen.join(", ")}`);
}

const munmap: Body = (_world, { machine, mm }) => doMunmap(machine, mm, ADDRESS, PAGE_BYTES);

const BOTH = [NEXT, ADDRESS, ADDRESS, NEXT] as const;
const LOAD = ["mmu/widths/u32-access.load", "mmu/widths/u32-access.#loadSecond"] as const;

function setup(harness: HmmHarness): World {
  const cpu = new HarnessCpu(harness);
  harness.run(cpu.store(ADDRESS, BEFORE));
  harness.run(cpu.store(NEXT, OF_NEXT));
  return { seen: [] };
}

/** Another page than the mapped ones, for which it maps one. */
function setupFar(harness: HmmHarness): World {
  harness.map(FAR_PAGE, 1);
  harness.run(new HarnessCpu(harness).store(FAR_PAGE * PAGE_BYTES, BEFORE));
  return setup(harness);
}

function newOwner(
  name: string,
  summary: string,
  page: number,
  open: (harness: HmmHarness) => World,
): Covered {
  const address = page * PAGE_BYTES;
  /** By the page table; as a page that is known; and so again, under the epoch found then. */
  const thrice = [address, address, address] as const;
  return coveringOnHarness<World>({
    layer: "mmu",
    name,
    summary,
    harness: { pages: 2 },
    exploration: { spelledOut: true },
    setup: open,
    reopen: ({ seen }) => void (seen.length = 0),
    tasks: {
      load: [[...LOAD, "mmu/soft-tlb.aim"], loading(...thrice)],
      takeAway: [["sync/primitives/shootdown.bump"], takeAway(page, asShipped)],
    },
    check: sawNoNewOwner,
    twins: [
      [
        "epoch-first",
        "The epoch is raised before the generation.",
        "assertion",
        { takeAway: takeAway(page, epochFirst) },
      ],
      [
        "generation-only",
        "The epoch is not raised.",
        "assertion",
        { takeAway: takeAway(page, generationOnly) },
      ],
      [
        "drops-nothing",
        "Who finds a new epoch drops no page words.",
        "assertion",
        { load: droppingNothing(...thrice) },
      ],
    ],
  });
}

export const pageWords: readonly Covered[] = [
  newOwner(
    "known-page-vs-new-owner",
    "A thread loads a page three times while it is taken away: nothing of its frame's new owner is seen.",
    HARNESS_PAGE,
    setup,
  ),
  newOwner(
    "known-far-page-vs-new-owner",
    "The same of a page above 2 GiB, which is found as the one that was met last.",
    FAR_PAGE,
    setupFar,
  ),
  coveringOnHarness<World>({
    layer: "mmu",
    name: "known-page-vs-fault-beside-it",
    summary:
      "A thread that knows two pages faults on one of them, which is unmapped: the other stays what it was.",
    harness: { pages: 2 },
    setup,
    reopen: ({ seen }) => void (seen.length = 0),
    tasks: {
      load: [[...LOAD, "mmu/soft-tlb.find"], loading(...BOTH)],
      munmap: [["mm/calls/munmap.doMunmap"], munmap],
    },
    check: sawNoGhost,
    twins: [
      [
        "drops-nothing",
        "Who finds a new epoch drops no page words.",
        "assertion",
        { load: droppingNothing(...BOTH) },
      ],
    ],
  }),
];
