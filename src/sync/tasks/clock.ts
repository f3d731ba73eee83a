/**
 * @module Two clocks: one for this thread's own waits, and one whose readings threads may compare
 * through shared words. For an explored task both stand still: the explorer chooses how its waits
 * end, and with a real clock two executions of one schedule could differ.
 */

import { currentTask } from "./current-task.ts";
import { EXPLORED } from "../shared-memory.ts";

/** Not 0: a 0 in shared words means "never". */
const STANDSTILL_MS = 1;

/** Milliseconds, monotonic, of this thread only. */
export function monotonicMs(): number {
  return currentTask.mode === EXPLORED ? 0 : performance.now();
}

/**
 * Milliseconds as a wrapping 32-bit integer, comparable between threads to within their clocks'
 * agreement: subtract two readings and `| 0` the result. Good enough for rate limits, not for
 * anything that must be exact.
 */
export function sharedMs(): number {
  return currentTask.mode === EXPLORED
    ? STANDSTILL_MS
    : Math.trunc(performance.timeOrigin + performance.now()) | 0;
}
