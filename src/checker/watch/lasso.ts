/**
 * @module Livelock: tasks that go on for ever and get nowhere. Found as a lasso: an execution whose last steps are a cycle
 * that leads back to the same state, so that it can go round for ever.
 *
 * L1. The memory is compared word by word. Words that grow by the same amount in every round are counters (of wakes, of
 *     invalidations, for statistics) and may differ by that. A task's local variables are not seen. So a cycle counts only
 *     if it can be gone round {@link ROUNDS} times more, by the same steps: a loop that counts its rounds is over by then,
 *     unless it means to make more of them than that.
 * L2. The cycle must be fair: no task that could go on at every moment of it is left out. A task that spins while the one
 *     it waits for is not let go on is no livelock, but a wait that does not say so: "endless", in the end.
 */

import type { Execution } from "../execution/execution.ts";
import { taskOf } from "../steps/trace.ts";
import type { Trace } from "../steps/trace.ts";

/** How often a cycle is gone round before it is believed: loops that count to a hundred are no livelocks. */
const ROUNDS = 1000;
/** Steps after which cycles are looked for, and again whenever an execution is twice as long. */
const FIRST_LOOK = 64;
const REPEATED = 3;

/** Whether an execution of this length should be looked at. */
export function isTimeToLook(depth: number): boolean {
  return depth >= FIRST_LOOK && (depth & (depth - 1)) === 0;
}

/** A cycle: how many steps it has, and which tasks make them. */
export interface Lasso {
  readonly steps: number;
  readonly tasks: readonly number[];
}

/** The cycle that the execution is in, if it is a fair one. The execution is afterwards where it was. */
export function findLasso(run: Execution): Lasso | undefined {
  const { depth, trace } = run;
  const period = periodOf(trace, depth);
  if (period === 0) return undefined;
  const cycle = Array.from(trace.transition.subarray(depth - period, depth));
  const before = Array.from(trace.transition.subarray(0, depth));
  const isFair = goRound(run, cycle);
  run.restart(depth);
  for (const transition of before) run.step(transition);
  return isFair ? { steps: period, tasks: [...new Set(cycle.map(taskOf))] } : undefined;
}

/** Goes round the cycle; whether that leads back each time, and leaves out nobody who could go on all the while. */
function goRound(run: Execution, cycle: readonly number[]): boolean {
  const { words } = run.memory;
  const state = Int32Array.from(words);
  const growth = new Int32Array(words.length);
  let ignored = new Set(Array.from(run.pending.keys()));
  for (const transition of cycle) ignored.delete(taskOf(transition));
  const start = run.depth;
  for (let round = 0; round < ROUNDS; round++) {
    for (let i = 0; i < cycle.length; i++) {
      const enabled = run.enabled.subarray(0, run.listEnabled());
      const able = new Set(Array.from(enabled, taskOf));
      ignored = new Set([...ignored].filter((task) => able.has(task)));
      if (!enabled.includes(cycle[i]!)) return false;
      run.step(cycle[i]!);
      if (!isLike(run.trace, run.depth - 1, start - cycle.length + i)) return false;
    }
    for (let at = 0; at < words.length; at++) {
      const grown = (words[at]! - state[at]!) | 0;
      if (round === 0) growth[at] = grown;
      else if (grown !== Math.imul(growth[at]!, round + 1)) return false;
    }
  }
  return ignored.size === 0;
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
