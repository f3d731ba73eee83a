/**
 * @module What the device tests stand on: an address space, and devices whose threads are played by
 * the test's own thread, so that every step happens when the test says so. Kernels are plain
 * functions of the test then. Tests with real Workers use SoftwareDevice instead.
 */

import assert from "node:assert/strict";
import type { Kernel } from "../../src/devices/software/kernel.ts";
import type { DeviceRecord } from "../../src/devices/service/device-record.ts";
import { registerDevice } from "../../src/devices/service/device-parts.ts";
import {
  DEVICE_RESOURCE,
  createDevice,
  endDevice,
  placeOf,
} from "../../src/devices/software/device-state.ts";
import type { DeviceStats } from "../../src/devices/driver.ts";
import { readStats } from "../../src/devices/service/device-stats.ts";
import { DeviceThread } from "../../src/devices/software/device-thread.ts";
import type { SpanServiceClass } from "../../src/devices/service/fault-service.ts";
import { beginDispatch } from "../../src/devices/software/dispatch-state.ts";
import { SOFTWARE_DEVICE_OPS } from "../../src/devices/software/mirror-ops.ts";
import type { SoftwareRecord } from "../../src/devices/software/software-record.ts";
import { viewDevice } from "../../src/devices/software/view-device.ts";
import { hmmMirrorUnregister } from "../../src/hmm/mirror/mirror.ts";
import { AddressSpace, type AddressSpaceOptions } from "../../src/index.ts";
import { notifierSrcu } from "../../src/notifier/mmu-notifier.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { inside } from "../inside.ts";
import type { Machine } from "../../src/memory/machine.ts";

export const PAGE = 4096;
export const MIB: number = 2 ** 20;

/** A small machine that checks every lock and pointer, with an address space. */
export function makeSpace(options: AddressSpaceOptions = {}): AddressSpace {
  return AddressSpace.createSync({
    ramBytes: 16 * MIB,
    heapBytes: 16 * MIB,
    debug: true,
    ...options,
  });
}

export interface PlayedDeviceOptions {
  readonly frames: number;
  readonly faultTimeoutMs?: number;
  readonly Spans?: SpanServiceClass;
  readonly threads?: number;
}

/** A device whose threads the test plays. */
export class PlayedDevice {
  readonly space: AddressSpace;
  readonly software: SoftwareRecord;
  /** What the service keeps of it. */
  readonly record: DeviceRecord;
  readonly threads: readonly DeviceThread[];

  constructor(
    space: AddressSpace,
    { frames, faultTimeoutMs = 1000, Spans, threads = 1 }: PlayedDeviceOptions,
  ) {
    const { machine, mm } = inside(space);
    this.space = space;
    const software = inside(space).runSync(
      createDevice(machine, { memoryBytes: frames * PAGE, threads, faultTimeoutMs }),
    );
    if (typeof software === "number") assert.fail(`no device: ${software}`);
    const record = software.device;
    this.software = software;
    this.record = record;
    const registering = function* (): Task<number> {
      yield* mm.mmapLock.downWrite();
      const place = placeOf(machine, software.at);
      const errno = yield* registerDevice(machine, record, mm, SOFTWARE_DEVICE_OPS, place);
      yield* mm.mmapLock.upWrite();
      return errno;
    };
    assert.equal(inside(space).runSync(registering()), 0);
    this.threads = Array.from({ length: threads }, (_, index) =>
      DeviceThread.open(machine, { recordAt: record.at, serial: record.serial }, index, Spans),
    );
  }

  get stats(): DeviceStats {
    return readStats(this.record);
  }

  get thread(): DeviceThread {
    const [first] = this.threads;
    assert.ok(first !== undefined);
    return first;
  }

  /** Runs a kernel's items on one of the threads; returns what ended it early. */
  tryRun(
    kernel: Kernel,
    items: number,
    args: readonly number[] = [],
    mayReplay = true,
  ): Error | undefined {
    beginDispatch(this.software);
    return this.thread.run({ kernel, args, items, mayReplay });
  }

  run(kernel: Kernel, items: number, args: readonly number[] = [], mayReplay = true): void {
    const failure = this.tryRun(kernel, items, args, mayReplay);
    if (failure !== undefined) throw failure;
  }

  /** One load by the device. */
  load(address: number): number {
    let value = Number.NaN;
    this.run((memory) => {
      value = memory.u32.load(address);
    }, 1);
    return value;
  }

  /** One store by the device. */
  store(address: number, value: number): void {
    this.run((memory) => memory.u32.store(address, value), 1);
  }

  /** Of the device's page table: "" none, "local", "remote", "remote write". */
  entry(address: number): string {
    const { table } = viewDevice(inside(this.space).machine, this.software);
    const entry = table.entryOf(Math.floor(address / PAGE));
    if (entry === 0) return "";
    if ((entry & 4) !== 0) return "local";
    return (entry & 2) !== 0 ? "remote write" : "remote";
  }

  close(): void {
    this.closeOn(this.space);
  }

  /** As `close`, by another space on the machine: the device's own is gone. */
  closeOn(space: AddressSpace): void {
    for (const thread of this.threads) thread.close();
    inside(space).runSync(closing(inside(space).machine, this.software));
  }
}

function* closing(machine: Machine, record: SoftwareRecord): Task<void> {
  yield* hmmMirrorUnregister(viewDevice(machine, record).mirror, DEVICE_RESOURCE, record.at);
  yield* endDevice(machine, record);
}

/** What is allocated on the machine, deferred frees done: to compare before and after. */
export function accountingOf(space: AddressSpace): string {
  const { heap, ram, memory } = inside(space).machine;
  const settle = function* (): Task<void> {
    yield* (yield* notifierSrcu(inside(space).machine)).barrier();
  };
  inside(space).runSync(settle());
  assert.ok(memory.words.length > 0);
  // The directory of drivers and the list of devices, once made, stay.
  const accounts = heap
    .accounting()
    .filter(({ name }) => !/^(?:mirrorOpsDirectory|deviceList)$/.test(name));
  return JSON.stringify({ accounts, usedPages: ram.usage().usedPages });
}

/** Runs `body` with a fresh space; afterwards nothing of a device is left on its machine. */
export async function withSpace(
  body: (space: AddressSpace) => Promise<void> | void,
  options: AddressSpaceOptions = {},
): Promise<void> {
  const space = makeSpace(options);
  try {
    await body(space);
  } catch (error) {
    // What the failed body left behind would only hide why it failed.
    await space.dispose().catch(() => {});
    throw error;
  }
  const left = inside(space)
    .machine.heap.accounting()
    .map(({ name }) => name);
  const leaked = left.filter((name) => /softwareDevice|hmmRange/.test(name));
  await space.dispose();
  assert.deepEqual(leaked, [], "nothing of a device is left");
}

/** Fills the first word of each page with `seed` plus its number. */
export function stampPages(space: AddressSpace, address: number, pages: number, seed = 0): void {
  for (let i = 0; i < pages; i++) space.u32.store(address + i * PAGE, seed + i);
}
