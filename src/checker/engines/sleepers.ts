/**
 * @module Sleep sets: at each depth of a search, the transitions that need not be tried there,
 * because every execution that begins with one of them was explored already (P. Godefroid, 1996).
 * One stays asleep as long as only steps are performed that are independent of it.
 */

import type { Footprints } from "../steps/footprint.ts";
import { TASK_LIMIT } from "../steps/trace.ts";
import type { Transition } from "../steps/trace.ts";
import type { Sleeper } from "./wakeup-tree.ts";

const WIDTH = 96;

export class Sleepers {
  readonly #footprints: Footprints;
  #items: Int32Array = new Int32Array(64 * WIDTH);
  #feet: Int32Array = new Int32Array(64 * WIDTH);
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

  /** The footprint that the sleeper's step has there. */
  footprint(depth: number, i: number): number {
    return this.#feet[depth * WIDTH + i]!;
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
    this.#feet[at] = footprint;
  }

  /** Nobody sleeps at the beginning. */
  clearRoot(): void {
    this.#counts[0] = 0;
  }

  /** Who sleeps at `depth`, in a form that can be kept. */
  list(depth: number): Sleeper[] {
    return Array.from({ length: this.#counts[depth]! }, (_, i) => {
      return { transition: this.item(depth, i), footprint: this.footprint(depth, i) };
    });
  }

  /** These and nobody else sleep at `depth`. */
  replace(depth: number, sleepers: readonly Sleeper[]): void {
    while (depth >= this.#counts.length) this.#grow();
    this.#counts[depth] = 0;
    for (const { transition, footprint } of sleepers) this.add(depth, transition, footprint);
  }

  /** Who still sleeps at `depth`, after the step `transition` with `footprint` at `depth - 1`. */
  inherit(depth: number, transition: Transition, footprint: number): void {
    if (depth >= this.#counts.length) this.#grow();
    const from = (depth - 1) * WIDTH;
    const to = depth * WIDTH;
    const task = transition & TASK_LIMIT;
    let count = 0;
    for (let i = 0; i < this.#counts[depth - 1]!; i++) {
      const item = this.#items[from + i]!;
      const foot = this.#feet[from + i]!;
      if ((item & TASK_LIMIT) === task || this.#footprints.conflict(foot, footprint)) continue;
      this.#items[to + count] = item;
      this.#feet[to + count] = foot;
      count++;
    }
    this.#counts[depth] = count;
  }

  #grow(): void {
    const depths = this.#counts.length * 2;
    for (const name of ["items", "feet", "counts"] as const) {
      const wider = new Int32Array(name === "counts" ? depths : depths * WIDTH);
      if (name === "items") {
        wider.set(this.#items);
        this.#items = wider;
      } else if (name === "feet") {
        wider.set(this.#feet);
        this.#feet = wider;
      } else {
        wider.set(this.#counts);
        this.#counts = wider;
      }
    }
  }
}
