/**
 * @module mm/fault/device-private
 * A touch of a page that is in a device's memory, which the CPU does not reach: the device's driver
 * brings it back. Follows Linux `do_swap_page` for device-private entries. And the drivers' code
 * for that, by name, as for mirrors (hmm/mirror/mirror-ops.ts).
 */

import {
  type DeviceFrameOps,
  DeviceMemory,
  deviceFrameOps,
} from "../../memory/frames/device-frames.ts";
import { BufferNotHere } from "../../memory/frames/sections.ts";
import type { Machine } from "../../memory/machine.ts";
import { type CallBackNames, checkCallBacks } from "../../sync/tasks/call-backs.ts";
import type { Errno } from "../../sync/errno.ts";
import { HmmError } from "../../sync/errors.ts";
import { NameRegistry } from "../../sync/name-registry.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { ptePfn } from "../pte.ts";
import { type VmFault, countingFrame, getIfNamed } from "./vm-fault.ts";

/** What a driver with memory of its own is called for. */
export interface DeviceMemoryOps extends DeviceFrameOps {
  /**
   * A CPU thread, a device or a view needs the page of `fault`, which is in `device`, in RAM. Moves
   * it there with the steps of migrate/migrate-vma.ts, and others beside it if the driver likes;
   * `fault.pte` names the frame, of which the caller has a reference, so `device` stays.
   * Runs in the thread that faults, with the mmap lock held as F1 of vm-fault.ts says. The page
   * table decides what happened: 0 is right as well when another thread was faster. ENOMEM: no
   * frame. Any other errno: the page cannot be brought back, and the access fails (SIGBUS); avoid
   * it at almost any cost. Linux: `dev_pagemap_ops.migrate_to_ram`.
   */
  readonly migrateToRam: (fault: VmFault, device: DeviceMemory) => Task<Errno>;
  /** Why a page of `device` cannot be brought back, in words, for the error of an access. */
  readonly explain?: (device: DeviceMemory) => string;
}

const deviceMemoryOps: NameRegistry<DeviceMemoryOps> = new NameRegistry(
  "device memory operations",
  "import the driver's module before attaching",
);

/**
 * Makes `ops` callable in this thread under `name`; the id, which is the same in every thread, is
 * for `makeDeviceMemory`. Registering a name again replaces its code. Throws AssertionFailure for
 * what is no object of such call-backs.
 */
export function registerDeviceMemoryOps(name: string, ops: DeviceMemoryOps): number {
  checkCallBacks("device memory operations", name, ops, CALL_BACKS);
  deviceFrameOps.register(name, ops);
  return deviceMemoryOps.register(name, ops);
}

const CALL_BACKS: CallBackNames = {
  required: ["migrateToRam"],
  optional: ["explain", "pageFree"],
};

/** Of a device-private entry. */
export function* devicePrivateFault(fault: VmFault): Task<Errno> {
  const { machine, index, pte } = fault;
  const pfn = ptePfn(pte);
  if (!(yield* countingFrame(machine, pfn, () => getIfNamed(machine, index, pte)))) return 0;
  const device = DeviceMemory.at(machine.memory, machine.ram.sections.deviceOf(pfn));
  const result = yield* deviceMemoryOps.get(device.opsId).migrateToRam(fault, device);
  yield* machine.ram.refs.pagePut(pfn);
  return result;
}

/** What the driver of the device that frame `pfn` is in says of its failures, if it does. */
export function explainDevice({ memory, ram }: Machine, pfn: number): string | undefined {
  if (ram.sections.deviceKindOf(pfn) === 0) return undefined;
  const device = DeviceMemory.at(memory, ram.sections.deviceOf(pfn));
  return deviceMemoryOps.get(device.opsId).explain?.(device);
}

/**
 * Whether this thread has the buffer of a device's memory, of which it is about to copy a page. It
 * is asked before anything has changed. True also for a frame that no section has any more: the
 * entry that named it has changed.
 */
export function isBufferHere({ ram }: Machine, pfn: number): boolean {
  try {
    ram.sections.of(pfn);
    return true;
  } catch (error) {
    if (error instanceof BufferNotHere) return false;
    if (error instanceof HmmError && error.code === "ENXIO") return true;
    throw error;
  }
}
