/** @module The software device's kernel of webgpu-chase.ts: one item is one chaser. */

import type { TypedAccess } from "../src/index.ts";

/** `args`: the addresses of the starts and of the ends, and how many steps. */
export function chase({ ptr }: TypedAccess, item: number, args: readonly number[]): void {
  const [starts = 0, ends = 0, steps = 0] = args;
  let node = ptr.load(starts + item * 8);
  for (let step = 0; step < steps; step++) node = ptr.load(node);
  ptr.store(ends + item * 8, node);
}
