/**
 * @module Two simple engines that serve as oracles: one performs every interleaving, the other one
 * execution of each class by sleep sets alone. The results of every other engine must agree with
 * theirs.
 */

import type { SearchedRun } from "../execution/searched-run.ts";
import { requirePlanned } from "./planned.ts";
import type { Transition } from "../steps/trace.ts";
import { fractionOf } from "./estimate.ts";
import { BLOCKED, EVERYTHING, OVER } from "./scheduler.ts";
import type { Coverage, Decision, Scheduler } from "./scheduler.ts";
import { SleepSets } from "./sleep-sets.ts";
import { exportNodes, importNodes } from "./wakeup-tree.ts";
import type { PortableNodes, WakeupNode } from "./wakeup-tree.ts";

interface DepthFirstState {
  /** The steps of the last execution, with the sleep set at each. */
  readonly frames: PortableNodes;
  readonly todo: readonly (readonly Transition[])[];
}

/** Tries all enabled transitions at every depth. With sleep sets: all but those asleep. */
export class DepthFirst implements Scheduler {
  readonly coverage: Coverage = EVERYTHING;
  readonly #run: SearchedRun;
  readonly #sleepers: SleepSets | undefined;
  readonly #current: Transition[] = [];
  readonly #todo: Transition[][] = [];
  /** At each depth, how many branches are done. */
  readonly #tried: number[] = [];
  /** Footprints of the current steps, if the search was restored from a saved state. */
  #plannedFootprints: number[] = [];
  #repeat = 0;
  #isFirst = true;

  constructor(run: SearchedRun, options: { readonly sleepSets: boolean }) {
    this.#run = run;
    if (options.sleepSets) this.#sleepers = new SleepSets(run.footprints);
  }

  begin(): number | undefined {
    if (this.#isFirst) {
      this.#isFirst = false;
      return 0;
    }
    while (this.#current.length > 0) {
      const depth = this.#current.length - 1;
      this.#sleepers?.add(depth, this.#current[depth]!, this.#footprintAt(depth));
      this.#tried[depth] = this.#tried[depth]! + 1;
      const next = this.#todo[depth]!.shift();
      if (next !== undefined) {
        this.#current[depth] = next;
        this.#plannedFootprints.length = Math.min(this.#plannedFootprints.length, depth);
        this.#repeat = depth + 1;
        return depth;
      }
      this.#current.pop();
      this.#todo.pop();
    }
    return undefined;
  }

  next(run: SearchedRun): Decision {
    const { depth } = run;
    if (depth < this.#repeat) {
      if (depth < this.#plannedFootprints.length)
        requirePlanned(run, this.#current[depth]!, this.#plannedFootprints[depth]!);
      return this.#current[depth]!;
    }
    this.#tried[depth] = 0;
    if (depth === 0) this.#sleepers?.clearRoot();
    else this.#sleepers?.inherit(depth, this.#current[depth - 1]!, run.trace.footprint[depth - 1]!);
    const count = run.listEnabled();
    if (count === 0) return OVER;
    const choices: Transition[] = [];
    for (let i = 0; i < count; i++) {
      const transition = run.enabled[i]!;
      if (this.#sleepers?.has(depth, transition) !== true) choices.push(transition);
    }
    const first = choices.shift();
    if (first === undefined) return BLOCKED;
    this.#current[depth] = first;
    this.#todo[depth] = choices;
    return first;
  }

  end(): void {
    this.#plannedFootprints = [];
  }

  save(): DepthFirstState {
    const frames = this.#current.map((transition, depth): WakeupNode => {
      const begun = { sleepers: this.#sleepers?.list(depth) ?? [], tried: this.#tried[depth]! };
      return { transition, footprint: this.#footprintAt(depth), children: [], begun };
    });
    return { frames: exportNodes(frames, this.#run.footprints), todo: this.#todo };
  }

  restore(state: unknown): void {
    const { frames, todo } = state as DepthFirstState;
    const nodes = importNodes(frames, this.#run.footprints);
    for (const [depth, { transition, footprint, begun }] of nodes.entries()) {
      this.#current[depth] = transition;
      this.#plannedFootprints[depth] = footprint;
      this.#tried[depth] = begun?.tried ?? 0;
      this.#sleepers?.replace(depth, begun?.sleepers ?? []);
      this.#todo[depth] = Array.from(todo[depth] ?? []);
    }
    this.#isFirst = nodes.length === 0;
  }

  fraction(): number {
    // The last execution's own end counts as a branch without any left.
    const depths = this.#current.length;
    return fractionOf(
      [...this.#tried.slice(0, depths), 1],
      (depth) => this.#todo[depth]?.length ?? 0,
    );
  }

  #footprintAt(depth: number): number {
    return this.#plannedFootprints[depth] ?? this.#run.trace.footprint[depth]!;
  }
}
