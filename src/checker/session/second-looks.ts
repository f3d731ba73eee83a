/**
 * @module Some executions are done again at once, step by step the same, to see whether they come
 * out the same. A search repeats the beginnings of its executions anyway, and what it repeats is
 * compared (digests.ts); but not their ends, and of a program that has one class nothing at all.
 *
 * S1. It is done often at first, and then for one execution in {@link SPACING}, by chance from a
 *     fixed seed: what a search does depends on its scenario and its options alone.
 * S2. Chance draws other numbers the second time, and the clock is set to another time of day. So
 *     chance that leads to one of two ways is noticed sooner or later, and a program that takes
 *     other ways on other days at once.
 * S3. Nobody looks on: no observer is told, and neither `check` nor the search takes part.
 */

import { RandomNumbers } from "../engines/random-numbers.ts";
import { otherEnd } from "../execution/divergence.ts";
import type { Execution } from "../execution/execution.ts";
import { forgottenIn } from "./forgotten-yields.ts";
import type { Forgotten } from "./forgotten-yields.ts";
import { UnreadWords } from "./unread-words.ts";
import { withShiftedClock } from "./shifted-clock.ts";

const SEED = 20_260_611;
/**
 * How often the first execution is done again: of two ways that chance can lead, both are seen but
 * once in 500 times.
 */
const FIRST_LOOKS = 9;
/** The same of an execution of few steps: but once in half a million times. */
const FIRST_LOOKS_AT_FEW = 19;
const FEW_STEPS = 64;
/** So many executions are done again for certain. */
const EARLY = 12;
const SPACING = 256;

/** Who is told what second looks see. */
export interface LooksListener {
  /** An operation was called without its `yield*`. */
  readonly onForgotten: (forgotten: Forgotten) => void;
  /**
   * The condition of a task that sleeps was changed by a step that touches no word which it says it
   * reads.
   */
  readonly onUnread: (task: number, step: number) => void;
}

export class SecondLooks {
  readonly #run: Execution;
  readonly #random = new RandomNumbers(SEED);
  #executions = 0;

  readonly #listener: LooksListener;
  readonly #unread = new UnreadWords();

  constructor(run: Execution, listener: LooksListener) {
    this.#run = run;
    this.#listener = listener;
  }

  /** The same of a replay, whose one execution has ended. */
  replayed(): void {
    const words = this.#run.start.copy();
    for (const forgotten of forgottenIn(this.#run, () => this.#again(words)))
      this.#listener.onForgotten(forgotten);
  }

  /**
   * An execution has ended. Throws UncontrolledNondeterminism if it does not come out the same
   * again.
   */
  ended(): void {
    const times = this.#timesFor(++this.#executions);
    if (times === 0) return;
    const words = this.#run.start.copy();
    if (this.#executions <= EARLY) this.replayed();
    for (let left = times; left > 0; left--) {
      // Up to seven weeks: the second, the minute and the hour are then as likely odd as even.
      const shiftMs = this.#random.next() + this.#random.next() / 2 ** 32;
      if (this.#executions <= EARLY) withShiftedClock(shiftMs, () => this.#again(words));
      else this.#again(words);
    }
  }

  #timesFor(execution: number): number {
    if (execution === 1) return this.#run.depth <= FEW_STEPS ? FIRST_LOOKS_AT_FEW : FIRST_LOOKS;
    return execution <= EARLY ? 1 : this.#random.below(SPACING) === 0 ? 1 : 0;
  }

  #again(words: Int32Array): void {
    const run = this.#run;
    const { trace } = run;
    run.restart(trace.length);
    this.#unread.forget();
    for (let step = 0; step < trace.length; step++) {
      const transition = trace.transition[step]!;
      this.#unread.before(run, transition);
      run.step(transition);
      const tasks = run.watchers.unwatched(() => this.#unread.after(run, transition));
      for (const task of tasks) this.#listener.onUnread(task, step);
    }
    const difference = run.start.differenceFrom(words);
    if (difference !== undefined) throw otherEnd(run, difference.word, difference.before);
  }
}
