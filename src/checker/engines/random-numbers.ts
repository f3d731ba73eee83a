/** @module Repeatable random numbers from a seed (Mulberry32). */

export class RandomNumbers {
  /** The state of the generator: all further numbers depend on it alone. */
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

  /** An integer from 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor((this.next() / 2 ** 32) * limit);
  }
}
