/**
 * @module A device copies a page while a CPU thread stores to it through cached translations. Until
 * the device is notified, its copy equals the page. The driver does read-begin, tracks the page,
 * copies it, and rechecks under its lock.
 */

import { Gate } from "../../../../src/checker/primitives/program.ts";
import {
  type HmmHarness,
  HARNESS_PAGE,
  harnessScenario,
} from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import type { AnyScenario, ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { hmmRangeFault } from "../../../../src/hmm/walk/fault.ts";
import type { HmmRange } from "../../../../src/hmm/range/range.ts";
import { hmmRangeValid, hmmRangeWaitUntilValid } from "../../../../src/hmm/range/valid.ts";
import { PAGE_BYTES, ptePfn } from "../../../../src/mm/pte.ts";
import { trackRange } from "../../../../src/mm/fault/track.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

const ADDRESS: number = HARNESS_PAGE * PAGE_BYTES;
const ROUNDS = 3;

interface World {
  readonly device: HarnessDevice;
  readonly isThrough: Gate;
  /** The device's copy: current while the device has a translation. */
  copy: number;
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;

const wordOf = ({ machine: { ram } }: HmmHarness, pfn: number): number =>
  ram.sections.of(pfn).i32[ram.sections.wordIndex(pfn)]!;

/** One round: whether the page may be copied now. */
function* mayCopy(range: HmmRange, { machine, mm }: HmmHarness): Task<boolean> {
  const copyable = new Uint8Array(1);
  yield* mm.mmapLock.downRead();
  const pages = yield* hmmRangeFault(range);
  const wereTold =
    pages > 0 && (yield* trackRange(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, copyable));
  yield* mm.mmapLock.upRead();
  return pages > 0 && !wereTold && copyable[0] === 1;
}

/** `rechecks`: whether the driver rechecks under its lock. */
function* copyPage(world: World, harness: HmmHarness, rechecks: boolean): Task<number> {
  const { device } = world;
  const own = yield* harness.machine.ram.allocFrame(false);
  const answer = yield* harness.withRange(device.mirror, HARNESS_PAGE, 1, function* (range) {
    for (let round = 0; round < ROUNDS; round++) {
      if (!(yield* hmmRangeWaitUntilValid(range, Infinity)) || !(yield* mayCopy(range, harness)))
        continue;
      yield* harness.machine.ram.copyUnheldFrame(ptePfn(harness.entryOf(HARNESS_PAGE)), own);
      yield* device.driverLock.lock();
      const isGood = !rechecks || (yield* hmmRangeValid(range));
      if (isGood) {
        device.program(range);
        world.copy = wordOf(harness, own);
      }
      yield* device.driverLock.unlock();
      if (isGood) return 0;
    }
    return 0;
  });
  yield* harness.machine.ram.refs.pagePut(own);
  yield* world.isThrough.open();
  return answer;
}

/** Stores at any time, and once more through the cached translation when the device is done. */
function* storeTwice({ isThrough }: World, harness: HmmHarness): Task<void> {
  const cpu = new HarnessCpu(harness);
  yield* cpu.store(ADDRESS, 1);
  yield* isThrough.pass();
  yield* cpu.store(ADDRESS, 2);
}

function make(
  name: string,
  summary: string,
  tasks: Readonly<Record<string, Body>>,
  isTwin: boolean,
): AnyScenario {
  const exploration: ScenarioExploration = { engine: "bounded", preemptions: 1 };
  return harnessScenario<World>({
    name,
    summary,
    exploration,
    ...(isTwin ? { expects: "assertion" } : {}),
    harness: { pages: 1 },
    setup: (harness) => {
      const at = harness.run(harness.machine.heap.allocWords(512));
      return {
        device: HarnessDevice.registered(harness),
        isThrough: new Gate(harness.machine.memory, at, "through"),
        copy: 0,
      };
    },
    reopen: (world) => void (world.copy = 0),
    tasks,
    check: ({ device, copy }, harness) => {
      if (device.entry(HARNESS_PAGE) === 0) return;
      const now = wordOf(harness, ptePfn(harness.entryOf(HARNESS_PAGE)));
      assert(copy === now, `the page says ${now}, and the device's copy ${copy}`);
    },
  });
}

const copy: Body = (world, harness) => copyPage(world, harness, true);
const NAME = "coverage/hmm/copy-vs-store";
const COPY = [
  "hmm/walk/fault.hmmRangeFault",
  "mm/fault/track.trackRange",
  "hmm/range/valid.hmmRangeValid",
];

export const copies: readonly Covered[] = [
  {
    layer: "hmm",
    scenario: make(
      NAME,
      "A device copies a page while a thread stores to it.",
      { copy, store: storeTwice },
      false,
    ),
    twins: [
      make(
        `${NAME}/does-not-recheck`,
        "The device keeps its copy without a recheck under its lock.",
        { copy: (world, harness) => copyPage(world, harness, false), store: storeTwice },
        true,
      ),
    ],
    runs: { copy: COPY, store: [] },
  },
];
