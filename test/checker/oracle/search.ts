/**
 * @module Compares the programs of many seeds, and tells of one that fails as a small one and a
 * line that repeats it.
 */

import type { Comparison, ComparisonOptions } from "./compare.ts";
import { compare } from "./compare.ts";
import { generate } from "./generate.ts";
import type { Program } from "./language.ts";
import { shrink } from "./shrink.ts";

export interface Failure {
  readonly seed: number | undefined;
  readonly smallest: Program;
  readonly differences: readonly string[];
}

export interface Searched {
  readonly compared: number;
  readonly tooLarge: number;
  readonly failure: Failure | undefined;
}

/** The programs of `count` seeds, up to the first that fails. */
export function search(
  firstSeed: number,
  count: number,
  options: ComparisonOptions,
  onProgress?: (compared: number) => void,
): Searched {
  let compared = 0;
  let tooLarge = 0;
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    const program = generate(seed);
    const { isTooLarge, differences } = compareSafely(program, options);
    if (differences.length > 0)
      return { compared, tooLarge, failure: failureOf(program, seed, options) };
    if (isTooLarge) tooLarge++;
    else compared++;
    onProgress?.(compared);
  }
  return { compared, tooLarge, failure: undefined };
}

/** The program, made small, and what is wrong with that. */
export function failureOf(
  program: Program,
  seed: number | undefined,
  options: ComparisonOptions,
): Failure {
  const smallest = shrink(
    program,
    (smaller) => compareSafely(smaller, options).differences.length > 0,
  );
  return { seed, smallest, differences: compareSafely(smallest, options).differences };
}

/** Lines that tell of a failure. */
export function reportFailure({ seed, smallest, differences }: Failure): string {
  const again = seed === undefined ? [] : [`again: npm run oracle -- --seed ${seed} --programs 1`];
  const small = `small: npm run oracle -- --program '${JSON.stringify(smallest)}'`;
  return [...again, small, ...differences].join("\n");
}

/**
 * An oracle that throws is a difference, too: it found two orders of independent steps that are not
 * the same.
 */
export function compareSafely(program: Program, options: ComparisonOptions): Comparison {
  try {
    return compare(program, options);
  } catch (error) {
    return { isTooLarge: false, differences: [`oracle: threw ${String(error)}`] };
  }
}
