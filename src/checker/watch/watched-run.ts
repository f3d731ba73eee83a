/**
 * @module An execution as watchers see it: its frontier, and nothing that changes it.
 */

import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Wait } from "../../sync/tasks/task.ts";
import type { Footprints } from "../steps/footprint.ts";
import type { Trace } from "../steps/trace.ts";

export interface WatchedRun {
  readonly names: readonly string[];
  readonly tasks: number;
  readonly memory: SharedMemory;
  readonly footprints: Footprints;
  readonly trace: Trace;
  /** Steps done so far. */
  readonly depth: number;
  /** The pending operation of each task, undefined if it is over; and the code of its kind. */
  readonly pending: readonly (Wait | undefined)[];
  readonly pendingCode: Uint8Array;
  /** The machine has stopped. From then on only one rule holds: no task waits for ever. */
  readonly hasStopped: boolean;
  /** Whether the task's pending operation `wait` may be performed now. */
  mayRun(task: number, wait: Wait): boolean;
  /** The value of a word when an execution begins. */
  initial(word: number): number;
}
