/**
 * @module A thread has died while it made a device's memory, at the end: the memory has its frame
 * numbers, and nobody else knows it. Who gives it back dies, too (inheriting.ts).
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { makeDeviceMemory } from "../../../../src/memory/device-memory.ts";
import { DEVICE_PRIVATE, deviceFrameOps } from "../../../../src/memory/frames/device-frames.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { addResource, resourceKind } from "../../../../src/sync/lockdep/resources.ts";
import { DONE } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { inheriting } from "./inheriting.ts";

/** What a device's memory is until its maker hands it over (memory/device-memory.ts). */
const UNSHARED: number = resourceKind("unshared device memory");

const OPS: number = deviceFrameOps.register("device memory of a dead thread", {
  pageFree: () => DONE,
});

function ownUnshared(harness: HmmHarness): void {
  const { machine } = harness;
  const options = { pages: 2, type: DEVICE_PRIVATE, owner: 1, opsId: OPS } as const;
  const device = harness.run(makeDeviceMemory(machine, options));
  assert(typeof device !== "number", "a device's memory can be had");
  addResource(machine.memory, UNSHARED, device.at);
}

export const memoryHeirs: readonly Covered[] = [
  inheriting("memory", {
    name: "device-memory",
    summary:
      "A thread has died that was about to hand a device's memory over; who gives it back dies, too.",
    runs: ["memory/device-memory.freeUnshared", "memory/frames/sections.remove"],
    prepare: () => undefined,
    own: ownUnshared,
  }),
];
