/**
 * @module A scenario on a harness and its broken twins from one table: each task with the functions
 * that it is there for, each twin with the tasks that it has instead.
 */

import { harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness, HarnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { ScenarioExploration } from "../../../src/checker/scenario.ts";
import type { FindingKind } from "../../../src/checker/findings/finding.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import type { Covered, Layer } from "./covered.ts";

export type HarnessBody<S> = (shared: S, harness: HmmHarness) => Task<unknown>;

export type HarnessTasks<S> = Readonly<
  Record<string, readonly [runs: readonly string[], body: HarnessBody<S>]>
>;

export type HarnessTwin<S> = readonly [
  name: string,
  summary: string,
  expects: FindingKind,
  tasks: Readonly<Record<string, HarnessBody<S>>>,
  /** Where less finds it. Default: that of the sound one. */
  exploration?: ScenarioExploration,
];

/** Without the name of its layer in its own. */
export interface HarnessCovering<S> extends Omit<HarnessScenario<S>, "tasks" | "expects"> {
  readonly layer: Layer;
  readonly summary: string;
  readonly tasks: HarnessTasks<S>;
  readonly twins: readonly HarnessTwin<S>[];
}

/** The task "dies" may die at any step, and the machine goes on. */
export const ONE_DIES: Pick<
  HarnessScenario<unknown>,
  "exploration" | "killable" | "mustSurvive"
> = {
  exploration: { engine: "bounded", preemptions: 1, deaths: 1 },
  killable: ["dies"],
  mustSurvive: true,
};

/** Makes `coverage/<layer>/<name>`, and `coverage/<layer>/<name>/<twin>` for each twin. */
export function coveringOnHarness<S>(covering: HarnessCovering<S>): Covered {
  const { layer, name, summary, tasks, twins, ...parts } = covering;
  const entries = Object.entries(tasks);
  const bodies = Object.fromEntries(entries.map(([task, [, body]]) => [task, body]));
  const fullName = `coverage/${layer}/${name}`;
  return {
    layer,
    scenario: harnessScenario<S>({ ...parts, name: fullName, summary, tasks: bodies }),
    twins: twins.map(([twin, about, expects, own, exploration = parts.exploration]) =>
      harnessScenario<S>({
        ...parts,
        ...(exploration === undefined ? {} : { exploration }),
        name: `${fullName}/${twin}`,
        summary: about,
        expects,
        tasks: { ...bodies, ...own },
      }),
    ),
    runs: Object.fromEntries(entries.map(([task, [runs]]) => [task, runs])),
  };
}
