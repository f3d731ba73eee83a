/** @module A thread that makes a device, has it run a kernel, and waits for its end. */

import { parentPort, workerData } from "node:worker_threads";
import { AddressSpace, type AddressSpaceHandle, SoftwareDevice } from "../../src/index.ts";

/** Where the kernel finds its data. */
export interface Ownership {
  readonly handle: AddressSpaceHandle;
  readonly counters: number;
  readonly pages: number;
}

const { handle, counters, pages } = workerData as Ownership;
const space = await AddressSpace.attach(handle);
const device = await SoftwareDevice.create(space, { memoryBytes: 8 * 4096, threads: 2 });
const kernel = device.kernel({
  module: new URL("./kernels.js", import.meta.url),
  exportName: "tally",
});
await kernel.dispatch(100, { args: [counters, pages] });
parentPort?.postMessage("there");
await kernel.dispatch(2 ** 31 - 1, { args: [counters, pages] });
