// A kernel in JavaScript.
/** @type {import("hmm-ts/worker").Kernel} */
export function square(memory, item, [numbers = 0]) {
  memory.u32.store(numbers + 4 * item, item * item);
}
