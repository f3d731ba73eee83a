/**
 * @module Which parked tasks sleep, and what woke the others.
 *
 * K1. A parked task is woken by an event, not by a state: `wokenBy` is the step that did it. One that queued before a
 *     wake and parks after it does not sleep (its word has changed), like a futex.
 * K2. A wake of one goes to the parked task that queued first.
 */

import { wakesParked } from "../../sync/explored.ts";
import type { Wait } from "../../sync/task.ts";
import { PARK, kindCode } from "../steps/footprint.ts";
import type { Trace } from "../steps/trace.ts";

/** {@link Parking.wokenBy}: it sleeps. */
export const ASLEEP = -1;
export const WAKE_ONE: number = kindCode("wakeOne");
const WAKE_ALL = kindCode("wakeAll");

export class Parking {
  readonly wokenBy: Int32Array;
  readonly #trace: Trace;
  readonly #pending: readonly (Wait | undefined)[];
  readonly #pendingCode: Uint8Array;
  readonly #queuedAt: Int32Array;

  /** `pending`, `pendingCode`: what each task is about to do, kept up by the execution. */
  constructor(trace: Trace, pending: readonly (Wait | undefined)[], pendingCode: Uint8Array) {
    this.#trace = trace;
    this.#pending = pending;
    this.#pendingCode = pendingCode;
    this.wokenBy = new Int32Array(trace.tasks);
    this.#queuedAt = new Int32Array(trace.tasks);
  }

  /** A new execution begins. */
  forget(): void {
    this.wokenBy.fill(ASLEEP);
    this.#queuedAt.fill(-1);
  }

  /** The task's place in the order of those that wait is that of `step`. */
  queue(task: number, step: number): void {
    this.#queuedAt[task] = step;
  }

  /** The task is about to park: it sleeps, unless its word has changed since it queued. `depth`: steps done so far. */
  park(task: number, wait: Wait, depth: number): void {
    this.wokenBy[task] = ASLEEP;
    if (wait.memory.words[wait.index] === wait.expected) return;
    const trace = this.#trace;
    const place = trace.footprints.placeOf(wait.index);
    for (let touch = trace.heads[place] ?? -1; touch !== -1; touch = trace.previous[touch]!) {
      const step = trace.touchStep[touch]!;
      if (step >= depth || (trace.kind[step] !== WAKE_ALL && trace.kind[step] !== WAKE_ONE)) continue;
      this.wokenBy[task] = step;
      return;
    }
  }

  sleepsOn(task: number, index: number): boolean {
    if (this.#pendingCode[task] !== PARK || this.wokenBy[task] !== ASLEEP) return false;
    return this.#pending[task]?.index === index;
  }

  /** Step `step` performs `wake`; does nothing for other kinds. */
  wake(wake: Wait, step: number): void {
    for (let left = wakesParked(wake); left > 0; left--) {
      let first = -1;
      for (let task = 0; task < this.wokenBy.length; task++) {
        if (!this.sleepsOn(task, wake.index)) continue;
        if (first === -1 || this.#queuedAt[task]! < this.#queuedAt[first]!) first = task;
      }
      if (first === -1) return;
      this.wokenBy[first] = step;
    }
  }
}
