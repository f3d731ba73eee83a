/**
 * @module The two oracles: every interleaving, and one execution of each class by sleep sets alone. Neither is clever,
 * which is what they are for: each cleverer engine must agree with them.
 */

import type { Execution } from "./execution.ts";
import { BLOCKED, EVERYTHING, OVER } from "./scheduler.ts";
import type { Coverage, Decision, Scheduler } from "./scheduler.ts";
import { Sleepers } from "./sleepers.ts";
import type { Transition } from "./trace.ts";

/** Tries all enabled transitions at every depth. With sleep sets: all but those asleep. */
export class DepthFirst implements Scheduler {
  readonly coverage: Coverage = EVERYTHING;
  readonly #withSleep: boolean;
  #sleepers: Sleepers | undefined;
  readonly #current: Transition[] = [];
  readonly #todo: Transition[][] = [];
  #lastRun: Execution | undefined;
  #repeat = 0;
  #isFirst = true;

  constructor(options: { readonly sleepSets: boolean }) {
    this.#withSleep = options.sleepSets;
  }

  begin(): number | undefined {
    if (this.#isFirst) {
      this.#isFirst = false;
      return 0;
    }
    while (this.#current.length > 0) {
      const depth = this.#current.length - 1;
      const footprint = this.#lastRun?.trace.footprint[depth] ?? 0;
      this.#sleepers?.add(depth, this.#current[depth]!, footprint);
      const next = this.#todo[depth]!.shift();
      if (next !== undefined) {
        this.#current[depth] = next;
        this.#repeat = depth + 1;
        return depth;
      }
      this.#current.pop();
      this.#todo.pop();
    }
    return undefined;
  }

  next(run: Execution): Decision {
    const { depth } = run;
    if (depth < this.#repeat) return this.#current[depth]!;
    if (this.#withSleep) this.#inherit(run, depth);
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

  end(run: Execution): void {
    this.#lastRun = run;
  }

  #inherit(run: Execution, depth: number): void {
    this.#sleepers ??= new Sleepers(run.footprints);
    if (depth === 0) this.#sleepers.clearRoot();
    else this.#sleepers.inherit(depth, this.#current[depth - 1]!, run.trace.footprint[depth - 1]!);
  }
}
