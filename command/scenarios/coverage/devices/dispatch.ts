/**
 * @module The work items of a dispatch, handed out to the device's threads by the shipped runner
 * (item-runner.ts), each access to shared memory a step: every item has its effects once, whatever
 * is given up and run again meanwhile, and a dispatch that has ended early begins no more of them.
 */

import { Cell } from "../../../../src/checker/primitives/program.ts";
import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario, ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { SoftwareRecord } from "../../../../src/devices/software/software-record.ts";
import type { Kernel } from "../../../../src/devices/software/kernel.ts";
import { readStats } from "../../../../src/devices/service/device-stats.ts";
import { beginDispatch } from "../../../../src/devices/software/dispatch-state.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { callInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { asThread, steppingKernel } from "./kernel.ts";
import { makeDevice, wordOf } from "./stage.ts";
import type { DeviceWorld } from "./stage.ts";

const PAGE_BYTES = 4096;
const ADDRESS: number = HARNESS_PAGE * PAGE_BYTES;

interface World extends DeviceWorld {
  readonly nextItem: Cell;
  readonly stop: Cell;
  /** 1 once a thread's dispatch has ended early. */
  readonly ended: Cell;
  /** Items that began after that. */
  late: number;
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;

function makeWorld(harness: HmmHarness): World {
  const { memory, heap } = harness.machine;
  const world = makeDevice(harness, 2);
  const { software } = world;
  const [nextItem, stop] = (["nextItem", "stop"] as const).map(
    (field) => new Cell(memory, software.at + SoftwareRecord.offset[field], field),
  ) as [Cell, Cell];
  // As an earlier dispatch that was stopped has left it.
  software.nextItem = 1;
  software.stop = 1;
  beginDispatch(software);
  return {
    ...world,
    nextItem,
    stop,
    ended: new Cell(memory, harness.run(heap.allocWords(512)), "ended"),
    late: 0,
  };
}

/** As the device's thread `index`; what ended the dispatch early, if anything did. */
function dispatch(
  world: DeviceWorld,
  harness: HmmHarness,
  index: number,
  kernel: Kernel,
  items: number,
): Task<Error | undefined> {
  return asThread(world, harness, index, (thread) =>
    callInSteps(thread, "run", { kernel, args: [ADDRESS], items, mayReplay: true }),
  );
}

const ITEMS = 2;

/** Each item adds to a word of its own. */
const addOne: Kernel = steppingKernel(function* ({ u32 }, item, [address = 0]) {
  yield* callInSteps(u32, "atomicAdd", address + 4 * item, 1);
});

function adding(index: number): Body {
  return function* (world, harness) {
    const failure = yield* dispatch(world, harness, index, addOne, ITEMS);
    if (failure !== undefined) throw failure;
  };
}

/** Another thread may have begun with it. */
const beginAndAdd: Body = function* (world, harness) {
  yield* world.nextItem.store(0);
  yield* adding(1)(world, harness);
};

function checkEachOnce({ software, record }: World, harness: HmmHarness): void {
  for (let item = 0; item < ITEMS; item++) {
    const times = wordOf(harness, HARNESS_PAGE, item);
    assert(times === 1, `item ${item} ran ${times} times`);
  }
  const { items } = readStats(record);
  assert(items === ITEMS, `${items} items are said to have run`);
  assert(software.nextItem === ITEMS, `after the last item the next one is ${software.nextItem}`);
}

/** The first item fails. The others look whether the dispatch has ended. */
function failing(world: World): Kernel {
  return steppingKernel(function* (_memory, item) {
    if (item === 0) throw new Error("the first item");
    if ((yield* world.ended.load()) === 1) world.late++;
  });
}

function ending(index: number, after?: (world: World) => Task<void>): Body {
  return function* (world, harness) {
    const failure = yield* dispatch(world, harness, index, failing(world), 4);
    if (failure === undefined) return;
    if (after !== undefined) yield* after(world);
    yield* world.ended.store(1);
  };
}

/** The other thread may be past its look, and about to begin with one. */
function checkLate({ late }: World): void {
  assert(late <= 1, `${late} items began after the dispatch had ended`);
}

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly exploration: ScenarioExploration;
  readonly check: (world: World, harness: HmmHarness) => void;
  readonly tasks: Readonly<Record<string, Body>>;
  readonly twin: readonly [name: string, summary: string, Readonly<Record<string, Body>>];
}

function dispatching({ name, summary, exploration, check, tasks, twin }: Parts): Covered {
  const make = (
    fullName: string,
    about: string,
    own: Readonly<Record<string, Body>>,
    isTwin: boolean,
  ): AnyScenario =>
    harnessScenario<World>({
      name: fullName,
      summary: about,
      exploration,
      ...(isTwin ? { expects: "assertion" } : {}),
      mayRemain: ["table"],
      harness: { pages: 1 },
      setup: makeWorld,
      reopen: (world) => {
        world.late = 0;
      },
      tasks: own,
      check,
    });
  const fullName = `coverage/devices/${name}`;
  const [twinName, twinSummary, twinTasks] = twin;
  return {
    layer: "devices",
    scenario: make(fullName, summary, tasks, false),
    twins: [make(`${fullName}/${twinName}`, twinSummary, { ...tasks, ...twinTasks }, true)],
    runs: Object.fromEntries(Object.keys(tasks).map((task) => [task, RUN])),
  };
}

const RUN = ["devices/software/item-runner.run", "devices/software/device-thread.join"] as const;

export const dispatches: readonly Covered[] = [
  dispatching({
    name: "dispatch/each-once",
    summary: "Two threads of the device share the items of a dispatch: each item runs once.",
    exploration: { engine: "bounded", preemptions: 1, timeouts: 0 },
    check: checkEachOnce,
    tasks: { first: adding(0), second: adding(1) },
    twin: [
      "begun-twice",
      "A thread makes the record ready for the dispatch when the other may have begun with it.",
      { second: beginAndAdd },
    ],
  }),
  dispatching({
    name: "dispatch/ended-early",
    summary: "An item fails: the other thread of the device begins no more items.",
    exploration: { engine: "bounded", preemptions: 2, timeouts: 0 },
    check: checkLate,
    tasks: { first: ending(0), second: ending(1) },
    twin: [
      "goes-on",
      "The thread whose item failed lets the dispatch go on.",
      { first: ending(0, ({ stop }) => stop.store(0)) },
    ],
  }),
];
