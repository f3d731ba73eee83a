/**
 * @module devices/software/device-memory
 * What a kernel sees of memory: loads, stores and atomics of each width, through the device's page table. The fast path is the CPU's own (memory/translation.ts), over another
 * table; this module adds the names that kernels use, and the note that a work item has changed something.
 *
 * Loads may be answered by a read copy in device memory. Stores and all atomics, `atomicLoad` included, are made in RAM itself, over a writable translation, so they want the right to
 * write. Atomics are sequentially consistent with those of all CPU threads and devices; plain loads and stores are as a typed array's on a SharedArrayBuffer.
 *
 * The ports of the wide integers and of the floats say the same thing several times, on purpose: V8 keeps type feedback by place in the source, and a `load` that several widths
 * share would be slow for all of them.
 */

import type { IntegerAccess, ValueAccess } from "../../memory/access.ts";
import type { Machine } from "../../memory/machine.ts";
import { TranslationCache } from "../../memory/translation.ts";
import type { DeviceTranslator, WorkItem } from "./device-translator.ts";
import type { DeviceRecord } from "./device-record.ts";
import { RemoteLoads } from "./remote-loads.ts";

/** Loads and stores of one width. Addresses are bytes, a multiple of the width. */
export interface DeviceValues {
  load(address: number): number;
  store(address: number, value: number): void;
}

/** Integers also have atomics; the read-modify-writes return the value from before. */
export interface DeviceIntegers extends DeviceValues {
  atomicLoad(address: number): number;
  atomicStore(address: number, value: number): void;
  atomicAdd(address: number, value: number): number;
  atomicSub(address: number, value: number): number;
  atomicAnd(address: number, value: number): number;
  atomicOr(address: number, value: number): number;
  atomicXor(address: number, value: number): number;
  atomicExchange(address: number, value: number): number;
  atomicCompareExchange(address: number, expected: number, replacement: number): number;
}

/** A device thread's access to the address space: the first argument of every kernel. */
export interface DeviceMemory {
  readonly u8: DeviceIntegers;
  readonly i8: DeviceIntegers;
  readonly u16: DeviceIntegers;
  readonly i16: DeviceIntegers;
  readonly u32: DeviceIntegers;
  readonly i32: DeviceIntegers;
  readonly f32: DeviceValues;
  readonly f64: DeviceValues;
}

/**
 * A kernel: runs once for each work item, in any order, on any device thread, as far as anybody can see. Until its first store or read-modify-write an item may in truth be given up and begun
 * again, so what a kernel keeps outside of `memory` (variables of its module) must not count runs or carry anything from one item to the next.
 *
 * It is done when it returns: an async function or a generator is refused (KernelFailure), and so
 * is a function that returns a promise or an iterator, which TypeScript lets pass here.
 */
export type Kernel = (memory: DeviceMemory, item: number, args: readonly number[]) => void;

/** An item that is over has no more effects, whatever its kernel does with the exception. */
function throwOver(work: WorkItem): never {
  throw work.refusal();
}

abstract class ValuePort<A extends ValueAccess> implements DeviceValues {
  protected readonly access: A;
  protected readonly work: WorkItem;

  constructor(access: A, work: WorkItem) {
    this.access = access;
    this.work = work;
  }

  abstract load(address: number): number;

  store(address: number, value: number): void {
    if (this.work.isOver) throwOver(this.work);
    this.access.store(address, value);
    this.work.hasStored = true;
  }
}

abstract class IntegerPort extends ValuePort<IntegerAccess> implements DeviceIntegers {
  protected readonly remote: RemoteLoads;

  constructor(access: IntegerAccess, work: WorkItem, remote: RemoteLoads) {
    super(access, work);
    this.remote = remote;
  }

  /** Changes nothing, so the item may still be run again. */
  abstract atomicLoad(address: number): number;

  atomicStore(address: number, value: number): void {
    this.atomicExchange(address, value);
  }

  atomicAdd(address: number, value: number): number {
    if (this.work.isOver) throwOver(this.work);
    const before = this.access.add(address, value);
    this.work.hasStored = true;
    return before;
  }

  atomicSub(address: number, value: number): number {
    if (this.work.isOver) throwOver(this.work);
    const before = this.access.sub(address, value);
    this.work.hasStored = true;
    return before;
  }

  atomicAnd(address: number, value: number): number {
    if (this.work.isOver) throwOver(this.work);
    const before = this.access.and(address, value);
    this.work.hasStored = true;
    return before;
  }

  atomicOr(address: number, value: number): number {
    if (this.work.isOver) throwOver(this.work);
    const before = this.access.or(address, value);
    this.work.hasStored = true;
    return before;
  }

  atomicXor(address: number, value: number): number {
    if (this.work.isOver) throwOver(this.work);
    const before = this.access.xor(address, value);
    this.work.hasStored = true;
    return before;
  }

  atomicExchange(address: number, value: number): number {
    if (this.work.isOver) throwOver(this.work);
    const before = this.access.exchange(address, value);
    this.work.hasStored = true;
    return before;
  }

  atomicCompareExchange(address: number, expected: number, replacement: number): number {
    if (this.work.isOver) throwOver(this.work);
    const before = this.access.compareExchange(address, expected, replacement);
    this.work.hasStored = true;
    return before;
  }
}

class F64Port extends ValuePort<ValueAccess> {
  load(address: number): number {
    return this.access.load(address);
  }
}

class F32Port extends ValuePort<ValueAccess> {
  load(address: number): number {
    return this.access.load(address);
  }
}

class U32Port extends IntegerPort {
  load(address: number): number {
    return this.access.load(address);
  }

  atomicLoad(address: number): number {
    return this.remote.load32(address) >>> 0;
  }
}

class I32Port extends IntegerPort {
  load(address: number): number {
    return this.access.load(address);
  }

  atomicLoad(address: number): number {
    return this.remote.load32(address);
  }
}

class U8Port extends IntegerPort {
  load(address: number): number {
    return this.access.load(address);
  }

  atomicLoad(address: number): number {
    return this.remote.load8(address);
  }
}

class U16Port extends IntegerPort {
  load(address: number): number {
    return this.access.load(address);
  }

  atomicLoad(address: number): number {
    return this.remote.load16(address);
  }
}

class I8Port extends IntegerPort {
  load(address: number): number {
    return this.access.load(address);
  }

  atomicLoad(address: number): number {
    return (this.remote.load8(address) << 24) >> 24;
  }
}

class I16Port extends IntegerPort {
  load(address: number): number {
    return this.access.load(address);
  }

  atomicLoad(address: number): number {
    return (this.remote.load16(address) << 16) >> 16;
  }
}

/** A device thread's memory, and how it ends. */
export interface OpenDeviceMemory {
  readonly memory: DeviceMemory;
  /**
   * No access finds a translation any more: for the end of the device, whose words may then belong
   * to somebody else.
   */
  readonly close: () => void;
}

/** The memory of one device thread. `work` is the item that the thread runs: the translator and the ports share it. */
export function openDeviceMemory(
  machine: Machine,
  record: DeviceRecord,
  translator: DeviceTranslator,
  work: WorkItem,
): OpenDeviceMemory {
  const cache = new TranslationCache(machine, record.shootdown, translator);
  const remote = new RemoteLoads(machine, record.shootdown, translator);
  const memory: DeviceMemory = {
    u8: new U8Port(cache.u8, work, remote),
    i8: new I8Port(cache.i8, work, remote),
    u16: new U16Port(cache.u16, work, remote),
    i16: new I16Port(cache.i16, work, remote),
    u32: new U32Port(cache.u32, work, remote),
    i32: new I32Port(cache.i32, work, remote),
    f32: new F32Port(cache.f32, work),
    f64: new F64Port(cache.f64, work),
  };
  const close = (): void => {
    cache.forget();
    remote.forget();
  };
  return { memory, close };
}
