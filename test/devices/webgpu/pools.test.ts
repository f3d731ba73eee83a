/** @module A pool of several buffers behind one pointer, made of small ones. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { AddressSpace, HmmError } from "../../../src/index.ts";
import { KernelCompileError, WebGpuDevice } from "../../../src/webgpu.ts";
import { missingGpu } from "./find-gpu.ts";

const skip = missingGpu;
const timeout = 60_000;
const PAGE = 4096;
const PAGES = 58;

/** Each workgroup has a page, and does there all that a kernel may do with a word. */
const EVERYTHING = `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) i: u32) {
  let p = ptr_at(arg_ptr(0), group.x, 4096u);
  _ = atomic_add_u32(p, group.x);
  _ = atomic_max_i32(ptr_add(p, 4u), i32(i) - 7);
  _ = atomic_add_f32(ptr_add(p, 8u), 0.5);
  if (i == 0u) {
    _ = atomic_exchange_u32(ptr_add(p, 12u), 5u);
    let old = atomic_compare_exchange_u32(ptr_add(p, 16u), 0u, group.x + 1u);
    store_u32(ptr_add(p, 20u), old);
    store_vec3f(ptr_add(p, 32u), vec3f(load_vec2u(ptr_add(p, 64u)).yyx));
  }
  let s = span_write(ptr_add(p, 2048u), 128u);
  span_set_u32(s, i, span_u32(s, i + 64u) + i);
}`;

test("pointers reach every buffer of a pool", { skip, timeout }, async () => {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  await using device = await WebGpuDevice.create(space, {
    memoryBytes: (PAGES + 2) * PAGE,
    bufferBytesMax: 17 * PAGE, // 16 pages in each of four buffers
  });
  const at = await space.mmap(PAGES * PAGE);
  for (let page = 0; page < PAGES; page++) {
    space.u32.store(at + page * PAGE + 64, 3);
    space.u32.store(at + page * PAGE + 68, page);
    for (let i = 64; i < 128; i++) space.u32.store(at + page * PAGE + 2048 + i * 4, i * page);
  }
  const kernel = device.kernel({ code: EVERYTHING, entryPoint: "main" });
  const { evictions } = await kernel.dispatch(PAGES, { args: [at] });
  assert.equal(evictions, 0, "all of the buffers' frames are used");
  for (let page = 0; page < PAGES; page++) {
    const p = at + page * PAGE;
    assert.equal(space.u32.load(p), page * 64);
    assert.equal(space.i32.load(p + 4), 56);
    assert.equal(space.f32.load(p + 8), 32);
    assert.deepEqual(
      [12, 16, 20].map((offset) => space.u32.load(p + offset)),
      [5, page + 1, 0],
    );
    assert.deepEqual(
      [32, 36, 40].map((offset) => space.f32.load(p + offset)),
      [page, page, 3],
    );
    for (let i = 0; i < 64; i++)
      assert.equal(space.u32.load(p + 2048 + i * 4), (i + 64) * page + i);
  }
});

test("what a shader cannot bind is refused", { skip, timeout }, async () => {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  await assert.rejects(
    WebGpuDevice.create(space, { memoryBytes: 100 * PAGE, bufferBytesMax: PAGE }),
    (error) =>
      error instanceof HmmError && error.code === "EINVAL" && /buffers/u.test(String(error)),
  );
  await using device = await WebGpuDevice.create(space, {
    memoryBytes: 6 * PAGE,
    bufferBytesMax: PAGE, // as many buffers as the specification promises
  });
  const many = Array.from({ length: 16 }, (_, i) => {
    return `@group(0) @binding(${i}) var<storage> b${i}: u32;`;
  });
  const code = `${many.join("\n")}\n@compute @workgroup_size(1) fn main() {}`;
  await assert.rejects(device.kernel({ code, entryPoint: "main" }).compile(), (error) => {
    assert.ok(error instanceof KernelCompileError);
    assert.match(error.message, /one too many/u);
    return true;
  });
});
