/**
 * @module Tests whether tasks that wait on a wait queue queue again at once after a spurious wake:
 * S2 of spurious.ts.
 */

import type { Execution } from "../execution/execution.ts";
import { ENQUEUE } from "../steps/kinds.ts";
import { SPURIOUS, transitionOf } from "../steps/trace.ts";

/**
 * Gives each recorded sleep one spurious wake. False: a task did something other than enqueue
 * again. Call it after a search: the last execution is lost.
 */
export function allRequeue(run: Execution): boolean {
  return run.frontier.spurious.sleeps.every(({ task, index, schedule }) => {
    run.restart(0);
    for (const transition of schedule) run.step(transition);
    run.step(transitionOf(task, SPURIOUS));
    return run.pendingCode[task] === ENQUEUE && run.pending[task]?.index === index;
  });
}
