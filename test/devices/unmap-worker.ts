/** @module A CPU thread that unmaps what it is told to, beside a device that reads it. */

import { parentPort, workerData } from "node:worker_threads";
import { AddressSpace, type AddressSpaceHandle } from "../../src/index.ts";

/**
 * Spins before unmapping, so that the unmapping comes at different moments of the device's read.
 */
export interface UnmapOrder {
  readonly spins: number;
  readonly address: number;
  readonly lengthBytes: number;
}

const space = AddressSpace.attachSync(workerData as AddressSpaceHandle);
let sink = 0;
parentPort?.on("message", (order: UnmapOrder | "leave") => {
  if (order === "leave") {
    space.disposeSync();
    parentPort?.close();
    return;
  }
  for (let i = 0; i < order.spins; i++) sink ^= i;
  space.munmapSync(order.address, order.lengthBytes);
  parentPort?.postMessage(sink);
});
parentPort?.postMessage("ready");
