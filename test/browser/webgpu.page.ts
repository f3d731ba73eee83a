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

pageTest("more pages at once than are staged at a time", async () => {
  const space = await AddressSpace.create({ ramBytes: 2 ** 25 });
  const pages = 2600;
  const at = await space.mmap(pages * PAGE);
  const sum = await space.mmap(PAGE);
  for (let page = 0; page < pages; page++) space.u32.store(at + page * PAGE + 8, page);
  const device = await WebGpuDevice.create(space, { memoryBytes: 12 * 2 ** 20 });
  const code = `
    @compute @workgroup_size(1) fn main(@builtin(workgroup_id) group: vec3u) {
      _ = atomic_add_u32(arg_ptr(1), load_u32(ptr_at(arg_ptr(0), group.x * 1024u + 2u, 4u)));
    }`;
  const kernel = device.kernel({ code, entryPoint: "main" });
  for (let round = 1; round < 4; round++) {
    space.u32.store(sum, round);
    await kernel.dispatch(pages, { args: [at, sum] });
    checkEqual(space.u32.load(sum), (pages * (pages - 1)) / 2 + round, "the sum");
    await space.madvise(at, pages * PAGE, "cold"); // the device has none of them
  }
  await device[Symbol.asyncDispose]();
  await space.dispose();
});

pageTest("private memory: pages stay on the GPU until the page's thread wants them", async () => {
  const space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  const device = await WebGpuDevice.create(space, { memoryBytes: 64 * PAGE, memory: "private" });
  const pages = 8;
  const from = await space.mmap(pages * PAGE);
  const code = `
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
      let p = ptr_at(arg_ptr(0), id.x, 4u);
      store_u32(p, load_u32(p) + id.x);
    }`;
  const kernel = device.kernel({ code, entryPoint: "main" });
  const groups = (pages * PAGE) / 256;
  for (let i = 0; i < 3; i++) await kernel.dispatch(groups, { args: [from] });
  checkEqual(device.statsSync().pagesReadBack, 0, "pages read back by then");
  // It may not block: a load that takes too long is refused, and the page is there later.
  const load = async (address: number): Promise<number> => {
    for (let tries = 0; ; tries++) {
      try {
        return space.u32.load(address);
      } catch (error) {
        if (tries === 50 || (error as { code?: string }).code !== "EAGAIN") throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  };
  let wrong = 0;
  for (let word = 0; word < pages * 1024; word += 97)
    if ((await load(from + word * 4)) !== 3 * word) wrong++;
  checkEqual(wrong, 0, "wrong words");
  check(device.statsSync().pagesReadBack >= pages, "they came home from the GPU");
  space.u32.store(from, 5);
  await kernel.dispatch(groups, { args: [from] });
  checkEqual(await load(from), 5, "what the CPU stored since");
  await device[Symbol.asyncDispose]();
  checkEqual(await load(from + 4), 4, "what the device had when it was disposed of");
  await space.dispose();
});
