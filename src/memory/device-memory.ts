/**
 * @module memory/device-memory
 * Makes a device memory (frames/device-frames.ts) and removes it. Follows Linux `memremap_pages`
 * and `memunmap_pages`. Removing is the end of a way that begins in mm/migrate/device-evict.ts:
 * closed first, then emptied.
 */

import { EBUSY, EINVAL, ENOMEM, type Errno } from "../sync/errno.ts";
import type { Task } from "../sync/tasks/task.ts";
import {
  DEVICE_MEMORY_PAGES_MAX,
  DeviceMemory,
  type DeviceMemoryType,
  deviceTableWords,
  fillDeviceMemory,
  usedDeviceFrames,
} from "./frames/device-frames.ts";
import { PAGE_BYTES } from "./frames/ram-section.ts";
import type { Machine } from "./machine.ts";

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
 * A device memory of its own buffer, all of it free. EINVAL: bad size or owner. ENOMEM: heap, host
 * or frame numbers have no room.
 */
export function* makeDeviceMemory(
  machine: Machine,
  options: DeviceMemoryOptions,
): Task<DeviceMemory | Errno> {
  const { heap, memory, ram } = machine;
  const { pages, owner } = options;
  if (!Number.isInteger(pages) || pages < 1 || pages > DEVICE_MEMORY_PAGES_MAX) return EINVAL;
  if (!Number.isInteger(owner) || owner <= 0) return EINVAL;
  const buffer = makeBuffer(pages * PAGE_BYTES);
  const at = buffer === undefined ? 0 : yield* heap.alloc(DeviceMemory);
  if (buffer === undefined || at === 0) return ENOMEM;
  const device = DeviceMemory.at(memory, at);
  device.lock.init();
  device.emptied.init();
  device.table = yield* heap.allocWords(deviceTableWords(pages));
  if (device.table !== 0) {
    memory.ensure(device.table + deviceTableWords(pages));
    device.pages = pages;
    device.type = options.type;
    device.owner = owner;
    device.opsId = options.opsId;
    device.data = options.data ?? 0;
    if ((yield* ram.sections.addDevice(buffer, device)) > 0) {
      fillDeviceMemory(device);
      return device;
    }
  }
  yield* freeStruct(machine, device);
  return ENOMEM;
}

/**
 * 0, or EBUSY: a frame is used, or may still be taken (D2 of device-frames.ts). `grace` returns
 * when nobody counts references any more who has found the section before it was removed (F3 of
 * mm/fault/vm-fault.ts).
 */
export function* removeDeviceMemory(
  machine: Machine,
  device: DeviceMemory,
  grace: () => Task<void>,
): Task<Errno> {
  if (device.isClosed === 0 || (yield* usedDeviceFrames(device)) > 0) return EBUSY;
  yield* machine.ram.sections.remove(device.basePfn);
  yield* grace();
  yield* freeStruct(machine, device);
  return 0;
}

function* freeStruct({ heap }: Machine, device: DeviceMemory): Task<void> {
  const { table, pages } = device;
  if (table !== 0) yield* heap.freeWords(table, deviceTableWords(pages));
  yield* heap.free(DeviceMemory, device.at);
}

function makeBuffer(lengthBytes: number): SharedArrayBuffer | undefined {
  try {
    return new SharedArrayBuffer(lengthBytes);
  } catch (error) {
    if (error instanceof RangeError) return undefined; // the host has no room
    throw error;
  }
}
