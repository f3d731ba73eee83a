/**
 * @module What a scheduler asks of an operation: whether it may run now, whether it may time out,
 * and whom its step wakes. The answers come from the table of step-kinds.ts.
 */

import { atomicLoad } from "../atomics.ts";
import { STEP_KINDS } from "./step-kinds.ts";
import type { StepKind, WaitKind } from "./step-kinds.ts";
import type { Wait } from "./task.ts";

const table: Readonly<Record<WaitKind, StepKind>> = STEP_KINDS;

/**
 * Whether the values of its words allow the operation now. Always false for "park": a wake is an
 * event and not a state, and the scheduler performs it; see {@link wakesParked}.
 */
export function isEnabled(wait: Wait): boolean {
  const { enabled } = table[wait.kind];
  return enabled === undefined || enabled(atomicLoad(wait.memory.words, wait.index), wait.expected);
}

/** Whether the scheduler may resume it with TIMED_OUT while it is not enabled. */
export function mayTimeOut(wait: Wait): boolean {
  return wait.timeoutMs !== Infinity && table[wait.kind].timeout === true;
}

/**
 * How many of the tasks parked on the same index the operation wakes, those that parked first
 * before the others. Tasks that are already woken do not count.
 */
export function wakesParked(wait: Wait): number {
  const { wakes } = table[wait.kind];
  if (wakes === undefined) return 0;
  return wakes === "all" ? Infinity : 1;
}
