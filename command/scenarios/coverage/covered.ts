/**
 * @module What a scenario of this group says about itself beside what the checker needs: which
 * functions of src/ each task runs. docs/EXPLORED.md is made of that, and a test asks V8 whether
 * those functions really ran.
 */

import { defineScenario } from "../../../src/checker/scenario.ts";
import type { AnyScenario, Scenario, ScenarioExploration } from "../../../src/checker/scenario.ts";
import type { FindingKind } from "../../../src/checker/findings/finding.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";

/** The layers of src/ that have locks or lifetimes, bottom to top. */
export const coveredLayers = [
  "sync",
  "memory",
  "mmu",
  "notifier",
  "mm",
  "hmm",
  "space",
  "devices",
] as const;

export type Layer = (typeof coveredLayers)[number];

/** One task of a scenario. */
export interface CoveringTask<S> {
  /**
   * The functions of src/ that it is there for: `mm/lifetime/mm.mmput` is `mmput` of
   * src/mm/lifetime/mm.ts, as a function or as a method.
   */
  readonly runs: readonly string[];
  readonly body: (shared: S) => Task<unknown>;
}

/**
 * The same scenario with something taken away that makes it right: so it is known to be able to
 * fail.
 */
export interface BrokenTwin<S> {
  /** Last part of its name. */
  readonly name: string;
  /** What was taken away. */
  readonly summary: string;
  readonly expects: FindingKind;
  /** The bodies that replace those of the same name. */
  readonly tasks: Readonly<Record<string, (shared: S) => Task<unknown>>>;
  readonly exploration?: ScenarioExploration;
}

/** A scenario of the shipped code, and its broken twins. */
export interface Covering<S> extends Omit<Scenario<S>, "name" | "tasks" | "expects"> {
  readonly layer: Layer;
  /** What stands behind `coverage/<layer>/`. */
  readonly name: string;
  readonly summary: string;
  readonly tasks: Readonly<Record<string, CoveringTask<S>>>;
  readonly twins?: readonly BrokenTwin<S>[];
}

/** As the lists hold it. */
export interface Covered {
  readonly layer: Layer;
  readonly scenario: AnyScenario;
  readonly twins: readonly AnyScenario[];
  /** By task, in order. */
  readonly runs: Readonly<Record<string, readonly string[]>>;
}

/**
 * Makes the scenarios: `coverage/<layer>/<name>`, and `coverage/<layer>/<name>/<twin>` for each
 * twin.
 */
export function covering<S>({ layer, name, tasks, twins, ...rest }: Covering<S>): Covered {
  const fullName = `coverage/${layer}/${name}`;
  const entries = Object.entries(tasks);
  const bodies = Object.fromEntries(entries.map(([task, { body }]) => [task, body]));
  return {
    layer,
    scenario: defineScenario<S>({ ...rest, name: fullName, tasks: bodies }),
    twins: (twins ?? []).map((twin) =>
      defineScenario<S>({
        ...rest,
        name: `${fullName}/${twin.name}`,
        summary: twin.summary,
        expects: twin.expects,
        exploration: { ...rest.exploration, ...twin.exploration },
        tasks: { ...bodies, ...twin.tasks },
      }),
    ),
    runs: Object.fromEntries(entries.map(([task, { runs }]) => [task, runs])),
  };
}

/** What this group of scenarios cannot say, for docs/EXPLORED.md. */
export const limitsOfCoverage: Readonly<Record<string, string>> = {
  primitives:
    "How a primitive of `sync/` does its work is explored access by access in the scenarios `coverage/sync/spelled-out/`, which run the shipped loops with their sleeping and waking. Everywhere else an operation of a primitive is one step: the shipped transition (`tryEnterRead`, `release`, ...), of which `src/sync/tasks/explored.ts` says when it is enabled. Not spelled out: the lists of SRCU's deferred calls, which its lock guards. Liveness waiters are counted instead of made.",
  access:
    "Loads and stores by value run as shipped, each access a step (`coverage/mm/load-vs-*`, `store-vs-*`, `coverage/devices/kernel-*`). All words of a page count as one word to the explorer. That no CPU turns the two reads of a load round is a property of hosts, and tested with threads.",
  allocator:
    "In scenarios on a harness each task allocates from an arena of its own (`src/memory/heap/arenas.ts`), so the slab cache and the buddy system are explored only where a scenario is said to use them.",
  plain:
    "Code between two steps runs as one piece. Plain accesses to fields, arrays and lists are checked for data races, and a test sees every access to the kernel heap, plain or atomic, of every two operations at once (`test/checker/every-access.test.ts`). The entries that a device looks at to choose what to prefetch are read in one step.",
  memory: "Memory models: every step is sequentially consistent, which is what Atomics are.",
  workers:
    "What needs Workers, messages or a host: `host/`, `space/machine-seat.ts`, and the software device's Workers; what they run, work items and the service of faults, is explored, with tasks in the place of threads. They are tested with real threads that are terminated at any moment.",
};
