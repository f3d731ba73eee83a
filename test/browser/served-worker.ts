/** @module A Worker of the page that serves a device. */

import { type TypedAccess, serveDevice } from "../../src/worker.ts";

type Args = readonly number[];

function square(memory: TypedAccess, item: number, [numbers = 0]: Args): void {
  memory.u32.store(numbers + 4 * item, item * item);
}

serveDevice({ kernels: { square } });
