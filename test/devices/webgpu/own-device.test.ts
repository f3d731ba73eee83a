/**
 * @module A WebGPU device on a GPUDevice of the program's own, in its own thread: what it may bind,
 * and that no access of this thread waits for this thread.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { AddressSpace, HmmError } from "../../../src/index.ts";
import { WebGpuDevice } from "../../../src/webgpu.ts";
import { missingGpu, plainGpu } from "./find-gpu.ts";

const skip = missingGpu;
const timeout = 60_000;
const PAGE = 4096;
const [MAP_READ, COPY_SRC, COPY_DST, STORAGE] = [0x1, 0x4, 0x8, 0x80];

async function ownDevice(): Promise<GPUDevice> {
  const gpu = await plainGpu();
  if (typeof gpu === "string") throw new Error(gpu);
  const adapter = await gpu.requestAdapter();
  if (adapter === null) throw new Error("no adapter");
  return await adapter.requestDevice();
}

async function withOwn(
  memoryBytes: number,
  use: (device: WebGpuDevice, space: AddressSpace, gpuDevice: GPUDevice) => Promise<void>,
): Promise<void> {
  const gpuDevice = await ownDevice();
  await using space = await AddressSpace.create({ ramBytes: 2 ** 24 });
  await using device = await WebGpuDevice.create(space, { memoryBytes, gpuDevice });
  await use(device, space, gpuDevice);
  await device[Symbol.asyncDispose]();
  // it is the program's yet
  gpuDevice.pushErrorScope("validation");
  gpuDevice.createBuffer({ size: 16, usage: COPY_DST }).destroy();
  assert.equal(await gpuDevice.popErrorScope(), null);
  gpuDevice.destroy();
}

async function wordsOf(gpuDevice: GPUDevice, buffer: GPUBuffer): Promise<number[]> {
  const copy = gpuDevice.createBuffer({ size: buffer.size, usage: MAP_READ | COPY_DST });
  const encoder = gpuDevice.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, copy, 0, buffer.size);
  gpuDevice.queue.submit([encoder.finish()]);
  await copy.mapAsync(1);
  const words = [...new Uint32Array(copy.getMappedRange())];
  copy.destroy();
  return words;
}

const COUNTING = `
@group(0) @binding(0) var<storage, read_write> counts: array<atomic<u32>, 4>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  atomicAdd(&counts[id.x % 4u], 1u);
  let p = ptr_at(arg_ptr(0), id.x, 64u);
  store_u32(p, load_u32(p) + 1u);
}`;

test("kernels bind objects of the program's GPUDevice, exactly", { skip, timeout }, () =>
  withOwn(24 * PAGE, async (device, space, gpuDevice) => {
    const at = await space.mmap(64 * PAGE);
    const counts = gpuDevice.createBuffer({ size: 16, usage: STORAGE | COPY_SRC | COPY_DST });
    gpuDevice.queue.writeBuffer(counts, 0, Uint32Array.of(5, 6, 7, 8));
    const kernel = device.kernel({ code: COUNTING, entryPoint: "main" });
    const { replays } = await kernel.dispatch(64, { args: [at], bindings: { counts } });
    assert.ok(replays > 0);
    assert.deepEqual(await wordsOf(gpuDevice, counts), [1029, 1030, 1031, 1032]);
    assert.equal(space.u32.load(at + 4095 * 64), 1);
    const fault = kernel.dispatch(65, { args: [at], bindings: { counts } });
    await assert.rejects(fault, (error) => error instanceof HmmError && error.code === "EFAULT");
    const words = await wordsOf(gpuDevice, counts);
    assert.ok(
      words.every((word) => (word - 1029) % 16 < 4),
      "whole workgroups alone",
    );
    const small = gpuDevice.createBuffer({ size: 16, usage: STORAGE });
    const refused = kernel.dispatch(1, { args: [at], bindings: { counts: small } });
    await assert.rejects(refused, /COPY_SRC and COPY_DST/u);
    await using other = await WebGpuDevice.create(space, { memoryBytes: 8 * PAGE });
    const foreign = other.kernel({ code: COUNTING, entryPoint: "main" });
    await assert.rejects(foreign.dispatch(1, { args: [at], bindings: { counts } }), /EINVAL|give/u);
  }),
);

test("the program's error scopes are its own", { skip, timeout }, () =>
  withOwn(2 ** 20, async (device, space, gpuDevice) => {
    const at = await space.mmap(PAGE);
    gpuDevice.pushErrorScope("validation");
    const code = "@compute @workgroup_size(1) fn main() { store_u32(arg_ptr(0), 3u); }";
    const dispatch = device.kernel({ code, entryPoint: "main" }).dispatch(1, { args: [at] });
    await Promise.resolve();
    gpuDevice.createBuffer({ size: 16, usage: 0 }); // not valid: this scope's
    const caught = gpuDevice.popErrorScope();
    await dispatch;
    assert.notEqual(await caught, null);
    assert.equal(space.u32.load(at), 3);
    const bad = device.kernel({
      code: "@compute @workgroup_size(1) fn main() { x; }",
      entryPoint: "main",
    });
    await assert.rejects(bad.compile(), /1:42/u);
  }),
);

const ADDING = `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  _ = atomic_add_u32(ptr_at(arg_ptr(0), id.x % 8u, 4096u), 1u);
}`;

const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

test("accesses of this thread during a dispatch wait for nothing of it", { skip, timeout }, (t) =>
  withOwn(64 * PAGE, async (device, space) => {
    const at = await space.mmap(8 * PAGE);
    const kernel = device.kernel({ code: ADDING, entryPoint: "main" });
    const dispatch = kernel.dispatch(20_000, { args: [at] });
    for (let stores = 1; stores <= 24; stores++) {
      await turn();
      const page = at + (stores % 8) * PAGE;
      space.u32.store(page + 8, stores);
      assert.equal(space.u32.load(page + 8), stores);
      if (stores % 5 === 0) await space.mprotect(page, PAGE, "read-write");
    }
    await dispatch;
    const { staleCommits, lockedPasses } = device.statsSync();
    t.diagnostic(`${staleCommits} stale commits, ${lockedPasses} locked passes`);
    let sum = 0;
    for (let page = 0; page < 8; page++) sum += space.u32.load(at + page * PAGE);
    assert.equal(sum, 64 * 20_000);
  }),
);

test("a dispatch that this thread never lets through is EDEADLK, no hang", { skip, timeout }, () =>
  withOwn(64 * PAGE, async (device, space) => {
    const at = await space.mmap(8 * PAGE);
    const kernel = device.kernel({ code: ADDING, entryPoint: "main" });
    const state = { isOver: false };
    const dispatch = kernel.dispatch(20_000, { args: [at] });
    const outcome = assert.rejects(dispatch, (error) => {
      state.isOver = true;
      return error instanceof HmmError && error.code === "EDEADLK";
    });
    // Each takes a page away that the pass under way has written. After three of them the driver
    // lock is held during the pass: it must not be waited for here.
    for (let stores = 1; !state.isOver; stores++) {
      await turn();
      for (let page = at; page < at + 8 * PAGE; page += PAGE) space.u32.store(page + 8, stores);
    }
    await outcome;
    assert.ok(device.statsSync().lockedPasses > 0);
    let sum = 0;
    for (let page = 0; page < 8; page++) sum += space.u32.load(at + page * PAGE);
    assert.equal(sum % 64, 0, "whole workgroups alone");
    await kernel.dispatch(1, { args: [at] });
  }),
);

test("the space goes during a dispatch of this thread", { skip, timeout }, async (t) => {
  const gpuDevice = await ownDevice();
  const outcomes: string[] = [];
  // In passes with the driver lock held, in others, and between them: as it happens.
  for (const rounds of [1, 20, 60]) {
    const space = await AddressSpace.create({ ramBytes: 2 ** 24 });
    await using device = await WebGpuDevice.create(space, { memoryBytes: 64 * PAGE, gpuDevice });
    const at = await space.mmap(8 * PAGE);
    const kernel = device.kernel({ code: ADDING, entryPoint: "main" });
    const outcome = kernel.dispatch(20_000, { args: [at] }).then(
      () => "done",
      (error: unknown) => (error instanceof HmmError ? error.code : String(error)),
    );
    for (let round = 0; round < rounds; round++) {
      await turn();
      for (let page = at; page < at + 8 * PAGE; page += PAGE) space.u32.store(page + 8, round);
    }
    space.disposeSync(); // it waits for nothing that this thread has to do
    outcomes.push(await outcome);
  }
  gpuDevice.destroy();
  t.diagnostic(outcomes.join(" "));
  const known = new Set(["done", "ESRCH", "EDEADLK"]);
  assert.ok(outcomes.includes("ESRCH") && outcomes.every((code) => known.has(code)));
});

test("a GPUDevice that is lost, or is none, is an error", { skip, timeout }, async () => {
  const gpuDevice = await ownDevice();
  await using space = await AddressSpace.create({ ramBytes: 2 ** 24 });
  const at = await space.mmap(PAGE);
  await using device = await WebGpuDevice.create(space, { memoryBytes: 2 ** 20, gpuDevice });
  const code = "@compute @workgroup_size(1) fn main() { store_u32(arg_ptr(0), 3u); }";
  const kernel = device.kernel({ code, entryPoint: "main" });
  await kernel.dispatch(1, { args: [at] });
  gpuDevice.destroy();
  await assert.rejects(
    kernel.dispatch(1, { args: [at] }),
    (error) => error instanceof HmmError && error.code === "ENODEV",
  );
  assert.equal(space.u32.load(at), 3);
  const none = { lost: Promise.resolve(), queue: {}, limits: {} };
  const made = WebGpuDevice.create(space, { memoryBytes: 2 ** 20, gpuDevice: none });
  await assert.rejects(made, (error) => error instanceof HmmError && error.code === "EINVAL");
});
