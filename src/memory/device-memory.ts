/**
 * @module memory/device-memory
 * Makes a device memory (frames/device-frames.ts) and removes it. Follows Linux `memremap_pages`
 * and `memunmap_pages`. Removing is the end of a way that begins in mm/migrate/device-evict.ts:
 * closed first, then emptied.
 */

import { EBUSY, EINVAL, ENOMEM, type Errno } from "../sync/errno.ts";
import {
  findResource,
  kindWord,
  registerHeir,
  resourceKind,
  takeNoted,
} from "../sync/lockdep/resources.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import type { Task } from "../sync/tasks/task.ts";
import {
  DEVICE_MEMORY_PAGES_MAX,
  DeviceMemory,
  type DeviceMemoryType,
  deviceTableWords,
  fillDeviceMemory,
  usedDeviceFrames,
} from "./frames/device-frames.ts";
import { makeFrameBuffer } from "./frames/bulk-memory.ts";
import { PAGE_BYTES } from "./frames/ram-section.ts";
import { Machine } from "./machine.ts";

/** How a device memory is made: its size, its kind, and whose it is. */
export interface DeviceMemoryOptions {
  /** 1 to DEVICE_MEMORY_PAGES_MAX. */
  readonly pages: number;
  /** Whether the CPU reaches the memory in place. */
  readonly type: DeviceMemoryType;
  /** A number other than 0: who may take its pages, and skips its own MIGRATE events. */
  readonly owner: number;
  /** The driver's code, from `registerDeviceMemoryOps`. */
  readonly opsId: number;
  /** The driver's own pointer. Default 0. */
  readonly data?: number;
}

/**
 * One that is being made, or has come to its end: nobody else knows it, and none of its frames is
 * used.
 */
const UNSHARED: number = resourceKind("unshared device memory");
registerHeir(UNSHARED, (memory, at, slot) =>
  freeUnshared(Machine.of(memory), DeviceMemory.at(memory, at), slot),
);

/**
 * A device memory of its own buffer, all of it free. EINVAL: bad size or owner. ENOMEM: heap, host
 * or frame numbers have no room. Until this returns, it is a resource of this thread; then the word
 * `note` of the heap names it, if there is such a word.
 */
export function* makeDeviceMemory(
  machine: Machine,
  options: DeviceMemoryOptions,
  note: number = 0,
): Task<DeviceMemory | Errno> {
  const { heap, memory, ram } = machine;
  const { pages, owner } = options;
  if (!Number.isInteger(pages) || pages < 1 || pages > DEVICE_MEMORY_PAGES_MAX) return EINVAL;
  if (!Number.isInteger(owner) || owner <= 0) return EINVAL;
  const frames = makeFrameBuffer(pages * PAGE_BYTES);
  const at = frames === undefined ? 0 : yield* heap.alloc(DeviceMemory, UNSHARED);
  if (frames === undefined || at === 0) return ENOMEM;
  const slot = findResource(memory, UNSHARED, at);
  const device = DeviceMemory.at(memory, at);
  device.lock.init();
  device.emptied.init();
  device.pages = pages;
  if ((yield* heap.allocWords(deviceTableWords(pages), at + TABLE)) !== 0) {
    memory.ensure(device.table + deviceTableWords(pages));
    device.type = options.type;
    device.owner = owner;
    device.opsId = options.opsId;
    device.data = options.data ?? 0;
    if ((yield* ram.sections.addDevice(frames, device, at + BASE_PFN)) > 0) {
      fillDeviceMemory(device);
      handOver(memory, at, note, kindWord(memory, slot));
      return device;
    }
  }
  yield* freeUnshared(machine, device, slot);
  return ENOMEM;
}

const TABLE: number = DeviceMemory.offset.table;
const BASE_PFN: number = DeviceMemory.offset.basePfn;

/** In a row (H1 of sync/lockdep/held-locks.ts). */
function handOver({ words }: SharedMemory, at: number, note: number, kindAt: number): void {
  if (note !== 0) words[note] = at;
  if (kindAt !== 0) words[kindAt] = 0;
}

/**
 * 0, or EBUSY: a frame is used, or may still be taken (D2 of device-frames.ts). `grace` returns
 * when nobody counts references any more who has found the section before it was removed (F3 of
 * mm/fault/vm-fault.ts). A word `note` that names the device memory becomes 0.
 */
export function* removeDeviceMemory(
  machine: Machine,
  device: DeviceMemory,
  grace: () => Task<void>,
  note: number = 0,
): Task<Errno> {
  if (device.isClosed === 0 || (yield* usedDeviceFrames(device)) > 0) return EBUSY;
  if (device.basePfn !== 0) yield* removeSection(machine, device);
  yield* grace();
  yield* freeUnshared(machine, device, takeNoted(machine.memory, UNSHARED, device.at, note));
  return 0;
}

function removeSection({ ram }: Machine, { at, basePfn }: DeviceMemory): Task<Errno> {
  return ram.sections.remove(basePfn, at + BASE_PFN);
}

/** May be done again by who finds this thread dead. `slot`: of the resource, or -1. */
function* freeUnshared(machine: Machine, device: DeviceMemory, slot: number): Task<void> {
  const { heap } = machine;
  if (device.basePfn !== 0) yield* removeSection(machine, device);
  const { at, table, pages } = device;
  if (table !== 0) yield* heap.freeWords(table, deviceTableWords(pages), at + TABLE);
  yield* heap.free(DeviceMemory, at, slot);
}
