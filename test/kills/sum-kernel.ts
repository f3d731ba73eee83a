/** @module The kernel of the loads that have a device. */

import type { TypedAccess } from "../../src/mmu/access.ts";

/** Adds up the first words of `pages` pages, and stores the sum at the item's place. */
export function sum(memory: TypedAccess, item: number, args: readonly number[]): void {
  const [data, sums, pages] = args as readonly [number, number, number];
  let total = 0;
  for (let i = 0; i < pages; i++) total += memory.u32.load(data + i * 4096);
  memory.u32.store(sums + item * 4, total >>> 0);
}
