/**
 * @module A thread has died with a device's driver lock, and who finds it dead has the device
 * forget all entries (devices/service/repair-device.ts), while a kernel goes on by the translations
 * that it remembers.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { reapTask } from "../../../../src/sync/death/reaper.ts";
import { callInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  ADDRESS,
  BEFORE,
  type Body,
  LOAD,
  PAGE,
  type World,
  onlySaw,
  playing,
} from "../devices/accesses.ts";
import { bringing, storingAndLoading } from "../devices/kernel-races.ts";
import { inKernel } from "../devices/kernel.ts";
import { diedHolding } from "./died-holding.ts";

const NEXT: number = PAGE + 1;

/** Loads, and once more when another page was brought, for which the device has no other frame. */
const loadAndListen: Body = (world, harness) =>
  inKernel(world, harness, function* (memory) {
    world.seen.push(yield* callInSteps(memory.u32, "load", ADDRESS));
    yield* world.flag.waitWhile(0);
    world.seen.push(yield* callInSteps(memory.u32, "load", ADDRESS));
  });

function* reapAndBringNext(world: World, harness: HmmHarness): Task<void> {
  yield* reapTask(harness.machine.memory);
  yield* bringing(NEXT)(world, harness);
  yield* world.flag.store(1);
}

const SHORT: ScenarioExploration = { engine: "bounded", preemptions: 1 };
const REPAIRS = ["devices/service/repair-device.repairDevice"] as const;

export const deathsBesideKernels: readonly Covered[] = [
  playing({
    name: "death/holding-vs-kernel-load",
    summary:
      "A thread has died with the driver lock, another one repairs what that guards, and fills a frame anew from which a kernel loads.",
    pages: 2,
    frames: 1,
    before: storingAndLoading,
    since: diedHolding,
    exploration: SHORT,
    tasks: {
      kernel: [LOAD, loadAndListen],
      bring: [REPAIRS, reapAndBringNext],
    },
    check: onlySaw(BEFORE),
    twins: [],
  }),
];
