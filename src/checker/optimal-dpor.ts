/**
 * @module The default engine: optimal dynamic partial-order reduction with wakeup trees (Abdulla, Aronis, Jonsson, Sagonas,
 * "Source Sets: A Foundation for Optimal Dynamic Partial Order Reduction", JACM 2017, algorithm 2). It performs exactly
 * one execution of each class, and begins none that it has to give up.
 *
 * After each execution every race of it is turned round: at the depth of the earlier step, the sequence of reversal.ts is
 * added to what is to be tried there, unless a sleeper or another sequence covers it. A race is looked at again in each
 * execution that shares it, since what covered it before may have depended on what came later.
 */

import type { Execution } from "./execution.ts";
import { Races } from "./races.ts";
import type { RaceVisitor } from "./races.ts";
import { Reversal } from "./reversal.ts";
import { BLOCKED, EVERYTHING, OVER } from "./scheduler.ts";
import type { Coverage, Decision, Scheduler } from "./scheduler.ts";
import { Sleepers } from "./sleepers.ts";
import type { Transition } from "./trace.ts";
import { wakeupNode } from "./wakeup-tree.ts";
import type { WakeupNode } from "./wakeup-tree.ts";

export class OptimalDpor implements Scheduler {
  readonly coverage: Coverage = EVERYTHING;
  readonly #run: Execution;
  readonly #races: Races;
  readonly #reversal: Reversal;
  readonly #sleepers: Sleepers;
  readonly #current: Transition[] = [];
  /** At each depth, the wakeup tree without the branch that is being explored. */
  readonly #todo: WakeupNode[][] = [[]];
  readonly #isShort: boolean;
  readonly #onRace: RaceVisitor;
  /** The last step that the next execution repeats: the one that is new. */
  #planned: WakeupNode = wakeupNode(0, 0);
  #repeat = 0;
  #depth = 0;
  #isFirst = true;
  #wasMaximal = false;

  constructor(run: Execution) {
    this.#run = run;
    this.#races = new Races(run);
    this.#reversal = new Reversal(run);
    this.#sleepers = new Sleepers(run.footprints);
    this.#isShort = run.weaknesses.has("shorten-wakeups");
    this.#onRace = (first, second): void => {
      this.#reversal.load(first, second, this.#isShort ? Math.min(second.step, run.trace.length) : run.trace.length);
      if (this.#reversal.isSuperfluous(this.#sleepers)) return;
      this.#reversal.insert(this.#todo[first]!, this.#isShort);
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
      const next = this.#todo[depth]!.shift();
      if (next === undefined) continue;
      this.#planned = next;
      this.#current[depth] = next.transition;
      this.#todo[depth + 1] = next.children;
      this.#repeat = depth + 1;
      return depth;
    }
    return undefined;
  }

  next(run: Execution): Decision {
    const { depth } = run;
    if (depth < this.#repeat) {
      if (depth === this.#repeat - 1) run.requirePlanned(this.#planned.transition, this.#planned.footprint);
      return this.#current[depth]!;
    }
    this.#depth = depth;
    this.#wasMaximal = false;
    if (depth === 0) this.#sleepers.clearRoot();
    else this.#sleepers.inherit(depth, this.#current[depth - 1]!, run.trace.footprint[depth - 1]!);
    const planned = this.#todo[depth]!.shift();
    if (planned !== undefined) {
      run.requirePlanned(planned.transition, planned.footprint);
      this.#todo[depth + 1] = planned.children;
      return (this.#current[depth] = planned.transition);
    }
    const count = run.listEnabled();
    if (count === 0) {
      this.#wasMaximal = true;
      return OVER;
    }
    for (let i = 0; i < count; i++) {
      const transition = run.enabled[i]!;
      if (this.#sleepers.has(depth, transition)) continue;
      this.#todo[depth + 1] = [];
      return (this.#current[depth] = transition);
    }
    return BLOCKED;
  }

  end(): void {
    if (this.#wasMaximal) this.#races.forEach(0, this.#onRace);
  }
}
