/**
 * @module devices/software/owned-device
 * A device as its owner's thread has it, on an AddressSpace: opened and closed (open-device.ts),
 * with the thread kept on the machine as long as it is open, and with errors for a program to read.
 */

import {
  AGENT_LIMIT,
  agentRecordsLeft,
  DriverThread,
  EFAULT,
  EMFILE,
  ENOMEM,
  hasPanicked,
  HmmError,
  type AddressSpace,
  type Errno,
  type Machine,
} from "../../driver-interface.ts";
import type { DeviceStateOptions } from "./device-state.ts";
import { type OpenedDevice, closeDevice, openDevice } from "./open-device.ts";

/** What the owner's thread has of a device. */
export interface OwnedDevice extends OpenedDevice {
  /** Keeps the owner's thread on the machine for the device. */
  readonly driver: DriverThread;
}

/** Rejects with HmmError ENOMEM, EMFILE, EFAULT; then nothing of the device is left. */
export async function openOwned(
  space: AddressSpace,
  options: DeviceStateOptions,
): Promise<OwnedDevice> {
  const driver = DriverThread.open(space);
  const { machine } = driver;
  try {
    requireThreads(machine, options.threads);
    const opened = await driver.runOnSpace(space, (mm) => openDevice(machine, mm, options));
    if (typeof opened !== "number") return { ...opened, driver };
    throw creationFailure(opened);
  } catch (error) {
    driver.close();
    throw error;
  }
}

/** Pairs with `openOwned`, in its thread. */
export async function closeOwned({ driver, ...opened }: OwnedDevice): Promise<void> {
  const { machine } = driver;
  // A machine that has stopped takes its devices with it: nothing is left to be freed.
  if (!hasPanicked(machine.memory)) await driver.run(closeDevice(machine, opened));
  driver.close();
}

/**
 * Throws EMFILE before any Worker is started in vain: it would take long to find out by itself that
 * there is no place for it.
 */
function requireThreads({ memory }: Machine, threads: number): void {
  const left = agentRecordsLeft(memory);
  if (threads <= left) return;
  throw new HmmError(
    EMFILE,
    "device",
    `Cannot make the device: it wants ${threads} threads, and the machine has room for ${left} more (${AGENT_LIMIT} in all); give it fewer, or dispose of other devices`,
  );
}

const REASONS: ReadonlyMap<Errno, string> = new Map([
  [
    ENOMEM,
    "kernel heap or host has no room for it; ask for less memory or fewer threads, or create the space with more heapBytes",
  ],
  [EMFILE, "this thread owns as many things on the machine as it may; dispose of some"],
  [EFAULT, "its address space is gone; make it on one that lives"],
]);

function creationFailure(errno: Errno): HmmError {
  const why = REASONS.get(errno) ?? "the core refused; this is a defect, please report it";
  return new HmmError(errno, "device", `Cannot make the device: ${why}`);
}
