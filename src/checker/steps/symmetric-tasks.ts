/**
 * @module Symmetry reduction: of symmetric tasks, the search explores one order for all their
 * orders.
 *
 * If tasks do the same to the same objects, an exchange of two of them turns an execution into
 * another one that shows nothing new. So the search explores only executions in which step number n
 * of these tasks comes in the order of the tasks. n is the first number at which their steps
 * conflict. All executions of a class have conflicting steps in the same order. So a search that
 * never reverses those steps sees exactly the classes in which that order holds. Parts of a
 * parallel search are kept apart in the same way (step-order.ts).
 *
 * In some executions such steps do not conflict, or one of them waits for another that never comes.
 * Such an execution ends the search. The search begins again without symmetry.
 */

import type { Footprints } from "./footprint.ts";
import { taskOf } from "./trace.ts";
import type { Trace } from "./trace.ts";

/** These tasks take step number `ordinal` (from 0) in this order. */
export interface SymmetricTasks {
  readonly tasks: readonly number[];
  readonly ordinal: number;
}

/** The orders of all groups. */
export class SymmetricOrders {
  readonly isEmpty: boolean;
  readonly #groups: readonly SymmetricTasks[];
  /** For each task: after whose step its own comes, or -1; and the number of that step. */
  readonly #behind: Int32Array;
  readonly #ordinal: Int32Array;

  constructor(groups: readonly SymmetricTasks[], tasks: number) {
    this.#groups = groups;
    this.isEmpty = groups.length === 0;
    this.#behind = new Int32Array(tasks).fill(-1);
    this.#ordinal = new Int32Array(tasks);
    for (const { tasks: group, ordinal } of groups) {
      for (const [i, task] of group.entries()) {
        this.#behind[task] = group[i - 1] ?? -1;
        this.#ordinal[task] = ordinal;
      }
    }
  }

  /** Whether the order lets `task` take its next step at this depth. */
  mayStepNow({ counts, tasks }: Trace, depth: number, task: number): boolean {
    const behind = this.#behind[task]!;
    const ordinal = this.#ordinal[task]!;
    if (behind === -1 || counts[depth * tasks + task] !== ordinal) return true;
    return counts[depth * tasks + behind]! > ordinal;
  }

  /**
   * Whether the order requires that the next step of `task` at depth `later` comes after the step
   * `earlier`.
   */
  fixes(
    { transition, ordinal, counts, tasks }: Trace,
    earlier: number,
    task: number,
    later: number,
  ): boolean {
    if (this.#behind[task] !== taskOf(transition[earlier]!)) return false;
    const own = this.#ordinal[task]!;
    return ordinal[earlier]! - 1 === own && counts[later * tasks + task] === own;
  }

  /**
   * Whether the order is the same in the whole class of the execution in `trace`: the steps that it
   * orders conflict.
   */
  isOfClass(trace: Trace, footprints: Footprints): boolean {
    return this.#groups.every(({ tasks: group, ordinal }) =>
      group.every((task, i) => {
        const step = trace.positionOf(task, ordinal);
        const before = i === 0 ? undefined : trace.positionOf(group[i - 1]!, ordinal);
        if (step === undefined || before === undefined) return true;
        return footprints.conflict(trace.footprint[step]!, trace.footprint[before]!);
      }),
    );
  }
}
