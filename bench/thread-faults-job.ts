/**
 * @module What thread-faults.ts and its Workers say to each other, in words of one shared array.
 */

import type { AddressSpaceHandle } from "../src/index.ts";

export type TouchKind = "fresh frames" | "used frames" | "no faults of ours";

export interface TouchJob {
  readonly handle: AddressSpaceHandle;
  readonly kind: TouchKind;
  readonly lengthBytes: number;
  readonly control: Int32Array;
  /**
   * When each began and ended, in ms of the one monotonic clock: elements 2 * number and the next.
   */
  readonly times: Float64Array;
  /** 0 or 1. */
  readonly number: number;
}

/**
 * Words of `control`, each on a cache line of its own. Rises: the Workers with numbers below WHO
 * touch their pages.
 */
export const GO = 0;
export const WHO = 32;
/** How many are awake: they begin together. */
export const AWAKE = 224;
/** How many have done it. */
export const DONE = 64;
/**
 * Follows GO when all are done: now they may clear up. An unmap before that would keep the others
 * waiting for the mmap lock.
 */
export const CLEAR = 192;
/** How many have cleared up. */
export const IDLE = 160;
/** How many have started. */
export const READY = 96;
export const FAILED = 128;
