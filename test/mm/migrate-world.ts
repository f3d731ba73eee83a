/**
 * A space and a device's memory for tests of migration, and what a CPU, a device and a call do with
 * them. The core's tasks, without a device.
 */

import assert from "node:assert/strict";
import { makeDeviceMemory } from "../../src/memory/device-memory.ts";
import {
  type DeviceMemory,
  type DeviceMemoryType,
  takeDeviceFrame,
} from "../../src/memory/frames/device-frames.ts";
import { Machine } from "../../src/memory/machine.ts";
import { MAP_ANYWHERE, doMmap } from "../../src/mm/calls/mmap.ts";
import { cpuFault } from "../../src/mm/fault/cpu-fault.ts";
import { registerDeviceMemoryOps } from "../../src/mm/fault/device-private.ts";
import { doFork } from "../../src/mm/lifetime/fork.ts";
import { mmCreate, mmput } from "../../src/mm/lifetime/mm.ts";
import { endDeviceMemory } from "../../src/mm/migrate/device-evict.ts";
import { makeDeviceExclusive } from "../../src/mm/migrate/exclusive.ts";
import {
  type MoveResult,
  type PageMover,
  SELECT_DEVICE,
  SELECT_SYSTEM,
  migrateFaultToRam,
  migrateRange,
  toRam,
} from "../../src/mm/migrate/migrate-vma.ts";
import { Mm } from "../../src/mm/mm-struct.ts";
import { PTE_WRITE, pteKind, ptePfn } from "../../src/mm/pte.ts";
import { VM_READ, VM_WRITE, vmaOf } from "../../src/mm/vma/vma.ts";
import { pteAt } from "../../src/mmu/radix-table.ts";
import type { Errno } from "../../src/sync/errno.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import type { Task } from "../../src/sync/tasks/task.ts";

export const PAGE = 4096;
export const RW: number = VM_READ | VM_WRITE;
export const OWNER = 7;

/** Frames of the device that have become free, in order. */
export const freed: number[] = [];
const OPS: number = registerDeviceMemoryOps("test device memory", {
  migrateToRam: migrateFaultToRam,
  *pageFree(_memory, _device, pfn) {
    freed.push(pfn);
  },
});

export function* reading<T>({ mmapLock }: Mm, task: () => Task<T>): Task<T> {
  yield* mmapLock.downRead();
  try {
    return yield* task();
  } finally {
    yield* mmapLock.upRead();
  }
}

export class World {
  readonly machine: Machine;
  readonly mm: Mm;
  readonly device: DeviceMemory;

  constructor(type: DeviceMemoryType, ramPages = 64, devicePages = 16) {
    this.machine = Machine.create({ ramBytes: ramPages * PAGE, heapBytes: 8 << 20, debug: true });
    this.mm = Mm.at(this.machine.memory, this.run(mmCreate(this.machine)));
    const options = { pages: devicePages, type, owner: OWNER, opsId: OPS };
    const device = this.run(makeDeviceMemory(this.machine, options));
    assert.ok(typeof device !== "number");
    this.device = device;
    freed.length = 0;
  }

  run<T>(task: Task<T>): T {
    return runBlocking(this.machine.memory, task);
  }

  map(pages: number, options: { shared?: boolean; protection?: number } = {}): number {
    const { shared = false, protection = RW } = options;
    const place = { lengthBytes: pages * PAGE, address: 0, placement: MAP_ANYWHERE, protection };
    const request = { ...place, shared, bufferPfn: 0, offsetPages: 0 };
    const address = this.run(doMmap(this.machine, this.mm, request));
    assert.ok(address > 0, `mmap failed: ${address}`);
    return address / PAGE;
  }

  pte(page: number, mm: Mm = this.mm): number {
    return pteAt(this.machine.memory, mm.pgd, page);
  }

  kind(page: number, mm: Mm = this.mm): number {
    return pteKind(this.pte(page, mm));
  }

  touch(page: number, isWrite: boolean, mm: Mm = this.mm): Errno {
    return this.run(cpuFault(this.machine, mm, page, isWrite));
  }

  /** Stores as a CPU would. */
  poke(page: number, value: number, mm: Mm = this.mm): void {
    while ((this.pte(page, mm) & (PTE_WRITE | 1)) !== (PTE_WRITE | 1))
      assert.equal(this.touch(page, true, mm), 0);
    this.data(this.pte(page, mm))[0] = value;
  }

  /** Loads as a CPU would. */
  peek(page: number, mm: Mm = this.mm): number | undefined {
    while ((this.pte(page, mm) & 1) === 0) assert.equal(this.touch(page, false, mm), 0);
    return this.data(this.pte(page, mm))[0];
  }

  /** What the frame of an entry holds, wherever it is. */
  data(pte: number): Int32Array {
    const section = this.machine.ram.sections.of(ptePfn(pte));
    const at = section.wordIndex(ptePfn(pte));
    return section.i32.subarray(at, at + 1024);
  }

  toDevice(page: number, pages: number, mm: Mm = this.mm): MoveResult | Errno {
    return this.move(page, pages, SELECT_SYSTEM, this.mover(), mm);
  }

  toRam(page: number, pages: number, mm: Mm = this.mm): MoveResult | Errno {
    return this.move(page, pages, SELECT_DEVICE, toRam(this.machine), mm);
  }

  mover(): PageMover {
    return {
      alloc: () => takeDeviceFrame(this.device),
      copy: (from, to) => this.machine.ram.copyFrame(from, to),
    };
  }

  move(
    startPage: number,
    pages: number,
    select: number,
    mover: PageMover,
    mm: Mm = this.mm,
  ): MoveResult | Errno {
    const { machine } = this;
    const vma = vmaOf(machine.memory, mm, startPage);
    assert.ok(vma !== undefined);
    const endPage = startPage + pages;
    const args = { machine, mm, vma, startPage, endPage, select, owner: OWNER };
    return this.run(reading(mm, () => migrateRange(args, mover)));
  }

  exclusive(startPage: number, pages: number): Errno {
    const { machine, mm } = this;
    const range = { startPage, endPage: startPage + pages };
    return this.run(
      reading(mm, () => makeDeviceExclusive(machine, mm, range, { owner: OWNER, range: 0 })),
    );
  }

  fork(): Mm {
    const at = this.run(doFork(this.machine, this.mm));
    assert.ok(at > 0);
    return Mm.at(this.machine.memory, at);
  }

  /** Exit, and the end of the device; nothing may be left. */
  end(...children: readonly Mm[]): void {
    for (const mm of [this.mm, ...children]) this.run(mmput(this.machine, mm));
    assert.equal(this.device.usedPages, 0, "frames of the device are left");
    assert.equal(this.run(endDeviceMemory(this.machine, this.device, 0)), 0);
    assert.equal(this.machine.ram.usage().usedPages, 0, "frames of RAM are left");
    const { references, pins } = this.machine.ram.refs.total();
    assert.deepEqual([references, pins], [0, 0]);
    this.machine.detach();
  }
}
