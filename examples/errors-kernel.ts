/** @module The device's part of the example errors.ts. */

import type { TypedAccess } from "../src/index.ts";

/** Adds one to the first word of page `item`. */
export function countUp(memory: TypedAccess, item: number, [start = 0]: readonly number[]): void {
  memory.u32.atomicAdd(start + item * 4096, 1);
}
