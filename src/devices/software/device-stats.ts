/**
 * @module devices/software/device-stats
 * What a software device has done so far: 32-bit counters in its record, and how they are read. Each is changed under one lock or atomically, as the table
 * says; readers look without one, so the numbers of a running device belong to slightly different moments.
 */

import { atomicAdd, plainLoad } from "../../sync/atomics.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { PAGE_BYTES } from "../../mm/pte.ts";
import { DeviceRecord } from "./device-record.ts";

/** Index of a counter. */
export type Counter = number;
/** Changed by who has the turn. */
export const FAULTS: Counter = 0;
export const BATCHES: Counter = 1;
export const DUPLICATES: Counter = 2;
export const RETRIES: Counter = 3;
/** Changed under the driver lock. */
export const PREFETCHED: Counter = 4;
export const PAGES_TO_DEVICE: Counter = 5;
export const EVICTIONS: Counter = 6;
export const INVALIDATIONS: Counter = 7;
export const DROPPED: Counter = 8;
export const REMOTE_MAPS: Counter = 9;
export const THRASHING: Counter = 10;
/** Changed atomically by the device's threads. */
export const REPLAYS: Counter = 11;
export const STALLS: Counter = 12;
export const ITEMS: Counter = 13;

/** Counts since the device was made. Whole numbers below 2^32; bytes are pages times 4096. */
export interface DeviceStats {
  /** Accesses that found no translation and were served, duplicates included. */
  readonly faults: number;
  /** Rounds of service; each takes all faults that wait. */
  readonly batches: number;
  /** Faults of a batch that named a page a second time. */
  readonly duplicates: number;
  /** Pages brought to the device that nobody had asked for. */
  readonly prefetched: number;
  /** Pages copied to device memory. */
  readonly pagesToDevice: number;
  readonly bytesToDevice: number;
  /** Pages that left device memory to make room. */
  readonly evictions: number;
  /** Calls by which the address space told the device to let go of a range. */
  readonly invalidations: number;
  /** Translations that these calls took away. */
  readonly dropped: number;
  /** Collisions: a range was invalidated while its pages were being brought in, and had to be read again. */
  readonly retries: number;
  /** Translations to frames in RAM: for stores and atomics, and for pages that cannot be copied. */
  readonly remoteMaps: number;
  /** Times that a page was found to bounce between the CPU's stores and the device's copies, and left in RAM for a while. */
  readonly thrashing: number;
  /** Work items that were run, to their end. */
  readonly items: number;
  /** Work items given up at a fault and run again later. */
  readonly replays: number;
  /** Faults that were waited for in the middle of a work item. */
  readonly stalls: number;
  /** Frames of device memory that hold a page now. */
  readonly residentPages: number;
  /** Frames of device memory: the budget. */
  readonly memoryPages: number;
}

const COUNTERS_AT: number = DeviceRecord.offset.counters;

/** Adds to a counter under its lock. */
export function count(record: DeviceRecord, counter: Counter, by: number = 1): void {
  const { words } = record.memory;
  const at = record.at + COUNTERS_AT + counter;
  words[at] = plainLoad(words, at) + by;
}

/**
 * Adds to a counter that several threads change.
 *
 * @stepped statistics
 */
export function countAtomically(record: DeviceRecord, counter: Counter, by: number): void {
  if (by > 0) atomicAdd(record.memory.words, record.at + COUNTERS_AT + counter, by);
}

function counterOf(memory: SharedMemory, at: number, counter: Counter): number {
  return plainLoad(memory.words, at + COUNTERS_AT + counter) >>> 0;
}

/** The device's counters now. */
export function readStats(record: DeviceRecord): DeviceStats {
  const { memory, at } = record;
  const read = (counter: Counter): number => counterOf(memory, at, counter);
  const pagesToDevice = read(PAGES_TO_DEVICE);
  return {
    faults: read(FAULTS),
    batches: read(BATCHES),
    duplicates: read(DUPLICATES),
    prefetched: read(PREFETCHED),
    pagesToDevice,
    bytesToDevice: pagesToDevice * PAGE_BYTES,
    evictions: read(EVICTIONS),
    invalidations: read(INVALIDATIONS),
    dropped: read(DROPPED),
    retries: read(RETRIES),
    remoteMaps: read(REMOTE_MAPS),
    thrashing: read(THRASHING),
    items: read(ITEMS),
    replays: read(REPLAYS),
    stalls: read(STALLS),
    residentPages: record.frames - record.freeFrames,
    memoryPages: record.frames,
  };
}
