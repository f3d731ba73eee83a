/**
 * @module Conditions that read more than they say. A search tests the condition of a sleeper again
 * only where a word is written that is among its `reads`; if it reads another one, what that word
 * does to the sleeper is not explored, and nothing tells. So in executions that are done again, the
 * condition of each sleeper is asked after every step of another task: one that has come true by a
 * step which touches no word of its `reads` is told.
 */

import { conditionOf } from "../../sync/tasks/task.ts";
import type { Wait, WordRange } from "../../sync/tasks/task.ts";
import { taskOf } from "../steps/trace.ts";
import type { Transition } from "../steps/trace.ts";

export interface Sleeping {
  /** What each task is about to do. */
  readonly pending: readonly (Wait | undefined)[];
}

function touches({ index, words }: Wait, { at, words: count }: WordRange): boolean {
  return index < at + count && at < index + Math.max(words, 1);
}

export class UnreadWords {
  /** Of each task: the test of a condition that it did last, and which did not hold. */
  readonly #tested = new Map<number, Wait>();
  #stepping: Wait | undefined;

  /** An execution begins. */
  forget(): void {
    this.#tested.clear();
  }

  /** A step is about to be done. */
  before({ pending }: Sleeping, transition: Transition): void {
    const task = taskOf(transition);
    const wait = pending[task];
    this.#stepping = wait;
    if (wait?.kind === "sleep") return; // the beginning of the sleep after the test
    if (wait !== undefined && conditionOf(wait) !== undefined) this.#tested.set(task, wait);
    else this.#tested.delete(task);
  }

  /**
   * It was done. Returns the tasks whose conditions it changed although it touches none of their
   * words.
   */
  after({ pending }: Sleeping, transition: Transition): number[] {
    const found: number[] = [];
    for (const [task, tested] of this.#tested) {
      if (
        task === taskOf(transition) ||
        pending[task]?.kind !== "park" ||
        conditionOf(tested)?.() !== true
      )
        continue;
      this.#tested.delete(task); // its wake is on the way, or will never come
      const { reads } = tested;
      if (reads === undefined || this.#stepping === undefined || touches(this.#stepping, reads))
        continue;
      found.push(task);
    }
    return found;
  }
}
