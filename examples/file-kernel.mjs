/** @module The device's part of the example file.mjs. */

/**
 * Adds up 64 KiB of u32, and stores the sum.
 *
 * @type {import("hmm-ts").Kernel}
 */
export function add(memory, item, [file = 0, sums = 0]) {
  let total = 0;
  const start = file + item * 65_536;
  for (let p = start; p < start + 65_536; p += 4) total += memory.u32.load(p);
  memory.f64.store(sums + item * 8, total);
}
