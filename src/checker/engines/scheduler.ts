/** @module What drives an exploration: every strategy is a Scheduler of three methods. */

import type { SearchedRun } from "../execution/searched-run.ts";

/** {@link Scheduler.next}: no task can go on. */
export const OVER = -1;
/**
 * What follows was, or will be, explored elsewhere: given up. In an optimal search this never
 * happens.
 */
export const BLOCKED = -2;

/** Enough seen, although tasks could go on. */
export const STOPPED = -3;

/** A transition, or (negative) one of the three above. */
export type Decision = number;

export interface Scheduler {
  /**
   * Whether there is another execution to do. If so, how many of the last one's steps it begins
   * with.
   */
  begin(): number | undefined;
  /** The next step; one that is enabled. Or OVER, BLOCKED, STOPPED. */
  next(run: SearchedRun): Decision;
  /** The execution has ended; `run.trace` holds it. */
  end(run: SearchedRun): void;
  /** What has been covered when begin() says that there is nothing left. */
  readonly coverage: Coverage;
  /** Between two executions: all that it has to remember, as plain JSON. Undefined for a replay. */
  save(): unknown;
  /** Before its first execution: goes on where {@link save} was called. */
  restore(state: unknown): void;
  /**
   * Which part of the search is done, as far as it can tell: see estimate.ts. Undefined for one
   * that has no end.
   */
  fraction(): number | undefined;
}

export interface Coverage {
  /** Every class of executions was seen, up to `bound` preemptions. */
  readonly complete: boolean;
  readonly bound: number;
}

export const EVERYTHING: Coverage = { complete: true, bound: Infinity };
export const SAMPLED: Coverage = { complete: false, bound: Infinity };
