/**
 * @module A number for the class (Mazurkiewicz trace) of an execution: equal for all executions
 * that differ only in the order of independent steps. It is the sum over the steps of a hash of
 * (task, ordinal, choice, clock). So it does not depend on the order, and each step updates it. It
 * has 52 bits: of ten thousand searches with a million classes each, one has a collision. A
 * collision makes a count of classes too small, never too large.
 */

import { TASK_LIMIT } from "./trace.ts";
import type { Trace } from "./trace.ts";

const HIGH_BITS = 0x100000;

export class ClassKeys {
  readonly #trace: Trace;
  /** At each depth, two sums of hashes over the steps before it. */
  #low: Int32Array = new Int32Array(256);
  #high: Int32Array = new Int32Array(256);

  constructor(trace: Trace) {
    this.#trace = trace;
  }

  /**
   * Computes the sums for depths `from` + 1 to the trace's length. Those up to `from` are known.
   */
  extend(from: number): void {
    const { length, tasks, clocks, transition, ordinal } = this.#trace;
    if (length + 1 > this.#low.length) this.#grow(length + 1);
    for (let step = from; step < length; step++) {
      const task = transition[step]! & TASK_LIMIT;
      let low =
        Math.imul(transition[step]! + 1, 0x9e3779b1) ^ Math.imul(ordinal[step]!, 0x85ebca6b);
      let high =
        Math.imul(transition[step]! + 77, 0x27d4eb2f) ^ Math.imul(ordinal[step]!, 0x165667b1);
      const row = step * tasks;
      for (let i = 0; i < tasks; i++) {
        if (i === task) continue;
        low = Math.imul(low ^ clocks[row + i]!, 0xcc9e2d51);
        low ^= low >>> 15;
        high = Math.imul(high + clocks[row + i]!, 0x1b873593);
        high ^= high >>> 13;
      }
      this.#low[step + 1] = this.#low[step]! + Math.imul(low ^ (low >>> 13), 0xc2b2ae35);
      this.#high[step + 1] = this.#high[step]! + Math.imul(high ^ (high >>> 16), 0x85ebca77);
    }
  }

  /** The key of the first `depth` steps. */
  at(depth: number): number {
    return (this.#high[depth]! & (HIGH_BITS - 1)) * 2 ** 32 + (this.#low[depth]! >>> 0);
  }

  #grow(length: number): void {
    for (const name of ["low", "high"] as const) {
      const wider = new Int32Array(length * 2);
      wider.set(name === "low" ? this.#low : this.#high);
      if (name === "low") this.#low = wider;
      else this.#high = wider;
    }
  }
}
