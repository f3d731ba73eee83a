/**
 * @module Seeded random numbers: xoshiro128** 1.1 by David Blackman and Sebastiano Vigna, its state
 * filled by splitmix32 from one 32-bit seed. The same seed gives the same numbers on every machine.
 * Not for secrets.
 */

export class Random {
  private a: number;
  private b: number;
  private c: number;
  private d: number;

  /** `seed`: an integer from 0 to 2^32 - 1. */
  constructor(seed: number) {
    let state = seed | 0;
    const next = (): number => {
      state = (state + 0x9e3779b9) | 0;
      let mixed = state ^ (state >>> 16);
      mixed = Math.imul(mixed, 0x21f0aaad);
      mixed ^= mixed >>> 15;
      mixed = Math.imul(mixed, 0x735a2d97);
      return mixed ^ (mixed >>> 15);
    };
    this.a = next();
    this.b = next();
    this.c = next();
    this.d = next();
  }

  /** An integer from 0 to 2^32 - 1. */
  nextWord(): number {
    const scrambled = Math.imul(rotateLeft(Math.imul(this.b, 5), 7), 9);
    const shifted = this.b << 9;
    this.c ^= this.a;
    this.d ^= this.b;
    this.b ^= this.c;
    this.a ^= this.d;
    this.c ^= shifted;
    this.d = rotateLeft(this.d, 11);
    return scrambled >>> 0;
  }

  /** A number from 0 inclusive to 1 exclusive, in steps of 2^-32. */
  nextUnit(): number {
    return this.nextWord() / 2 ** 32;
  }

  /** An integer from 0 inclusive to `end` exclusive; `end` at most 2^32. */
  nextBelow(end: number): number {
    return Math.floor(this.nextUnit() * end);
  }
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
