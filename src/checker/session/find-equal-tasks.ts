/**
 * @module Finds out, by some executions, in which steps equal tasks first conflict, and whether
 * they are equal: of each execution the one in which two of them have changed places is performed,
 * too, and must go the same way.
 */

import { RandomNumbers } from "../engines/random-numbers.ts";
import { Execution } from "../execution/execution.ts";
import { Reporter } from "../findings/reporter.ts";
import type { Scenario } from "../scenario.ts";
import type { Dependence } from "../steps/dependence.ts";
import type { EqualTasks } from "../steps/equal-tasks.ts";
import { choiceOf, taskOf, transitionOf } from "../steps/trace.ts";
import type { Transition } from "../steps/trace.ts";
import { groupsOf } from "./equal-groups.ts";
import type { ExploreOptions } from "./exploration.ts";
import { budgetOf } from "./session.ts";

const STEPS = 2000;
/** Executions in which tasks change places, beside the first one. */
const TRIES = 8;

/** Those that see every class; what others see depends on which task is which. */
const engines: ReadonlySet<string> = new Set(["optimal", "source", "sleep", "naive"]);

/** The groups that can be put in order. May throw DependsOnMore. */
export function findEqualTasks(
  scenario: Scenario<unknown>,
  options: ExploreOptions,
  dependence: Dependence,
): readonly EqualTasks[] {
  const { symmetry = true, engine = "optimal" } = options;
  const budget = budgetOf(options);
  if (!symmetry || !engines.has(engine)) return [];
  // A thread that dies leaves those behind it waiting; a wake that chooses tells by name.
  if (dependence.tellsTasks || budget.deaths > 0 || budget.wakeAny) return [];
  const groups = groupsOf(scenario);
  if (groups.length === 0) return [];
  const witness = new Reporter({ withStacks: false });
  const run = new Execution(scenario, {
    budget,
    dependence,
    weaknesses: new Set(),
    witness,
    withSites: false,
  });
  try {
    const random = new RandomNumbers(1);
    const first = perform(run, () => 0);
    const found = groups.flatMap((tasks) => {
      const ordinal = firstConflict(run, tasks);
      return ordinal === undefined ? [] : [{ tasks, ordinal }];
    });
    const schedules = [
      first,
      ...Array.from({ length: TRIES }, () => perform(run, (count) => random.below(count))),
    ];
    run.lenience.require();
    return schedules.every((schedule) => found.every(({ tasks }) => areAlike(run, schedule, tasks)))
      ? found
      : [];
  } finally {
    run.finish();
  }
}

/** An execution; `choose` says which of so many transitions comes next. */
function perform(run: Execution, choose: (count: number) => number): Transition[] {
  run.restart(0);
  const schedule: Transition[] = [];
  for (
    let count = run.frontier.listEnabled();
    count > 0 && schedule.length < STEPS;
    count = run.frontier.listEnabled()
  ) {
    const next = run.frontier.enabled[choose(count)]!;
    schedule.push(next);
    run.step(next);
  }
  return schedule;
}

/** The number of the first step at which the tasks conflict, each with the next. */
function firstConflict(
  { trace, footprints }: Execution,
  tasks: readonly number[],
): number | undefined {
  for (let ordinal = 0; ; ordinal++) {
    const steps = tasks.map((task) => trace.positionOf(task, ordinal));
    if (steps.includes(undefined)) return undefined;
    const feet = steps.map((step) => trace.footprint[step ?? 0]!);
    if (feet.every((foot, i) => i === 0 || footprints.conflict(foot, feet[i - 1]!))) return ordinal;
  }
}

/**
 * Whether neighbours in the group can change places in an execution, and nothing else changes but
 * where each has its own.
 */
function areAlike(
  run: Execution,
  schedule: readonly Transition[],
  tasks: readonly number[],
): boolean {
  const steps = stepsOf(run, schedule);
  return tasks.slice(1).every((task, i) => {
    const other = tasks[i]!;
    const exchanged = schedule.map((transition) => {
      const of = taskOf(transition);
      return transitionOf(of === task ? other : of === other ? task : of, choiceOf(transition));
    });
    const mirrored = stepsOf(run, exchanged);
    const places = new Map<number, number>();
    return (
      steps !== undefined &&
      mirrored !== undefined &&
      steps.every((step, at) => isLike(step, mirrored[at]!, places))
    );
  });
}

interface Step {
  readonly text: string;
  readonly index: number;
}

function isLike(step: Step, mirrored: Step, places: Map<number, number>): boolean {
  const known = places.get(step.index) ?? mirrored.index;
  places.set(step.index, known);
  return step.text === mirrored.text && known === mirrored.index;
}

/** What the schedule does, step by step; undefined if it is not possible. */
function stepsOf(run: Execution, schedule: readonly Transition[]): Step[] | undefined {
  run.restart(0);
  for (const transition of schedule) {
    if (!run.frontier.enabledNow().includes(transition)) return undefined;
    run.step(transition);
  }
  if (run.frontier.listEnabled() > 0 && schedule.length < STEPS) return undefined;
  return schedule.map((_, step) => {
    const { words, timeoutMs, index } = run.trace.waits[step]!;
    return { text: `${run.trace.kindName(step)} ${words} ${timeoutMs}`, index };
  });
}
