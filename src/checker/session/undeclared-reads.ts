/**
 * @module Conditions that read words which they do not declare. A search explores the effect of a
 * write on a sleeping task only if the written word is among the `reads` of its condition. If the
 * condition reads another word, executions are missed without notice. So when an execution is
 * repeated, the condition of each sleeping task is evaluated after every step of another task. If
 * it became true by a step that touches no word of its `reads`, that is reported.
 */

import { conditionOf } from "../../sync/tasks/task.ts";
import type { Wait, WordRange } from "../../sync/tasks/task.ts";
import { taskOf } from "../steps/trace.ts";
import type { Transition } from "../steps/trace.ts";

export interface Sleeping {
  /** The pending operation of each task. */
  readonly pending: readonly (Wait | undefined)[];
}

function touches({ index, words }: Wait, { at, words: count }: WordRange): boolean {
  return index < at + count && at < index + Math.max(words, 1);
}

export class UndeclaredReads {
  /** For each task: its last test of a condition, which did not hold. */
  readonly #tested = new Map<number, Wait>();
  #stepping: Wait | undefined;

  /** An execution begins. */
  reset(): void {
    this.#tested.clear();
  }

  /** A step is about to be performed. */
  before({ pending }: Sleeping, transition: Transition): void {
    const task = taskOf(transition);
    const wait = pending[task];
    this.#stepping = wait;
    if (wait?.kind === "sleep") return; // the sleep step of the park after the test
    if (wait !== undefined && conditionOf(wait) !== undefined) this.#tested.set(task, wait);
    else this.#tested.delete(task);
  }

  /**
   * The step was performed. Returns the tasks whose conditions it made true although it touches
   * none of their `reads`.
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
      this.#tested.delete(task); // the condition is true now: it is not tested again
      const { reads } = tested;
      if (reads === undefined || this.#stepping === undefined || touches(this.#stepping, reads))
        continue;
      found.push(task);
    }
    return found;
  }
}
