/**
 * @module Steps that a search has planned, because an earlier execution has shown them to be
 * possible where they are.
 */

import type { SearchedRun } from "../execution/searched-run.ts";
import { choiceOf, taskOf } from "../steps/trace.ts";
import type { Transition } from "../steps/trace.ts";

/**
 * A planned step is not possible, or is another: the tasks are not deterministic, or the engine is
 * wrong. See judge.ts.
 */
export class PlanFailed extends Error {}

/**
 * The step must be possible now, and touch what it was planned to touch. Else throws
 * {@link PlanFailed}.
 */
export function requirePlanned(run: SearchedRun, transition: Transition, footprint: number): void {
  const task = taskOf(transition);
  const wait = run.pending[task];
  const name = run.names[task] ?? "";
  if (wait === undefined) throw new PlanFailed(`a step of ${name}, which is over`);
  const mayCome = run.mayCome(transition);
  if (mayCome && run.footprintOf(task, choiceOf(transition)) === footprint) return;
  const why = mayCome ? ", which does something else there" : ", which has to wait";
  throw new PlanFailed(`a step of ${name}${why}: "${wait.kind}" of ${wait.label}`);
}
