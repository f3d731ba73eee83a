/** @module Chance that can be repeated: numbers from a seed (Mulberry32). */

export class RandomNumbers {
  /** All that the numbers to come depend on. */
  state: number;

  constructor(seed: number) {
    this.state = seed | 0;
  }

  /** 32 bits, from 0. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** A whole number from 0 up to, without, `limit`. */
  below(limit: number): number {
    return Math.floor((this.next() / 2 ** 32) * limit);
  }
}
