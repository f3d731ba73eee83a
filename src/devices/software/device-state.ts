/**
 * @module devices/software/device-state
 * The birth and the end of a software device's shared state (software-record.ts), and who keeps it:
 * the mirror's registration holds one reference, each device thread one. Whoever drops the last one
 * frees everything, be it the owner, a device thread that leaves, or a reaper for one that died.
 *
 *   Y1  From its first word on a device is a resource of the thread that makes it; then its mirror
 *       is, in the same place (hmm/mirror/mirror.ts); then the device again, until its last word is
 *       free. So is the reference of each of its threads. The record names each part from the step
 *       on that gets it, to the step that frees it. So whoever finds a thread dead goes on where it
 *       ended.
 */

import {
  changeResource,
  EMFILE,
  ENODEV,
  ENOMEM,
  findResource,
  HmmError,
  HmmMirror,
  hmmMirrorAbandon,
  kindWord,
  Machine,
  PAGE_BYTES,
  registerHeir,
  reserveResource,
  resourceKind,
  type DeviceMemoryType,
  type Errno,
  type Task,
} from "../../driver-interface.ts";
import { type DevicePlace, findDevice } from "../service/device-list.ts";
import { DeviceRecord } from "../service/device-record.ts";
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

/** A device that this thread makes, or has unregistered (Y1). */
export const DEVICE_RESOURCE: number = resourceKind("software device");
/** A device without a reference, whose end this thread has begun. */
const ENDING: number = resourceKind("software device that ends");

/**
 * A new device with one reference, not registered; a resource of this thread, which `endDevice`
 * ends. ENOMEM, EMFILE.
 */
export function* createDevice(
  machine: Machine,
  { memoryBytes, ownType, threads, faultTimeoutMs }: DeviceStateOptions,
): Task<SoftwareRecord | Errno> {
  const at = yield* machine.heap.alloc(SoftwareRecord, DEVICE_RESOURCE);
  if (at === 0) return ENOMEM;
  const slot = placeOf(machine, at);
  const record = SoftwareRecord.at(machine.memory, at);
  if (slot < 0) {
    yield* freeDevice(machine, record, slot);
    return EMFILE;
  }
  record.shootdown.init();
  const hasCopies = ownType === undefined;
  const firstPfn = hasCopies ? yield* addDeviceMemory(machine, record, memoryBytes) : 0;
  const frames = hasCopies ? memoryBytes / PAGE_BYTES : 0;
  const options = { frames, threads, faultTimeoutMs, firstPfn };
  const isMade =
    (!hasCopies || firstPfn !== 0) &&
    (yield* allocDeviceParts(machine, record.device, options)) &&
    (hasCopies || (yield* allocOwnMemory(machine, record.device, ownType, memoryBytes)));
  if (isMade) return record;
  yield* freeDevice(machine, record, slot);
  return ENOMEM;
}

/** Where the list of what this thread owns has a device that it makes, or ends; -1: nowhere. */
export function placeOf({ memory }: Machine, at: number): number {
  return findResource(memory, DEVICE_RESOURCE, at);
}

/** Pairs with `createDevice`, in its thread. The mirror is unregistered. */
export function endDevice(machine: Machine, record: SoftwareRecord): Task<void> {
  return putDevice(machine, record, placeOf(machine, record.at));
}

/**
 * Drops a reference. The last one frees the device; its mirror is unregistered by then. `slot`: of
 * the reference among this thread's resources, or -1.
 */
export function* putDevice(
  machine: Machine,
  record: SoftwareRecord,
  slot: number = -1,
): Task<void> {
  const { memory } = machine;
  const own = slot < 0 ? reserveResource(memory, record.at) : slot;
  if (yield* record.device.refs.put(kindWord(memory, own), ENDING))
    yield* freeDevice(machine, record, own);
}

/** May be done again from its beginning (Y1). `slot`: of the device among the resources, or -1. */
function* freeDevice(machine: Machine, record: SoftwareRecord, slot: number): Task<void> {
  const { device } = record;
  yield* endOwnMemory(machine, device);
  yield* freeDeviceParts(machine, device);
  if (device.firstPfn !== 0) yield* removeDeviceMemory(machine, record);
  yield* machine.heap.free(SoftwareRecord, record.at, slot);
}

/** Who made it has died, in the middle or after it has unregistered the mirror (Y1). */
registerHeir(DEVICE_RESOURCE, function* (memory, at, slot) {
  const machine = Machine.of(memory);
  const record = SoftwareRecord.at(memory, at);
  yield* hmmMirrorAbandon(new HmmMirror(machine, record.device.mirror.at));
  if (record.device.refs.read() > 0) yield* putDevice(machine, record, slot);
  else yield* freeDevice(machine, record, slot);
});

registerHeir(ENDING, (memory, at, slot) =>
  freeDevice(Machine.of(memory), SoftwareRecord.at(memory, at), slot),
);

/** Where the record has the number of its first frame, if that is in RAM of its own. */
function firstPfnAt({ device }: SoftwareRecord): number {
  return device.at + DeviceRecord.offset.firstPfn;
}

/** Its first frame number; 0 when heap or host has no room. */
function* addDeviceMemory(
  machine: Machine,
  record: SoftwareRecord,
  lengthBytes: number,
): Task<number> {
  const pages = lengthBytes / PAGE_BYTES;
  return Math.max(0, yield* machine.ram.sections.addNew(pages, firstPfnAt(record)));
}

/**
 * A reaper may be a thread that never received the buffer. Its frame numbers then stay taken, which
 * costs numbers and no memory.
 */
function* removeDeviceMemory(machine: Machine, record: SoftwareRecord): Task<void> {
  try {
    yield* machine.ram.sections.remove(record.device.firstPfn, firstPfnAt(record));
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
  const { memory } = machine;
  const recordAt = SoftwareRecord.containerOf(place.recordAt, "device");
  const slot = reserveResource(memory, recordAt);
  if (slot < 0) return EMFILE;
  const device = yield* findDevice(machine, place, kindWord(memory, slot), THREAD_RESOURCE);
  return device === undefined ? ENODEV : { record: softwareRecordOf(device), slot };
}

/** Pairs with `joinDevice`. */
export function leaveDevice(machine: Machine, record: SoftwareRecord, slot: number): Task<void> {
  return putDevice(machine, record, slot);
}

registerHeir(THREAD_RESOURCE, (memory, at, slot) =>
  forgetDead(Machine.of(memory), SoftwareRecord.at(memory, at), slot),
);

/** A thread of the device has died: it may be the service owner, and it has a reference. */
function* forgetDead(machine: Machine, record: SoftwareRecord, slot: number): Task<void> {
  yield* resignForDead(record.device);
  yield* putDevice(machine, record, slot);
}

/** The thread that had the mirror has died. `slot`: of that among this thread's resources. */
export function orphanDevice(machine: Machine, record: SoftwareRecord, slot: number): Task<void> {
  changeResource(machine.memory, slot, THREAD_RESOURCE, record.at);
  return forgetDead(machine, record, slot);
}
