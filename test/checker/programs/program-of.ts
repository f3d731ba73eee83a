/** @module Makes a scenario of a list of task bodies. */

import { Places } from "../../../src/checker/primitives/program.ts";
import type { Scenario } from "../../../src/checker/scenario.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";

export type Body<S> = (shared: S) => Task<unknown>;

/** A scenario whose tasks are called t0, t1 ... */
export function program<S>(
  name: string,
  start: (places: Places) => S,
  bodies: readonly Body<S>[],
): Scenario<unknown> {
  const scenario: Scenario<S> = {
    name,
    setup: (memory) => start(new Places(memory)),
    tasks: Object.fromEntries(bodies.map((body, i) => [`t${i}`, body])),
  };
  return scenario as Scenario<unknown>;
}
