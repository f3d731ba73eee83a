/**
 * @module Source-DPOR with sleep sets (the paper of optimal-dpor.ts, algorithm 1). It keeps no
 * sequences, only which transitions to try at each depth. So it begins executions that it has to
 * give up. It serves as a further oracle for the optimal engine.
 */

import type { SearchedRun } from "../execution/searched-run.ts";
import { requirePlanned } from "./planned.ts";
import type { Transition } from "../steps/trace.ts";
import { fractionOf } from "./estimate.ts";
import { Races } from "./races.ts";
import type { RaceVisitor } from "./races.ts";
import { Reversal } from "./reversal.ts";
import { BLOCKED, EVERYTHING, OVER } from "./scheduler.ts";
import type { Coverage, Decision, Scheduler } from "./scheduler.ts";
import { SleepSets } from "./sleep-sets.ts";
import { exportNodes, importNodes } from "./wakeup-tree.ts";
import type { PortableNodes, WakeupNode } from "./wakeup-tree.ts";

interface SourceState {
  /** The steps of the last execution, with the sleep set at each. */
  readonly frames: PortableNodes;
  readonly backtrack: readonly (readonly Transition[])[];
  readonly tried: readonly (readonly Transition[])[];
}

export class SourceDpor implements Scheduler {
  readonly coverage: Coverage = EVERYTHING;
  readonly #run: SearchedRun;
  readonly #races: Races;
  readonly #reversal: Reversal;
  readonly #sleepers: SleepSets;
  readonly #current: Transition[] = [];
  /** At each depth: the transitions that were tried or must be. */
  readonly #backtrack: Set<Transition>[] = [];
  readonly #tried: Set<Transition>[] = [];
  readonly #onRace: RaceVisitor;
  /** Footprints of the current steps, if the search was restored from a saved state. */
  #plannedFootprints: number[] = [];
  #repeat = 0;
  #depth = 0;
  #isFirst = true;

  constructor(run: SearchedRun) {
    this.#run = run;
    this.#races = new Races(run);
    this.#reversal = new Reversal(run);
    this.#sleepers = new SleepSets(run.footprints);
    this.#onRace = (first, second): void => {
      this.#reversal.load(first, second, Math.min(second.step, run.trace.length));
      const initials = this.#reversal.initials();
      const backtrack = this.#backtrack[first]!;
      if (initials.some((transition) => backtrack.has(transition))) return;
      const chosen = initials[0];
      if (chosen !== undefined) backtrack.add(chosen);
    };
  }

  begin(): number | undefined {
    if (this.#isFirst) {
      this.#isFirst = false;
      return 0;
    }
    for (let depth = this.#depth - 1; depth >= 0; depth--) {
      this.#sleepers.add(depth, this.#current[depth]!, this.#footprintAt(depth));
      for (const transition of this.#backtrack[depth]!) {
        if (this.#tried[depth]!.has(transition) || this.#sleepers.has(depth, transition)) continue;
        this.#tried[depth]!.add(transition);
        this.#current[depth] = transition;
        this.#plannedFootprints.length = Math.min(this.#plannedFootprints.length, depth);
        this.#repeat = depth + 1;
        return depth;
      }
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
    this.#depth = depth;
    if (depth === 0) this.#sleepers.clearRoot();
    else this.#sleepers.inherit(depth, this.#current[depth - 1]!, run.trace.footprint[depth - 1]!);
    const count = run.listEnabled();
    if (count === 0) return OVER;
    for (let i = 0; i < count; i++) {
      const transition = run.enabled[i]!;
      if (this.#sleepers.has(depth, transition)) continue;
      this.#backtrack[depth] = new Set([transition]);
      this.#tried[depth] = new Set([transition]);
      return (this.#current[depth] = transition);
    }
    return BLOCKED;
  }

  end(): void {
    this.#races.forEach(0, this.#onRace);
    this.#plannedFootprints = [];
  }

  save(): SourceState {
    const frames = Array.from({ length: this.#depth }, (_, depth): WakeupNode => {
      const begun = { sleepers: this.#sleepers.list(depth), tried: 0 };
      return {
        transition: this.#current[depth]!,
        footprint: this.#footprintAt(depth),
        children: [],
        begun,
      };
    });
    return {
      frames: exportNodes(frames, this.#run.footprints),
      backtrack: this.#backtrack.slice(0, this.#depth).map((set) => Array.from(set)),
      tried: this.#tried.slice(0, this.#depth).map((set) => Array.from(set)),
    };
  }

  restore(state: unknown): void {
    const { frames, backtrack, tried } = state as SourceState;
    const nodes = importNodes(frames, this.#run.footprints);
    for (const [depth, { transition, footprint, begun }] of nodes.entries()) {
      this.#current[depth] = transition;
      this.#plannedFootprints[depth] = footprint;
      this.#sleepers.replace(depth, begun?.sleepers ?? []);
      this.#backtrack[depth] = new Set(backtrack[depth]);
      this.#tried[depth] = new Set(tried[depth]);
    }
    this.#depth = nodes.length;
    this.#isFirst = nodes.length === 0;
  }

  fraction(): number {
    // The last execution's own end counts as a branch without any left.
    const tried = [...this.#tried.slice(0, this.#depth).map((set) => set.size - 1), 1];
    return fractionOf(tried, (depth) => (depth === this.#depth ? 0 : this.#untried(depth)));
  }

  #untried(depth: number): number {
    let count = 0;
    for (const transition of this.#backtrack[depth]!) {
      if (!this.#tried[depth]!.has(transition) && !this.#sleepers.has(depth, transition)) count++;
    }
    return count;
  }

  #footprintAt(depth: number): number {
    return this.#plannedFootprints[depth] ?? this.#run.trace.footprint[depth]!;
  }
}
