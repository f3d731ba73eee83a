/**
 * @module Where a call of a random program maps: the placement of mmap for the `place` of a call.
 * mremap has words of its own.
 */

import {
  MAP_ANYWHERE,
  MAP_FIXED_NOREPLACE,
  MAP_FIXED_REPLACE,
} from "../../../src/mm/calls/mmap.ts";
import type { FuzzCall } from "./fuzz-program.ts";

const placements = { fixed: MAP_FIXED_REPLACE, noreplace: MAP_FIXED_NOREPLACE } as const;

/** The placement of mmap. */
export function placementOf({ place }: FuzzCall): number {
  return place === undefined ? MAP_ANYWHERE : placements[place];
}
