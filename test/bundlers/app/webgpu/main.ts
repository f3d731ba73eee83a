// The page: a GPU on the page's pointers, with memory for a part of what it works on.
import { AddressSpace } from "hmm-ts";
import { WebGpuDevice } from "hmm-ts/webgpu";

const COUNT = 20_000;

const code = `
  @compute @workgroup_size(64)
  fn double(@builtin(global_invocation_id) id: vec3u) {
    if (id.x >= arg_u32(1)) { return; }
    let p = ptr_at(arg_ptr(0), id.x, 4);
    store_u32(p, 2 * load_u32(p));
  }`;

async function main(): Promise<unknown> {
  const space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  const numbers = await space.mmap(4 * COUNT);
  for (let i = 0; i < COUNT; i++) space.u32.store(numbers + 4 * i, i);
  const device = await WebGpuDevice.create(space, {
    memoryBytes: 16 * 4096,
    worker: () => new Worker(new URL("./device.js", import.meta.url), { type: "module" }),
  });
  const kernel = device.kernel({ code, entryPoint: "double" });
  const { evictions } = await kernel.dispatch(Math.ceil(COUNT / 64), { args: [numbers, COUNT] });
  let wrong = 0;
  for (let i = 0; i < COUNT; i++) if (space.u32.load(numbers + 4 * i) !== 2 * i) wrong++;
  await device[Symbol.asyncDispose]();
  await space.dispose();
  return { wrong, hasEvicted: evictions > 0 };
}

main().then(
  (outcome) => Object.assign(globalThis, { outcome }),
  (error: unknown) => Object.assign(globalThis, { outcome: String(error) }),
);
