/**
 * @module devices/software/owned-device
 * A device as its owner's thread has it, on an AddressSpace: opened and closed (open-device.ts),
 * with the thread kept on the machine as long as it is open, and with errors for a program to read.
 */

import type { AddressSpace } from "../../space/address-space.ts";
import { AGENT_LIMIT } from "../../sync/control-block.ts";
import { hasPanicked } from "../../sync/death/panic.ts";
import { EFAULT, EMFILE, ENOMEM, type Errno } from "../../sync/errno.ts";
import { HmmError } from "../../sync/errors.ts";
import { agentRecordsLeft } from "../../sync/runners/agents.ts";
import { runAsync } from "../../sync/runners/run-async.ts";
import type { DeviceStateOptions } from "./device-state.ts";
import { type OpenedDevice, closeDevice, openDevice } from "./open-device.ts";

/** What the owner's thread has of a device. */
export interface OwnedDevice extends OpenedDevice {
  /** The thread need not stay on the machine for the device any more. */
  readonly releaseThread: () => void;
}

/** Rejects with HmmError ENOMEM, EMFILE, EFAULT; then nothing of the device is left. */
export async function openOwned(
  space: AddressSpace,
  options: DeviceStateOptions,
): Promise<OwnedDevice> {
  const releaseThread = space.retainThread();
  try {
    requireThreads(space.machine, options.threads);
    const opened = await space.run(openDevice(space.machine, space.mm, options));
    if (typeof opened !== "number") return { ...opened, releaseThread };
    throw creationFailure(opened);
  } catch (error) {
    releaseThread();
    throw error;
  }
}

/** Pairs with `openOwned`, in its thread. */
export async function closeOwned(
  machine: AddressSpace["machine"],
  { releaseThread, ...opened }: OwnedDevice,
): Promise<void> {
  const { memory } = machine;
  // A machine that has stopped takes its devices with it: nothing is left to be freed.
  if (!hasPanicked(memory)) await runAsync(memory, closeDevice(machine, opened), "dispose");
  releaseThread();
}

/**
 * Throws EMFILE before any Worker is started in vain: it would take long to find out by itself that
 * there is no place for it.
 */
function requireThreads({ memory }: AddressSpace["machine"], threads: number): void {
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
