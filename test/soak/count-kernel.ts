/** @module The kernel of the soak's device. */

import type { TypedAccess } from "../../src/mmu/access.ts";

/** Adds 1 to one of `pages` words, a page apart. */
export function count(memory: TypedAccess, item: number, args: readonly number[]): void {
  const [counters, pages] = args as readonly [number, number];
  memory.u32.atomicAdd(counters + (item % pages) * 4096, 1);
}
