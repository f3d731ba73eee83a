/**
 * @module The address space goes: what the device is told, also by a thread that holds the driver
 * lock itself, in a task that waits for the GPU (own-link.ts). No GPU.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { AddressSpace } from "../../../src/index.ts";
import { DriverThread } from "../../../src/driver.ts";
import { WEBGPU_DEVICE_OPS } from "../../../src/devices/webgpu-record/mirror-ops.ts";
import {
  type WebGpuRecord,
  drainLog,
  noteHeldHere,
} from "../../../src/devices/webgpu-record/record.ts";
import {
  endRecord,
  makeRecord,
  unregisterRecord,
} from "../../../src/devices/webgpu-record/record-life.ts";
import { TASK_SIZE_PAGES } from "../../../src/mmu/radix-table.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";

async function withRecord(
  use: (record: WebGpuRecord, driver: DriverThread, space: AddressSpace) => Promise<void>,
): Promise<void> {
  const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
  using driver = DriverThread.open(space);
  const { machine } = driver;
  const record = await driver.runOnSpace(space, (mm) =>
    makeRecord(machine, mm, 0, WEBGPU_DEVICE_OPS),
  );
  assert.ok(typeof record !== "number");
  await use(record, driver, space);
  await driver.run(unregisterRecord(machine, record));
  await driver.run(endRecord(machine, record));
}

function requireTold(record: WebGpuRecord): void {
  assert.equal(record.isDead, 1);
  const ranges: number[][] = [];
  drainLog(record, (start, end) => ranges.push([start, end]));
  assert.deepEqual(ranges, [[0, TASK_SIZE_PAGES]], "every page has gone");
}

test("the space goes: so do all of its pages", () =>
  withRecord(async (record, _driver, space) => {
    space.disposeSync();
    requireTold(record);
  }));

test("it goes by the thread that holds the driver lock while it waits", { timeout: 20_000 }, () =>
  withRecord(async (record, driver, space) => {
    const { driverLock, answered } = record;
    const pass = function* (): Task<void> {
      yield* driverLock.lock();
      noteHeldHere(record, true);
      yield* answered.wait();
      noteHeldHere(record, false);
      yield* driverLock.unlock();
    };
    const passing = driver.run(pass());
    space.disposeSync();
    driver.runSync(answered.complete());
    await passing;
    requireTold(record);
  }),
);
