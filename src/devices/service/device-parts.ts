/**
 * @module devices/service/device-parts
 * What a device has beside its record, allocated and freed: its page table, its frame table, its
 * fault rings, its table of thrashing pages. The record itself, its hardware, and when it is freed
 * are the driver's task.
 */

import {
  HmmMirror,
  hmmMirrorForget,
  hmmMirrorRegister,
  type Errno,
  type Machine,
  type Mm,
  type Task,
} from "../../driver-interface.ts";
import { THRASH_WORDS } from "../policy/thrash.ts";
import { delistDevice, enlistDevice } from "./device-list.ts";
import { ADVICE_WORDS } from "../policy/placement.ts";
import { DeviceRecord } from "./device-record.ts";
import { allocDeviceTable, freeDeviceTable } from "./device-table.ts";
import { RING_WORDS } from "./fault-ring.ts";
import { newSerial } from "./listed-devices.ts";
import { allocFrameTable, freeFrameTable } from "./frames.ts";

const { thrash: THRASH, advice: ADVICE } = DeviceRecord.offset;

/** The sizes of a device that is served. */
export interface DeviceOptions {
  /** Frames of device memory: the budget. */
  readonly frames: number;
  /** Threads of the device, each with a fault ring. */
  readonly threads: number;
  /** How long a fault may be retried, in milliseconds, before it ends with EBUSY. */
  readonly faultTimeoutMs: number;
  /** What frame 0 of device memory is called in entries of the device's table. */
  readonly firstPfn: number;
}

/**
 * Makes a zeroed record a device, with one reference, listed and not registered. False: ENOMEM;
 * `freeDeviceParts` frees what there is of it. So it does if this thread dies: the record names
 * each part from the step on that gets it.
 */
export function* allocDeviceParts(
  machine: Machine,
  record: DeviceRecord,
  options: DeviceOptions,
): Task<boolean> {
  const { heap } = machine;
  const serial = yield* newSerial(machine);
  record.driverLock.init();
  record.ownerQueue.init();
  record.refs.init(1);
  record.serial = serial;
  record.threads = options.threads;
  record.faultTimeoutMs = options.faultTimeoutMs;
  record.frames = options.frames;
  record.firstPfn = options.firstPfn;
  if (
    (yield* heap.allocWords(THRASH_WORDS, record.at + THRASH)) === 0 ||
    !(yield* allocDeviceTable(machine, record)) ||
    !(yield* allocFrameTable(machine, record))
  )
    return false;
  for (let i = 0; i < record.threads; i++) {
    const ring = yield* heap.allocWords(RING_WORDS, record.rings.at + i);
    if (ring === 0) return false;
  }
  return (yield* enlistDevice(machine, record)) === 0;
}

/**
 * Nobody uses the device any more. Its mirror is unregistered. May be done again, by who finds this
 * thread dead.
 */
export function* freeDeviceParts(machine: Machine, record: DeviceRecord): Task<void> {
  const { heap } = machine;
  yield* delistDevice(machine, record);
  for (let i = 0; i < record.threads; i++) {
    const ring = record.rings.get(i);
    if (ring !== 0) yield* heap.freeWords(ring, RING_WORDS, record.rings.at + i);
  }
  yield* freeFrameTable(machine, record);
  yield* freeDeviceTable(machine, record);
  const { at, advice, thrash } = record;
  if (advice !== 0) yield* heap.freeWords(advice, ADVICE_WORDS, at + ADVICE);
  if (thrash !== 0) yield* heap.freeWords(thrash, THRASH_WORDS, at + THRASH);
  yield* hmmMirrorForget(new HmmMirror(machine, record.mirror.at));
}

/**
 * Puts the device's mirror on `mm`. Holding the mmap lock for writing, and an mm user. Errno, and
 * `place`, as of hmmMirrorRegister.
 */
export function registerDevice(
  machine: Machine,
  record: DeviceRecord,
  mm: Mm,
  opsId: number,
  place: number = -1,
): Task<Errno> {
  const mirror = new HmmMirror(machine, record.mirror.at);
  mirror.init(opsId);
  return hmmMirrorRegister(mirror, mm, place);
}
