/**
 * @module memory/machine
 * One machine: the kernel heap and the RAM.
 */

import type { SharedMemory } from "../sync/shared-memory.ts";
import { Heap } from "./heap.ts";
import type { RamSectionHandle } from "./ram-section.ts";
import { Ram } from "./ram.ts";

export interface MachineOptions {
  readonly ramBytes: number;
  readonly heapBytes: number;
  readonly debug: boolean;
}

/** What another thread needs to attach: structured-cloneable, goes into `workerData` or a message. */
export interface MachineHandle {
  readonly kind: "hmm-ts/machine";
  readonly heap: SharedArrayBuffer;
  readonly sections: readonly RamSectionHandle[];
}

export class Machine {
  readonly memory: SharedMemory;
  readonly heap: Heap;
  readonly ram: Ram;

  private constructor(memory: SharedMemory) {
    this.memory = memory;
    this.heap = new Heap(memory);
    this.ram = new Ram(memory);
  }

  static create(options: MachineOptions): Machine {
    throw new Error(`pending ${options.ramBytes}`);
  }

  static attach(handle: MachineHandle): Machine {
    throw new Error(`pending ${handle.kind}`);
  }

  get handle(): MachineHandle {
    throw new Error("pending");
  }
}
