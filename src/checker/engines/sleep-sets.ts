/**
 * @module Sleep sets (P. Godefroid, 1996): at each depth of a search, the transitions that need not
 * be tried there, because every execution that begins with one of them was explored already. A
 * transition stays in the sleep set as long as all performed steps are independent of it.
 */

import type { Footprints } from "../steps/footprint.ts";
import { TASK_LIMIT } from "../steps/trace.ts";
import type { Transition } from "../steps/trace.ts";
import type { SleepEntry } from "./wakeup-tree.ts";

const WIDTH = 96;

export class SleepSets {
  readonly #footprints: Footprints;
  #items: Int32Array = new Int32Array(64 * WIDTH);
  #entryFootprints: Int32Array = new Int32Array(64 * WIDTH);
  #counts: Int32Array = new Int32Array(64);

  constructor(footprints: Footprints) {
    this.#footprints = footprints;
  }

  count(depth: number): number {
    return this.#counts[depth]!;
  }

  item(depth: number, i: number): Transition {
    return this.#items[depth * WIDTH + i]!;
  }

  /** The footprint of that transition's step. */
  footprint(depth: number, i: number): number {
    return this.#entryFootprints[depth * WIDTH + i]!;
  }

  has(depth: number, transition: Transition): boolean {
    const row = depth * WIDTH;
    for (let i = 0; i < this.#counts[depth]!; i++)
      if (this.#items[row + i] === transition) return true;
    return false;
  }

  add(depth: number, transition: Transition, footprint: number): void {
    const at = depth * WIDTH + this.#counts[depth]!++;
    this.#items[at] = transition;
    this.#entryFootprints[at] = footprint;
  }

  /** The sleep set at depth 0 is empty. */
  clearRoot(): void {
    this.#counts[0] = 0;
  }

  /** A copy of the sleep set at `depth`. */
  list(depth: number): SleepEntry[] {
    return Array.from({ length: this.#counts[depth]! }, (_, i) => {
      return { transition: this.item(depth, i), footprint: this.footprint(depth, i) };
    });
  }

  /** Sets the sleep set at `depth`. */
  replace(depth: number, sleepers: readonly SleepEntry[]): void {
    while (depth >= this.#counts.length) this.#grow();
    this.#counts[depth] = 0;
    for (const { transition, footprint } of sleepers) this.add(depth, transition, footprint);
  }

  /** Makes the sleep set at `depth`, after the step `transition` with `footprint` at depth - 1. */
  inherit(depth: number, transition: Transition, footprint: number): void {
    if (depth >= this.#counts.length) this.#grow();
    const from = (depth - 1) * WIDTH;
    const to = depth * WIDTH;
    const task = transition & TASK_LIMIT;
    let count = 0;
    for (let i = 0; i < this.#counts[depth - 1]!; i++) {
      const item = this.#items[from + i]!;
      const entryFootprint = this.#entryFootprints[from + i]!;
      if ((item & TASK_LIMIT) === task || this.#footprints.conflict(entryFootprint, footprint))
        continue;
      this.#items[to + count] = item;
      this.#entryFootprints[to + count] = entryFootprint;
      count++;
    }
    this.#counts[depth] = count;
  }

  #grow(): void {
    const depths = this.#counts.length * 2;
    for (const name of ["items", "entryFootprints", "counts"] as const) {
      const wider = new Int32Array(name === "counts" ? depths : depths * WIDTH);
      if (name === "items") {
        wider.set(this.#items);
        this.#items = wider;
      } else if (name === "entryFootprints") {
        wider.set(this.#entryFootprints);
        this.#entryFootprints = wider;
      } else {
        wider.set(this.#counts);
        this.#counts = wider;
      }
    }
  }
}
