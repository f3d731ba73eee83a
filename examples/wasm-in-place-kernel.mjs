/**
 * @module The device's part of the example wasm-in-place.mjs: adds up a list of (u32 value, u32
 * address of the next).
 */

/**
 * Stores the sum of the list that begins at `head` to `result`.
 *
 * @type {import("hmm-ts").Kernel}
 */
export function sum(memory, _item, [head = 0, result = 0]) {
  let total = 0;
  for (let node = head; node !== 0; node = memory.u32.load(node + 4))
    total += memory.u32.load(node);
  memory.u32.store(result, total);
}
