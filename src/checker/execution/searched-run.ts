/**
 * @module An execution as an engine sees it: its frontier, which steps may come next, and what each
 * would touch. An engine chooses steps; it does not perform them.
 */

import type { Wait } from "../../sync/tasks/task.ts";
import type { Budget, Weakness } from "../scenario.ts";
import type { SymmetricOrders } from "../steps/symmetric-tasks.ts";
import type { Footprints } from "../steps/footprint.ts";
import type { StepOrder } from "../steps/step-order.ts";
import type { Choice, Trace, Transition } from "../steps/trace.ts";

export interface SearchedRun {
  readonly names: readonly string[];
  readonly tasks: number;
  readonly trace: Trace;
  readonly footprints: Footprints;
  readonly budget: Budget;
  readonly weaknesses: ReadonlySet<Weakness>;
  /** Explore only executions in this order. */
  readonly order: StepOrder | undefined;
  readonly equal: SymmetricOrders;

  /** Steps done in this execution. */
  readonly depth: number;
  /** The pending operation of each task, undefined if it is over; and the code of its kind. */
  readonly pending: readonly (Wait | undefined)[];
  readonly pendingCode: Uint8Array;
  /** How many tasks are not over. */
  readonly unfinished: number;
  /** The value of a word when an execution begins. */
  initial(word: number): number;

  /** Fills {@link enabled} with the transitions that may come next, and returns their number. */
  listEnabled(): number;
  readonly enabled: Int32Array;
  /** Whether this transition may come next. */
  mayCome(transition: Transition): boolean;
  /** The footprint of a task's next step. The task must not be over. */
  footprintOf(task: number, choice: Choice): number;

  /** Whether waits may end by a timeout or a spurious wake. */
  readonly waitsMayEnd: boolean;
  /** The step that woke the parked task, ASLEEP if none did. */
  wakeOf(task: number): number;
  /**
   * Whether the task's wait before step `depth` may end by a spurious wake, if the budget allows
   * it.
   */
  mayEverWake(task: number, depth: number): boolean;
  /** Whether the thread of a task may die. */
  isKillable(task: number): boolean;
  /** Whether the step is that of deathsOver (E3 of deaths.ts). */
  isDeathsOver(transition: Transition): boolean;
}
