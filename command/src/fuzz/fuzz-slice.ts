/** @module A slice of a search: its size, and what a Worker is told and answers about slices. */

import type { ShrunkProgram } from "./shrink-program.ts";

/** Programs in a slice: enough for one to build on what others have shown. */
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
  readonly shrunk: ShrunkProgram | undefined;
}
