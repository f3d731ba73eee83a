/**
 * @module Planned steps: an earlier execution has shown that they are possible at their position.
 */

import type { SearchedRun } from "../execution/searched-run.ts";
import { choiceOf, taskOf } from "../steps/trace.ts";
import type { Transition } from "../steps/trace.ts";

/**
 * A planned step is not possible, or is a different one: the tasks are not deterministic, or the
 * engine has a bug. See plan-failure.ts.
 */
export class PlanFailed extends Error {}

/**
 * Throws {@link PlanFailed} unless the step is possible now and has the planned footprint.
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
