/**
 * @module The sampling engines: they find most bugs fastest, and prove nothing. Each uses random
 * numbers from a seed.
 *
 * - Random: each enabled transition has the same probability.
 * - PCT (Burckhardt, Kothari, Musuvathi, Nagarakatte, ASPLOS 2010): tasks have random priorities,
 *   and the task with the highest one runs. At d - 1 random steps the running task gets the lowest
 *   priority. A bug of depth d is found with a probability of at least 1 / (n k^(d-1)), for n tasks
 *   and k steps.
 * - POS (Yuan, Yang, Gu, CAV 2018): operations have random priorities, and the one with the highest
 *   runs. The operations that conflict with it then get new priorities. So every order of
 *   conflicting operations has a chance.
 */

import type { SearchedRun } from "../execution/searched-run.ts";
import { RUN, choiceOf, taskOf } from "../steps/trace.ts";
import type { Transition } from "../steps/trace.ts";
import type { RandomNumbers } from "./random-numbers.ts";
import { OVER, SAMPLED } from "./scheduler.ts";
import type { Coverage, Decision, Scheduler } from "./scheduler.ts";

interface SamplingState {
  readonly random: number;
  /** For "pct": the length of the longest execution so far. */
  readonly longest: number;
}

export class RandomWalk implements Scheduler {
  readonly coverage: Coverage = SAMPLED;
  readonly #random: RandomNumbers;

  constructor(random: RandomNumbers) {
    this.#random = random;
  }

  begin(): number {
    return 0;
  }

  next(run: SearchedRun): Decision {
    const count = run.listEnabled();
    return count === 0 ? OVER : run.enabled[this.#random.below(count)]!;
  }

  end(): void {}

  save(): SamplingState {
    return { random: this.#random.state, longest: 0 };
  }

  restore(state: unknown): void {
    this.#random.state = (state as SamplingState).random;
  }

  fraction(): undefined {}
}

export class Pct implements Scheduler {
  readonly coverage: Coverage = SAMPLED;
  readonly #random: RandomNumbers;
  readonly #depth: number;
  readonly #priorities: number[] = [];
  #changes: number[] = [];
  #longest = 1;

  /** `depth`: the bug depth d. */
  constructor(run: SearchedRun, random: RandomNumbers, depth: number) {
    this.#random = random;
    this.#depth = depth;
    this.#priorities.length = run.tasks;
  }

  begin(): number {
    for (let task = 0; task < this.#priorities.length; task++)
      this.#priorities[task] = this.#random.next() + this.#depth;
    this.#changes = Array.from({ length: this.#depth - 1 }, () =>
      this.#random.below(this.#longest),
    );
    return 0;
  }

  next(run: SearchedRun): Decision {
    const count = run.listEnabled();
    if (count === 0) return OVER;
    let chosen = this.#highest(run, count);
    const change = this.#changes.indexOf(run.depth);
    if (change !== -1) {
      this.#priorities[taskOf(chosen)] = change;
      chosen = this.#highest(run, count);
    }
    return chosen;
  }

  end(run: SearchedRun): void {
    this.#longest = Math.max(this.#longest, run.depth);
  }

  save(): SamplingState {
    return { random: this.#random.state, longest: this.#longest };
  }

  restore(state: unknown): void {
    const { random, longest } = state as SamplingState;
    this.#random.state = random;
    this.#longest = longest;
  }

  fraction(): undefined {}

  /** If the task has several transitions (run, time out), one of them at random. */
  #highest(run: SearchedRun, count: number): Transition {
    let best = run.enabled[0]!;
    for (let i = 1; i < count; i++) {
      const transition = run.enabled[i]!;
      const difference = this.#priorities[taskOf(transition)]! - this.#priorities[taskOf(best)]!;
      if (difference > 0 || (difference === 0 && this.#random.below(2) === 0)) best = transition;
    }
    return best;
  }
}

export class Pos implements Scheduler {
  readonly coverage: Coverage = SAMPLED;
  readonly #random: RandomNumbers;
  readonly #priorities: number[] = [];

  constructor(run: SearchedRun, random: RandomNumbers) {
    this.#random = random;
    this.#priorities.length = run.tasks;
  }

  begin(): number {
    for (let task = 0; task < this.#priorities.length; task++)
      this.#priorities[task] = this.#random.next();
    return 0;
  }

  next(run: SearchedRun): Decision {
    const count = run.listEnabled();
    if (count === 0) return OVER;
    let best = run.enabled[0]!;
    for (let i = 1; i < count; i++) {
      const transition = run.enabled[i]!;
      const difference = this.#priorities[taskOf(transition)]! - this.#priorities[taskOf(best)]!;
      if (difference > 0 || (difference === 0 && this.#random.below(2) === 0)) best = transition;
    }
    this.#drawAgain(run, best);
    return best;
  }

  end(): void {}

  save(): SamplingState {
    return { random: this.#random.state, longest: 0 };
  }

  restore(state: unknown): void {
    this.#random.state = (state as SamplingState).random;
  }

  fraction(): undefined {}

  #drawAgain(run: SearchedRun, chosen: Transition): void {
    const footprint = run.footprintOf(taskOf(chosen), choiceOf(chosen));
    for (let task = 0; task < run.tasks; task++) {
      if (run.pending[task] === undefined) continue;
      const isRival =
        task === taskOf(chosen) || run.footprints.conflict(run.footprintOf(task, RUN), footprint);
      if (isRival) this.#priorities[task] = this.#random.next();
    }
  }
}
