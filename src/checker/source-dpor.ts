/**
 * @module Source-DPOR with sleep sets (the same paper, algorithm 1): keeps no sequences, only which tasks to try at each
 * depth, and so begins executions that it has to give up. Kept as a second opinion between the oracles and the optimal
 * engine.
 */

import type { Execution } from "./execution.ts";
import { Races } from "./races.ts";
import type { RaceVisitor } from "./races.ts";
import { Reversal } from "./reversal.ts";
import { BLOCKED, EVERYTHING, OVER } from "./scheduler.ts";
import type { Coverage, Decision, Scheduler } from "./scheduler.ts";
import { Sleepers } from "./sleepers.ts";
import type { Transition } from "./trace.ts";

export class SourceDpor implements Scheduler {
  readonly coverage: Coverage = EVERYTHING;
  readonly #run: Execution;
  readonly #races: Races;
  readonly #reversal: Reversal;
  readonly #sleepers: Sleepers;
  readonly #current: Transition[] = [];
  /** At each depth, what was tried or is to be. */
  readonly #backtrack: Set<Transition>[] = [];
  readonly #tried: Set<Transition>[] = [];
  readonly #onRace: RaceVisitor;
  #repeat = 0;
  #depth = 0;
  #isFirst = true;

  constructor(run: Execution) {
    this.#run = run;
    this.#races = new Races(run);
    this.#reversal = new Reversal(run);
    this.#sleepers = new Sleepers(run.footprints);
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
    const { footprint } = this.#run.trace;
    for (let depth = this.#depth - 1; depth >= 0; depth--) {
      this.#sleepers.add(depth, this.#current[depth]!, footprint[depth]!);
      for (const transition of this.#backtrack[depth]!) {
        if (this.#tried[depth]!.has(transition) || this.#sleepers.has(depth, transition)) continue;
        this.#tried[depth]!.add(transition);
        this.#current[depth] = transition;
        this.#repeat = depth + 1;
        return depth;
      }
    }
    return undefined;
  }

  next(run: Execution): Decision {
    const { depth } = run;
    if (depth < this.#repeat) return this.#current[depth]!;
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
  }
}
