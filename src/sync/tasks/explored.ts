/**
 * @module When an operation may run, and what its step does to others, as a scheduler asks it. The
 * answers stand in the table of step-kinds.ts.
 */

import { atomicLoad } from "../atomics.ts";
import { STEP_KINDS } from "./step-kinds.ts";
import type { StepKind, WaitKind } from "./step-kinds.ts";
import type { Wait } from "./task.ts";

const table: Readonly<Record<WaitKind, StepKind>> = STEP_KINDS;

/**
 * Whether the operation may be performed now, by its words. Always false for "park": wakes are
 * events and not states, and the scheduler performs them; see {@link wakesParked}.
 */
export function isEnabled(wait: Wait): boolean {
  const { enabled } = table[wait.kind];
  return enabled === undefined || enabled(atomicLoad(wait.memory.words, wait.index), wait.expected);
}

/** Whether the scheduler may resume it with TIMED_OUT instead of waiting until it is enabled. */
export function mayTimeOut(wait: Wait): boolean {
  return wait.timeoutMs !== Infinity && table[wait.kind].timeout === true;
}

/**
 * How many tasks parked on the same index performing `wait` enables: the longest parked first;
 * those already woken are not counted.
 */
export function wakesParked(wait: Wait): number {
  const { wakes } = table[wait.kind];
  if (wakes === undefined) return 0;
  return wakes === "all" ? Infinity : 1;
}
