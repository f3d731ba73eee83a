/**
 * @module Loops without an end: tasks that go on for ever and get nowhere. Such a loop is found as
 * a lasso: the last steps of an execution are a cycle that leads back to the same state.
 *
 * L1. The memory is compared word by word. A word that grows by the same amount in every round is a
 *     counter (of wakes, of invalidations, for statistics) and may differ by that amount. A task's
 *     local variables are not seen. So a cycle counts only if the same steps can go round it ROUNDS
 *     times more. A loop that counts its rounds is over by then, unless it means to make more of
 *     them.
 * L2. A livelock is a fair cycle: it leaves out no task that could go on at every moment of it. A
 *     task that goes round while it leaves another out waits without saying so. But near such a
 *     loop there may be a fair cycle. So one is looked for (fair-cycle.ts) before the loop is taken
 *     for a spin.
 */

import type { Execution } from "../execution/execution.ts";
import { taskOf } from "../steps/trace.ts";
import type { Trace, Transition } from "../steps/trace.ts";
import { fairRounds } from "./fair-cycle.ts";

/**
 * How often a cycle is gone round before it is believed: loops that count to a hundred are no
 * livelocks.
 */
const ROUNDS = 1000;
/**
 * Steps after which cycles of any length are looked for, and again whenever an execution is twice
 * as long.
 */
const FIRST_LOOK = 64;
/** Those of up to half a window are looked for every so many steps. */
const LOOK_EVERY = 8;
const WINDOW = 64;
const REPEATED = 3;
const ROUNDS_TRIED = 4;

/** A cycle, which the execution has gone round twice: its latest steps. */
export interface Lasso {
  readonly steps: number;
  /** Steps before the cycle is entered. */
  readonly stem: number;
  /** Which tasks make its steps. */
  readonly tasks: readonly number[];
  /** Tasks that are left out although they could go on: none, if it is a livelock. */
  readonly leftOut: readonly number[];
}

/** What going round has shown. */
interface Verdict {
  readonly isEndless: boolean;
  readonly leftOut: readonly number[];
}

export class Lassos {
  /** Cycles that come to an end, by digest and length. */
  readonly #ending = new Set<string>();

  /**
   * The cycle that the execution is in. Looks only now and then, unless `isEnd`. The execution is
   * then where it was, or at its end.
   */
  find(run: Execution, isEnd: boolean): Lasso | undefined {
    const { depth, trace } = run;
    const isLong = isEnd || (depth >= FIRST_LOOK && (depth & (depth - 1)) === 0);
    if (!isLong && depth % LOOK_EVERY !== 0) return undefined;
    const period =
      recurrenceOf(trace, depth, isLong ? depth : WINDOW) || (isLong ? periodOf(trace, depth) : 0);
    if (period === 0) return undefined;
    const key = `${trace.digest[depth - 1]} ${period}`;
    if (this.#ending.has(key)) return undefined;
    const before = Array.from(trace.transition.subarray(0, depth));
    const cycle = before.slice(depth - period);
    const { isEndless, leftOut } = goRound(run, cycle);
    if (!isEndless) this.#ending.add(key);
    const stem = before.slice(0, entryOf(trace, depth, period));
    const isSpin = isEndless && leftOut.length > 0;
    const round = isSpin ? (fairRoundNear(run, []) ?? fairRoundNear(run, stem)) : undefined;
    if (round !== undefined) return round;
    run.restart(0);
    for (const transition of before) run.step(transition);
    const tasks = [...new Set(cycle.map(taskOf))];
    return isEndless ? { steps: period, stem: stem.length, tasks, leftOut } : undefined;
  }
}

/** A livelock behind the steps of the stem, if one is found; the execution is then in it. */
function fairRoundNear(run: Execution, from: readonly Transition[]): Lasso | undefined {
  for (const { stem, cycle } of fairRounds(run, from).slice(0, ROUNDS_TRIED)) {
    const enters = (): boolean => {
      run.restart(0);
      return [...stem, ...cycle, ...cycle].every((transition) => {
        const isPossible = run.frontier.enabledNow().includes(transition);
        if (isPossible) run.step(transition);
        return isPossible;
      });
    };
    if (!enters()) continue;
    const { isEndless, leftOut } = goRound(run, cycle);
    if (!isEndless || leftOut.length > 0 || !enters()) continue;
    return {
      steps: cycle.length,
      stem: stem.length,
      tasks: [...new Set(cycle.map(taskOf))],
      leftOut,
    };
  }
  return undefined;
}

/**
 * Goes round the cycle: whether that leads back each time, and whom it leaves out who could go on
 * all the while.
 */
function goRound(run: Execution, cycle: readonly Transition[]): Verdict {
  const ending: Verdict = { isEndless: false, leftOut: [] };
  const state = run.start.copy();
  const growth = new Int32Array(state.length);
  let leftOut = Array.from(run.pending.keys());
  const start = run.depth;
  for (let round = 0; round < ROUNDS; round++) {
    for (let i = 0; i < cycle.length; i++) {
      const enabled = run.frontier.enabledNow();
      if (!enabled.includes(cycle[i]!)) return ending;
      if (round === 0) {
        const able = new Set(Array.from(enabled, taskOf));
        leftOut = leftOut.filter(
          (task) => able.has(task) && !cycle.some((step) => taskOf(step) === task),
        );
      }
      run.step(cycle[i]!);
      if (!isLike(run.trace, run.depth - 1, start - cycle.length + i)) return ending;
    }
    const now = run.start.copy();
    for (let at = 0; at < now.length; at++) {
      const grown = (now[at]! - state[at]!) | 0;
      if (round === 0) growth[at] = grown;
      else if (grown !== Math.imul(growth[at]!, round + 1)) return ending;
    }
  }
  return { isEndless: true, leftOut };
}

/** How many steps come before the cycle of which an execution has made the latest rounds. */
function entryOf({ digest }: Trace, depth: number, period: number): number {
  let entry = depth - period * (REPEATED - 1);
  while (entry > 1 && digest[entry - 2] === digest[entry - 2 + period]) entry--;
  return entry;
}

/**
 * The number of steps after which the state has come again, twice over, among the last `window`
 * ones; 0 if it has not.
 */
function recurrenceOf({ digest }: Trace, depth: number, window: number): number {
  const last = digest[depth - 1]!;
  for (let period = 1; period * (REPEATED - 1) < Math.min(window, depth); period++) {
    if (digest[depth - 1 - period] === last && digest[depth - 1 - period * 2] === last)
      return period;
  }
  return 0;
}

/** The number of steps after which the last ones have repeated themselves, 0 if they have not. */
function periodOf(trace: Trace, depth: number): number {
  for (let period = 1; period * REPEATED <= depth; period++) {
    let step = depth - 1;
    while (step >= depth - period * (REPEATED - 1) && isLike(trace, step, step - period)) step--;
    if (step < depth - period * (REPEATED - 1)) return period;
  }
  return 0;
}

function isLike(trace: Trace, a: number, b: number): boolean {
  const { transition, kind, index } = trace;
  return transition[a] === transition[b] && kind[a] === kind[b] && index[a] === index[b];
}
