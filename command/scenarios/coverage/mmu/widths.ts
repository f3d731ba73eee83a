/**
 * @module Loads, stores and atomic operations of every width, by the shipped classes, each access a
 * step: beside each other, and beside a thread that takes the page away. What
 * coverage/mm/accesses.ts has of 32 bits, for those that are written out once more.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { FindingKind } from "../../../../src/checker/findings/finding.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { PAGE_BYTES } from "../../../../src/memory/ram.ts";
import type { IntegerAccess, TypedAccess, ValueAccess } from "../../../../src/mmu/access.ts";
import { ptePfn } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { callInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { withoutFlush } from "../mm/left-out.ts";

const ADDRESS: number = HARNESS_PAGE * PAGE_BYTES;
const BEFORE = 7;

type Body = (shared: undefined, harness: HmmHarness) => Task<unknown>;
type Integer = "u8" | "i8" | "u16" | "i16" | "u32" | "i32";
type Float = "f32" | "f64";

/** Where the code of a width stands. */
const moduleOf = (width: Integer | Float, what = "access"): string =>
  `mmu/${width === "i32" ? "" : "widths/"}${width}-${what}`;

const integer = (memory: TypedAccess, width: Integer): IntegerAccess => memory[width];
const value = (memory: TypedAccess, width: Integer | Float): ValueAccess => memory[width];

/** As lock-free code counts: loads, and puts one more there if it is still what was loaded. */
function countBySwap(width: Integer): Body {
  return function* (_shared, harness) {
    const access = integer(new HarnessCpu(harness).memory, width);
    for (;;) {
      const seen = yield* callInSteps(access, "load", ADDRESS);
      if ((yield* callInSteps(access, "atomicCompareExchange", ADDRESS, seen, seen + 1)) === seen)
        return;
    }
  };
}

function countByAdding(width: Integer): Body {
  return (_shared, harness) =>
    callInSteps(integer(new HarnessCpu(harness).memory, width), "atomicAdd", ADDRESS, 1);
}

/** Loads and stores: what another one adds in between is lost. */
function countByStoring(width: Integer): Body {
  return function* (_shared, harness) {
    const access = integer(new HarnessCpu(harness).memory, width);
    const seen = yield* callInSteps(access, "load", ADDRESS);
    yield* callInSteps(access, "store", ADDRESS, seen + 1);
  };
}

const discard: Body = (_shared, harness) => harness.discard(HARNESS_PAGE, 1);
const discardUnflushed: Body = (shared, harness) => withoutFlush(1, discard(shared, harness));

function swap(width: Integer): Body {
  return (_shared, harness) =>
    callInSteps(
      integer(new HarnessCpu(harness).memory, width),
      "atomicCompareExchange",
      ADDRESS,
      BEFORE,
      1,
    );
}

function store(width: Integer | Float): Body {
  return (_shared, harness) =>
    callInSteps(value(new HarnessCpu(harness).memory, width), "store", ADDRESS, 1);
}

function atomicStore(width: Integer): Body {
  return (_shared, harness) =>
    callInSteps(integer(new HarnessCpu(harness).memory, width), "atomicStore", ADDRESS, 1);
}

/** Each integer width after the other, by one thread: every operation does what it says. */
function* useAll(_shared: undefined, harness: HmmHarness): Task<void> {
  for (const width of INTEGERS) {
    const access = integer(new HarnessCpu(harness).memory, width);
    const at = ADDRESS + 64;
    const require = (is: number, wanted: number, what: string): void =>
      assert(is === wanted, `${what} of ${width} gave ${is}, not ${wanted}`);
    require(yield* callInSteps(access, "atomicLoad", at), 0, "the first atomicLoad");
    yield* callInSteps(access, "atomicStore", at, 5);
    require(yield* callInSteps(access, "load", at), 5, "load");
    require(yield* callInSteps(access, "atomicLoad", at), 5, "atomicLoad");
    require(yield* callInSteps(access, "atomicAdd", at, 2), 5, "atomicAdd");
    require(yield* callInSteps(
      access,
      "atomicCompareExchange",
      at,
      6,
      1,
    ), 7, "atomicCompareExchange");
    require(yield* callInSteps(
      access,
      "atomicCompareExchange",
      at,
      7,
      0,
    ), 7, "atomicCompareExchange");
    require(yield* callInSteps(access, "atomicLoad", at), 0, "atomicLoad");
  }
}

/**
 * Each width, by one thread: what is stored is loaded, and so are the zeros of a page given up.
 * Both twice: by the page table, and by the word of a page that is known (page-words.ts).
 */
function* useValues(_shared: undefined, harness: HmmHarness): Task<void> {
  yield* harness.discard(HARNESS_PAGE + 1, 1);
  for (const width of [...INTEGERS, ...FLOATS, "ptr"] as const) {
    const access: ValueAccess = new HarnessCpu(harness).memory[width];
    yield* callInSteps(access, "store", ADDRESS, 3);
    for (const what of ["a load", "a load of a page that is known"]) {
      const is = yield* callInSteps(access, "load", ADDRESS);
      assert(is === 3, `${what} of ${width} gave ${is}, not 3`);
      const zero = yield* callInSteps(access, "load", ADDRESS + PAGE_BYTES);
      assert(zero === 0, `${what} of ${width} gave ${zero} of a page that was given up`);
    }
  } // It has a frame again, as at the beginning.
  yield* callInSteps(new HarnessCpu(harness).memory.u32, "store", ADDRESS + PAGE_BYTES, 1);
}

/** What the page holds in the end: a plain look, once everybody has ended. */
function now(harness: HmmHarness, width: Integer | Float): number {
  const pfn = ptePfn(harness.entryOf(HARNESS_PAGE));
  if (pfn === 0) return 0;
  const section = harness.machine.ram.sections.of(pfn);
  const elements = section[width];
  return elements[((pfn - section.basePfn) * PAGE_BYTES) / elements.BYTES_PER_ELEMENT]!;
}

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly width: Integer | Float;
  readonly tasks: Readonly<Record<string, Body>>;
  readonly check: (harness: HmmHarness) => void;
  readonly expects?: FindingKind;
}

function make({ name, summary, width, tasks, check, expects }: Parts): AnyScenario {
  return harnessScenario<undefined>({
    name: `coverage/mmu/${name}`,
    summary,
    ...(expects === undefined ? {} : { expects }),
    harness: { pages: 1 },
    setup: (harness) => {
      harness.run(
        callInSteps(value(new HarnessCpu(harness).memory, width), "store", ADDRESS, BEFORE),
      );
      return undefined;
    },
    tasks,
    check: (_shared, harness) => check(harness),
  });
}

function counting(width: Integer): Covered {
  const parts = {
    summary: `Two threads count in one ${width}, one by atomicCompareExchange and one by atomicAdd: no count is lost.`,
    width,
    check: (harness: HmmHarness) =>
      assert(
        now(harness, width) === BEFORE + 2,
        `two were added to 7, and it is ${now(harness, width)}`,
      ),
  };
  const name = `${width}-swap-vs-add`;
  const twin = "One thread counts by a load and a store.";
  return {
    layer: "mmu",
    scenario: make({
      ...parts,
      name,
      tasks: { swap: countBySwap(width), add: countByAdding(width) },
    }),
    twins: [
      make({
        ...parts,
        name: `${name}/by-store`,
        summary: twin,
        tasks: { swap: countByStoring(width), add: countByAdding(width) },
        expects: "assertion",
      }),
    ],
    runs: {
      swap: [`${moduleOf(width)}.atomicCompareExchange`, `${moduleOf(width)}.load`],
      add: [`${moduleOf(width)}.#modify`],
    },
  };
}

/** Operations that write, by the name of the task. */
const METHODS = { swap: "atomicCompareExchange", set: "atomicStore", store: "store" } as const;

function losing(width: Integer | Float, operation: keyof typeof METHODS, body: Body): Covered {
  const method = METHODS[operation];
  const parts = {
    summary: `A thread's ${method} of a ${width} while another gives the page up: it goes to the page, or to the new one.`,
    width,
    check: (harness: HmmHarness) => {
      // Past the page that it was meant for a compareExchange finds a zero, and leaves it.
      const allowed = operation === "swap" ? [0] : [0, 1];
      assert(allowed.includes(now(harness, width)), `the new page holds ${now(harness, width)}`);
    },
  };
  const name = `${width}-${operation}-vs-discard`;
  return {
    layer: "mmu",
    scenario: make({ ...parts, name, tasks: { [operation]: body, discard } }),
    twins: [
      make({
        ...parts,
        name: `${name}/without-flush`,
        summary: "The page is freed without a flush.",
        tasks: { [operation]: body, discard: discardUnflushed },
        expects: "use-after-free",
      }),
    ],
    runs: {
      [operation]: [`${moduleOf(width)}.${method}`, `${moduleOf(width, "stores")}.#enterAnd`],
      discard: ["sync/primitives/shootdown.flush"],
    },
  };
}

const INTEGERS: readonly Integer[] = ["u8", "i8", "u16", "i16", "u32", "i32"];
const FLOATS: readonly Float[] = ["f32", "f64"];

export const widths: readonly Covered[] = [
  ...INTEGERS.map(counting),
  ...INTEGERS.map((width) => losing(width, "swap", swap(width))),
  ...INTEGERS.map((width) => losing(width, "set", atomicStore(width))),
  ...[...INTEGERS, ...FLOATS].map((width) => losing(width, "store", store(width))),
  {
    layer: "mmu",
    scenario: harnessScenario<undefined>({
      name: "coverage/mmu/alone/every-width",
      summary: "One thread stores, loads, adds and exchanges in every width.",
      harness: { pages: 2 },
      setup: () => undefined,
      tasks: {
        *task(shared, harness) {
          yield* useAll(shared, harness);
          yield* useValues(shared, harness);
        },
      },
      balanced: true,
    }),
    twins: [],
    runs: {
      task: INTEGERS.flatMap((width) => [
        `${moduleOf(width)}.atomicLoad`,
        `${moduleOf(width)}.atomicStore`,
      ]).concat(FLOATS.map((width) => `${moduleOf(width)}.load`)),
    },
  },
];
