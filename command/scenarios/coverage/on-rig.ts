/**
 * @module A scenario on a rig and its broken twins from one table: each task with the functions
 * that it is there for, each twin with the tasks that it has instead.
 */

import { rigScenario } from "../../../src/checker/rig/hmm-rig.ts";
import type { HmmRig, RigScenario } from "../../../src/checker/rig/hmm-rig.ts";
import type { FindingKind } from "../../../src/checker/findings/finding.ts";
import type { Task } from "../../../src/sync/task.ts";
import type { Covered, Layer } from "./covered.ts";

export type RigBody<S> = (shared: S, rig: HmmRig) => Task<unknown>;

export type RigTasks<S> = Readonly<
  Record<string, readonly [runs: readonly string[], body: RigBody<S>]>
>;

export type RigTwin<S> = readonly [
  name: string,
  summary: string,
  expects: FindingKind,
  tasks: Readonly<Record<string, RigBody<S>>>,
];

/** Without the name of its layer in its own. */
export interface RigCovering<S> extends Omit<RigScenario<S>, "tasks" | "expects"> {
  readonly layer: Layer;
  readonly summary: string;
  readonly tasks: RigTasks<S>;
  readonly twins: readonly RigTwin<S>[];
}

/** Makes `coverage/<layer>/<name>`, and `coverage/<layer>/<name>/<twin>` for each twin. */
export function coveringOnRig<S>(covering: RigCovering<S>): Covered {
  const { layer, name, summary, tasks, twins, ...parts } = covering;
  const entries = Object.entries(tasks);
  const bodies = Object.fromEntries(entries.map(([task, [, body]]) => [task, body]));
  const fullName = `coverage/${layer}/${name}`;
  return {
    layer,
    scenario: rigScenario<S>({ ...parts, name: fullName, summary, tasks: bodies }),
    twins: twins.map(([twin, about, expects, own]) =>
      rigScenario<S>({
        ...parts,
        name: `${fullName}/${twin}`,
        summary: about,
        expects,
        tasks: { ...bodies, ...own },
      }),
    ),
    runs: Object.fromEntries(entries.map(([task, [runs]]) => [task, runs])),
  };
}
