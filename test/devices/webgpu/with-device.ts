/** @module A WebGPU device on a space of 16 MiB, for one test. */

import { AddressSpace } from "../../../src/index.ts";
import { WebGpuDevice } from "../../../src/webgpu.ts";

export async function withDevice(
  memoryBytes: number,
  use: (device: WebGpuDevice, space: AddressSpace) => Promise<void>,
): Promise<void> {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 24 });
  await using device = await WebGpuDevice.create(space, { memoryBytes });
  await use(device, space);
}
