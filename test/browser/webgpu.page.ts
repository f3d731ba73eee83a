/**
 * @module The WebGPU device in a page: its Worker owns the GPUDevice, whose pages come on demand
 * and go when the CPU stores. On whatever adapter Chromium has, SwiftShader at least.
 */

import { AddressSpace } from "../../src/index.ts";
import { WebGpuDevice } from "../../src/webgpu.ts";
import { check, checkEqual, pageTest } from "./page-cases.ts";
import { errorOf } from "./peers.ts";

const PAGE = 4096;

const CODE = `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= arg_u32(2)) { return; }
  store_u32(ptr_at(arg_ptr(1), id.x, 4), load_u32(ptr_at(arg_ptr(0), id.x, 4)) + 1u);
}`;

pageTest("a kernel follows the page's pointers, within a budget", async () => {
  const space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  const device = await WebGpuDevice.create(space, { memoryBytes: 16 * PAGE });
  const count = 10 * 1024;
  const from = await space.mmap(count * 4);
  const to = await space.mmap(count * 4);
  for (let i = 0; i < count; i++) space.u32.store(from + i * 4, i * 3);
  const kernel = device.kernel({ code: CODE, entryPoint: "main" });
  const args = [from, to, count];
  const { evictions } = await kernel.dispatch(count / 64, { args });
  check(evictions > 0, "it does not fit");
  let wrong = 0;
  for (let i = 0; i < count; i++) if (space.u32.load(to + i * 4) !== i * 3 + 1) wrong++;
  checkEqual(wrong, 0, "wrong words");
  space.u32.store(from, 41);
  await kernel.dispatch(1, { args });
  checkEqual(space.u32.load(to), 42, "what the CPU stored since");
  const fault = await errorOf(() => kernel.dispatch(1, { args: [from, 2 ** 41, 1] }));
  checkEqual(fault.code, "EFAULT", "a store to what is not mapped");
  await device[Symbol.asyncDispose]();
  await space.dispose();
});
