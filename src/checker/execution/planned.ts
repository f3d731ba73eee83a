/** @module Steps that a search has planned, because an earlier execution has shown them to be possible where they are. */

import type { Transition } from "../steps/trace.ts";
import { DEATH, RUN, WAKE, choiceOf, taskOf } from "../steps/trace.ts";
import type { Execution } from "./execution.ts";

/** A planned step is not possible, or is another: the tasks are not deterministic, or the engine is wrong. See judge.ts. */
export class PlanFailed extends Error {}

/** The step must be possible now, and touch what it was planned to touch. Else throws {@link PlanFailed}. */
export function requirePlanned(run: Execution, transition: Transition, footprint: number): void {
  const task = taskOf(transition);
  const wait = run.pending[task];
  const name = run.names[task] ?? "";
  if (wait === undefined) throw new PlanFailed(`a step of ${name}, which is over`);
  const mayCome = isPossible(run, transition);
  if (mayCome && run.footprintOf(task, choiceOf(transition)) === footprint) return;
  const why = mayCome ? ", which does something else there" : ", which has to wait";
  throw new PlanFailed(`a step of ${name}${why}: "${wait.kind}" of ${wait.label}`);
}

function isPossible(run: Execution, transition: Transition): boolean {
  const task = taskOf(transition);
  const choice = choiceOf(transition);
  const wait = run.pending[task];
  if (wait === undefined) return false;
  if (choice === RUN) return run.mayRun(task, wait);
  if (choice === DEATH) return run.deaths.left > 0 && run.deaths.isMortal(task);
  return choice >= WAKE ? run.parking.sleepsOn(choice - WAKE, wait.index) : run.mayLeave(task, choice);
}
