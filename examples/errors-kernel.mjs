/** @module The device's part of the example errors.mjs. */

/**
 * Adds one to the first word of page `item`.
 *
 * @type {import("hmm-ts").Kernel}
 */
export function countUp(memory, item, [start = 0]) {
  memory.u32.atomicAdd(start + item * 4096, 1);
}
