/**
 * @module devices/service/device-stats
 * What a software device has done so far: 32-bit counters in its record, and how they are read.
 * Each is changed under one lock or atomically, as the table says; readers look without one, so the
 * numbers of a running device belong to slightly different moments.
 */

import { atomicAdd, plainLoad } from "../../sync/atomics.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { PAGE_BYTES } from "../../mm/pte.ts";
import type { DeviceStats } from "../driver.ts";
import { DeviceRecord } from "./device-record.ts";

/** Index of a counter. */
export type Counter = number;
/** Changed by the service owner. */
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
