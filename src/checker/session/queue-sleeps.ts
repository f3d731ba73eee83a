/**
 * @module Whether tasks that wait on queues go straight back when they wake for no reason: S2 of
 * spurious.ts.
 */

import type { Execution } from "../execution/execution.ts";
import { ENQUEUE } from "../steps/kinds.ts";
import { SPURIOUS, transitionOf } from "../steps/trace.ts";

/**
 * Wakes each of those that were seen to sleep, once. False if one does something else than enqueue
 * again. After a search: nothing is left of its last execution.
 */
export function allGoBack(run: Execution): boolean {
  return run.frontier.spurious.sleeps.every(({ task, index, schedule }) => {
    run.restart(0);
    for (const transition of schedule) run.step(transition);
    run.step(transitionOf(task, SPURIOUS));
    return run.pendingCode[task] === ENQUEUE && run.pending[task]?.index === index;
  });
}
