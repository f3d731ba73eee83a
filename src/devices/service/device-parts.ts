/**
 * @module devices/service/device-parts
 * What a device has beside its record, allocated and freed: its page table, its frame table, its
 * fault rings, its table of thrashing pages. The record itself, its hardware, and when it is freed
 * are the driver's task.
 */

import {
  atomicAdd,
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
import type { DeviceRecord } from "./device-record.ts";
import { allocDeviceTable, freeDeviceTable } from "./device-table.ts";
import { RING_WORDS } from "./fault-ring.ts";
import { allocFrameTable, freeFrameTable } from "./frames.ts";

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
 * `freeDeviceParts` frees what there is of it.
 */
export function* allocDeviceParts(
  machine: Machine,
  record: DeviceRecord,
  options: DeviceOptions,
): Task<boolean> {
  const { heap } = machine;
  const serials = yield* heap.root("deviceSerial");
  record.driverLock.init();
  record.ownerQueue.init();
  record.refs.init(1);
  record.serial = atomicAdd(machine.memory.words, serials, 1) + 1;
  record.threads = options.threads;
  record.faultTimeoutMs = options.faultTimeoutMs;
  record.frames = options.frames;
  record.firstPfn = options.firstPfn;
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
  return (yield* enlistDevice(machine, record)) === 0;
}

/** Nobody uses the device any more. Its mirror is unregistered. */
export function* freeDeviceParts(machine: Machine, record: DeviceRecord): Task<void> {
  const { heap } = machine;
  yield* delistDevice(machine, record);
  for (let i = 0; i < record.threads; i++) {
    const ring = record.rings.get(i);
    if (ring !== 0) yield* heap.freeWords(ring, RING_WORDS);
  }
  yield* freeFrameTable(machine, record);
  yield* freeDeviceTable(machine, record);
  if (record.advice !== 0) yield* heap.freeWords(record.advice, ADVICE_WORDS);
  if (record.thrash !== 0) yield* heap.freeWords(record.thrash, THRASH_WORDS);
  yield* hmmMirrorForget(new HmmMirror(machine, record.mirror.at));
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
