/**
 * @module Follows given schedules, each once: the schedule of a token, or those that the minimiser
 * tries. It asks for the next schedule only after the one before has ended. So the next one may
 * depend on the result.
 */

import type { SearchedRun } from "../execution/searched-run.ts";
import { SPURIOUS, choiceOf, isGoingOn, taskOf } from "../steps/trace.ts";
import type { Transition } from "../steps/trace.ts";
import { OVER, SAMPLED, STOPPED } from "./scheduler.ts";
import type { Coverage, Decision, Scheduler } from "./scheduler.ts";

export class Follow implements Scheduler {
  readonly coverage: Coverage = SAMPLED;
  readonly #schedules: Iterator<readonly Transition[]>;
  readonly #isLenient: boolean;
  readonly #finishes: boolean;
  #schedule: readonly Transition[] = [];
  #last = -1;
  #next = 0;

  /**
   * `lenient`: it skips steps that are not possible; otherwise they are an error. `finish`: it goes
   * on after each schedule, each task for as long as it can.
   */
  constructor(
    schedules: Iterable<readonly Transition[]>,
    options: { readonly lenient: boolean; readonly finish: boolean },
  ) {
    this.#schedules = schedules[Symbol.iterator]();
    this.#isLenient = options.lenient;
    this.#finishes = options.finish;
  }

  begin(): number | undefined {
    const next = this.#schedules.next();
    if (next.done === true) return undefined;
    this.#schedule = next.value;
    this.#next = 0;
    this.#last = -1;
    return 0;
  }

  next(run: SearchedRun): Decision {
    const count = run.listEnabled();
    if (count === 0) return OVER;
    const enabled = run.enabled.subarray(0, count);
    while (this.#next < this.#schedule.length) {
      const transition = this.#schedule[this.#next++]!;
      if (enabled.includes(transition)) return this.#go(transition);
      if (!this.#isLenient) {
        throw new RangeError(
          `Cannot replay: step ${this.#next - 1} of the schedule is not possible; is this its scenario?`,
        );
      }
    }
    // A spurious wake may come, but need not: a task that only one could wake is stuck.
    const isStuck =
      run.budget.spuriousWakes === Infinity && enabled.every((each) => choiceOf(each) === SPURIOUS);
    if (isStuck) return OVER;
    if (!this.#finishes) return STOPPED;
    const willing = enabled.filter((transition) => isGoingOn(transition));
    return this.#go(
      willing.find((transition) => taskOf(transition) === this.#last) ?? willing[0] ?? enabled[0]!,
    );
  }

  #go(transition: Transition): Transition {
    this.#last = taskOf(transition);
    return transition;
  }

  end(): void {}

  save(): undefined {}

  restore(): void {}

  fraction(): undefined {}
}
