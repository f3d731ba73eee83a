/**
 * @module The device's part of the example wasm-in-place.ts: adds up a list of (u32 value, u32
 * address of the next).
 */

import type { TypedAccess } from "../src/index.ts";

/** Stores the sum of the list that begins at `head` to `result`. */
export function sum(
  memory: TypedAccess,
  _item: number,
  [head = 0, result = 0]: readonly number[],
): void {
  let total = 0;
  for (let node = head; node !== 0; node = memory.u32.load(node + 4))
    total += memory.u32.load(node);
  memory.u32.store(result, total);
}
