/**
 * @module The nearest schedule that passes. It shows which steps had to come in another order
 * (after Choi and Zeller, "Isolating failure-inducing thread schedules", ISSTA 2002: the smallest
 * difference between a failing and a passing run).
 *
 * Every candidate moves a step of the failing schedule before or after a step of another task.
 * Steps that are then impossible are skipped, and each task goes on for as long as it can.
 * Candidates are replayed in order: those that diverge latest from the failing schedule first.
 */

import { explore } from "../explore.ts";
import type { ExploreOptions } from "../explore.ts";
import { formatToken, parseToken } from "../findings/token.ts";
import type { Scenario } from "../scenario.ts";
import { RUN, taskOf, transitionOf } from "../steps/trace.ts";
import type { Transition } from "../steps/trace.ts";
import { recordSchedule } from "./record-run.ts";
import type { Recording } from "./recording.ts";

const CANDIDATES = 400;
/** Findings about locks, which another order of steps does not remove. */
const aboutLocks: ReadonlySet<string> = new Set([
  "lock-order",
  "lock-recursion",
  "sleep-in-atomic",
  "lock-misuse",
]);

/** A schedule to try. */
type Candidate = readonly Transition[];

/**
 * Findings of endless executions. Only the beginning of their schedules is varied, and an execution
 * of ENDLESS_LIMIT steps counts as endless.
 */
const neverEnding: ReadonlySet<string> = new Set(["endless", "livelock"]);
const ENDLESS_STEPS = 60;
const ENDLESS_LIMIT = 400;

/** Undefined: no candidate passes. `options` must have the budget of the exploration. */
export function nearestPassing<S>(
  scenario: Scenario<S>,
  recording: Recording,
  options: ExploreOptions = {},
): Recording | undefined {
  // A schedule without the deadlock still takes the locks in both orders, and lockdep would report
  // that.
  const lockdep = aboutLocks.has(recording.finding?.kind ?? "") && (options.lockdep ?? true);
  const limit = neverEnding.has(recording.finding?.kind ?? "") ? { maxSteps: ENDLESS_LIMIT } : {};
  const trying: ExploreOptions = { ...options, ...limit, lockdep, lenient: true, finish: true };
  const candidates = candidatesOf(recording);
  for (let next = 0; next < candidates.length; next++) {
    next = firstThatPasses(scenario, candidates, next, trying);
    const schedule = candidates[next];
    if (schedule === undefined) return undefined;
    const found = recordSchedule(scenario, schedule, trying);
    if (found.finding === undefined) return found;
  }
  return undefined;
}

/** The index of the first candidate from `start` on that passes; their number if none does. */
function firstThatPasses<S>(
  scenario: Scenario<S>,
  candidates: readonly Candidate[],
  start: number,
  options: ExploreOptions,
): number {
  // An execution without an end, or an error, stops the search: the next one begins after it.
  for (let from = start; from < candidates.length;) {
    const seen = { at: from, passed: -1 };
    explore(scenario, {
      ...options,
      engine: "replay",
      executions: Infinity,
      stopAtFinding: false,
      // It may be begun anew, if the exploration is.
      *schedules() {
        for (seen.at = from; seen.at < candidates.length && seen.passed < 0; seen.at++)
          yield candidates[seen.at]!; // below the length
      },
      observer: {
        ended: (_, isClean) => {
          if (isClean) seen.passed = seen.at;
        },
      },
    });
    if (seen.passed >= 0) return seen.passed;
    from = seen.at + 1;
  }
  return candidates.length;
}

/**
 * Those that diverge latest first; of those that diverge at the same step, those that move a step
 * least.
 */
function candidatesOf(recording: Recording): Candidate[] {
  const isEndless = neverEnding.has(recording.finding?.kind ?? "");
  const schedule = parseToken(recording.token).slice(0, isEndless ? ENDLESS_STEPS : Infinity);
  const tasks = schedule.map((transition) => taskOf(transition));
  const candidates: Candidate[] = [];
  const seen = new Set([recording.token]);
  const add = (moved: readonly Transition[]): void => {
    const token = formatToken(moved);
    if (seen.has(token)) return;
    seen.add(token);
    candidates.push(moved);
  };
  for (let from = schedule.length - 1; from >= 0 && candidates.length < CANDIDATES; from--) {
    for (let to = from + 1; to < schedule.length && candidates.length < CANDIDATES; to++) {
      if (tasks[from] === tasks[to]) continue;
      // The later step before the earlier one, together with its task's steps in between.
      const between = schedule.slice(from, to + 1);
      const first = between.filter((_, i) => tasks[from + i] === tasks[to]);
      const rest = between.filter((_, i) => tasks[from + i] !== tasks[to]);
      add([...schedule.slice(0, from), ...first, ...rest, ...schedule.slice(to + 1)]);
    }
    // The task of the step before goes on to its end instead.
    if (from > 0 && tasks[from] !== tasks[from - 1]) add(schedule.slice(0, from));
  }
  // Last: each task goes first, for as long as it can.
  for (const task of recording.tasks.keys()) add([transitionOf(task, RUN)]);
  return candidates;
}
