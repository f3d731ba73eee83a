/**
 * @module What the WebGPU device costs its host in memory: the most that the process has had while
 * kernels read and changed data that were much larger than the device's memory, beyond what it had
 * before the data were there, over the size of the data.
 */

import { memoryUsage, resourceUsage } from "node:process";
import { AddressSpace } from "../src/index.ts";
import { WebGpuDevice } from "../src/webgpu.ts";
import { missingGpu } from "../test/devices/webgpu/find-gpu.ts";
import type { MeasureOptions, Measurement } from "./figure.ts";
import { adapterName } from "./webgpu-plain.ts";

const PAGE_BYTES = 4096;
const MiB: number = 2 ** 20;
const MEMORY_BYTES: number = 16 * MiB;
/** Of data for the dispatch before, by which all of the device is there, and its code compiled. */
const WARM_BYTES: number = MEMORY_BYTES;

/** Each invocation reads a page, and changes a word of it. */
const CODE = `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= arg_u32(1)) { return; }
  let s = span_write(ptr_at(arg_ptr(0), id.x, 4096u), 1024u);
  var x = 0u;
  for (var i = 1u; i < 1024u; i++) { x += span_u32(s, i); }
  span_set_u32(s, 0u, x);
}`;

export async function measureHostMemory(options: MeasureOptions): Promise<Measurement> {
  if (missingGpu !== false) return { notMeasured: missingGpu };
  const dataBytes = options.isQuick ? 32 * MiB : 256 * MiB;
  const space = await AddressSpace.create({ ramBytes: dataBytes + WARM_BYTES + 16 * MiB });
  const device = await WebGpuDevice.create(space, { memoryBytes: MEMORY_BYTES });
  const kernel = device.kernel({ code: CODE, entryPoint: "main" });
  const pass = async (bytes: number): Promise<void> => {
    const address = await space.mmap(bytes);
    const pages = bytes / PAGE_BYTES;
    for (let page = 0; page < pages; page++) space.u32.store(address + page * PAGE_BYTES + 4, page);
    await kernel.dispatch(Math.ceil(pages / 64), { args: [address, pages] });
    for (let page = 0; page < pages; page++)
      if (space.u32.load(address + page * PAGE_BYTES) !== page) throw new Error("a wrong sum");
  };
  await pass(WARM_BYTES);
  options.onRound(1, 2);
  const before = memoryUsage().rss;
  await pass(dataBytes);
  options.onRound(2, 2);
  const most = resourceUsage().maxRSS * 1024;
  const label = `${dataBytes / MiB} MiB through ${MEMORY_BYTES / MiB} MiB, on ${adapterName(device)}`;
  await device[Symbol.asyncDispose]();
  await space[Symbol.asyncDispose]();
  const [ours, plain] = [(most - before) / MiB, dataBytes / MiB];
  return {
    readings: [{ label, ratios: [ours / plain], ours, plain, unit: "MiB", isBound: true }],
  };
}
