/**
 * @module An execution as an engine sees it: where it stands, which steps may come next, and what
 * each would touch. An engine chooses; it performs nothing.
 */

import type { Wait } from "../../sync/tasks/task.ts";
import type { Budget, Weakness } from "../scenario.ts";
import type { EqualOrders } from "../steps/equal-tasks.ts";
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
  /** What only executions in this order are explored of. */
  readonly order: StepOrder | undefined;
  readonly equal: EqualOrders;

  /** Steps done in this execution. */
  readonly depth: number;
  /** What each task is about to do, undefined when it is over; and the code of that operation. */
  readonly pending: readonly (Wait | undefined)[];
  readonly pendingCode: Uint8Array;
  /** How many tasks are not over. */
  readonly unfinished: number;
  /** The value of a word when an execution begins. */
  initial(word: number): number;

  /** Fills {@link enabled} with what may come next, and returns how many that are. */
  listEnabled(): number;
  readonly enabled: Int32Array;
  /** Whether a transition may come next: as {@link listEnabled}, of one alone. */
  mayCome(transition: Transition): boolean;
  /** The footprint of a task's next step. The task must not be over. */
  footprintOf(task: number, choice: Choice): number;

  /** Some wait may end by itself: by its timeout, or for no reason. */
  readonly waitsMayEnd: boolean;
  /** The step that woke the parked task, ASLEEP if none did. */
  wakeOf(task: number): number;
  /**
   * Whether the wait that a task is in before step `depth` may end for no reason, whatever other
   * waits have used up.
   */
  mayEverWake(task: number, depth: number): boolean;
  /** Whether the thread of a task may die. */
  isMortal(task: number): boolean;
  /** Whether a step is that nobody dies any more. */
  isDeathsOver(transition: Transition): boolean;
}
