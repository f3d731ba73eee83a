/**
 * @module The census: a CPU thread that rewrites populations, and unmaps and maps memory beside the
 * tree, for as long as the device answers. Every rewrite of a page of which the device holds a read
 * copy first takes that copy away.
 *
 * Pace. The thread works in rounds. The timer of its event loop starts one about every millisecond.
 * A round is REWRITES_PER_ROUND rewrites. Half of them are anywhere in the world, and mostly meet
 * pages of which the device has no copy. The other half are near the city that the device answered
 * with last, so on a page that it is reading. That is some ten thousand rewrites a second. It
 * leaves most of a core to the device: over a million questions, 64 rewrites a round take a tenth
 * more processor time than none. The report says how many there were.
 *
 * A GPU has to run a whole pass between two rewrites of what it reads, and a pass takes from a
 * millisecond to seconds; there is no guarantee of progress for it. For such a device the census is
 * patient: after a round in which nothing was answered it waits twice as long.
 *
 * All rewrites are logged; census-history.ts says what the two ticks mean. When the log is full,
 * rewriting stops.
 */

import type { AddressSpace, AddressSpaceHandle } from "../../../src/index.ts";
import { callWorker } from "../worker-call.ts";
import type { WorkerCall } from "../worker-call.ts";
import type { CityList } from "./city-list.ts";
import type { GeocodeMap } from "./layout.ts";

export const REWRITES_PER_ROUND = 32;
/** Rounds between two remaps. */
export const ROUNDS_PER_REMAP = 2;
/** Pages that one remap takes away and puts back, at most. */
export const REMAP_PAGES = 16;
export const ROUND_MS = 1;
/** Of a patient census, which pauses twice as long after each round without an answer. */
export const PAUSE_MAX_MS = 30_000;

export interface CensusInput {
  readonly handle: AddressSpaceHandle;
  readonly map: GeocodeMap;
  readonly cities: CityList;
  readonly seed: number;
  readonly isPatient: boolean;
}

export interface CensusReport {
  /** Rewrites, which is also the number of log entries. */
  readonly rewrites: number;
  readonly remaps: number;
  /** Fresh mappings that were not zero. Each one is an error of the address space. */
  readonly dirtyRemaps: number;
  readonly seconds: number;
}

/** Starts the census. It ends some milliseconds after it is sent anything. */
export function startCensus(
  space: AddressSpace,
  map: GeocodeMap,
  cities: CityList,
  seed: number,
  isPatient: boolean,
): WorkerCall<CensusReport> {
  const input: CensusInput = { handle: space.handle, map, cities, seed, isPatient };
  return callWorker<CensusReport>(new URL("./census-worker.js", import.meta.url), input);
}
