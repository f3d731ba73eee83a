/** @module A Worker of a program's own that serves a device, with kernels of its own. */

import { parentPort } from "node:worker_threads";
import { type TypedAccess, serveDevice } from "../../src/worker.ts";

type Args = readonly number[];

function square(memory: TypedAccess, item: number, [numbers = 0]: Args): void {
  memory.u32.store(numbers + 4 * item, item * item);
}

// A program in JavaScript may serve anything.
const notOne: unknown = 42;

// The program talks to its Worker, too.
parentPort?.on("message", (message: unknown) => {
  if (message === "are you there?") parentPort?.postMessage("I am here");
});
parentPort?.postMessage("I load");
// A Worker may serve late.
await Promise.resolve();
serveDevice({ kernels: { square, notOne: notOne as typeof square } });
try {
  serveDevice();
} catch (error) {
  parentPort?.postMessage(String(error));
}
