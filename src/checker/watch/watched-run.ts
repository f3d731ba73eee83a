/**
 * @module An execution as those see it who look on: where it stands, and nothing that changes it.
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
  /** What each task is about to do, undefined when it is over; and the code of that operation. */
  readonly pending: readonly (Wait | undefined)[];
  readonly pendingCode: Uint8Array;
  /** The machine has stopped: nothing holds any more but that nobody waits for ever. */
  readonly hasStopped: boolean;
  /** Whether a task, about to do `wait`, can do it now. */
  mayRun(task: number, wait: Wait): boolean;
  /** The value of a word when an execution begins. */
  initial(word: number): number;
}
