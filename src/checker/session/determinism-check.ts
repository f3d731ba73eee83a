/**
 * @module Checks that the scenario is deterministic: some executions are repeated at once, step by
 * step, and must have the same outcome. A search repeats the beginnings of executions anyway and
 * compares them (digests.ts). But it does not repeat their ends, and nothing at all of a program
 * with a single class.
 *
 * S1. The first executions are repeated, and then one in {@link SPACING}, drawn from a fixed seed.
 *     So what a search does depends only on its scenario and its options.
 * S2. In a repetition random numbers differ, and the clock is set to another time of day. So a
 *     program whose path depends on random numbers is found sooner or later, and one that depends
 *     on the date or the time of day at once.
 * S3. A repetition calls neither observers nor `check`, and the search does not see it.
 */

import { RandomNumbers } from "../engines/random-numbers.ts";
import { otherEnd } from "../execution/divergence.ts";
import type { Execution } from "../execution/execution.ts";
import { forgottenIn } from "./forgotten-yields.ts";
import type { Forgotten } from "./forgotten-yields.ts";
import { UndeclaredReads } from "./undeclared-reads.ts";
import { withShiftedClock } from "./shifted-clock.ts";

const SEED = 20_260_611;
/**
 * How often the first execution is repeated. If a random choice has two equally likely outcomes,
 * only one search in 500 does not see both.
 */
const FIRST_REPEATS = 9;
/** The same for an execution of few steps: one search in half a million. */
const FIRST_REPEATS_IF_SHORT = 19;
const FEW_STEPS = 64;
/** The first executions, each of which is repeated. */
const EARLY = 12;
const SPACING = 256;

/** Receives what a repetition finds. */
export interface DeterminismEvents {
  /** An operation was called without `yield*`. */
  readonly onForgotten: (forgotten: Forgotten) => void;
  /**
   * A step changed the condition of a sleeping task, but touched no word that the condition
   * declares.
   */
  readonly onUndeclaredRead: (task: number, step: number) => void;
}

export class DeterminismCheck {
  readonly #run: Execution;
  readonly #random = new RandomNumbers(SEED);
  #executions = 0;

  readonly #events: DeterminismEvents;
  readonly #undeclaredReads = new UndeclaredReads();

  constructor(run: Execution, events: DeterminismEvents) {
    this.#run = run;
    this.#events = events;
  }

  /** For a replay, after its only execution has ended. */
  replayed(): void {
    const words = this.#run.start.copy();
    for (const forgotten of forgottenIn(this.#run, () => this.#repeat(words)))
      this.#events.onForgotten(forgotten);
  }

  /**
   * An execution has ended. Throws UncontrolledNondeterminism if a repetition has another outcome.
   */
  ended(): void {
    const times = this.#timesFor(++this.#executions);
    if (times === 0) return;
    const words = this.#run.start.copy();
    if (this.#executions <= EARLY) this.replayed();
    for (let left = times; left > 0; left--) {
      // Up to seven weeks: so second, minute and hour are odd or even with equal probability.
      const shiftMs = this.#random.next() + this.#random.next() / 2 ** 32;
      if (this.#executions <= EARLY) withShiftedClock(shiftMs, () => this.#repeat(words));
      else this.#repeat(words);
    }
  }

  #timesFor(execution: number): number {
    if (execution === 1)
      return this.#run.depth <= FEW_STEPS ? FIRST_REPEATS_IF_SHORT : FIRST_REPEATS;
    return execution <= EARLY ? 1 : this.#random.below(SPACING) === 0 ? 1 : 0;
  }

  #repeat(words: Int32Array): void {
    const run = this.#run;
    const { trace } = run;
    run.restart(trace.length);
    this.#undeclaredReads.reset();
    for (let step = 0; step < trace.length; step++) {
      const transition = trace.transition[step]!;
      this.#undeclaredReads.before(run, transition);
      run.step(transition);
      const tasks = run.watchers.unwatched(() => this.#undeclaredReads.after(run, transition));
      for (const task of tasks) this.#events.onUndeclaredRead(task, step);
    }
    const difference = run.start.differenceFrom(words);
    if (difference !== undefined) throw otherEnd(run, difference.word, difference.before);
  }
}
