/**
 * @module Kernels that the scenario pages run on the software device: they follow pointers that CPU
 * threads have written.
 */

import type { TypedAccess } from "../../src/index.ts";

/**
 * Bytes of a link: the address of the next one as f64 (0 ends the chain), a value as u32, and four
 * to spare.
 */
export const LINK_BYTES = 16;

/**
 * For item i: the sum of the values of the chain whose first link's address lies at heads + 8 * i,
 * stored at sums + 4 * i and added to the word `total`. Arguments: heads, sums, total.
 */
export function sumChain(memory: TypedAccess, item: number, args: readonly number[]): void {
  const [heads = 0, sums = 0, total = 0] = args;
  let sum = 0;
  for (let link = memory.f64.load(heads + 8 * item); link !== 0; link = memory.f64.load(link)) {
    sum += memory.u32.load(link + 8);
  }
  memory.u32.store(sums + 4 * item, sum);
  memory.u32.atomicAdd(total, sum);
}
