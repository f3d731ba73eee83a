/**
 * @module A GPU on the same pointers: the program builds a binary tree in an address space, and a
 * kernel in WGSL looks numbers up in it. The GPU has memory for a part of the tree.
 *
 * Run with: node examples/webgpu.mjs
 * In Node it needs the package webgpu (npm install webgpu) and a GPU, or a software Vulkan.
 */

import assert from "node:assert/strict";
import { AddressSpace, HmmError } from "hmm-ts";
import { WebGpuDevice } from "hmm-ts/webgpu";

const COUNT = 50_000;
const NODE_BYTES = 32; // u32 key, then two pointers: what is below it and what is above it

const code = `
  // How deep each key lies in the tree.
  @compute @workgroup_size(64)
  fn depths(@builtin(global_invocation_id) id: vec3u) {
    let key = load_u32(ptr_at(arg_ptr(1), id.x, 4));
    var node = arg_ptr(0);
    var depth = 0u;
    while (load_u32(node) != key) {
      node = load_ptr(ptr_add(node, select(16u, 8u, key < load_u32(node))));
      depth++;
    }
    store_u32(ptr_at(arg_ptr(2), id.x, 4), depth);
  }`;

const space = await AddressSpace.create({ ramBytes: 64 * 2 ** 20 });
const tree = await space.mmap(COUNT * NODE_BYTES);

/** A balanced tree of the keys from `low` to before `high`. Returns the address of its root. */
function build(low, high) {
  if (low === high) return 0;
  const middle = (low + high) >>> 1;
  const node = tree + middle * NODE_BYTES;
  space.u32.store(node, middle);
  space.ptr.store(node + 8, build(low, middle));
  space.ptr.store(node + 16, build(middle + 1, high));
  return node;
}
const root = build(0, COUNT);
const keys = await space.mmap(64 * 4);
const depths = await space.mmap(64 * 4);
for (let i = 0; i < 64; i++) space.u32.store(keys + i * 4, (i * 7919) % COUNT);

let gpu;
try {
  gpu = await WebGpuDevice.create(space, { memoryBytes: 2 ** 20 });
} catch (error) {
  if (!(error instanceof HmmError)) throw error;
  console.log(`No GPU here. ${error.message}`);
}
if (gpu !== undefined) {
  await gpu.kernel({ code, entryPoint: "depths" }).dispatch(1, { args: [root, keys, depths] });
  const { faults, residentPages } = await gpu.stats();
  const found = Array.from({ length: 64 }, (_, i) => space.u32.load(depths + i * 4));
  console.log(`the deepest of 64 keys lies ${Math.max(...found)} nodes below the root`);
  console.log(
    `${faults} faults; ${residentPages} pages on the GPU, of ${Math.ceil((COUNT * NODE_BYTES) / 4096)}`,
  );
  assert.ok(found.every((depth) => depth < 16));
  await gpu[Symbol.asyncDispose]();
}
await space[Symbol.asyncDispose]();
