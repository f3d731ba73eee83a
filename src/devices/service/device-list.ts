/**
 * @module devices/service/device-list
 * The devices of a machine that our service serves (listed-devices.ts).
 */

import type { Errno, Machine, Task } from "../../driver-interface.ts";
import { DeviceRecord } from "./device-record.ts";
import { type DevicePlace, delist, deviceKind, enlist, findListed } from "./listed-devices.ts";

export type { DevicePlace } from "./listed-devices.ts";

const SERVED = deviceKind("deviceList", DeviceRecord, DeviceRecord.offset.node);

/** Lists a new device. ENOMEM. */
export function enlistDevice(machine: Machine, record: DeviceRecord): Task<Errno> {
  return enlist(machine, SERVED, record);
}

/** The device is about to be freed. Does nothing for one that was never listed. */
export function delistDevice(machine: Machine, record: DeviceRecord): Task<void> {
  return delist(machine, SERVED, record);
}

/**
 * The device, with a reference for the caller; undefined when it is gone. In the step that gets the
 * reference the word `note` of the heap becomes `noted`, if there is such a word.
 */
export function findDevice(
  machine: Machine,
  place: DevicePlace,
  note: number = 0,
  noted: number = 0,
): Task<DeviceRecord | undefined> {
  return findListed(machine, SERVED, place, note, noted);
}
