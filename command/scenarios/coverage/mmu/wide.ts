/**
 * @module Integers of 64 bits and addresses in memory, by the shipped classes, each access a step:
 * beside each other, and beside a thread that takes the page away.
 */

import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { PAGE_BYTES } from "../../../../src/memory/ram.ts";
import type { TypedAccess } from "../../../../src/mmu/access.ts";
import { ptePfn } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { callInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { coveringOnHarness } from "../on-harness.ts";
import type { HarnessTasks, HarnessTwin } from "../on-harness.ts";
import { withoutFlush } from "../mm/left-out.ts";

const ADDRESS: number = HARNESS_PAGE * PAGE_BYTES;
/** Both halves of it are something. */
const POINTER: number = 3 * 2 ** 32 + 5;

interface World {
  /** What was loaded. */
  readonly seen: number[];
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;
type Wide = "u64" | "i64";

const memoryOf = (harness: HmmHarness): TypedAccess => new HarnessCpu(harness).memory;

function modulesOf(width: Wide): string {
  return width === "i64" ? "mmu/i64-access" : "mmu/widths/u64-access";
}

function countByAdding(width: Wide): Body {
  return (_world, harness) => callInSteps(memoryOf(harness)[width], "atomicAdd", ADDRESS, 1n);
}

function countBySwap(width: Wide): Body {
  return function* (_world, harness) {
    const access = memoryOf(harness)[width];
    for (;;) {
      const seen = yield* callInSteps(access, "load", ADDRESS);
      if ((yield* callInSteps(access, "atomicCompareExchange", ADDRESS, seen, seen + 1n)) === seen)
        return;
    }
  };
}

function countByStoring(width: Wide): Body {
  return function* (_world, harness) {
    const access = memoryOf(harness)[width];
    const seen = yield* callInSteps(access, "load", ADDRESS);
    yield* callInSteps(access, "store", ADDRESS, seen + 1n);
  };
}

const storePointer: Body = (_world, harness) =>
  callInSteps(memoryOf(harness).ptr, "store", ADDRESS, POINTER);

function* loadPointer(world: World, harness: HmmHarness): Task<void> {
  world.seen.push(yield* callInSteps(memoryOf(harness).ptr, "load", ADDRESS));
}

/** Every atomic operation on an address, by one thread: each does what it says. */
function* usePointers(_world: World, harness: HmmHarness): Task<void> {
  const { ptr } = memoryOf(harness);
  const require = (is: number, wanted: number, what: string): void =>
    assert(is === wanted, `${what} of ptr gave ${is}, not ${wanted}`);
  yield* callInSteps(ptr, "atomicStore", ADDRESS, POINTER);
  require(yield* callInSteps(ptr, "load", ADDRESS), POINTER, "load");
  require(yield* callInSteps(ptr, "atomicLoad", ADDRESS), POINTER, "atomicLoad");
  require(yield* callInSteps(ptr, "atomicExchange", ADDRESS, 7), POINTER, "atomicExchange");
  const swap = "atomicCompareExchange";
  require(yield* callInSteps(ptr, swap, ADDRESS, POINTER, 1), 7, swap);
  require(yield* callInSteps(ptr, swap, ADDRESS, 7, POINTER), 7, swap);
  require(yield* callInSteps(ptr, "atomicLoad", ADDRESS), POINTER, "atomicLoad");
}

/** As two words: what comes between sees half of it. */
function* storeHalves(_world: World, harness: HmmHarness): Task<void> {
  const { u32 } = memoryOf(harness);
  yield* callInSteps(u32, "store", ADDRESS, POINTER % 2 ** 32);
  yield* callInSteps(u32, "store", ADDRESS + 4, Math.floor(POINTER / 2 ** 32));
}

const discard: Body = (_world, harness) => harness.discard(HARNESS_PAGE, 1);
const discardUnflushed: Body = (world, harness) => withoutFlush(1, discard(world, harness));

/** The first 8 bytes of the page in the end. */
function now(harness: HmmHarness): bigint {
  const pfn = ptePfn(harness.entryOf(HARNESS_PAGE));
  if (pfn === 0) return 0n;
  const section = harness.machine.ram.sections.of(pfn);
  return section.u64[(pfn - section.basePfn) * (PAGE_BYTES / 8)]!;
}

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly tasks: HarnessTasks<World>;
  readonly check: (world: World, harness: HmmHarness) => void;
  readonly twins: readonly HarnessTwin<World>[];
}

function made({ name, summary, tasks, check, twins }: Parts): Covered {
  return coveringOnHarness<World>({
    layer: "mmu",
    name,
    summary,
    tasks,
    twins,
    harness: { pages: 1 },
    setup(harness) {
      harness.run(callInSteps(memoryOf(harness).u64, "store", ADDRESS, 0n));
      return { seen: [] };
    },
    reopen: ({ seen }) => void (seen.length = 0),
    check,
  });
}

function counting(width: Wide): Covered {
  const swapRuns = [`${modulesOf(width)}.atomicCompareExchange`, `${modulesOf(width)}.load`];
  return made({
    name: `${width}-swap-vs-add`,
    summary: `Two threads count in one ${width}, one by atomicCompareExchange and one by atomicAdd: no count is lost.`,
    tasks: {
      swap: [swapRuns, countBySwap(width)],
      add: [[`${modulesOf(width)}.#modify`], countByAdding(width)],
    },
    check: (_world, harness) =>
      assert(now(harness) === 2n, `two were added to 0, and it is ${now(harness)}`),
    twins: [
      [
        "by-store",
        "One thread counts by a load and a store.",
        "assertion",
        { swap: countByStoring(width) },
      ],
    ],
  });
}

function losing(width: Wide | "ptr", runs: readonly string[], store: Body): Covered {
  return made({
    name: `${width}-store-vs-discard`,
    summary: `A thread's store of a ${width} while another gives the page up: it goes to the page, or to the new one.`,
    tasks: {
      store: [[...runs, `mmu/widths/${width}-stores.#enterAnd`], store],
      discard: [["sync/primitives/shootdown.flush"], discard],
    },
    check: (_world, harness) => {
      const is = now(harness);
      assert(is === 0n || is === BigInt(POINTER), `the new page holds ${is}`);
    },
    twins: [
      [
        "without-flush",
        "The page is freed without a flush.",
        "use-after-free",
        { discard: discardUnflushed },
      ],
    ],
  });
}

function storing(width: Wide): Body {
  return (_world, harness) =>
    callInSteps(memoryOf(harness)[width], "store", ADDRESS, BigInt(POINTER));
}

export const wide: readonly Covered[] = [
  counting("u64"),
  counting("i64"),
  losing("u64", ["mmu/widths/u64-access.atomicStore"], storing("u64")),
  losing("i64", ["mmu/i64-access.atomicStore"], storing("i64")),
  losing("ptr", ["mmu/widths/ptr-access.store"], storePointer),
  made({
    name: "ptr-store-vs-load",
    summary: "A thread loads an address while another stores it: all of it is seen, or nothing.",
    tasks: {
      store: [["mmu/widths/ptr-access.store"], storePointer],
      load: [["mmu/widths/ptr-access.load"], loadPointer],
    },
    check: ({ seen: [value = 0] }) =>
      assert(value === 0 || value === POINTER, `a load gave ${value}`),
    twins: [
      ["in-halves", "The address is stored as two words.", "assertion", { store: storeHalves }],
    ],
  }),
  made({
    name: "alone/addresses",
    summary: "One thread stores, loads and exchanges an address atomically.",
    tasks: {
      task: [
        ["atomicStore", "atomicLoad", "atomicExchange", "atomicCompareExchange"].map(
          (name) => `mmu/pointer-access.${name}`,
        ),
        usePointers,
      ],
    },
    check: () => {},
    twins: [],
  }),
];
