/**
 * @module Spurious wakes. The runners wake every waiting task after a slice, so any wait may end
 * without a wake by another task. Sound code then rechecks its condition.
 *
 * S1. With "each", one spurious wake may end each wait. A wait that is not on a wait queue (a park,
 *     a condition variable) ends when somebody wakes the task, or at its timeout. After a spurious
 *     wake the next park belongs to the same wait. So a loop around a park comes to an end.
 * S2. A task that waits on a wait queue does enqueue, test of the condition, park. After a spurious
 *     wake it does the same again at once. The outcomes are those of a wait that begins later:
 *     leave out what the task did between the first enqueue and the spurious wake. Other tasks
 *     cannot notice it, because a wake that had chosen the task would have woken it. So these wakes
 *     are not explored. At the end of a search, each task is tested once on each queue: does it
 *     queue again at once? If not, the search begins again and explores these wakes, too.
 * S3. A number is a budget of the execution, for all waits together, those on queues included.
 * S4. A sleeping task that may get a spurious wake is not stuck. So a search with such wakes finds
 *     no lost wakeup. By default there are therefore two searches: one without spurious wakes, and,
 *     if some task slept outside a wait queue in it, one with "each".
 */

import type { Wait } from "../../sync/tasks/task.ts";
import type { SpuriousWakes } from "../scenario.ts";
import { PARK, TEST_CONDITION, kindCode } from "../steps/kinds.ts";
import { RUN, SPURIOUS, TASK_LIMIT, TIMEOUT, choiceOf } from "../steps/trace.ts";
import type { Trace, Transition } from "../steps/trace.ts";

/** After these steps a task sleeps on a wait queue. */
export interface QueueSleep {
  readonly task: number;
  /** The queue's word. */
  readonly index: number;
  readonly schedule: readonly Transition[];
}

const DEQUEUE = kindCode("dequeue");

export class Spurious {
  /** For S2: one for each task and queue. */
  readonly sleeps: QueueSleep[] = [];
  /** The budget allows some. */
  readonly isPossible: boolean;
  /** Some task has slept outside a wait queue. */
  hasSleptOutsideQueue = false;
  readonly #seen = new Set<number>();
  readonly #trace: Trace;
  readonly #budget: SpuriousWakes;
  readonly #spuriousQueueWakes: boolean;
  #left = 0;

  constructor(trace: Trace, budget: SpuriousWakes, spuriousQueueWakes: boolean) {
    this.#trace = trace;
    this.#budget = budget;
    this.#spuriousQueueWakes = spuriousQueueWakes || (budget !== "each" && budget > 0);
    this.isPossible = budget !== 0;
  }

  /** A new execution begins. */
  reset(): void {
    this.#left = this.#budget === "each" ? Infinity : this.#budget;
  }

  happens(): void {
    this.#left--;
  }

  /** Whether a spurious wake may end the task's wait before step `depth` now. */
  mayWake(task: number, depth: number): boolean {
    return this.#left > 0 && this.mayEverWake(task, depth);
  }

  /** The same, if the budget were not used up. */
  mayEverWake(task: number, depth: number): boolean {
    if (this.#budget !== "each") return this.#budget > 0;
    const { counts, kind, positions, tasks, transition } = this.#trace;
    const ordinal = counts[depth * tasks + task]!;
    for (let step = ordinal; step > 0; step--) {
      const position = positions[step * tasks + task]!;
      const choice = choiceOf(transition[position]!);
      const code = kind[position]!;
      if (step === ordinal && !this.#spuriousQueueWakes && code === TEST_CONDITION) return false;
      if (choice === SPURIOUS) return false;
      // An earlier wait has ended here: the current one is another.
      if (code === DEQUEUE || (code === PARK && (choice === RUN || choice === TIMEOUT)))
        return true;
    }
    return true;
  }

  /** The task has gone to sleep at the end of step `depth - 1`, of kind `code`. */
  note(task: number, { index }: Wait, code: number, depth: number): void {
    if (code !== TEST_CONDITION) this.hasSleptOutsideQueue = true;
    if (this.#spuriousQueueWakes || code !== TEST_CONDITION) return;
    const key = index * (TASK_LIMIT + 1) + task;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.sleeps.push({
      task,
      index,
      schedule: Array.from(this.#trace.transition.subarray(0, depth)),
    });
  }
}
