/**
 * @module devices/service/device-stats
 * What a device has done so far: 32-bit counters in its record. One table names them: a counter's
 * place in it is its place in the record, its name is its name in DeviceStats. Readers take no
 * lock, so the numbers of a running device belong to slightly different moments.
 */

import { atomicAdd, DeviceMemory, PAGE_BYTES, plainLoad } from "../../driver-interface.ts";
import type { DeviceStats } from "../driver.ts";
import { DeviceRecord } from "./device-record.ts";

/**
 * Changed by the service owner, or holding the driver lock: each always in the same of the ways.
 */
const GUARDED = [
  // by the service owner
  "faults",
  "batches",
  "duplicates",
  "retries",
  // holding the driver lock
  "prefetched",
  "pagesToDevice",
  "evictions",
  "invalidations",
  "dropped",
  "remoteMaps",
  "thrashing",
] as const;

/** Changed atomically, by any thread of the device. */
const ATOMIC = ["items", "replays", "stalls"] as const;

/** Counters for `count`: changed by the service owner, or holding the driver lock. */
export type GuardedCounter = (typeof GUARDED)[number];
/** Counters for `countAtomically`: any thread of the device changes them. */
export type AtomicCounter = (typeof ATOMIC)[number];

const COUNTERS: readonly (GuardedCounter | AtomicCounter)[] = [...GUARDED, ...ATOMIC];

type ByCounter<T> = { readonly [N in GuardedCounter | AtomicCounter]: T };

/** Makes a value for each counter. */
function forEachCounter<T>(make: (name: GuardedCounter | AtomicCounter, place: number) => T) {
  const made: Partial<Record<GuardedCounter | AtomicCounter, T>> = {};
  for (const [place, name] of COUNTERS.entries()) made[name] = make(name, place);
  return made as ByCounter<T>;
}

/** Word of each counter, from the start of the record. */
const WORD: ByCounter<number> = forEachCounter(
  (_name, place) => DeviceRecord.offset.counters + place,
);

/** Adds to a counter, as its table says. */
export function count(record: DeviceRecord, counter: GuardedCounter, by: number = 1): void {
  const { words } = record.memory;
  const at = record.at + WORD[counter];
  words[at] = plainLoad(words, at) + by;
}

/**
 * Adds to a counter that several threads change.
 *
 * @stepped statistics
 */
export function countAtomically(record: DeviceRecord, counter: AtomicCounter, by: number): void {
  if (by > 0) atomicAdd(record.memory.words, record.at + WORD[counter], by);
}

/** The device's counters now. */
export function readStats(record: DeviceRecord): DeviceStats {
  const { words } = record.memory;
  const counters = forEachCounter((name) => plainLoad(words, record.at + WORD[name]) >>> 0);
  return {
    ...counters,
    bytesToDevice: counters.pagesToDevice * PAGE_BYTES,
    residentPages: record.frames - record.freeFrames + ownPages(record, "usedPages"),
    memoryPages: record.frames + ownPages(record, "pages"),
  };
}

/** Pages that are the device's own: those of its memory, or those in use. */
function ownPages(record: DeviceRecord, which: "pages" | "usedPages"): number {
  const { memory, chunks, ownChunks } = record;
  const offset = DeviceMemory.offset[which];
  let pages = 0;
  for (let i = 0; i < ownChunks; i++) pages += plainLoad(memory.words, chunks.get(i) + offset);
  return pages;
}

/** What was counted between two readings. */
export function statsBetween(
  before: DeviceStats,
  after: DeviceStats,
): Omit<DeviceStats, "residentPages" | "memoryPages"> {
  const counters = forEachCounter((name) => after[name] - before[name]);
  return { ...counters, bytesToDevice: counters.pagesToDevice * PAGE_BYTES };
}
