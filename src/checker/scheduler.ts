/** @module What drives an exploration: every strategy is a Scheduler of three methods. */

import type { Execution } from "./execution.ts";

/** {@link Scheduler.next}: no task can go on. */
export const OVER = -1;
/** What follows was, or will be, explored elsewhere: given up. In an optimal search this never happens. */
export const BLOCKED = -2;

/** Enough seen, although tasks could go on. */
export const STOPPED = -3;

/** A transition, or (negative) one of the three above. */
export type Decision = number;

export interface Scheduler {
  /** Whether there is another execution to do. If so, how many of the last one's steps it begins with. */
  begin(): number | undefined;
  /** The next step; one that is enabled. Or OVER, BLOCKED, STOPPED. */
  next(run: Execution): Decision;
  /** The execution has ended; `run.trace` holds it. */
  end(run: Execution): void;
  /** What has been covered when begin() says that there is nothing left. */
  readonly coverage: Coverage;
}

export interface Coverage {
  /** Every class of executions was seen, up to `bound` preemptions. */
  readonly complete: boolean;
  readonly bound: number;
}

export const EVERYTHING: Coverage = { complete: true, bound: Infinity };
export const SAMPLED: Coverage = { complete: false, bound: Infinity };
