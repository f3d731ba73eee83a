/**
 * @module A random program as a scenario, on a stage that this thread makes once for each number of
 * tasks.
 */

import type { AnyScenario, ScenarioExploration } from "../../../src/checker/scenario.ts";
import type { FuzzFile, FuzzProgram } from "./fuzz-program.ts";
import { FuzzStage, STEPS_MAX } from "./fuzz-stage.ts";
import type { OperationTable } from "./fuzz-stage.ts";
import { operations } from "./operations.ts";

const stages = new Map<number, FuzzStage>();

/** The stage of this thread for programs with this number of tasks. */
export function stageFor(tasks: number): FuzzStage {
  let stage = stages.get(tasks);
  if (stage === undefined) {
    stage = new FuzzStage(tasks);
    stage.learnAccounting();
    stages.set(tasks, stage);
  }
  return stage;
}

/** A new search begins in this thread: what it does depends on itself alone. */
export function forgetSamples(): void {
  for (const stage of stages.values()) stage.forget();
}

/** The scenario, for this thread and one exploration at a time. */
export function programScenario(
  program: FuzzProgram,
  name: string = "fuzz",
  table: OperationTable = operations,
): AnyScenario {
  return stageFor(Object.keys(program.tasks).length).scenario(name, program, table);
}

/**
 * The scenario of a file, for `hmm check`: it must have no finding. The stage is made when it is
 * explored.
 */
export function fileScenario(file: FuzzFile): AnyScenario {
  let made: AnyScenario | undefined;
  const get = (): AnyScenario => (made ??= programScenario(file, file.name));
  const names = Object.keys(file.tasks);
  return {
    name: file.name,
    ...(file.summary === undefined ? {} : { summary: file.summary }),
    exploration: explorationFor(file.preemptions),
    memory: () => get().memory?.() ?? unreachable(),
    setup: (memory) => get().setup(memory),
    tasks: Object.fromEntries(
      names.map((name) => [name, (shared) => get().tasks[name]?.(shared) ?? unreachable()]),
    ),
    mayRemain: [],
    describe: (shared) => get().describe?.(shared) ?? [],
    reopen: (memory) => get().reopen?.(memory),
    check: (shared, end) => get().check?.(shared, end),
  };
}

/**
 * If the finding of a program needs more preemptions, there are too many schedules to explore all.
 */
const BOUND_LIMIT = 2;
const SAMPLES = 20_000;

function explorationFor(preemptions: number): ScenarioExploration {
  if (preemptions <= BOUND_LIMIT) return { engine: "bounded", preemptions, maxSteps: STEPS_MAX };
  return { engine: "pos", executions: SAMPLES, maxSteps: STEPS_MAX };
}

function unreachable(): never {
  throw new Error("A scenario of the fuzzer has a memory and every task of its program");
}
