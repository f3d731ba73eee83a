/**
 * @module What thread-faults.ts and its Workers say to each other, in words of two shared arrays.
 */

import type { AddressSpaceHandle } from "../src/index.ts";

export interface TouchJob {
  /** Of the space whose pages it touches; undefined: it touches a fresh SharedArrayBuffer. */
  readonly handle: AddressSpaceHandle | undefined;
  readonly lengthBytes: number;
  readonly control: Int32Array;
  /** {@link PLAN_WORDS} elements for each Worker. */
  readonly plan: Float64Array;
  /** 0 or 1. */
  readonly number: number;
}

/**
 * Words of `control`, each on a cache line of its own. A new value of GO is a new run. Its low bits
 * say how many Workers take part: a Worker that wakes late must not take the number for the next
 * run with the old value of GO.
 */
export const GO = 0;
export const GO_STEP = 4;
/** How many are awake: they begin together. */
export const AWAKE = 64;
/** How many are done. */
export const DONE = 96;
/** How many have started. */
export const READY = 128;
export const FAILED = 160;
export const CONTROL_LENGTH = 192;

/** Elements of `plan`: the address of the first page to touch, of the end, and the step. */
export const START = 0;
export const END = 1;
export const STEP = 2;
/** When it began and ended, in ms of the one monotonic clock. */
export const BEGAN = 3;
export const ENDED = 4;
export const PLAN_WORDS = 16;
