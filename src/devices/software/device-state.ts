/**
 * @module devices/software/device-state
 * The birth and the end of a software device's shared state (software-record.ts), and who keeps it:
 * the mirror's registration holds one reference, each device thread one. Whoever drops the last one
 * frees everything, be it the owner, a device thread that leaves, or a reaper for one that died.
 */

import {
  addResource,
  EMFILE,
  ENODEV,
  ENOMEM,
  HmmError,
  Machine,
  PAGE_BYTES,
  registerReleaser,
  removeResource,
  resourceKind,
  type DeviceMemoryType,
  type Errno,
  type Task,
} from "../../driver-interface.ts";
import { type DevicePlace, findDevice } from "../service/device-list.ts";
import { allocDeviceParts, freeDeviceParts } from "../service/device-parts.ts";
import { allocOwnMemory, endOwnMemory } from "../service/own-memory.ts";
import { resignForDead } from "../service/service-owner.ts";
import { SoftwareRecord, softwareRecordOf } from "./software-record.ts";

export interface DeviceStateOptions {
  /** The budget of device memory: whole pages. */
  readonly memoryBytes: number;
  /** Pages that are the device's own, instead of copies. Default: copies. */
  readonly ownType?: DeviceMemoryType | undefined;
  readonly threads: number;
  readonly faultTimeoutMs: number;
}

/** A new device with one reference, not registered. ENOMEM. */
export function* createDevice(
  machine: Machine,
  { memoryBytes, ownType, threads, faultTimeoutMs }: DeviceStateOptions,
): Task<SoftwareRecord | Errno> {
  const at = yield* machine.heap.alloc(SoftwareRecord);
  if (at === 0) return ENOMEM;
  const record = SoftwareRecord.at(machine.memory, at);
  record.shootdown.init();
  const hasCopies = ownType === undefined;
  const firstPfn = hasCopies ? yield* addDeviceMemory(machine, memoryBytes) : 0;
  const frames = hasCopies ? memoryBytes / PAGE_BYTES : 0;
  const options = { frames, threads, faultTimeoutMs, firstPfn };
  const isMade =
    (!hasCopies || firstPfn !== 0) &&
    (yield* allocDeviceParts(machine, record.device, options)) &&
    (hasCopies || (yield* allocOwnMemory(machine, record.device, ownType, memoryBytes)));
  if (isMade) return record;
  yield* freeDevice(machine, record);
  return ENOMEM;
}

/** Drops a reference. The last one frees the device; its mirror is unregistered by then. */
export function* putDevice(machine: Machine, record: SoftwareRecord): Task<void> {
  if (yield* record.device.refs.put()) yield* freeDevice(machine, record);
}

function* freeDevice(machine: Machine, record: SoftwareRecord): Task<void> {
  const { device } = record;
  const { firstPfn } = device;
  yield* endOwnMemory(machine, device);
  yield* freeDeviceParts(machine, device);
  if (firstPfn !== 0) yield* removeDeviceMemory(machine, firstPfn);
  yield* machine.heap.free(SoftwareRecord, record.at);
}

/** Its first frame number; 0 when heap or host has no room. */
function* addDeviceMemory(machine: Machine, lengthBytes: number): Task<number> {
  const buffer = makeBuffer(lengthBytes);
  return buffer === undefined ? 0 : Math.max(0, yield* machine.ram.sections.add(buffer));
}

function makeBuffer(lengthBytes: number): SharedArrayBuffer | undefined {
  try {
    return new SharedArrayBuffer(lengthBytes);
  } catch (error) {
    if (error instanceof RangeError) return undefined; // the host has no room
    throw error;
  }
}

/**
 * A reaper may be a thread that never received the buffer. Its frame numbers then stay taken, which
 * costs numbers and no memory.
 */
function* removeDeviceMemory(machine: Machine, firstPfn: number): Task<void> {
  try {
    yield* machine.ram.sections.remove(firstPfn);
  } catch (error) {
    if (!(error instanceof HmmError && error.code === "ENXIO")) throw error;
  }
}

/** A device whose thread this is. */
const THREAD_RESOURCE: number = resourceKind("software device thread");

/** A device, and where the list of what this thread owns says that it is one of its threads. */
export interface JoinedDevice {
  readonly record: SoftwareRecord;
  /** For `leaveDevice`. */
  readonly slot: number;
}

/**
 * This thread becomes one of the device's. ENODEV when there is no such device any more, EMFILE.
 */
export function* joinDevice(machine: Machine, place: DevicePlace): Task<JoinedDevice | Errno> {
  const device = yield* findDevice(machine, place);
  if (device === undefined) return ENODEV;
  const record = softwareRecordOf(device);
  const slot = addResource(record.memory, THREAD_RESOURCE, record.at);
  if (slot >= 0) return { record, slot };
  yield* putDevice(machine, record);
  return EMFILE;
}

/** Pairs with `joinDevice`. */
export function* leaveDevice(machine: Machine, record: SoftwareRecord, slot: number): Task<void> {
  removeResource(machine.memory, slot);
  yield* putDevice(machine, record);
}

registerReleaser(THREAD_RESOURCE, (memory, at) =>
  forgetDead(Machine.of(memory), SoftwareRecord.at(memory, at)),
);

/** A thread of the device has died: it may be the service owner, and it has a reference. */
export function* forgetDead(machine: Machine, record: SoftwareRecord): Task<void> {
  yield* resignForDead(record.device);
  yield* putDevice(machine, record);
}
