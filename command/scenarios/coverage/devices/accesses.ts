/**
 * @module Loads and stores of a kernel, by the software device's shipped cache, table walk and
 * fault service, each access to shared memory a step, while CPU threads change the mapping: a
 * kernel sees its page as it was or as it is, or a fault, and its stores go to the page or nowhere.
 * In each twin the other side leaves out the one step that this rests on.
 */

import { Cell } from "../../../../src/checker/primitives/program.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { ENTRY_PRESENT, ENTRY_YOUNG } from "../../../../src/devices/service/device-table.ts";
import { viewDevice } from "../../../../src/devices/software/view-device.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import { callInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { coveringOnHarness } from "../on-harness.ts";
import type { HarnessTasks, HarnessTwin } from "../on-harness.ts";
import { withoutFlush } from "../mm/left-out.ts";
import { inKernel } from "./kernel.ts";
import { makeDevice } from "./stage.ts";
import type { DeviceWorld } from "./stage.ts";

/** The first page of a leaf: a mapping of all its pages takes the device's leaf with it. */
export const PAGE = 512;
export const LEAF_PAGES = 512;
const PAGE_BYTES = 4096;
export const ADDRESS: number = PAGE * PAGE_BYTES;
export const BEFORE = 7;
const FAULTED = -1;

export interface World extends DeviceWorld {
  readonly seen: number[];
  readonly flag: Cell;
}

export type Body = (world: World, harness: HmmHarness) => Task<unknown>;

function* load(world: World, harness: HmmHarness, times: number): Task<void> {
  yield* inKernel(world, harness, function* (memory) {
    for (let i = 0; i < times; i++) {
      world.seen.push(FAULTED);
      world.seen[world.seen.length - 1] = yield* callInSteps(memory.u32, "load", ADDRESS);
    }
  });
}

const loadTwice: Body = (world, harness) => load(world, harness, 2);

export function* loadOnce(world: World, harness: HmmHarness): Task<void> {
  yield* load(world, harness, 1);
  world.seen.length = 0;
}

/** A spare word of the heap (sync/control-block.ts), and the page of that number in the leaf. */
const SPARE = 11;
const OLD: number = PAGE + SPARE;

const loadOld: Body = (world, harness) =>
  inKernel(world, harness, function* (memory) {
    yield* callInSteps(memory.u32, "load", OLD * PAGE_BYTES);
  });

/** The device has a translation that was not used since. */
function* loadOldLongAgo(world: World, harness: HmmHarness): Task<void> {
  yield* new HarnessCpu(harness).store(OLD * PAGE_BYTES, BEFORE);
  yield* loadOld(world, harness);
  const { table } = viewDevice(harness.machine, world.software);
  table.makeOld(OLD);
  yield* table.unit.flush(OLD, OLD + 1);
}

/** Where no leaf is, the pointer to one is 0; there the word is as the page's entry was. */
function entryIsSpare({ software }: World, { machine }: HmmHarness): void {
  machine.memory.words[SPARE] = viewDevice(machine, software).table.entryOf(OLD);
}

function requireSpare({ record: { memory } }: World): void {
  const entry = memory.words[SPARE]!;
  assert(
    (entry & (ENTRY_PRESENT | ENTRY_YOUNG)) === ENTRY_PRESENT,
    "a word of the heap was taken for an entry",
  );
}

const store: Body = (world, harness) =>
  inKernel(world, harness, (memory) => callInSteps(memory.u32, "store", ADDRESS, 1));

/** Once it was told that a CPU thread has stored. */
function* loadAndListen(world: World, harness: HmmHarness): Task<void> {
  yield* inKernel(world, harness, function* (memory) {
    yield* callInSteps(memory.u32, "load", ADDRESS);
    if ((yield* world.flag.load()) === 1)
      world.seen.push(yield* callInSteps(memory.u32, "load", ADDRESS));
  });
}

function* storeAndSay({ flag }: World, harness: HmmHarness): Task<void> {
  yield* new HarnessCpu(harness).store(ADDRESS, 1);
  yield* flag.store(1);
}

export const discard: Body = (_world, harness) => harness.discard(PAGE, 1);
export const munmap: Body = (_world, { machine, mm }) =>
  doMunmap(machine, mm, ADDRESS, LEAF_PAGES * PAGE_BYTES);

export function without(left: number, body: Body): Body {
  return (world, harness) => withoutFlush(left, body(world, harness));
}

export function onlySaw(...allowed: readonly number[]): (world: World) => void {
  return ({ seen }) => {
    for (const value of seen)
      if (!allowed.includes(value)) bug(`A load gave ${value}; it may be ${allowed.join(", ")}`);
  };
}

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly pages?: number;
  /** Of the device. */
  readonly frames?: number;
  /** What the device has done before. */
  readonly before: Body;
  /** What has happened since, in no task: a death. */
  readonly since?: (world: World, harness: HmmHarness) => void;
  readonly exploration?: ScenarioExploration;
  readonly tasks: HarnessTasks<World>;
  readonly check: (world: World) => void;
  readonly twins: readonly HarnessTwin<World>[];
}

export function playing({
  name,
  summary,
  pages = 1,
  frames = 2,
  before,
  since,
  exploration,
  tasks,
  check,
  twins,
}: Parts): Covered {
  return coveringOnHarness<World>({
    layer: "devices",
    name,
    summary,
    tasks,
    twins,
    harness: { pages: 0, arenaWords: 8192 },
    exploration: { timeouts: 0, ...exploration },
    setup(harness: HmmHarness): World {
      harness.map(PAGE, pages);
      harness.run(new HarnessCpu(harness).store(ADDRESS, BEFORE));
      const at = harness.run(harness.machine.heap.allocWords(512));
      const world = {
        ...makeDevice(harness, frames),
        seen: [],
        flag: new Cell(harness.machine.memory, at, "flag"),
      };
      harness.run(before(world, harness));
      since?.(world, harness);
      return world;
    },
    reopen(world: World): void {
      world.seen.length = 0;
    },
    check,
  });
}

export const LOAD = [
  "devices/software/device-translator.fault",
  "devices/service/device-table.entryOf",
] as const;
export const LET_GO = [
  "devices/service/device-table.dropRange",
  "devices/service/device-table.drop",
] as const;
export const BOUNDED: ScenarioExploration = { engine: "bounded", preemptions: 2 };

export const deviceAccesses: readonly Covered[] = [
  playing({
    name: "kernel-load-vs-discard",
    summary: "A kernel loads twice from the device's copy of a page that a CPU thread discards.",
    before: loadOnce,
    tasks: { kernel: [LOAD, loadTwice], discard: [LET_GO, discard] },
    check: (world) => {
      onlySaw(BEFORE, 0)(world);
      if (world.seen[0] === 0 && world.seen[1] !== 0)
        bug("A load saw the page as it was before an earlier load");
    },
    twins: [],
  }),
  playing({
    name: "kernel-load-vs-munmap-of-leaf",
    summary: "A kernel loads while the mapping goes, the leaf of the device's table with it.",
    pages: LEAF_PAGES,
    before: loadOnce,
    tasks: {
      kernel: [LOAD, loadTwice],
      munmap: [[...LET_GO, "devices/service/device-table.freeLeaves"], munmap],
    },
    check: onlySaw(BEFORE, FAULTED),
    twins: [
      [
        "without-leaf-flush",
        "The device's leaf is freed without a flush.",
        "error",
        { munmap: without(2, munmap) },
      ],
    ],
  }),
  playing({
    name: "kernel-use-vs-munmap-of-leaf",
    summary: "As before, and the hand has come by: the kernel first marks the entry as used.",
    pages: LEAF_PAGES,
    before: loadOldLongAgo,
    since: entryIsSpare,
    exploration: { engine: "bounded", preemptions: 1 },
    tasks: {
      kernel: [LOAD, loadOld],
      munmap: [[...LET_GO, "devices/service/device-table.freeLeaves"], munmap],
    },
    check: requireSpare,
    twins: [],
  }),
  playing({
    name: "kernel-store-vs-discard",
    summary: "A kernel stores to the page's frame in RAM while a CPU thread discards the page.",
    before: store,
    tasks: { kernel: [LOAD, store], discard: [LET_GO, discard] },
    check: () => {},
    twins: [
      [
        "without-flush",
        "The device lets go without a flush.",
        "use-after-free",
        { discard: without(1, discard) },
      ],
    ],
  }),
  playing({
    name: "kernel-load-vs-store",
    summary:
      "A kernel reads from the device's copy while a CPU thread stores and says so: the next load sees the store.",
    before: loadOnce,
    exploration: BOUNDED,
    tasks: { kernel: [LOAD, loadAndListen], store: [LET_GO, storeAndSay] },
    check: onlySaw(1),
    twins: [
      [
        "without-flush",
        "The device lets go without a flush.",
        "assertion",
        { store: without(1, storeAndSay) },
      ],
    ],
  }),
];
