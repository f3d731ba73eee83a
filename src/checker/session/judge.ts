/**
 * @module Whose fault it is that a step which a search has planned is not possible. If the tasks do
 * not repeat themselves, theirs: what was planned was seen in an execution that chance, a clock or
 * a counter made. If they do, the engine's, unless they have a data race: what they do then depends
 * on accesses that are no steps.
 */

import type { Execution } from "../execution/execution.ts";
import type { PlanFailed } from "../engines/planned.ts";
import { formatToken } from "../findings/token.ts";
import { EngineFault, UncontrolledNondeterminism } from "../scenario.ts";
import type { Transition } from "../steps/trace.ts";

/** Two sides of a coin look like one side only once in half a million times. */
const REPEATS = 20;

/**
 * Repeats what the execution has done so far, and throws UncontrolledNondeterminism if it does not
 * come out the same. Else returns what to throw if there is no other explanation.
 */
export function judgePlan(run: Execution, scenario: string, failed: PlanFailed): EngineFault {
  const { depth } = run;
  const schedule: Transition[] = Array.from(run.trace.transition.subarray(0, depth));
  const before = nextOf(run);
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    run.restart(depth);
    for (const transition of schedule) run.step(transition);
    const now = nextOf(run);
    const other = now.findIndex((next, task) => next !== before[task]);
    if (other < 0) continue;
    throw new UncontrolledNondeterminism(scenario, depth, before[other] ?? "", now[other] ?? "");
  }
  return new EngineFault(scenario, depth, failed.message, formatToken(schedule));
}

/** What each task is about to do. */
function nextOf(run: Execution): string[] {
  return Array.from({ length: run.tasks }, (_, task) => {
    const wait = run.pending[task];
    if (wait === undefined) return "nothing";
    const { kind, label, index, words, expected, timeoutMs } = wait;
    return `"${kind}" of ${label} (${index}, ${words}, ${expected}, ${timeoutMs})`;
  });
}
