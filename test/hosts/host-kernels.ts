/** @module The kernel of the host test: the squares of the work items. */

import type { TypedAccess } from "../../src/worker.ts";

type Args = readonly number[];

export function square(memory: TypedAccess, item: number, [numbers = 0]: Args): void {
  memory.u32.store(numbers + 4 * item, item * item);
}
