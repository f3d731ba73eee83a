/**
 * @module A slice of a search: its size, and the messages about slices between a Worker and its
 * parent.
 */

import type { ShrunkProgram } from "./shrink-program.ts";

/** The number of programs in a slice. It must be large enough for mutations of earlier programs. */
export const SLICE = 32;

export interface SlicesInput {
  readonly seed: number;
  /** Of all slices together. */
  readonly programs: number;
  readonly slices: readonly number[];
  /** The address of a module that exports `operations`. */
  readonly operations: string;
  /** One word: not 0 once everything shall stop. */
  readonly cancelled: SharedArrayBuffer;
}

export interface SliceOutcome {
  readonly slice: number;
  readonly programs: number;
  readonly executions: number;
  readonly signals: readonly string[];
  /** Those that no earlier slice of the same Worker has found. */
  readonly shrunk: readonly ShrunkProgram[];
}
