/**
 * @module What a scenario of this group says about itself beside what the checker needs: which functions of src/ each task runs.
 * docs/EXPLORED.md is made of that, and a test asks V8 whether those functions really ran.
 */

import { defineScenario } from "../../src/checker/scenario.ts";
import type { AnyScenario, Scenario, ScenarioExploration } from "../../src/checker/scenario.ts";
import type { FindingKind } from "../../src/checker/findings/finding.ts";
import type { Task } from "../../src/sync/task.ts";

/** The layers of src/ that have locks or lifetimes, bottom to top. */
export const coveredLayers = ["sync", "memory", "notifier", "mm", "hmm", "space", "devices"] as const;

export type Layer = (typeof coveredLayers)[number];

/** One task of a scenario. */
export interface CoveringTask<S> {
  /** The functions of src/ that it is there for: `mm/mm.mmput` is `mmput` of src/mm/mm.ts, as a function or as a method. */
  readonly runs: readonly string[];
  readonly body: (shared: S) => Task<unknown>;
}

/** The same scenario with something taken away that makes it right: so it is known to be able to fail. */
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

/** Makes the scenarios: `coverage/<layer>/<name>`, and `coverage/<layer>/<name>/<twin>` for each twin. */
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
    "How a primitive of `sync/` does its work with atomic instructions (the loops of `lock`, `downRead` and their like). An explored operation is one step of which `src/sync/explored.ts` says when it is enabled and what it does; that branch shares the words and their meaning with the real one, not its loops. Threads that run for real test those (`test/sync/threads.test.ts`).",
  access:
    "Loads and stores of the CPU that hit (`src/memory/*-access.ts`): plain functions of a few nanoseconds without scheduling points. `coverage/mm/load-vs-zap` and `coverage/mm/store-vs-zap` explore their protocol: shipped are the translation (`cpuTranslate`), the zap that takes the page away, the generation words, `enterStore`, `leaveStore` and `flush`; modelled is the order of an access's own reads, written in the scenario as in `store-aim.ts` and its siblings, each a step of its own, and the data, which is whether the frame is still in use. That no CPU turns the two reads of a load round is a property of hosts, and tested with threads.",
  allocator:
    "In scenarios on a rig each task allocates from an arena of its own (`src/memory/arenas.ts`), so the slab cache and the buddy system are explored only where a scenario is said to use them.",
  plain:
    "Code without a scheduling point between two plain accesses runs as one step. Plain accesses to fields, arrays and lists are checked for data races; a word that is read without a lock and without naming it could hide an order. The engines are compared with one that trusts less, on every small scenario, which has found five such words.",
  memory: "Memory models: every step is sequentially consistent, which is what Atomics are.",
  workers:
    "What needs Workers, messages or a host: `host/`, `space/machine-seat.ts`, the software device's Workers and kernels (what serves their faults is explored, its threads played by tasks; its page table's readers are, as those of the CPU's, plain code). They are tested with real threads that are terminated at any moment.",
};
