/**
 * @module devices/software/device-state
 * The birth and the end of a device's shared state (device-record.ts): what it takes from the
 * kernel heap and from the frame numbers, and giving all of it back. The mirror's registration
 * holds one reference, each device thread one; whoever drops the last one frees everything, be it
 * the owner, a device thread that leaves, or a reaper for one that died.
 */

import { hmmMirrorForget, hmmMirrorRegister } from "../../hmm/mirror/mirror.ts";
import { HmmMirror } from "../../hmm/mirror-record.ts";
import { Machine } from "../../memory/machine.ts";
import type { Mm } from "../../mm/mm-struct.ts";
import { PAGE_BYTES } from "../../mm/pte.ts";
import { atomicAdd } from "../../sync/atomics.ts";
import { EMFILE, ENODEV, ENOMEM, type Errno } from "../../sync/errno.ts";
import { HmmError } from "../../sync/errors.ts";
import {
  addResource,
  registerReleaser,
  removeResource,
  resourceKind,
} from "../../sync/death/resources.ts";
import type { Task } from "../../sync/tasks/task.ts";
import {
  type DevicePlace,
  delistDevice,
  enlistDevice,
  findDevice,
} from "../service/device-list.ts";
import { DeviceRecord } from "../service/device-record.ts";
import { allocDeviceTable, freeDeviceTable } from "../service/device-table.ts";
import { RING_WORDS } from "../service/fault-ring.ts";
import { allocFrameTable, freeFrameTable } from "../service/frames.ts";
import { resignForDead } from "../service/service-owner.ts";
import { THRASH_WORDS } from "../service/thrash.ts";

export interface DeviceStateOptions {
  /** The budget of device memory: whole pages. */
  readonly memoryBytes: number;
  readonly threads: number;
  readonly faultTimeoutMs: number;
}

/** A new device with one reference, not registered. ENOMEM. */
export function* createDevice(
  machine: Machine,
  options: DeviceStateOptions,
): Task<DeviceRecord | Errno> {
  const serials = yield* machine.heap.root("softwareDeviceSerial");
  const at = yield* machine.heap.alloc(DeviceRecord);
  if (at === 0) return ENOMEM;
  const record = DeviceRecord.at(machine.memory, at);
  record.driverLock.init();
  record.shootdown.init();
  record.ownerQueue.init();
  record.refs.init(1);
  record.serial = atomicAdd(machine.memory.words, serials, 1) + 1;
  record.threads = options.threads;
  record.faultTimeoutMs = options.faultTimeoutMs;
  record.frames = options.memoryBytes / PAGE_BYTES;
  if ((yield* allocParts(machine, record)) && (yield* enlistDevice(machine, record)) === 0)
    return record;
  yield* freeDevice(machine, record);
  return ENOMEM;
}

function* allocParts(machine: Machine, record: DeviceRecord): Task<boolean> {
  const { heap, ram } = machine;
  record.thrash = yield* heap.allocWords(THRASH_WORDS);
  if (
    record.thrash === 0 ||
    !(yield* allocDeviceTable(machine, record)) ||
    !(yield* allocFrameTable(machine, record))
  )
    return false;
  for (let i = 0; i < record.threads; i++) {
    const ring = yield* heap.allocWords(RING_WORDS);
    if (ring === 0) return false;
    record.rings.set(i, ring);
  }
  const buffer = makeBuffer(record.frames * PAGE_BYTES);
  if (buffer === undefined) return false;
  const pfn = yield* ram.sections.add(buffer);
  if (pfn < 0) return false;
  record.firstPfn = pfn;
  return true;
}

function makeBuffer(lengthBytes: number): SharedArrayBuffer | undefined {
  try {
    return new SharedArrayBuffer(lengthBytes);
  } catch (error) {
    if (error instanceof RangeError) return undefined; // the host has no room
    throw error;
  }
}

/** Drops a reference. The last one frees the device; its mirror is unregistered by then. */
export function* putDevice(machine: Machine, record: DeviceRecord): Task<void> {
  if (yield* record.refs.put()) yield* freeDevice(machine, record);
}

function* freeDevice(machine: Machine, record: DeviceRecord): Task<void> {
  const { heap } = machine;
  yield* delistDevice(machine, record);
  for (let i = 0; i < record.threads; i++) {
    const ring = record.rings.get(i);
    if (ring !== 0) yield* heap.freeWords(ring, RING_WORDS);
  }
  yield* freeFrameTable(machine, record);
  yield* freeDeviceTable(machine, record);
  if (record.thrash !== 0) yield* heap.freeWords(record.thrash, THRASH_WORDS);
  if (record.firstPfn !== 0) yield* removeDeviceMemory(machine, record.firstPfn);
  yield* hmmMirrorForget(new HmmMirror(machine, record.mirror.at));
  yield* heap.free(DeviceRecord, record.at);
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

/**
 * Puts the device's mirror on `mm`. Holding the mmap lock for writing, and an mm user. Errno as of
 * hmmMirrorRegister.
 */
export function registerDevice(
  machine: Machine,
  record: DeviceRecord,
  mm: Mm,
  opsId: number,
): Task<Errno> {
  const mirror = new HmmMirror(machine, record.mirror.at);
  mirror.init(opsId);
  return hmmMirrorRegister(mirror, mm);
}

/** A device whose thread this is. */
const THREAD_RESOURCE: number = resourceKind("software device thread");

/** A device, and where the list of what this thread owns says that it is one of its threads. */
export interface JoinedDevice {
  readonly record: DeviceRecord;
  /** For `leaveDevice`. */
  readonly slot: number;
}

/**
 * This thread becomes one of the device's. ENODEV when there is no such device any more, EMFILE.
 */
export function* joinDevice(machine: Machine, place: DevicePlace): Task<JoinedDevice | Errno> {
  const record = yield* findDevice(machine, place);
  if (record === undefined) return ENODEV;
  const slot = addResource(record.memory, THREAD_RESOURCE, record.at);
  if (slot >= 0) return { record, slot };
  yield* putDevice(machine, record);
  return EMFILE;
}

/** Pairs with `joinDevice`. */
export function* leaveDevice(machine: Machine, record: DeviceRecord, slot: number): Task<void> {
  removeResource(machine.memory, slot);
  yield* putDevice(machine, record);
}

registerReleaser(THREAD_RESOURCE, (memory, at) =>
  forgetDead(Machine.of(memory), DeviceRecord.at(memory, at)),
);

/**
 * What a thread that died leaves of a device: it may be the service owner, and it has a reference.
 */
export function* forgetDead(machine: Machine, record: DeviceRecord): Task<void> {
  yield* resignForDead(record);
  yield* putDevice(machine, record);
}
