/**
 * @module Wakes for no reason. The runners look up from every sleep after a while, so each wait of
 * a task may end although nobody woke it. Sound code then tests its condition again.
 *
 * S1. By default each wait may end so once. A wait by hand (a park, a condition variable) is over
 *     when somebody wakes the task, or when it times out. What the task parks for after a spurious
 *     wake is still the same wait, so a loop ends.
 * S2. A task that waits on a queue (enqueue, test of the condition, park) and is woken for no
 *     reason goes straight back: it enqueues, tests, parks. The same outcomes come of a wait that
 *     begins later. To see it, leave out all that the task did from enqueue to the wake. Others do
 *     not see it, because a wake that would have chosen the task would have woken it. So these
 *     wakes are not tried. Whether the task does go back is tried at the end of a search, once for
 *     each task and queue. If it does not, the search begins again and tries these wakes.
 * S3. A number instead is a budget of the execution, for all waits together, those on queues among
 *     them.
 * S4. A sleeper that may wake for no reason is not stuck. So a search with such wakes sees no lost
 *     wake-up. By default there are therefore two searches: one without these wakes, and, if some
 *     task slept by hand in that one, another in which each wait may end so once.
 */

import type { Wait } from "../../sync/tasks/task.ts";
import type { SpuriousWakes } from "../scenario.ts";
import { PARK, TEST_CONDITION, kindCode } from "../steps/kinds.ts";
import { RUN, SPURIOUS, TASK_LIMIT, TIMEOUT, choiceOf } from "../steps/trace.ts";
import type { Trace, Transition } from "../steps/trace.ts";

/** A task sleeps on a queue after these steps. */
export interface QueueSleep {
  readonly task: number;
  /** The queue's word. */
  readonly index: number;
  readonly schedule: readonly Transition[];
}

const DEQUEUE = kindCode("dequeue");

export class Spurious {
  /** S2: one for each task and queue. */
  readonly sleeps: QueueSleep[] = [];
  /** Some may happen. */
  readonly isPossible: boolean;
  /** Some task has slept otherwise than on a queue. */
  hasSleptByHand = false;
  readonly #seen = new Set<number>();
  readonly #trace: Trace;
  readonly #budget: SpuriousWakes;
  readonly #wakesQueues: boolean;
  #left = 0;

  constructor(trace: Trace, budget: SpuriousWakes, wakesQueues: boolean) {
    this.#trace = trace;
    this.#budget = budget;
    this.#wakesQueues = wakesQueues || (budget !== "each" && budget > 0);
    this.isPossible = budget !== 0;
  }

  /** A new execution begins. */
  forget(): void {
    this.#left = this.#budget === "each" ? Infinity : this.#budget;
  }

  happens(): void {
    this.#left--;
  }

  /** Whether the wait that the task is in, before step `depth`, may end so now. */
  mayWake(task: number, depth: number): boolean {
    return this.#left > 0 && this.mayEverWake(task, depth);
  }

  /** The same, but for what other waits have used up. */
  mayEverWake(task: number, depth: number): boolean {
    if (this.#budget !== "each") return this.#budget > 0;
    const { counts, kind, positions, tasks, transition } = this.#trace;
    const ordinal = counts[depth * tasks + task]!;
    for (let step = ordinal; step > 0; step--) {
      const position = positions[step * tasks + task]!;
      const choice = choiceOf(transition[position]!);
      const code = kind[position]!;
      if (step === ordinal && !this.#wakesQueues && code === TEST_CONDITION) return false;
      if (choice === SPURIOUS) return false;
      // A wait has ended: the one that is under way is another.
      if (code === DEQUEUE || (code === PARK && (choice === RUN || choice === TIMEOUT)))
        return true;
    }
    return true;
  }

  /** The task has gone to sleep at the end of step `depth - 1`, of kind `code`. */
  note(task: number, { index }: Wait, code: number, depth: number): void {
    if (code !== TEST_CONDITION) this.hasSleptByHand = true;
    if (this.#wakesQueues || code !== TEST_CONDITION) return;
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
