/**
 * @module Which parked tasks sleep, and what woke the others.
 *
 * K1. An event wakes a parked task, not a state: `wokenBy` is the step that did it. As with a
 *     futex, a task whose word has changed does not sleep. It counts as woken by the first step
 *     from which on the word was not what the task expects. The first one matters, not the last: if
 *     any later one came after the park, the task would still park in vain.
 * K2. A wake of one goes to the parked task that queued first.
 * K3. A step of queueing (enqueue, the test of a condition, the release of a condition variable's
 *     mutex) also sees whether the word has changed. From there on every wake counts, so nothing in
 *     between can make a difference. Where primitives are spelled out that is shown, not supposed:
 *     the test of a condition is no such step there. Any other park begins with a step of its own,
 *     "sleep", which compares the word, as a futex does.
 */

import type { Wait } from "../../sync/tasks/task.ts";
import type { Weakness } from "../scenario.ts";
import { ENQUEUE, PARK, TEST_CONDITION, WAKES, kindCode } from "../steps/kinds.ts";
import type { Trace } from "../steps/trace.ts";

/** {@link Parking.wokenBy}: it sleeps. */
export const ASLEEP = -1;
const RELEASE = kindCode("release");

/**
 * Whether an operation is one that queues its task at a word, or is done while it is queued: K3.
 */
export function queuesAt(code: number, { index, words }: Wait, word: number): boolean {
  if (code === ENQUEUE || code === TEST_CONDITION) return index === word;
  return code === RELEASE && index < word && word < index + words;
}

/** What a park begins with where the step before it does not compare: K3. */
export function sleepOf(park: Wait): Wait {
  return { ...park, kind: "sleep" };
}

/** The park that was begun so. */
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

  /** `pending`, `pendingCode`: what each task is about to do, kept up by the execution. */
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
  forget(): void {
    this.wokenBy.fill(ASLEEP);
    this.#queuedAt.fill(-1);
  }

  /** The task's place in the order of those that wait is that of `step`. */
  queue(task: number, step: number): void {
    this.#queuedAt[task] = step;
  }

  /**
   * The task is about to park: it sleeps, unless its word has changed since it queued. `depth`:
   * steps done so far.
   */
  park(task: number, wait: Wait, depth: number): void {
    this.wokenBy[task] = ASLEEP;
    if (wait.memory.words[wait.index] === wait.expected) return;
    this.wokenBy[task] = this.#changeOf(wait, depth);
  }

  /**
   * The step from which on the word of `wait` is not what it expects. One that no step named is put
   * down to the latest step.
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
