/**
 * @module memory/space-counters
 * What has happened in an address space since it was made: counters in its struct. One table names
 * them. Linux keeps the like in `vm_event_states`, by processor. Here threads share a few lanes,
 * each in cache lines of its own, for most threads have one for themselves: two threads that fault
 * at once do not write to one line.
 *
 * Nothing is decided by a counter, so counting is no step of an explorer. Readers add the lanes up
 * without a lock: the numbers of a space that is in use belong to slightly different moments.
 */

import { atomicAdd, plainLoad } from "../sync/atomics.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";

/** The names, which `AddressSpaceStats.counters` explains. */
const NAMES = [
  "zeroFaults",
  "anonymousFaults",
  "sharedFaults",
  "sourceFaults",
  "sourceReads",
  "writeFaults",
  "copyFaults",
  "protectionFaults",
  "deviceFaults",
  "exclusiveFaults",
  "migrationWaits",
  "invalidations",
  "hugeFaults",
  "hugeSplits",
  "pagesToDevice",
  "pagesToRam",
] as const;

export type SpaceCounter = (typeof NAMES)[number];

const LANES = 8;
/** A cache line of 64 bytes, so that there is room for 16 counters. */
const LANE_WORDS = 16;

const PLACES = new Map<SpaceCounter, number>(NAMES.map((name, place) => [name, place]));

/** Where a counter is, found once: `const ZERO = counterPlace("zeroFaults")`. */
export function counterPlace(name: SpaceCounter): number {
  return PLACES.get(name) ?? 0;
}

/** The counters of one address space. Embedded in the mm. */
export class SpaceCounters {
  static readonly WORDS: number = LANES * LANE_WORDS;

  readonly memory: SharedMemory;
  readonly at: number;

  constructor(memory: SharedMemory, at: number) {
    this.memory = memory;
    this.at = at;
  }

  /** Adds to the counter at `place`. */
  add(place: number, by: number = 1): void {
    const { memory } = this;
    // An explorer runs several threads in one memory, so the lane is asked each time.
    atomicAdd(memory.words, this.at + (memory.agentId & (LANES - 1)) * LANE_WORDS + place, by);
  }

  /** All of them now, each below 2^32. */
  read(): Record<SpaceCounter, number> {
    const { words } = this.memory;
    const sumOf = (place: number): number => {
      let sum = 0;
      for (let lane = 0; lane < LANES; lane++)
        sum += plainLoad(words, this.at + lane * LANE_WORDS + place) >>> 0;
      return sum >>> 0;
    };
    const entries = NAMES.map((name, place) => [name, sumOf(place)]);
    return Object.fromEntries(entries) as Record<SpaceCounter, number>;
  }
}
