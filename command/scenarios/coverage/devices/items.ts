/**
 * @module One thread of the device alone with its items: what the runner (item-runner.ts) gives up,
 * runs again and stalls, and what a kernel may do that it should not. No other thread comes in;
 * what is looked for is a step that is missing, which shows without one.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { DeviceFault, KernelFailure } from "../../../../src/devices/device-fault.ts";
import type { Kernel } from "../../../../src/devices/software/kernel.ts";
import { readStats } from "../../../../src/devices/service/device-stats.ts";
import type { DeviceStats } from "../../../../src/devices/driver.ts";
import type { DeviceThread } from "../../../../src/devices/software/device-thread.ts";
import { beginDispatch, stopDispatch } from "../../../../src/devices/software/dispatch-state.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { listedResources } from "../../../../src/sync/lockdep/resources.ts";
import { callInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { asThread, steppingKernel } from "./kernel.ts";
import { makeDevice, setWordOf, wordOf } from "./stage.ts";
import type { DeviceWorld } from "./stage.ts";

const PAGE_BYTES = 4096;
const PAGES = 8;
/** The last page is where items write what they have seen. */
const RESULTS: number = HARNESS_PAGE + PAGES - 1;

/** Page `i` begins with 10 + i. The page of results is there for writing. */
function makeWorld(harness: HmmHarness): DeviceWorld {
  for (let i = 0; i < PAGES; i++) {
    harness.run(cpuFault(harness.machine, harness.mm, HARNESS_PAGE + i, true));
    setWordOf(harness, HARNESS_PAGE + i, 0, 10 + i);
  }
  return makeDevice(harness, 1);
}

interface Outcome {
  readonly stats: Pick<DeviceStats, "items" | "replays" | "stalls">;
  readonly failure: Error | undefined;
}

class Alone {
  readonly harness: HmmHarness;
  readonly world: DeviceWorld;
  readonly thread: DeviceThread;

  constructor(harness: HmmHarness, world: DeviceWorld, thread: DeviceThread) {
    this.harness = harness;
    this.world = world;
    this.thread = thread;
  }

  /** Begins a dispatch and runs it. What has changed of the statistics, and what ended it early. */
  *dispatch(kernel: Kernel, count: number): Task<Outcome> {
    const { record, software } = this.world;
    beginDispatch(software);
    const before = readStats(record);
    const failure = yield* this.run(kernel, count);
    const { items: ran, replays, stalls } = readStats(record);
    const stats = {
      items: ran - before.items,
      replays: replays - before.replays,
      stalls: stalls - before.stalls,
    };
    return { stats, failure };
  }

  run(kernel: Kernel, items: number): Task<Error | undefined> {
    return callInSteps(this.thread, "run", { kernel, args: [], items, mayReplay: true });
  }

  requireResults(what: string, wanted: readonly number[]): void {
    const are = wanted.map((_, item) => wordOf(this.harness, RESULTS, item + 1));
    assert(
      are.join() === wanted.join(),
      `after ${what}, the results are ${are.join()}; must be ${wanted.join()}`,
    );
  }
}

function resultOf(item: number): number {
  return RESULTS * PAGE_BYTES + (item + 1) * 4;
}

/**
 * What a kernel of TypeScript would be: adds what the item's page begins with to the item's result.
 */
function adding(pageOf: (item: number) => number): Kernel {
  return steppingKernel(function* ({ u32 }, item) {
    const seen = yield* callInSteps(u32, "load", pageOf(item) * PAGE_BYTES);
    yield* callInSteps(u32, "atomicAdd", resultOf(item), seen);
  });
}

type Part = (alone: Alone) => Task<void>;

function* warmUp(alone: Alone): Task<void> {
  const { failure, stats } = yield* alone.dispatch(
    adding(() => HARNESS_PAGE),
    1,
  );
  assert(failure === undefined && stats.items === 1, "the first dispatch failed");
  // Its page, and the page of results.
  assert(stats.replays === 2, `the first item was run again ${stats.replays} times`);
  alone.requireResults("the first dispatch", [10, 0]);
}

/** Three pages that are not there, and room for one. */
function* tooManyPages(alone: Alone): Task<void> {
  const { failure, stats } = yield* alone.dispatch(
    adding((item) => HARNESS_PAGE + item),
    4,
  );
  assert(failure === undefined && stats.items === 4, "the dispatch failed");
  alone.requireResults("a dispatch of four pages", [20, 11, 12, 13, 0]);
  // The first batch brings one page of three, the second one of two: what got no further the last
  // time stalls.
  assert(
    stats.replays === 5 && stats.stalls === 1,
    `${stats.replays} items were run again, ${stats.stalls} stalled`,
  );
}

/** Many items that want one page: a few are enough to know that. */
function* onePage(alone: Alone): Task<void> {
  const { failure, stats } = yield* alone.dispatch(
    adding(() => HARNESS_PAGE + 4),
    8,
  );
  assert(failure === undefined && stats.items === 8, "the dispatch failed");
  alone.requireResults("a dispatch of one page", [34, 25, 26, 27, 14, 14, 14, 14, 0]);
  assert(
    stats.replays === 4 && stats.stalls === 0,
    `${stats.replays} items were run again, ${stats.stalls} stalled`,
  );
}

/** A dispatch that has ended early, or was stopped, begins no more items. */
function* endsEarly(alone: Alone): Task<void> {
  const failing = steppingKernel(function* ({ u32 }, item) {
    yield* callInSteps(u32, "atomicAdd", resultOf(item), 100);
    if (item === 1) throw new Error("the second item");
  });
  const { failure, stats } = yield* alone.dispatch(failing, 3);
  assert(
    failure instanceof KernelFailure && failure.item === 1,
    `a kernel that throws was answered ${String(failure)}`,
  );
  assert(stats.items === 1, `${stats.items} items are said to have run to their end`);
  alone.requireResults("a kernel that throws", [134, 125, 26]);
  assert(
    (yield* alone.run(failing, 3)) === undefined,
    "a dispatch that has ended was answered a failure",
  );
  const { software } = alone.world;
  beginDispatch(software);
  stopDispatch(software);
  assert(
    (yield* alone.run(failing, 3)) === undefined,
    "a dispatch that was stopped was answered a failure",
  );
  alone.requireResults("a dispatch that was stopped", [134, 125, 26]);
}

/**
 * A kernel that lets no exception pass: an item that is over has no effect, and one that was given
 * up has its own.
 */
function* swallows(alone: Alone): Task<void> {
  const swallowing = (page: number): Kernel =>
    steppingKernel(function* ({ u32 }, item) {
      let seen = 1000;
      try {
        seen = yield* callInSteps(u32, "load", page * PAGE_BYTES);
      } catch {
        // As if nothing had happened.
      }
      yield* callInSteps(u32, "atomicAdd", resultOf(item), seen);
    });
  const given = yield* alone.dispatch(swallowing(HARNESS_PAGE + 5), 1);
  assert(given.failure === undefined && given.stats.items === 1, "the dispatch failed");
  alone.requireResults("a kernel that lets nothing pass", [149, 125]);
  const faulting = yield* alone.dispatch(swallowing(HARNESS_PAGE + PAGES), 1);
  const { failure } = faulting;
  assert(
    failure instanceof DeviceFault && failure.code === "EFAULT",
    `it was answered ${String(failure)}`,
  );
  alone.requireResults("a kernel that lets no fault pass", [149, 125]);
}

/** What a kernel has left behind finds no item to work for. */
function* outlives(alone: Alone): Task<void> {
  let wasRefused = false;
  try {
    yield* callInSteps(alone.thread.memory.u32, "store", resultOf(0), 0);
  } catch {
    wasRefused = true;
  }
  assert(wasRefused, "a store was made for no item");
  alone.requireResults("a store for no item", [-3]);
}

const WIDTHS = ["u8", "i8", "u16", "i16", "u32", "i32"] as const;

/** Atomics of each width, in RAM. */
function* atomics(alone: Alone): Task<void> {
  const seen: number[] = [];
  const kernel = steppingKernel(function* (memory, item) {
    seen.length = 0;
    for (const width of WIDTHS) {
      const integers = memory[width];
      yield* callInSteps(integers, "atomicStore", resultOf(item), -2);
      yield* callInSteps(integers, "atomicExchange", resultOf(item), -3);
      seen.push(yield* callInSteps(integers, "atomicLoad", resultOf(item)));
    }
  });
  const { failure } = yield* alone.dispatch(kernel, 1);
  assert(failure === undefined, `atomics were answered ${String(failure)}`);
  const all = "253,-3,65533,-3,4294967293,-3";
  assert(seen.join() === all, `atomic loads gave ${seen.join()}, not ${all}`);
  alone.requireResults("atomics", [-3]);
}

function* parts(
  world: DeviceWorld,
  harness: HmmHarness,
  ...each: readonly (readonly Part[])[]
): Task<void> {
  for (const together of each) {
    // A runner that has seen nothing yet.
    yield* asThread(world, harness, 0, function* (thread) {
      const alone = new Alone(harness, world, thread);
      for (const part of together) yield* part(alone);
    });
  }
  const { memory } = harness.machine;
  assert(
    listedResources(memory, memory.record).length === 0,
    "the thread is still said to own something",
  );
  assert(
    world.record.refs.read() === 1,
    `${world.record.refs.read()} references of the device are left`,
  );
}

const RUNS = [
  "devices/software/item-runner.run",
  "devices/software/device-translator.fault",
] as const;

export const items: readonly Covered[] = [
  {
    layer: "devices",
    scenario: harnessScenario<DeviceWorld>({
      name: "coverage/devices/alone/items",
      summary:
        "One thread of a device runs dispatches: what is given up, run again and stalled, and kernels that swallow.",
      exploration: { maxSteps: 20_000 },
      mayRemain: ["table"],
      harness: { pages: PAGES, present: 0, arenaWords: 16_384 },
      setup: makeWorld,
      tasks: {
        thread: (world, harness) =>
          parts(
            world,
            harness,
            [warmUp, tooManyPages],
            [onePage, endsEarly],
            [swallows, atomics, outlives],
          ),
      },
    }),
    twins: [],
    runs: { thread: [...RUNS, "mmu/soft-tlb.find"] },
  },
];
