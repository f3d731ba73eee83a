/**
 * @module devices/software/open-device
 * A device on an address space, from its owner's side, without its threads: its state is made and
 * its mirror put on the space, and the owner's thread gets a fault service of its own, for
 * commands. What is opened is closed in the reverse order, also when opening fails half-way. Its
 * Workers, and what users see of it, are in software-device.ts.
 */

import {
  hmmMirrorUnregister,
  type Errno,
  type Machine,
  type Mm,
  type Task,
} from "../../driver-interface.ts";
import { registerDevice } from "../service/device-parts.ts";
import {
  DEVICE_RESOURCE,
  type DeviceStateOptions,
  createDevice,
  endDevice,
  placeOf,
} from "./device-state.ts";
import { FaultService } from "../service/fault-service.ts";
import { SOFTWARE_DEVICE_OPS } from "./mirror-ops.ts";
import type { SoftwareRecord } from "./software-record.ts";
import { viewDevice } from "./view-device.ts";

/** What the owner's thread has of a device. */
export interface OpenedDevice {
  readonly record: SoftwareRecord;
  readonly service: FaultService;
}

/**
 * Makes a device on `mm`, of which the caller has a user. ENOMEM, EMFILE, EFAULT: there is none,
 * and nothing of it is left. Holding no lock.
 */
export function* openDevice(
  machine: Machine,
  mm: Mm,
  options: DeviceStateOptions,
): Task<OpenedDevice | Errno> {
  const record = yield* createDevice(machine, options);
  if (typeof record === "number") return record;
  let errno: Errno;
  yield* mm.mmapLock.downWrite();
  try {
    const place = placeOf(machine, record.at);
    errno = yield* registerDevice(machine, record.device, mm, SOFTWARE_DEVICE_OPS, place);
  } finally {
    yield* mm.mmapLock.upWrite();
  }
  if (errno !== 0) {
    yield* endDevice(machine, record);
    return errno;
  }
  const device = viewDevice(machine, record);
  const service = yield* FaultService.open(device);
  if (typeof service !== "number") return { record, service };
  yield* hmmMirrorUnregister(device.mirror, DEVICE_RESOURCE, record.at);
  yield* endDevice(machine, record);
  return service;
}

/**
 * Pairs with `openDevice`, in its thread. The mirror's registration held a reference: threads that
 * are there yet keep the record.
 */
export function* closeDevice(machine: Machine, { record, service }: OpenedDevice): Task<void> {
  yield* service.close();
  yield* hmmMirrorUnregister(service.device.mirror, DEVICE_RESOURCE, record.at);
  yield* endDevice(machine, record);
}
