/**
 * @module A population that says whether it is whole. One f64 cell holds the number of inhabitants
 * and how often it has been rewritten: `(BIAS + version) * 2^32 + population`. With BIAS = 2^20 and
 * fewer than 2^20 versions the double's exponent never changes, its low word is exactly the
 * population and its high word the version. Every rewrite counts one more inhabitant, so a cell is
 * whole if and only if population = base + version: halves of two different cells, or a byte from
 * elsewhere, never pass.
 */

const WORD = 2 ** 32;
const BIAS = 2 ** 20;

/** Versions are below this. */
export const VERSION_LIMIT: number = 2 ** 20;

export interface Population {
  readonly population: number;
  readonly version: number;
}

/** The cell of the city that had `base` inhabitants at first, after `version` rewrites. */
export function encodePopulation(base: number, version: number): number {
  return (BIAS + version) * WORD + base + version;
}

/** The two halves of a cell, whatever they are. */
export function decodePopulation(cell: number): Population {
  const high = Math.floor(cell / WORD);
  return { population: cell - high * WORD, version: high - BIAS };
}

/** True if the halves belong together and to a city of `base` inhabitants. */
export function isWhole(read: Population, base: number): boolean {
  return (
    read.version >= 0 && read.version < VERSION_LIMIT && read.population === base + read.version
  );
}
