/** @module A Worker that owns a WebGPU device: it uses it once, says so, and is then ended. */

import { parentPort, workerData } from "node:worker_threads";
import { AddressSpace, type AddressSpaceHandle } from "../../../src/index.ts";
import { WebGpuDevice } from "../../../src/webgpu.ts";

export interface OwnerStart {
  readonly handle: AddressSpaceHandle;
  readonly at: number;
  readonly memory?: "ram" | "private";
}

const { handle, at, memory = "ram" } = workerData as OwnerStart;
const space = await AddressSpace.attach(handle);
const device = await WebGpuDevice.create(space, { memoryBytes: 2 ** 20, memory });
const code = "@compute @workgroup_size(64) fn main() { _ = atomic_add_u32(arg_ptr(0), 1u); }";
await device.kernel({ code, entryPoint: "main" }).dispatch(1, { args: [at] });
parentPort?.postMessage("used");
setInterval(() => {}, 1000);
