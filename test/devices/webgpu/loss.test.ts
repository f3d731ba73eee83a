/**
 * @module The GPU is lost at each step of a dispatch in turn: nothing hangs, each workgroup has run
 * once, and the device goes on with another GPU. And GPUs that cannot be had.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { AddressSpace, HmmError, SegmentationFault } from "../../../src/index.ts";
import { WebGpuDevice, type WebGpuDeviceOptions } from "../../../src/webgpu.ts";
import { missingGpu } from "./find-gpu.ts";
import {
  COMES_NEVER,
  CONTROL_WORDS,
  HAS_NO_MEMORY,
  IS_AFTER,
  type LosingStart,
  STEPS_LEFT,
} from "./losing-control.ts";

const skip = missingGpu;
const timeout = 120_000;
const PAGE = 4096;
const PAGES = 6;

/** Each workgroup increments a page's word in place, and adds to a sum: twice would be seen. */
const CODE = `
@compute @workgroup_size(1) fn main(@builtin(workgroup_id) group: vec3u) {
  let p = ptr_at(arg_ptr(0), group.x, 4096u);
  let v = load_u32(p);
  store_u32(p, v + 1u);
  _ = atomic_add_u32(arg_ptr(1), v);
}`;

interface Stage extends AsyncDisposable {
  readonly space: AddressSpace;
  readonly device: WebGpuDevice;
  readonly control: Int32Array;
}

function losing(control: Int32Array): () => Worker {
  const workerData: LosingStart = { control };
  return () => new Worker(new URL("./losing-worker.js", import.meta.url), { workerData });
}

function newControl(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4));
}

async function openStage(memoryBytes: number, memory: "ram" | "private" = "ram"): Promise<Stage> {
  const space = await AddressSpace.create({ ramBytes: 2 ** 24 });
  const control = newControl();
  const worker = losing(control);
  const device = await WebGpuDevice.create(space, { memoryBytes, memory, worker });
  const end = async (): Promise<void> => {
    await device[Symbol.asyncDispose]();
    await space[Symbol.asyncDispose]();
  };
  return { space, device, control, [Symbol.asyncDispose]: end };
}

/**
 * Loses the GPU at step `step` of `work`, which checks what it has done. True: there was such a
 * step.
 */
async function loseAt(
  { control, device }: Stage,
  step: number,
  isAfter: boolean,
  work: () => Promise<void>,
): Promise<boolean> {
  const { losses } = device.statsSync();
  control[IS_AFTER] = isAfter ? 1 : 0;
  control[STEPS_LEFT] = step;
  await work();
  const hasLost = (control[STEPS_LEFT] ?? 0) <= 0;
  control[STEPS_LEFT] = 0;
  await work(); // what was lost at the very end is replaced now
  assert.equal(device.statsSync().losses - losses, hasLost ? 1 : 0, `at step ${step}`);
  return hasLost;
}

async function loseEverywhere(memoryBytes: number, stride: number): Promise<void> {
  await using stage = await openStage(memoryBytes);
  const { space, device } = stage;
  const at = await space.mmap(PAGES * PAGE);
  const sum = await space.mmap(PAGE);
  const kernel = device.kernel({ code: CODE, entryPoint: "main" });
  let [runs, expected] = [0, 0];
  const run = async (): Promise<void> => {
    await kernel.dispatch(PAGES, { args: [at, sum] });
    expected += runs * PAGES;
    runs++;
    for (let page = 0; page < PAGES; page++)
      assert.equal(space.u32.load(at + page * PAGE), runs, `page ${page} in run ${runs}`);
    assert.equal(space.u32.load(sum), expected, `the sum in run ${runs}`);
  };
  await run();
  for (const isAfter of [false, true]) {
    let step = 1;
    while (await loseAt(stage, step, isAfter, run)) step += stride;
    assert.ok(step > 6, `only ${step} steps`);
  }
}

test("lost at each step of a dispatch", { skip, timeout }, () => loseEverywhere(2 ** 20, 1));

test("lost among evictions and chunks that are halved", { skip, timeout }, () =>
  loseEverywhere(6 * PAGE, 5),
);

/** Pages that do not fit into the memory that pages are staged in. */
const MANY = 2500;

test("lost while many pages are on their way", { skip, timeout }, async () => {
  await using stage = await openStage(12 * 2 ** 20);
  const { space, device } = stage;
  const at = await space.mmap(MANY * PAGE);
  const sum = await space.mmap(PAGE);
  for (let page = 0; page < MANY; page++) space.u32.store(at + page * PAGE, page);
  const code = `
@compute @workgroup_size(1) fn main(@builtin(workgroup_id) group: vec3u) {
  _ = atomic_add_u32(arg_ptr(1), load_u32(ptr_at(arg_ptr(0), group.x, 4096u)));
}`;
  const kernel = device.kernel({ code, entryPoint: "main" });
  const run = async (): Promise<void> => {
    await space.madvise(at, MANY * PAGE, "cold"); // the device has none of them
    space.u32.store(sum, 0);
    await kernel.dispatch(MANY, { args: [at, sum] });
    assert.equal(space.u32.load(sum), (MANY * (MANY - 1)) / 2);
  };
  await run();
  for (const isAfter of [false, true])
    for (let step = 2; await loseAt(stage, step, isAfter, run); step += 3);
});

/** Dispatches that follow each other without a load of the CPU. */
const CHAIN = 3;

/** A chain over pages that the GPU alone has; what it was lost with is said, and nothing else. */
async function loseInChain({ space, device }: Stage, at: number, sum: number): Promise<void> {
  await space.madvise(at, PAGES * PAGE, "dontneed");
  await space.madvise(sum, PAGE, "dontneed");
  const kernel = device.kernel({ code: CODE, entryPoint: "main" });
  let runs = 0;
  let isLost = false;
  try {
    for (; runs < CHAIN; runs++) await kernel.dispatch(PAGES, { args: [at, sum] });
  } catch (error) {
    assert.equal(codeOf(error), "EIO", String(error));
    isLost = true;
  }
  let sigbus = 0;
  for (let page = 0; page < PAGES; page++) {
    try {
      const value = space.u32.load(at + page * PAGE);
      // Chunks of the dispatch that failed may have run.
      assert.ok(value === runs || (isLost && value === runs + 1), `page ${page} has ${value}`);
    } catch (error) {
      assert.ok(error instanceof SegmentationFault && error.signal === "SIGBUS", String(error));
      sigbus++;
    }
  }
  assert.ok(!isLost || sigbus > 0 || runs < CHAIN);
}

async function loseChains(memoryBytes: number, stride: number): Promise<void> {
  await using stage = await openStage(memoryBytes, "private");
  const { space, control } = stage;
  const at = await space.mmap(PAGES * PAGE);
  const sum = await space.mmap(PAGE);
  for (const isAfter of [0, 1]) {
    for (let step = 1; ; step += stride) {
      control[IS_AFTER] = isAfter;
      control[STEPS_LEFT] = step;
      await loseInChain(stage, at, sum);
      const hasLost = (control[STEPS_LEFT] ?? 0) <= 0;
      control[STEPS_LEFT] = 0;
      if (!hasLost) break;
    }
  }
  await loseInChain(stage, at, sum);
}

test("lost at steps of a chain whose pages stay on the GPU", { skip, timeout }, () =>
  loseChains(2 ** 20, 3),
);

test("lost while such pages make room for others", { skip, timeout }, () =>
  loseChains(8 * PAGE, 17),
);

test("lost at each step of a read and a write", { skip, timeout }, async () => {
  await using stage = await openStage(6 * PAGE);
  const { space, device } = stage;
  const at = await space.mmap(PAGES * PAGE);
  let round = 0;
  const writeAndRead = async (): Promise<void> => {
    round++;
    const bytes = Uint8Array.from({ length: PAGES * PAGE - 8 }, (_, i) => i * round);
    await device.write(at + 4, bytes);
    const back = new Uint8Array(bytes.length);
    await device.read(at + 4, back);
    assert.deepEqual(back, bytes);
  };
  for (const isAfter of [false, true])
    for (let step = 1; await loseAt(stage, step, isAfter, writeAndRead);) step += 3;
});

const codeOf = (error: unknown): string => (error instanceof HmmError ? error.code : String(error));

async function refused(
  control: Int32Array,
  options: Partial<WebGpuDeviceOptions>,
): Promise<string> {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  const worker = losing(control);
  const made = WebGpuDevice.create(space, { memoryBytes: 2 ** 20, worker, ...options });
  let code = "made";
  await made
    .then((device) => device[Symbol.asyncDispose]())
    .catch((error) => {
      code = codeOf(error);
    });
  return code;
}

test("a GPU without memory, an adapter that never comes", { skip, timeout }, async () => {
  const control = newControl();
  assert.equal(await refused(control, {}), "made", "nothing is wrong yet");
  control[HAS_NO_MEMORY] = 1;
  assert.equal(await refused(control, {}), "ENOMEM");
  control[HAS_NO_MEMORY] = 0;
  control[COMES_NEVER] = 1;
  assert.equal(await refused(control, { adapterTimeoutMs: 50 }), "ENODEV");
});

test(
  "no GPU takes the place of the lost one: an error, and later a GPU",
  { skip, timeout },
  async () => {
    await using stage = await openStage(2 ** 20);
    const { space, device, control } = stage;
    const at = await space.mmap(PAGE);
    const sum = await space.mmap(PAGE);
    const kernel = device.kernel({ code: CODE, entryPoint: "main" });
    await kernel.dispatch(1, { args: [at, sum] });
    control[HAS_NO_MEMORY] = 1;
    await device.loseGpu();
    await assert.rejects(kernel.dispatch(1, { args: [at, sum] }), { code: "ENOMEM" });
    await assert.rejects(device.read(at, new Uint8Array(4)), { code: "ENOMEM" });
    assert.equal(space.u32.load(at), 1, "nothing has happened");
    control[HAS_NO_MEMORY] = 0;
    await kernel.dispatch(1, { args: [at, sum] });
    assert.equal(space.u32.load(at), 2);
  },
);

test("lost while the device is made", { skip, timeout }, async () => {
  const control = newControl();
  for (const isAfter of [0, 1]) {
    for (let step = 1; step < 5; step++) {
      control[IS_AFTER] = isAfter;
      control[STEPS_LEFT] = step;
      await using space = await AddressSpace.create({ ramBytes: 2 ** 22 });
      const at = await space.mmap(PAGE);
      const options = { memoryBytes: 2 ** 20, worker: losing(control) };
      await using device = await WebGpuDevice.create(space, options);
      const kernel = device.kernel({ code: CODE, entryPoint: "main" });
      await kernel.dispatch(1, { args: [at, at + 8] });
      assert.equal(space.u32.load(at), 1);
      assert.ok((control[STEPS_LEFT] ?? 1) <= 0, "it was lost");
    }
  }
});
