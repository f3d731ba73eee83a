/**
 * @module memory/heap
 * The kernel heap's allocator: slab caches for structs, size classes for page tables.
 */

import type { Task } from "../sync/task.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import type { StructInfo } from "./struct.ts";

export interface CacheAccount {
  readonly name: string;
  /** Objects alive. */
  readonly live: number;
  readonly bytes: number;
}

export interface HeapUsage {
  readonly usedBytes: number;
  readonly peakBytes: number;
  readonly budgetBytes: number;
}

export class Heap {
  readonly memory: SharedMemory;

  constructor(memory: SharedMemory) {
    this.memory = memory;
  }

  /** A zeroed object of `info`, or 0 when the budget is spent (ENOMEM). */
  alloc(info: StructInfo): Task<number> {
    throw new Error(`pending ${info.name}`);
  }

  free(info: StructInfo, at: number): Task<void> {
    throw new Error(`pending ${info.name} ${at}`);
  }

  /** Zeroed, even-aligned words for a page table: `count` is 512, 1024, 2048 or 4096. 0 on ENOMEM. */
  allocWords(count: number): Task<number> {
    throw new Error(`pending ${count}`);
  }

  freeWords(at: number, count: number): Task<void> {
    throw new Error(`pending ${at} ${count}`);
  }

  /** Word index of the well-known slot `name`, 0 when it was never set; created on first use by any thread. */
  root(name: string): Task<number> {
    throw new Error(`pending ${name}`);
  }

  /** The one object of `info` kept in root slot `name`; the first caller allocates and `init`s it. 0 on ENOMEM. */
  singleton(name: string, info: StructInfo, init?: (at: number) => void): Task<number> {
    throw new Error(`pending ${name} ${info.name} ${typeof init}`);
  }

  accounting(): CacheAccount[] {
    throw new Error("pending");
  }

  usage(): HeapUsage {
    throw new Error("pending");
  }
}
