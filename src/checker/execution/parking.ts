/**
 * @module Which parked tasks sleep, and what woke the others.
 *
 * K1. A parked task is woken by an event, not by a state: `wokenBy` is the step that woke it. As
 *     with a futex, a task whose word has changed does not sleep. It counts as woken by the first
 *     step after which the word was no longer what the task expects. It must be the first and not
 *     the last: if a later change came after the park, the task would still not sleep.
 * K2. A wake of one goes to the parked task that queued first.
 * K3. A queueing step (enqueue, the test of a condition, the release of a condition variable's
 *     mutex) also determines whether the word has changed. Every later wake counts, so what happens
 *     between that step and the park makes no difference. If primitives are spelled out, this is
 *     not assumed: there the test of a condition is no such step. Any other park begins with a step
 *     of its own, "sleep", which compares the word as a futex does.
 */

import type { Wait } from "../../sync/tasks/task.ts";
import type { Weakness } from "../scenario.ts";
import { ENQUEUE, PARK, TEST_CONDITION, WAKES, kindCode } from "../steps/kinds.ts";
import type { Trace } from "../steps/trace.ts";

/** {@link Parking.wokenBy}: it sleeps. */
export const ASLEEP = -1;
const RELEASE = kindCode("release");

/**
 * Whether an operation is a queueing step at a word: K3.
 */
export function queuesAt(code: number, { index, words }: Wait, word: number): boolean {
  if (code === ENQUEUE || code === TEST_CONDITION) return index === word;
  return code === RELEASE && index < word && word < index + words;
}

/** The sleep step with which a park begins if the step before it is no queueing step: K3. */
export function sleepOf(park: Wait): Wait {
  return { ...park, kind: "sleep" };
}

/** The park that this sleep step begins. */
export function parkOf(sleep: Wait): Wait {
  return { ...sleep, kind: "park" };
}

export class Parking {
  readonly wokenBy: Int32Array;
  readonly #trace: Trace;
  readonly #pending: readonly (Wait | undefined)[];
  readonly #pendingCode: Uint8Array;
  readonly #queuedAt: Int32Array;
  readonly #isLatest: boolean;

  /** `pending`, `pendingCode`: the pending operation of each task. The execution updates them. */
  constructor(
    trace: Trace,
    pending: readonly (Wait | undefined)[],
    pendingCode: Uint8Array,
    weaknesses: ReadonlySet<Weakness>,
  ) {
    this.#trace = trace;
    this.#pending = pending;
    this.#pendingCode = pendingCode;
    this.#isLatest = weaknesses.has("latest-change");
    this.wokenBy = new Int32Array(trace.tasks);
    this.#queuedAt = new Int32Array(trace.tasks);
  }

  /** A new execution begins. */
  reset(): void {
    this.wokenBy.fill(ASLEEP);
    this.#queuedAt.fill(-1);
  }

  /** The task queued at `step`: this is its place among the waiting tasks. */
  queue(task: number, step: number): void {
    this.#queuedAt[task] = step;
  }

  /**
   * The task parks: it sleeps, unless its word has changed since it queued. `depth`: steps so far.
   */
  park(task: number, wait: Wait, depth: number): void {
    this.wokenBy[task] = ASLEEP;
    if (wait.memory.words[wait.index] === wait.expected) return;
    this.wokenBy[task] = this.#changeOf(wait, depth);
  }

  /**
   * The first step after which the word of `wait` is not what it expects. A change that no step
   * named is attributed to the latest step.
   */
  #changeOf({ index, expected }: Wait, depth: number): number {
    const trace = this.#trace;
    const place = trace.footprints.placeOf(index);
    let change = depth - 1;
    for (let touch = trace.heads[place] ?? -1; touch !== -1; touch = trace.previous[touch]!) {
      const step = trace.touchStep[touch]!;
      if (step >= depth || trace.index[step] !== index) continue;
      if (trace.after[step] === expected) break;
      if (trace.before[step] !== trace.after[step]) change = step;
      if (trace.before[step] === expected || this.#isLatest) break;
    }
    return change;
  }

  sleepsOn(task: number, index: number): boolean {
    if (this.#pendingCode[task] !== PARK || this.wokenBy[task] !== ASLEEP) return false;
    return this.#pending[task]?.index === index;
  }

  /** Step `step` performs `wake`; does nothing for kinds that wake nobody. */
  wake(code: number, wake: Wait, step: number): void {
    for (let left = WAKES[code]!; left > 0; left--) {
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
