/** @module The interface of an engine: it chooses the executions and their steps. */

import type { SearchedRun } from "../execution/searched-run.ts";

/** {@link Scheduler.next}: no task can go on. */
export const OVER = -1;
/**
 * The execution is given up: what follows was explored elsewhere, or will be. This never happens in
 * an optimal search.
 */
export const BLOCKED = -2;

/** The schedule has ended, although tasks could go on. */
export const STOPPED = -3;

/** A transition, or (negative) one of the three above. */
export type Decision = number;

export interface Scheduler {
  /**
   * Begins the next execution. Returns how many steps of the last one it repeats; undefined if
   * there is no further execution.
   */
  begin(): number | undefined;
  /** The next step, which is enabled; or OVER, BLOCKED, STOPPED. */
  next(run: SearchedRun): Decision;
  /** The execution has ended; `run.trace` holds it. */
  end(run: SearchedRun): void;
  /** What has been covered when begin() returns undefined. */
  readonly coverage: Coverage;
  /** Between two executions: its whole state, as plain JSON. Undefined for a replay. */
  save(): unknown;
  /** Before its first execution: goes on from a state that {@link save} returned. */
  restore(state: unknown): void;
  /**
   * Which fraction of the search is done, estimated (estimate.ts). Undefined for an engine without
   * an end.
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
