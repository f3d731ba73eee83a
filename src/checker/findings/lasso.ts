/**
 * @module Endless loops: tasks take steps for ever without progress. Such a loop is found as a
 * lasso: the last steps of an execution are a cycle that leads back to the same state.
 *
 * L1. The memory is compared word by word. A word that grows by the same amount in every round is a
 *     counter (of wakes, of invalidations, for statistics), and may differ by that amount. A task's
 *     local variables are not visible. So a cycle counts only if its steps can be repeated ROUNDS
 *     times. Then a loop that counts its rounds has ended, unless its limit is higher.
 * L2. A livelock is a fair cycle: no task is left out that could go on in all its states. If a task
 *     loops while another one could go on, it is a spin: a wait that the code does not declare.
 *     Near a spin there may be a fair cycle. So fair-cycle.ts looks for one before the loop is
 *     reported as a spin.
 */

import type { Execution } from "../execution/execution.ts";
import { taskOf } from "../steps/trace.ts";
import type { Trace, Transition } from "../steps/trace.ts";
import { fairCycles } from "./fair-cycle.ts";

/**
 * How often a cycle must be repeated before it counts: a loop that counts to a hundred is no
 * livelock.
 */
const ROUNDS = 1000;
/**
 * After this many steps, and whenever an execution is twice as long as before, cycles of any length
 * are looked for.
 */
const FIRST_CHECK = 64;
/** Every so many steps, cycles of at most half a window are looked for. */
const CHECK_EVERY = 8;
const WINDOW = 64;
const REPEATED = 3;
const ROUNDS_TRIED = 4;

/** A cycle: the latest steps of the execution, which has repeated it. */
export interface Lasso {
  readonly steps: number;
  /** Steps before the cycle is entered. */
  readonly stem: number;
  /** The tasks that take its steps. */
  readonly tasks: readonly number[];
  /** Tasks that take no step in it although they could go on. Empty for a livelock. */
  readonly leftOut: readonly number[];
}

/** What the repetition of a cycle has shown. */
interface Verdict {
  readonly isEndless: boolean;
  readonly leftOut: readonly number[];
}

export class Lassos {
  /** Cycles that have ended, by digest and length. */
  readonly #ending = new Set<string>();

  /**
   * The cycle that the execution is in. Unless `isEnd`, it looks only at some depths. Afterwards
   * the execution is where it was, or in the cycle that is returned.
   */
  find(run: Execution, isEnd: boolean): Lasso | undefined {
    const { depth, trace } = run;
    if (!isEnd && !isCheckedAt(depth)) return undefined;
    const isLong = isEnd || isPowerOfTwo(depth);
    const period =
      recurrenceOf(trace, depth, isLong ? depth : WINDOW) || (isLong ? periodOf(trace, depth) : 0);
    if (period === 0) return undefined;
    const key = `${trace.digest[depth - 1]} ${period}`;
    if (this.#ending.has(key)) return undefined;
    const before = Array.from(trace.transition.subarray(0, depth));
    const cycle = before.slice(depth - period);
    const { isEndless, leftOut } = repeatCycle(run, cycle);
    if (!isEndless) this.#ending.add(key);
    const stem = before.slice(0, entryOf(trace, depth, period));
    const isSpin = isEndless && leftOut.length > 0;
    const round = isSpin ? (fairCycleNear(run, []) ?? fairCycleNear(run, stem)) : undefined;
    if (round !== undefined) return round;
    run.restart(0);
    for (const transition of before) run.step(transition);
    const tasks = [...new Set(cycle.map(taskOf))];
    return isEndless ? { steps: period, stem: stem.length, tasks, leftOut } : undefined;
  }
}

/** Whether cycles are looked for after so many steps. */
export function isCheckedAt(depth: number): boolean {
  return depth % CHECK_EVERY === 0;
}

/** From FIRST_CHECK on. */
function isPowerOfTwo(depth: number): boolean {
  return depth >= FIRST_CHECK && (depth & (depth - 1)) === 0;
}

/**
 * A livelock that can be reached after the steps of `from`, if one is found. The execution is then
 * in it.
 */
function fairCycleNear(run: Execution, from: readonly Transition[]): Lasso | undefined {
  for (const { stem, cycle } of fairCycles(run, from).slice(0, ROUNDS_TRIED)) {
    const enters = (): boolean => {
      run.restart(0);
      return [...stem, ...cycle, ...cycle].every((transition) => {
        const isPossible = run.frontier.enabledNow().includes(transition);
        if (isPossible) run.step(transition);
        return isPossible;
      });
    };
    if (!enters()) continue;
    const { isEndless, leftOut } = repeatCycle(run, cycle);
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
 * Repeats the cycle. Finds whether that leads back to the same state each time, and which tasks
 * take no step although they could go on in all its states.
 */
function repeatCycle(run: Execution, cycle: readonly Transition[]): Verdict {
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

/** How many steps come before the cycle that the execution has repeated. */
function entryOf({ digest }: Trace, depth: number, period: number): number {
  let entry = depth - period * (REPEATED - 1);
  while (entry > 1 && digest[entry - 2] === digest[entry - 2 + period]) entry--;
  return entry;
}

/**
 * The number of steps after which the state has recurred, twice in a row, within the last `window`
 * steps; 0 if it has not.
 */
function recurrenceOf({ digest }: Trace, depth: number, window: number): number {
  const last = digest[depth - 1]!;
  for (let period = 1; period * (REPEATED - 1) < Math.min(window, depth); period++) {
    if (digest[depth - 1 - period] === last && digest[depth - 1 - period * 2] === last)
      return period;
  }
  return 0;
}

/** The period with which the last steps have repeated; 0 if they have not. */
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
