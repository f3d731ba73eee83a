/**
 * @module What the exhibits of this folder have in common: a machine with one address space, four pages mapped in it, and
 * a small device whose driver keeps a table of translations under a lock of its own.
 */

import type { Scenario } from "../../src/checker/scenario.ts";
import { entryIsValid, entryPfn } from "../../src/hmm/entry.ts";
import { Hmm } from "../../src/hmm/hmm-struct.ts";
import { HmmMirror, HmmMirrorRecord } from "../../src/hmm/mirror-record.ts";
import { registerMirrorOps } from "../../src/hmm/mirror-ops.ts";
import { hmmMirrorRegister } from "../../src/hmm/mirror.ts";
import { HmmRangeRecord } from "../../src/hmm/range-record.ts";
import { HmmRange, hmmRangeAlloc, hmmRangeRegister } from "../../src/hmm/range.ts";
import { Machine } from "../../src/memory/machine.ts";
import {
  type Struct,
  type StructView,
  type WordArray,
  array,
  embed,
  embedStruct,
  struct,
} from "../../src/memory/struct.ts";
import { cpuFault } from "../../src/mm/cpu-fault.ts";
import { MADV_DONTNEED, doMadvise } from "../../src/mm/madvise.ts";
import { Mm } from "../../src/mm/mm-struct.ts";
import { mmCreate } from "../../src/mm/mm.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../src/mm/mmap.ts";
import { leafOf, pteIndex } from "../../src/mm/page-table.ts";
import { PAGE_BYTES, PTE_PRESENT, ptePfn } from "../../src/mm/pte.ts";
import { VM_READ, VM_WRITE } from "../../src/mm/vma.ts";
import { selectAgent } from "../../src/sync/agents.ts";
import { EAGAIN, type Errno, errnoName } from "../../src/sync/errno.ts";
import { Mutex } from "../../src/sync/mutex.ts";
import { runBlocking } from "../../src/sync/run-blocking.ts";
import type { Task } from "../../src/sync/task.ts";

/** The pages that are mapped. */
export const FIRST_PAGE = 16;
const PAGES = 4;
/** What each range covers: the first page. */
export const START: number = FIRST_PAGE * PAGE_BYTES;
export const END: number = START + PAGE_BYTES;

export interface Device extends StructView {
  readonly mirror: HmmMirrorRecord;
  readonly driverLock: Mutex;
  readonly table: WordArray;
}

export const Device: Struct<Device> = struct<Device>("exhibitDevice", {
  mirror: embedStruct(HmmMirrorRecord, "hmm", "the mirror"),
  driverLock: embed(Mutex, "the table", "driverLock"),
  table: array(PAGES, "driverLock", "entry of page FIRST_PAGE + i, 0 for none"),
});

function deviceOf({ machine, at }: HmmMirror): Device {
  return Device.at(machine.memory, Device.containerOf(at, "mirror"));
}

/** As a driver should. An invalidation that it has caused itself it need not hear: it holds no translation of those pages. */
const DEVICE_OPS: number = registerMirrorOps("exhibit device", {
  *invalidate(mirror, { startPage, endPage, blockable, owner }): Task<Errno> {
    const device = deviceOf(mirror);
    if (owner === mirror.at) return 0;
    if (blockable) yield* device.driverLock.lock();
    else if (!(yield* device.driverLock.tryLock())) return EAGAIN;
    for (let i = 0; i < PAGES; i++) {
      if (FIRST_PAGE + i >= startPage && FIRST_PAGE + i < endPage) device.table.set(i, 0);
    }
    yield* device.driverLock.unlock();
    return 0;
  },
  *release(mirror): Task<void> {
    const device = deviceOf(mirror);
    yield* device.driverLock.lock();
    for (let i = 0; i < PAGES; i++) device.table.set(i, 0);
    yield* device.driverLock.unlock();
  },
});

/** A range as it lies in the memory, from which each execution makes a handle of its own. */
interface RangePlace {
  readonly at: number;
  readonly slot: number;
}

export class Setting {
  readonly machine: Machine;
  readonly mm: Mm;

  constructor() {
    this.machine = Machine.create({ ramBytes: 1 << 18, heapBytes: 1 << 20, debug: true, name: "set-up" });
    this.mm = Mm.at(this.machine.memory, this.run(mmCreate(this.machine)));
    const place = { address: START, placement: MAP_FIXED_NOREPLACE, bufferPfn: 0, offsetPages: 0 };
    const size = { lengthBytes: PAGES * PAGE_BYTES, protection: VM_READ | VM_WRITE, shared: false };
    this.run(doMmap(this.machine, this.mm, { ...place, ...size }));
  }

  run<T>(task: Task<T>): T {
    return runBlocking(this.machine.memory, task);
  }

  /** Runs `task` as the thread that the scenario's task number `index` plays: it will own what `task` registers. */
  runAs<T>(index: number, task: Task<T>): T {
    const { memory } = this.machine;
    const own = memory.agentId;
    selectAgent(memory, index + 1);
    try {
      return this.run(task);
    } finally {
      selectAgent(memory, own);
    }
  }

  /** The first page gets a frame. */
  touch(): void {
    must(this.run(cpuFault(this.machine, this.mm, FIRST_PAGE, true)));
  }

  /** A device whose mirror is set up and not registered. */
  bareDevice(): Device {
    const { machine } = this;
    const device = Device.at(machine.memory, this.run(machine.heap.alloc(Device)));
    device.driverLock.init();
    this.mirrorOf(device).init(DEVICE_OPS);
    return device;
  }

  /** A device whose mirror is registered, by the thread of task `owner`. */
  device(owner: number): Device {
    const device = this.bareDevice();
    must(this.runAs(owner, registerMirror(this, device)));
    return device;
  }

  mirrorOf(device: Device): HmmMirror {
    return new HmmMirror(this.machine, device.mirror.at);
  }

  /** A range that is not registered. */
  rangePlace(): RangePlace {
    const range = this.run(hmmRangeAlloc(this.machine, { pfns: new Uint32Array(PAGES) }));
    if (typeof range === "number") throw new RangeError(`Cannot make a range: ${errnoName(range)}`);
    return { at: range.record.at, slot: range.resourceSlot };
  }

  /** A range over the first page that is registered. */
  registeredRange(device: Device): RangePlace {
    const place = this.rangePlace();
    must(this.run(hmmRangeRegister(this.openRange(place), this.mirrorOf(device), START, END)));
    return place;
  }

  /** A handle of the range, as fresh as if it had just been made. */
  openRange({ at, slot }: RangePlace): HmmRange {
    const record = HmmRangeRecord.at(this.machine.memory, at);
    return new HmmRange(this.machine, record, slot, { pfns: new Uint32Array(PAGES) });
  }

  get hmm(): Hmm {
    return Hmm.at(this.machine.memory, this.mm.hmm);
  }
}

function must(answer: Errno): void {
  if (answer !== 0) throw new RangeError(`Cannot set the scene: ${errnoName(answer)}`);
}

/** Puts the device's mirror on the address space. */
export function* registerMirror({ machine, mm }: Setting, device: Device): Task<Errno> {
  yield* mm.mmapLock.downWrite();
  const answer = yield* hmmMirrorRegister(new HmmMirror(machine, device.mirror.at), mm);
  yield* mm.mmapLock.upWrite();
  return answer;
}

/** The CPU gives up the first page. */
export function* discard({ setting: { machine, mm } }: { readonly setting: Setting }): Task<void> {
  yield* doMadvise(machine, mm, START, PAGE_BYTES, MADV_DONTNEED);
}

/** Fails when the device can reach a frame that is not the page's. Asked when nothing runs. */
export function checkTable({ machine: { memory }, mm }: Setting, device: Device, range: HmmRange): void {
  for (let i = 0; i < PAGES; i++) {
    const entry = device.table.get(i);
    if (!entryIsValid(entry, range.encoding)) continue;
    const leaf = leafOf(memory, mm.pgd, FIRST_PAGE + i);
    const pte = leaf === 0 ? 0 : (memory.words[pteIndex(leaf, FIRST_PAGE + i)] ?? 0);
    if ((pte & PTE_PRESENT) !== 0 && ptePfn(pte) === entryPfn(entry, range.encoding)) continue;
    const page = pte === 0 ? "has no frame any more" : `is frame ${ptePfn(pte)}`;
    throw new Error(`the device reaches frame ${entryPfn(entry, range.encoding)} for a page that ${page}`);
  }
}

/**
 * Builds the setting when it is first needed. `build` prepares it and returns what opens the shared objects for one
 * execution.
 */
export function inSetting<S>(
  build: (setting: Setting) => () => S,
): Required<Pick<Scenario<S>, "memory" | "setup" | "reopen">> {
  let made: { readonly setting: Setting; readonly open: () => S } | undefined;
  const get = (): { readonly setting: Setting; readonly open: () => S } => {
    if (made === undefined) {
      const setting = new Setting();
      made = { setting, open: build(setting) };
    }
    return made;
  };
  return { memory: () => get().setting.machine.memory, setup: () => get().open(), reopen: () => get().open() };
}
