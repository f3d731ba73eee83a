/**
 * @module Finds, by some executions, the number of the step at which symmetric tasks first
 * conflict, and tests that they are symmetric. For the test it repeats each execution with two of
 * the tasks exchanged: it must do the same steps.
 */

import { RandomNumbers } from "../engines/random-numbers.ts";
import { Execution } from "../execution/execution.ts";
import { Reporter } from "../findings/reporter.ts";
import type { Scenario } from "../scenario.ts";
import type { Dependence } from "../steps/dependence.ts";
import type { SymmetricTasks } from "../steps/symmetric-tasks.ts";
import { choiceOf, taskOf, transitionOf } from "../steps/trace.ts";
import type { Transition } from "../steps/trace.ts";
import { groupsOf } from "./symmetry-groups.ts";
import type { ExploreOptions } from "./exploration.ts";
import { budgetOf } from "./session.ts";

const STEPS = 2000;
/** How many executions, besides the first one, are repeated with tasks exchanged. */
const TRIES = 8;

/** The engines that see every class. What the others see depends on the order of the tasks. */
const engines: ReadonlySet<string> = new Set(["optimal", "source", "sleep", "naive"]);

/** The groups for which an order can be kept. May throw DependsOnMore. */
export function findSymmetricTasks(
  scenario: Scenario<unknown>,
  options: ExploreOptions,
  dependence: Dependence,
): readonly SymmetricTasks[] {
  const { symmetry = true, engine = "optimal" } = options;
  const budget = budgetOf(options);
  if (!symmetry || !engines.has(engine)) return [];
  // If a thread dies, the tasks after it in the order would wait for ever. A wake with a choice
  // names a task.
  if (dependence.distinguishesTasks || budget.deaths > 0 || budget.wakeAny) return [];
  const groups = groupsOf(scenario);
  if (groups.length === 0) return [];
  const sink = new Reporter({ withStacks: false });
  const run = new Execution(scenario, {
    budget,
    dependence,
    weaknesses: new Set(),
    sink,
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
    run.commutingWords.require();
    return schedules.every((schedule) =>
      found.every(({ tasks }) => areSymmetric(run, schedule, tasks)),
    )
      ? found
      : [];
  } finally {
    run.finish();
  }
}

/** Performs an execution. `choose` selects one of `count` transitions. */
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
    const footprintsOfSteps = steps.map((step) => trace.footprint[step ?? 0]!);
    if (
      footprintsOfSteps.every(
        (footprint, i) => i === 0 || footprints.conflict(footprint, footprintsOfSteps[i - 1]!),
      )
    )
      return ordinal;
  }
}

/**
 * Whether neighbours in the group can be exchanged in an execution: the steps are then the same,
 * except for the addresses of the tasks' own words.
 */
function areSymmetric(
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

/** The steps of the schedule; undefined if it is not possible. */
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
