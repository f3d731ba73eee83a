/**
 * @module A device whose whole state is in shared memory, for tests with real threads: any thread
 * that changes a mapping can sweep its table, and any thread can ask, holding the driver lock,
 * whether the table is right.
 */

import assert from "node:assert/strict";
import { DEFAULT_ENCODING, entryIsValid, entryPfn } from "../../src/hmm/entry.ts";
import { HmmMirror, HmmMirrorRecord } from "../../src/hmm/mirror-record.ts";
import { registerMirrorOps } from "../../src/hmm/mirror/mirror-ops.ts";
import type { HmmRange } from "../../src/hmm/range/range.ts";
import type { Machine } from "../../src/memory/machine.ts";
import {
  type Struct,
  type StructView,
  type WordArray,
  array,
  embed,
  embedStruct,
  struct,
  u32,
} from "../../src/memory/layout/struct.ts";
import type { Mm } from "../../src/mm/mm-struct.ts";
import { leafOf, pteIndex } from "../../src/mmu/radix-table.ts";
import { PTE_PRESENT, ptePfn } from "../../src/mm/pte.ts";
import { EAGAIN } from "../../src/sync/errno.ts";
import { Mutex } from "../../src/sync/primitives/mutex.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { WaitQueue } from "../../src/sync/primitives/wait-queue.ts";

/** The pages that the tests work on. */
export const FIRST_PAGE = 64;
export const TABLE_PAGES = 64;

export interface SharedDevice extends StructView {
  readonly mirror: HmmMirrorRecord;
  readonly driverLock: Mutex;
  readonly table: WordArray;
  readonly parking: WaitQueue;
  sweeps: number;
  released: number;
  orphaned: number;
}

export const SharedDevice: Struct<SharedDevice> = struct<SharedDevice>("sharedDevice", {
  mirror: embedStruct(HmmMirrorRecord, "hmm", "the mirror"),
  driverLock: embed(Mutex, "table and counts", "driverLock"),
  table: array(TABLE_PAGES, "driverLock", "pfns entry of page FIRST_PAGE + i, 0 for none"),
  parking: embed(WaitQueue, "where a thread waits to be terminated"),
  sweeps: u32("driverLock", "calls of invalidate"),
  released: u32("driverLock", "calls of release"),
  orphaned: u32("driverLock", "whether its thread has died"),
});

function deviceOf({ machine, at }: HmmMirror): SharedDevice {
  return SharedDevice.at(machine.memory, SharedDevice.containerOf(at, "mirror"));
}

export const SHARED_DEVICE_OPS: number = registerMirrorOps("shared test device", {
  *invalidate(mirror, { startPage, endPage, blockable }) {
    const device = deviceOf(mirror);
    if (blockable) yield* device.driverLock.lock();
    else if (!(yield* device.driverLock.tryLock())) return EAGAIN;
    for (let i = 0; i < TABLE_PAGES; i++) {
      const page = FIRST_PAGE + i;
      if (page >= startPage && page < endPage) device.table.set(i, 0);
    }
    device.sweeps++;
    yield* device.driverLock.unlock();
    return 0;
  },
  *release(mirror) {
    const device = deviceOf(mirror);
    yield* device.driverLock.lock();
    for (let i = 0; i < TABLE_PAGES; i++) device.table.set(i, 0);
    device.released++;
    yield* device.driverLock.unlock();
  },
  *orphaned(mirror) {
    const device = deviceOf(mirror);
    yield* device.driverLock.lock();
    device.orphaned++;
    yield* device.driverLock.unlock();
  },
});

/** A new device, its mirror ready to be registered. */
export function* makeSharedDevice(machine: Machine): Task<SharedDevice> {
  const at = yield* machine.heap.alloc(SharedDevice);
  assert.notEqual(at, 0);
  const device = SharedDevice.at(machine.memory, at);
  device.driverLock.init();
  device.parking.init();
  mirrorOf(machine, device).init(SHARED_DEVICE_OPS);
  return device;
}

export function mirrorOf(machine: Machine, device: SharedDevice): HmmMirror {
  return new HmmMirror(machine, device.mirror.at);
}

/** Programs what `range` has read. Holding the driver lock, with a valid range. */
export function programShared(device: SharedDevice, range: HmmRange): void {
  for (let page = range.startPage; page < range.endPage; page++) {
    const entry = range.pfns[page - range.startPage] ?? 0;
    device.table.set(page - FIRST_PAGE, entryIsValid(entry, DEFAULT_ENCODING) ? entry : 0);
  }
}

/**
 * What is wrong with the table, or undefined. Every entry names the frame that the page has now, at
 * every moment at which one holds the driver lock: an invalidation changes a page only after its
 * sweep, and until its end nobody can put the page in again. Holding the driver lock.
 */
export function faultOfTable(machine: Machine, mm: Mm, device: SharedDevice): string | undefined {
  const { memory } = machine;
  for (let i = 0; i < TABLE_PAGES; i++) {
    const entry = device.table.get(i);
    if (entry === 0) continue;
    const page = FIRST_PAGE + i;
    const leaf = leafOf(memory, mm.pgd, page);
    const pte = leaf === 0 ? 0 : (memory.words[pteIndex(leaf, page)] ?? 0);
    const pfn = entryPfn(entry, DEFAULT_ENCODING);
    if ((pte & PTE_PRESENT) === 0 || ptePfn(pte) !== pfn) {
      return `the device reaches frame ${pfn} for page ${page}, whose entry is 0x${(pte >>> 0).toString(16)}`;
    }
  }
  return undefined;
}
