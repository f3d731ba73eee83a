/**
 * @module An order of conflicting steps that an exploration keeps: the first step of one task comes
 * after a certain step of another task, and before a later one. All executions of a class have
 * conflicting steps in the same order. So the order holds in all executions of a class or in none,
 * and a search that never reverses those steps sees exactly the classes in which it holds.
 */

import { taskOf } from "./trace.ts";
import type { Trace } from "./trace.ts";

/**
 * The first step of `placed` comes after step number `after` of `among`, and before step number
 * `before`; both from 0.
 */
export interface StepOrder {
  readonly placed: number;
  readonly among: number;
  /** -1: no lower limit. */
  readonly after: number;
  /** Infinity: no upper limit. */
  readonly before: number;
}

/**
 * Whether the order lets `task` take its next step at this depth. `placed` has not taken its first.
 */
export function mayStepNow(
  { placed, among, after, before }: StepOrder,
  trace: Trace,
  depth: number,
  task: number,
): boolean {
  if (task !== placed && task !== among) return true;
  const { counts, tasks } = trace;
  const done = counts[depth * tasks + among]!;
  return task === placed ? done > after : done !== before;
}

/** A step that a search may want to reverse with an earlier one. */
interface LaterStep {
  readonly task: number;
  readonly step: number;
}

/** Whether the order requires that `later` comes after the step `earlier` of the trace. */
export function fixesOrder(
  { placed, among, after, before }: StepOrder,
  trace: Trace,
  earlier: number,
  later: LaterStep,
): boolean {
  const earlierTask = taskOf(trace.transition[earlier]!);
  const earlierNumber = trace.ordinal[earlier]! - 1;
  const laterNumber = trace.counts[later.step * trace.tasks + later.task]!;
  if (earlierTask === among && later.task === placed)
    return earlierNumber === after && laterNumber === 0;
  if (earlierTask === placed && later.task === among)
    return earlierNumber === 0 && laterNumber === before;
  return false;
}
