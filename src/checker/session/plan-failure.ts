/**
 * @module Why a planned step is not possible. There are three explanations:
 *
 * - The tasks are not deterministic. The plan came from an execution that depended on random
 *   numbers, a clock or a counter.
 * - The tasks have a data race: what they do depends on accesses that are no steps.
 * - The engine has a bug.
 */

import type { Execution } from "../execution/execution.ts";
import type { PlanFailed } from "../engines/planned.ts";
import { formatToken } from "../findings/token.ts";
import { EngineFault, UncontrolledNondeterminism } from "../scenario.ts";
import type { Transition } from "../steps/trace.ts";

/** Twenty tosses of a coin are all equal only once in half a million times. */
const REPEATS = 20;

/**
 * Repeats what the execution has done so far. Throws UncontrolledNondeterminism if the outcome
 * differs. Otherwise returns the error to throw if there is no data race.
 */
export function explainPlanFailure(
  run: Execution,
  scenario: string,
  failed: PlanFailed,
): EngineFault {
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

/** The pending operation of each task. */
function nextOf(run: Execution): string[] {
  return Array.from({ length: run.tasks }, (_, task) => {
    const wait = run.pending[task];
    if (wait === undefined) return "nothing";
    const { kind, label, index, words, expected, timeoutMs } = wait;
    return `"${kind}" of ${label} (${index}, ${words}, ${expected}, ${timeoutMs})`;
  });
}
