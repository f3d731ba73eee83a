/**
 * @module Numbers at random for tests that print their seed: the same seed gives the same numbers
 * on every machine (mulberry32).
 */

/** Whole numbers from 0 up to, without, `below`. */
export type Dice = (below: number) => number;

export function diceOf(seed: number): Dice {
  const fraction = fractionsOf(seed);
  return (below) => Math.floor(fraction() * below);
}

/** Numbers from 0 up to, without, 1. */
export function fractionsOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
