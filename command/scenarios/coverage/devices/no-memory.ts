/**
 * @module Memory runs out while a device is opened on a space, or the thread owns too much: nothing
 * of the device is left, and later it can be had.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import {
  type OpenedDevice,
  closeDevice,
  openDevice,
} from "../../../../src/devices/software/open-device.ts";
import { WEBGPU_DEVICE_OPS } from "../../../../src/devices/webgpu-record/mirror-ops.ts";
import type { WebGpuRecord } from "../../../../src/devices/webgpu-record/record.ts";
import {
  endRecord,
  makeRecord,
  unregisterRecord,
} from "../../../../src/devices/webgpu-record/record-life.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { type Attempt, attempted, crowded } from "../attempts.ts";
import type { Covered } from "../covered.ts";

const OPTIONS = { memoryBytes: 4096, threads: 1, faultTimeoutMs: 2 ** 30 };

interface Owner {
  opened: OpenedDevice | undefined;
}

function* open({ machine, mm }: HmmHarness, owner: Owner): Task<number> {
  const opened = yield* openDevice(machine, mm, OPTIONS);
  if (typeof opened === "number") return opened;
  owner.opened = opened;
  return 0;
}

function* close({ machine }: HmmHarness, { opened }: Owner): Task<void> {
  assert(opened !== undefined, "the device was opened");
  yield* closeDevice(machine, opened);
}

/** What a machine makes once is made. */
function makeOwner(harness: HmmHarness): Owner {
  const owner: Owner = { opened: undefined };
  harness.run(open(harness, owner));
  harness.run(close(harness, owner));
  return owner;
}

const opens: Attempt<Owner> = {
  layer: "devices",
  name: "open",
  summary: "A device is opened, and the heap has no room for one of its parts.",
  runs: ["devices/software/open-device.openDevice", "devices/software/device-state.createDevice"],
  harness: { pages: 1 },
  setup: makeOwner,
  act: open,
  undo: close,
};

/** The first of its machine, whose list of devices is to be made. */
const opensFirst: Attempt<Owner> = {
  ...opens,
  name: "open-first",
  setup: () => ({ opened: undefined }),
};

interface WebGpuOwner {
  record: WebGpuRecord | undefined;
}

/** Pages of its private memory. */
const PRIVATE_PAGES = 2;

function* makeWebGpu({ machine, mm }: HmmHarness, owner: WebGpuOwner): Task<number> {
  const record = yield* makeRecord(machine, mm, PRIVATE_PAGES, WEBGPU_DEVICE_OPS);
  if (typeof record === "number") return record;
  owner.record = record;
  return 0;
}

function* endWebGpu({ machine }: HmmHarness, { record }: WebGpuOwner): Task<void> {
  assert(record !== undefined, "the device was made");
  yield* unregisterRecord(machine, record);
  yield* endRecord(machine, record);
}

const makesWebGpu: Attempt<WebGpuOwner> = {
  layer: "devices",
  name: "webgpu-record",
  summary: "What all threads know of a WebGPU device is made, with memory of its own.",
  runs: [
    "devices/webgpu-record/record-life.makeRecord",
    "devices/webgpu-record/private-memory.makePrivateMemory",
  ],
  harness: { pages: 1 },
  setup(harness) {
    const owner: WebGpuOwner = { record: undefined };
    harness.run(makeWebGpu(harness, owner));
    harness.run(endWebGpu(harness, owner));
    return owner;
  },
  act: makeWebGpu,
  undo: endWebGpu,
};

export const devicesWithoutMemory: readonly Covered[] = [
  attempted(opens),
  attempted(opensFirst),
  attempted(makesWebGpu),
  crowded(makesWebGpu),
];
