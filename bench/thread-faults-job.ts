/** @module What thread-faults.ts and its Workers say to each other, in words of one shared array. */

import type { AddressSpaceHandle } from "../src/index.ts";

export type TouchKind = "fresh frames" | "used frames" | "no faults of ours";

export interface TouchJob {
  readonly handle: AddressSpaceHandle;
  readonly kind: TouchKind;
  readonly lengthBytes: number;
  readonly control: Int32Array;
  /** 0 or 1. */
  readonly number: number;
}

/** Words of `control`, each on a cache line of its own. Rises: the Workers with numbers below WHO touch their pages. */
export const GO = 0;
export const WHO = 32;
/** How many have done it. */
export const DONE = 64;
/** How many have cleared up after it. */
export const IDLE = 160;
/** How many have started. */
export const READY = 96;
export const FAILED = 128;
