/**
 * @module Loads and stores of CPU threads while other threads change the mapping. They use the
 * shipped TLB, walk and fault handler, and each access to shared memory is a step. A load returns
 * what its page holds before or after the change, or faults. A store goes to its page or nowhere,
 * and is not lost. Neither reaches another page, another space or a freed frame.
 *
 * In each twin the other side lacks the step on which the protocol depends (mmu/soft-tlb.ts,
 * mmu/radix-table.ts W3).
 */

import { Cell } from "../../../../src/checker/primitives/program.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { FindingKind } from "../../../../src/checker/findings/finding.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { doMprotect } from "../../../../src/mm/calls/mprotect.ts";
import { doMremap } from "../../../../src/mm/calls/mremap.ts";
import { readPagemap } from "../../../../src/mm/calls/pagemap.ts";
import { trackRange } from "../../../../src/mm/fault/track.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { VM_READ } from "../../../../src/mm/vma/vma.ts";
import { ptePfn } from "../../../../src/mm/pte.ts";
import { SegmentationFault, bug } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { coveringOnHarness } from "../on-harness.ts";
import type { HarnessTasks, HarnessTwin } from "../on-harness.ts";
import { withoutFlush } from "./left-out.ts";

/** The first page of a leaf: to unmap all its pages frees the leaf. */
const PAGE = 512;
const LEAF_PAGES = 512;
const PAGE_BYTES = 4096;
const ADDRESS: number = PAGE * PAGE_BYTES;
/** Where mappings are moved to. */
const MOVED_ADDRESS: number = ADDRESS + LEAF_PAGES * PAGE_BYTES;
/** What the page holds at the beginning. */
const BEFORE = 7;
/** What is stored after a move. */
const AFTER = 9;
/** The result of a load that faults. */
const FAULTED = -1;
/** What a page holds that has not been written. */
const ZEROS = 0;

interface World {
  /** What each thread has seen, in order. */
  readonly seen: number[];
  /** A word by which one thread signals another. */
  readonly flag: Cell;
  child: number;
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;

interface Parts {
  readonly name: string;
  readonly summary: string;
  /** Pages mapped from {@link PAGE} on. Default 1. */
  readonly pages?: number;
  /** The page holds {@link BEFORE} at the beginning. Default true. */
  readonly present?: boolean;
  readonly exploration?: ScenarioExploration;
  /** Further set-up. */
  readonly prepare?: (harness: HmmHarness) => void;
  readonly tasks: HarnessTasks<World>;
  readonly check: (world: World, harness: HmmHarness) => void;
  readonly twins: readonly HarnessTwin<World>[];
}

function accessing({
  name,
  summary,
  pages = 1,
  present = true,
  exploration,
  prepare,
  tasks,
  check,
  twins,
}: Parts): Covered {
  return coveringOnHarness<World>({
    layer: "mm",
    name,
    summary,
    tasks,
    twins,
    harness: { pages: 0, arenaWords: 8192 },
    ...(exploration === undefined ? {} : { exploration }),
    setup(harness: HmmHarness): World {
      harness.map(PAGE, pages);
      if (present) harness.run(new HarnessCpu(harness).store(ADDRESS, BEFORE));
      prepare?.(harness);
      const at = harness.run(harness.machine.heap.allocWords(512));
      return { seen: [], flag: new Cell(harness.machine.memory, at, "flag"), child: 0 };
    },
    reopen(world: World): void {
      world.seen.length = 0;
      world.child = 0;
    },
    check,
  });
}

function* orFaulted<T>(access: Task<T>): Task<T | typeof FAULTED> {
  try {
    return yield* access;
  } catch (error) {
    if (error instanceof SegmentationFault) return FAULTED;
    throw error;
  }
}

function load(cpu: HarnessCpu): Task<number> {
  return orFaulted(cpu.load(ADDRESS));
}

function* store(cpu: HarnessCpu, value: number): Task<boolean> {
  return (yield* orFaulted(cpu.store(ADDRESS, value))) !== FAULTED;
}

/** Loads the word twice, the second time through the TLB. */
function* loadTwice(world: World, harness: HmmHarness): Task<void> {
  const cpu = new HarnessCpu(harness);
  world.seen.push(yield* load(cpu));
  world.seen.push(yield* load(cpu));
}

/** As `prepare`: the next page is there, too. */
function fillNext(harness: HmmHarness): void {
  harness.run(new HarnessCpu(harness).store(ADDRESS + PAGE_BYTES, BEFORE));
}

/** A thread that goes from page to page: to the second one by the leaf that it keeps. */
function* loadNextFirst(world: World, harness: HmmHarness): Task<void> {
  const cpu = new HarnessCpu(harness);
  yield* orFaulted(cpu.load(ADDRESS + PAGE_BYTES));
  world.seen.push(yield* load(cpu));
}

function* storeNextFirst(_world: World, harness: HmmHarness): Task<void> {
  const cpu = new HarnessCpu(harness);
  yield* orFaulted(cpu.store(ADDRESS + PAGE_BYTES, 1));
  yield* store(cpu, 1);
}

function* storeOnce(_world: World, harness: HmmHarness): Task<void> {
  yield* store(new HarnessCpu(harness), 1);
}

/** What the page holds, by any space's page table. A plain read after all tasks have ended. */
function contents(harness: HmmHarness, mm: Mm = harness.mm, word: number = 0): number {
  const { ram } = harness.machine;
  const pfn = ptePfn(harness.entryOf(PAGE, mm));
  return pfn === 0 ? ZEROS : ram.sections.of(pfn).i32[ram.sections.wordIndex(pfn) + word]!;
}

function onlySaw(...allowed: readonly number[]): (world: World) => void {
  return ({ seen }) => {
    for (const value of seen)
      if (!allowed.includes(value)) bug(`A load gave ${value}; it may be ${allowed.join(", ")}`);
  };
}

const LOAD = [
  "mmu/widths/u32-access.load",

  "mmu/soft-tlb.find",
  "mm/fault/cpu-fault.fault",
] as const;
const STORE = [
  "mmu/widths/u32-access.store",
  "mmu/widths/u32-stores.#enterAnd",
  "mm/fault/cpu-fault.fault",
  "mmu/radix-table.leafOf",
] as const;
const FAULT = ["mm/fault/anonymous.faultFast"] as const;
const ZAP = ["mm/entries/zap.zapRange", "sync/primitives/shootdown.flush"] as const;

const discard: Body = (_world, harness) => harness.discard(PAGE, 1);
const munmap: Body = (_world, { machine, mm }) =>
  doMunmap(machine, mm, ADDRESS, LEAF_PAGES * PAGE_BYTES);
const protect: Body = (_world, { machine, mm }) =>
  doMprotect(machine, mm, ADDRESS, PAGE_BYTES, VM_READ);
/** To a place that lies otherwise in 2 MiB: entries move, and the old leaf is freed. */
const move: Body = (_world, harness) => moveTo(harness, MOVED_ADDRESS + PAGE_BYTES);

function moveTo({ machine, mm }: HmmHarness, to: number): Task<number> {
  const lengthBytes = LEAF_PAGES * PAGE_BYTES;
  return doMremap(machine, mm, {
    address: ADDRESS,
    oldLengthBytes: lengthBytes,
    newLengthBytes: lengthBytes,
    mayMove: true,
    to,
  });
}

/** The leaf moves as it is; then the page is stored to at its new place. */
function* moveLeafAndStore(_world: World, harness: HmmHarness): Task<void> {
  yield* moveTo(harness, MOVED_ADDRESS);
  yield* new HarnessCpu(harness).store(MOVED_ADDRESS, AFTER);
}

/** Nothing that was stored at the old place comes after what was stored at the new one. */
function requireMoved(_world: World, harness: HmmHarness): void {
  const { ram } = harness.machine;
  const pfn = ptePfn(harness.entryOf(MOVED_ADDRESS / PAGE_BYTES));
  const now = ram.sections.of(pfn).i32[ram.sections.wordIndex(pfn)]!;
  if (now !== AFTER) bug(`The moved page was stored to last, and holds ${now} in the end`);
}

function without(left: number, body: Body): Body {
  return (world, harness) => withoutFlush(left, body(world, harness));
}

/** A write-protected page is what it was when mprotect returned. */
function* protectAndLook(world: World, harness: HmmHarness): Task<void> {
  yield* protect(world, harness);
  world.seen.push(yield* load(new HarnessCpu(harness)));
}

/** The child's page is what it was when fork returned. */
function* forkAndLook(world: World, harness: HmmHarness): Task<void> {
  world.child = yield* doFork(harness.machine, harness.mm);
  world.seen.push(yield* load(new HarnessCpu(harness, Mm.at(harness.machine.memory, world.child))));
}

function* storeTwice(_world: World, harness: HmmHarness): Task<void> {
  const cpu = new HarnessCpu(harness);
  yield* store(cpu, 1);
  yield* store(cpu, 2);
}

/** The value that was loaded after the change is the one at the end. */
function requireKept(
  { seen: [kept = ZEROS] }: World,
  harness: HmmHarness,
  mm: Mm = harness.mm,
): void {
  const now = contents(harness, mm);
  if (now !== kept)
    bug(`The page held ${kept} when the change was over, and holds ${now} in the end`);
}

/** Stores, then signals. */
function* storeAndSay({ flag }: World, harness: HmmHarness): Task<void> {
  yield* new HarnessCpu(harness).store(ADDRESS, 1);
  yield* flag.store(1);
}

/** Loads, and loads again after the signal. */
function* loadAndListen(world: World, harness: HmmHarness): Task<void> {
  const cpu = new HarnessCpu(harness);
  yield* load(cpu);
  if ((yield* world.flag.load()) === 1) world.seen.push(yield* load(cpu));
}

function* viewAndClose(_world: World, { machine, mm }: HmmHarness): Task<void> {
  const hold = yield* viewOpen(machine, mm, PAGE, PAGE + 2, true);
  if (hold > 0) yield* viewClose(machine, hold);
}

function* track(_world: World, { machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* trackRange(machine, mm, PAGE, PAGE + 1, new Uint8Array(1));
  yield* mm.mmapLock.upRead();
}

function* storeBeside(_world: World, harness: HmmHarness): Task<void> {
  yield* new HarnessCpu(harness).store(ADDRESS + 4, 5);
}

function addTo(index: number): Body {
  return (_world, harness) => new HarnessCpu(harness).add(ADDRESS + index * 4, 1);
}

function requireSum(_world: World, harness: HmmHarness): void {
  const sum = contents(harness);
  if (sum !== 2) bug(`Two threads added 1 each, and the word holds ${sum}`);
}

/** The flushes of a munmap that takes the leaf with it. `first`: what a stale entry leads to. */
function munmapTwins(first: FindingKind): readonly HarnessTwin<World>[] {
  return [
    [
      "without-first-flush",
      "The entries are cleared without a flush.",
      first,
      { munmap: without(1, munmap) },
    ],
    [
      "without-last-flush",
      "The leaf is freed without a flush.",
      "error",
      { munmap: without(2, munmap) },
    ],
  ];
}

const MOVE_LEAF = ["mm/calls/mremap.doMremap", "mmu/unlinked-leaves.moveLeaves"] as const;

const moveTwins: readonly HarnessTwin<World>[] = [
  [
    "without-flush",
    "The leaf comes to its new place without a flush of the old one.",
    "assertion",
    { mremap: without(1, moveLeafAndStore) },
  ],
];

export const accesses: readonly Covered[] = [
  accessing({
    name: "load-vs-munmap-of-leaf",
    summary: "A CPU thread loads while the mapping and its leaf of the page table are removed.",
    pages: LEAF_PAGES,
    tasks: {
      load: [LOAD, loadTwice],
      munmap: [[...ZAP, "mmu/unlinked-leaves.freeEmptyLeaves"], munmap],
    },
    check: onlySaw(BEFORE, FAULTED),
    twins: munmapTwins("assertion"),
  }),
  accessing({
    name: "store-vs-munmap-of-leaf",
    summary: "A CPU thread stores while the mapping and its leaf of the page table are removed.",
    pages: LEAF_PAGES,
    tasks: {
      store: [STORE, storeOnce],
      munmap: [[...ZAP, "mmu/unlinked-leaves.freeEmptyLeaves"], munmap],
    },
    check: () => {},
    twins: munmapTwins("use-after-free"),
  }),
  accessing({
    name: "load-by-kept-leaf-vs-munmap",
    summary:
      "A CPU thread loads from one page after another by the leaf that it keeps, while the mapping goes, its leaf with it.",
    pages: LEAF_PAGES,
    prepare: fillNext,
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: {
      load: [LOAD, loadNextFirst],
      munmap: [[...ZAP, "mmu/unlinked-leaves.freeEmptyLeaves"], munmap],
    },
    check: onlySaw(BEFORE, FAULTED),
    twins: munmapTwins("assertion"),
  }),
  accessing({
    name: "store-by-kept-leaf-vs-munmap",
    summary:
      "A CPU thread stores to one page after another by the leaf that it keeps, while the mapping goes, its leaf with it.",
    pages: LEAF_PAGES,
    prepare: fillNext,
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: {
      store: [STORE, storeNextFirst],
      munmap: [[...ZAP, "mmu/unlinked-leaves.freeEmptyLeaves"], munmap],
    },
    check: () => {},
    twins: munmapTwins("use-after-free"),
  }),
  accessing({
    name: "pagemap-vs-munmap-of-leaf",
    summary: "A thread reads pagemap while the mapping and its leaf of the page table are removed.",
    pages: LEAF_PAGES,
    tasks: {
      ask: [
        ["mm/calls/pagemap.readPagemap"],
        (_world, { machine, mm }) => readPagemap(machine, mm, PAGE, PAGE + 1),
      ],
      munmap: [[...ZAP], munmap],
    },
    check: () => {},
    twins: [],
  }),
  accessing({
    name: "load-vs-mremap-of-leaf",
    summary: "A CPU thread loads while the mapping is moved, and its old leaf is freed.",
    pages: LEAF_PAGES,
    tasks: {
      load: [LOAD, loadTwice],
      mremap: [["mm/calls/mremap.doMremap", "mmu/unlinked-leaves.freeEmptyLeaves"], move],
    },
    check: onlySaw(BEFORE, FAULTED),
    twins: [
      [
        "without-last-flush",
        "The leaf is freed without a flush.",
        "error",
        { mremap: without(2, move) },
      ],
    ],
  }),
  accessing({
    name: "load-vs-move-of-leaf",
    summary:
      "A CPU thread loads while the leaf moves as it is: what is stored at the new place then is not seen at the old one.",
    pages: LEAF_PAGES,
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: { load: [LOAD, loadTwice], mremap: [MOVE_LEAF, moveLeafAndStore] },
    check: onlySaw(BEFORE, FAULTED),
    twins: moveTwins,
  }),
  accessing({
    name: "store-vs-move-of-leaf",
    summary: "A CPU thread stores while the leaf moves as it is: its store is not the last one.",
    pages: LEAF_PAGES,
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: { store: [STORE, storeOnce], mremap: [MOVE_LEAF, moveLeafAndStore] },
    check: requireMoved,
    twins: moveTwins,
  }),
  accessing({
    name: "load-vs-discard",
    summary:
      "A CPU thread loads twice while its page is discarded: after it has seen zeros it never sees the old value.",
    tasks: { load: [LOAD, loadTwice], discard: [ZAP, discard] },
    check: (world) => {
      onlySaw(BEFORE, ZEROS)(world);
      if (world.seen[0] === ZEROS && world.seen[1] !== ZEROS)
        bug("A load saw the page as it was before an earlier load");
    },
    twins: [
      [
        "without-flush",
        "The page is discarded without a flush.",
        "assertion",
        { discard: without(1, discard) },
      ],
    ],
  }),
  accessing({
    name: "store-vs-discard",
    summary:
      "A CPU thread stores while its page is discarded: the store goes to the old page or the new one.",
    tasks: { store: [STORE, storeOnce], discard: [ZAP, discard] },
    check: (_world, harness) => {
      const now = contents(harness);
      if (now !== 1 && now !== ZEROS) bug(`The page holds ${now}`);
    },
    twins: [
      [
        "without-flush",
        "The page is discarded without a flush.",
        "use-after-free",
        { discard: without(1, discard) },
      ],
    ],
  }),
  accessing({
    name: "store-vs-mprotect",
    summary:
      "A CPU thread stores while the page is write-protected: the page does not change after that.",
    tasks: {
      store: [STORE, storeTwice],
      mprotect: [["mm/calls/mprotect.doMprotect"], protectAndLook],
    },
    check: (world, harness) => requireKept(world, harness),
    twins: [
      [
        "without-flush",
        "The right to write is taken without a flush.",
        "assertion",
        { mprotect: without(1, protectAndLook) },
      ],
    ],
  }),
  accessing({
    name: "store-vs-fork",
    summary:
      "A CPU thread of the parent stores during a fork: the child keeps what it had when fork returned.",
    tasks: { store: [STORE, storeTwice], fork: [["mm/lifetime/fork.doFork"], forkAndLook] },
    check: (world, harness) =>
      requireKept(world, harness, Mm.at(harness.machine.memory, world.child)),
    twins: [
      [
        "without-flush",
        "Fork takes the right to write without a flush.",
        "assertion",
        { fork: without(1, forkAndLook) },
      ],
    ],
  }),
  accessing({
    name: "load-vs-copy-on-write",
    summary:
      "A CPU thread loads through the page of zeros while another one stores and signals: the next load sees the store.",
    present: false,
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: { load: [LOAD, loadAndListen], store: [STORE, storeAndSay] },
    check: onlySaw(1),
    twins: [
      [
        "without-flush",
        "The entry is exchanged without a flush.",
        "assertion",
        { store: without(1, storeAndSay) },
      ],
    ],
  }),
  accessing({
    name: "store-vs-copy-of-tracked",
    summary:
      "A CPU thread stores through its TLB while a device begins to track the page, and a store of another thread copies the page, because its frame is held: no store is lost.",
    exploration: { engine: "bounded", preemptions: 1 },
    prepare: (harness) =>
      harness.run(harness.machine.ram.refs.pageGet(ptePfn(harness.entryOf(PAGE)))),
    tasks: {
      store: [STORE, storeTwice],
      track: [["mm/fault/track.trackRange"], track],
      other: [[...FAULT, "memory/ram.copyFrame"], storeBeside],
    },
    check: (_world, harness) => {
      const words = [contents(harness), contents(harness, harness.mm, 1)];
      if (words[0] !== 2 || words[1] !== 5)
        bug(`The words hold ${words.join(" and ")}, must hold 2 and 5`);
    },
    twins: [
      [
        "without-flush",
        "The page is copied without a flush.",
        "assertion",
        { other: without(1, storeBeside) },
      ],
    ],
  }),
  accessing({
    name: "load-vs-store-on-first-touch",
    summary:
      "One thread loads from an untouched page, and another one stores to it: the store is not lost.",
    present: false,
    exploration: { engine: "bounded", preemptions: 1 },
    tasks: { load: [LOAD, loadTwice], store: [STORE, storeOnce] },
    check: (world, harness) => {
      onlySaw(ZEROS, 1)(world);
      if (contents(harness) !== 1) bug(`The page holds ${contents(harness)}`);
    },
    twins: [],
  }),
  accessing({
    name: "add-vs-add-on-first-touch",
    summary:
      "Two CPU threads add to one word of an untouched page: it gets one frame, with both additions.",
    present: false,
    tasks: { first: [FAULT, addTo(0)], second: [FAULT, addTo(0)] },
    check: requireSum,
    twins: [],
  }),
  accessing({
    name: "store-vs-view",
    summary:
      "A CPU thread stores while a view migrates the pages into a run: the store is in the page's new frame.",
    pages: 2,
    tasks: {
      store: [STORE, storeOnce],
      view: [["mm/view/view-open.viewOpen", "mm/view/view-open.viewClose"], viewAndClose],
    },
    check: (_world, harness) => {
      if (contents(harness) !== 1) bug(`The store is lost: the page holds ${contents(harness)}`);
    },
    twins: [
      [
        "without-flush",
        "The pages are moved without a flush.",
        "assertion",
        { view: without(1, viewAndClose) },
      ],
    ],
  }),
];
