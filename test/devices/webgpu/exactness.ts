/**
 * @module One generated kernel, run plain with all memory bound, and paged under a budget while a
 * CPU thread changes mappings: the words must be equal.
 */

import { Worker } from "node:worker_threads";
import { AddressSpace, HmmError } from "../../../src/index.ts";
import { type WebGpuDispatchResult, WebGpuDevice } from "../../../src/webgpu.ts";
import type { DisturbingStart } from "./disturbing-agent.ts";
import { plainGpu } from "./find-gpu.ts";
import { BOUND_WORDS, type Regions, generateKernel } from "./generated-kernel.ts";
import { plainLibrary } from "./plain-library.ts";
import { diceOf } from "../../dice.ts";

const PAGE_WORDS = 1024;
const PAGE_BYTES = 4096;

export interface ExactnessOptions {
  readonly seed: number;
  /** Pages of the device beyond its own two. */
  readonly devicePages: number;
  readonly isDisturbed: boolean;
  /** The pool has two to four buffers. */
  readonly isSplit: boolean;
  /** The kernel is one that may be declared pure, and is. */
  readonly isPure: boolean;
  /** The device works on a GPUDevice of this thread's. */
  readonly isOwn: boolean;
  /** The own GPUDevice says that it is a GPU: what is done on GPUs alone is done here, too. */
  readonly isTakenForGpu: boolean;
  /**
   * Pages that kernels have stored to stay on the GPU, and the CPU uses them between two
   * dispatches. Not with `isOwn`.
   */
  readonly isPrivate: boolean;
}

export interface ExactnessReport {
  /** "equal", "too small", or what is wrong. */
  readonly outcome: string;
  readonly result: WebGpuDispatchResult | undefined;
  readonly disturbances: number;
  readonly staleCommits: number;
}

interface Layout {
  readonly starts: readonly number[];
  readonly pages: number;
}

function layoutOf(regions: Regions): Layout {
  const { readPages, nodePages, ownPages, atomicPages, listPages } = regions;
  const { rangePages, sumPages } = regions;
  const lengths = [readPages, nodePages, ownPages, atomicPages, listPages, rangePages, sumPages];
  const starts: number[] = [];
  let pages = 0;
  for (const length of lengths) {
    starts.push(pages);
    pages += length;
  }
  return { starts, pages };
}

/** What the memory has at first; the last word of a page is the CPU's, and 0. */
function initialWords(seed: number, regions: Regions, base: number): Uint32Array<ArrayBuffer> {
  const random = diceOf(seed + 1);
  const { starts, pages } = layoutOf(regions);
  const words = new Uint32Array(pages * PAGE_WORDS);
  const [readStart = 0, nodeStart = 0, ownStart = 0, atomicStart = 0, listStart = 0] = starts;
  for (let i = readStart * PAGE_WORDS; i < nodeStart * PAGE_WORDS; i++) words[i] = random(2 ** 32);
  for (let page = nodeStart; page < ownStart; page++) {
    for (let node = 0; node < 255; node++) {
      const at = page * PAGE_WORDS + node * 4;
      const to = (nodeStart + random(regions.nodePages)) * PAGE_WORDS + random(255) * 4;
      words[at] = base + to * 4;
      words[at + 2] = random(2 ** 32);
    }
  }
  for (let i = ownStart * PAGE_WORDS; i < atomicStart * PAGE_WORDS; i++) words[i] = i;
  for (let i = atomicStart * PAGE_WORDS; i < listStart * PAGE_WORDS; i++) words[i] = random(1000);
  const [, , , , , rangeStart = 0, sumStart = 0] = starts;
  for (let i = rangeStart * PAGE_WORDS; i < sumStart * PAGE_WORDS; i++) words[i] = random(2 ** 32);
  for (let page = 0; page < pages; page++) words[page * PAGE_WORDS + 1023] = 0;
  return words;
}

const BOUND_TABLE: Uint32Array<ArrayBuffer> = Uint32Array.from({ length: BOUND_WORDS }, (_, i) =>
  Math.imul(i + 1, 0x9e3779b9),
);

async function plainDevice(): Promise<GPUDevice> {
  const gpu = await plainGpu();
  if (typeof gpu === "string") throw new Error(gpu);
  const adapter = await gpu.requestAdapter();
  if (adapter === null) throw new Error("no adapter");
  const { maxStorageBuffersPerShaderStage } = adapter.limits; // a pool in pieces takes some
  return await adapter.requestDevice({ requiredLimits: { maxStorageBuffersPerShaderStage } });
}

function sayThatItIsGpu(device: GPUDevice): void {
  const { vendor, architecture, device: model, description } = device.adapterInfo;
  const value = { vendor, architecture, device: model, description, isFallbackAdapter: false };
  Object.defineProperty(device, "adapterInfo", { value });
}

async function runPlain(
  code: string,
  base: number,
  args: readonly number[],
  words: Uint32Array<ArrayBuffer>,
  workgroups: number,
  [rangeStart, sumStart]: readonly [number, number],
): Promise<{ words: Uint32Array; sums: Uint32Array }> {
  const device = await plainDevice();
  const module = device.createShaderModule({ code: `${code}\n${plainLibrary(base, args)}` });
  const layout = "auto" as const;
  const pipeline = await device.createComputePipelineAsync({ layout, compute: { module } });
  const size = words.byteLength;
  const boundBytes = BOUND_WORDS * 4;
  const usage = 0x80 | 0x8 | 0x4;
  const memory = device.createBuffer({ size, usage });
  const sums = device.createBuffer({ size: boundBytes, usage });
  const table = device.createBuffer({ size: boundBytes, usage });
  const readBack = device.createBuffer({ size: size + boundBytes, usage: 0x1 | 0x8 });
  device.queue.writeBuffer(memory, 0, words);
  device.queue.writeBuffer(table, 0, BOUND_TABLE);
  const encoder = device.createCommandEncoder();
  // The ranges' pages lie last. They are bound apart, and the sums put back where they lie.
  const sumBytes = size - sumStart * PAGE_BYTES;
  const rangeBytes = (sumStart - rangeStart) * PAGE_BYTES;
  const rangeWords = device.createBuffer({ size: rangeBytes, usage });
  const rangeSums = device.createBuffer({ size: sumBytes, usage });
  encoder.copyBufferToBuffer(memory, rangeStart * PAGE_BYTES, rangeWords, 0, rangeBytes);
  encoder.copyBufferToBuffer(memory, sumStart * PAGE_BYTES, rangeSums, 0, sumBytes);
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  const entries = [{ binding: 0, resource: { buffer: memory } }];
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  // A pure kernel has no sums.
  const bound = [sums, table, rangeWords, rangeSums]
    .map((buffer, binding) => ({ binding, resource: { buffer } }))
    .filter(({ binding }) => code.includes(`@group(1) @binding(${binding})`));
  const boundLayout = pipeline.getBindGroupLayout(1);
  pass.setBindGroup(1, device.createBindGroup({ layout: boundLayout, entries: bound }));
  pass.dispatchWorkgroups(workgroups);
  pass.end();
  encoder.copyBufferToBuffer(rangeSums, 0, memory, sumStart * PAGE_BYTES, sumBytes);
  encoder.copyBufferToBuffer(memory, 0, readBack, 0, size);
  encoder.copyBufferToBuffer(sums, 0, readBack, size, boundBytes);
  device.queue.submit([encoder.finish()]);
  await readBack.mapAsync(1);
  const result = Uint32Array.from(new Uint32Array(readBack.getMappedRange()));
  readBack.unmap();
  device.destroy();
  return { words: result.subarray(0, words.length), sums: result.subarray(words.length) };
}

/** Starts the thread of disturbing-agent.ts; `end` stops it and says how it went. */
async function disturb(
  start: Omit<DisturbingStart, "stop">,
): Promise<() => Promise<{ lost: number; steps: number }>> {
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const workerData: DisturbingStart = { ...start, stop };
  const worker = new Worker(new URL("./disturbing-agent.js", import.meta.url), { workerData });
  const next = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
  await next();
  return async () => {
    const report = next();
    stop[0] = 1;
    const exit = new Promise((resolve) => worker.once("exit", resolve));
    const result = (await report) as { lost: number; steps: number };
    await exit;
    return result;
  };
}

/** A power of two of pages, of which it takes two to four to have so many. */
function pieceOf(pages: number): number {
  return 2 ** Math.floor(Math.log2(pages / 2));
}

/** Between two dispatches: loads words of some pages, each of which may be on the GPU alone. */
function loadSome(space: AddressSpace, base: number, words: Uint32Array, seed: number): string {
  const random = diceOf(seed + 2);
  for (let page = 0; page < words.length / PAGE_WORDS; page++) {
    if (random(3) === 0) continue;
    const i = page * PAGE_WORDS + random(1023);
    const word = space.u32.load(base + i * 4);
    if (word !== words[i]) return `word ${i} is ${word} between dispatches, not ${words[i]}`;
  }
  return "equal";
}

/** What the memory has at first; the last word of a page stays. */
async function storeAnew(space: AddressSpace, base: number, words: Uint32Array): Promise<void> {
  for (let at = 0; at < words.length; at += PAGE_WORDS) {
    const part = words.subarray(at, at + PAGE_WORDS - 1);
    const bytes = new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
    await space.write(base + at * 4, bytes);
  }
}

export async function checkExactness(options: ExactnessOptions): Promise<ExactnessReport> {
  const { seed, devicePages, isDisturbed, isSplit, isPure, isOwn, isPrivate } = options;
  const { code, workgroups, regions } = generateKernel(seed, isPure);
  const { starts, pages } = layoutOf(regions);
  await using space = await AddressSpace.create({ ramBytes: pages * PAGE_BYTES * 3 + 2 ** 23 });
  const base = await space.mmap(pages * PAGE_BYTES);
  const args = starts.map((start) => base + start * PAGE_BYTES);
  const words = initialWords(seed, regions, base);
  await space.write(base, new Uint8Array(words.buffer));
  const [, , , , , rangeStart = 0, sumStart = 0] = starts;
  const expected = await runPlain(code, base, args, words, workgroups, [rangeStart, sumStart]);
  const rowPages = pages - rangeStart;
  const gpuDevice = isOwn ? await plainDevice() : undefined;
  if (gpuDevice !== undefined && options.isTakenForGpu) sayThatItIsGpu(gpuDevice);
  await using device = await WebGpuDevice.create(space, {
    ...(gpuDevice === undefined ? {} : { gpuDevice }),
    memoryBytes: (devicePages + 2 + rowPages) * PAGE_BYTES,
    rangeBytes: rowPages * PAGE_BYTES,
    memory: isPrivate ? "private" : "ram",
    faultTimeoutMs: 30_000,
    ...(isSplit ? { bufferBytesMax: pieceOf(devicePages + 2) * PAGE_BYTES } : {}),
  });
  await using sums = await device.buffer({ lengthBytes: BOUND_WORDS * 4 });
  const readOnlyPages = starts[2] ?? 1;
  const agent = isDisturbed
    ? await disturb({ handle: space.handle, base, pages, readOnlyPages, seed })
    : undefined;
  let result: WebGpuDispatchResult | undefined;
  let outcome = "equal";
  try {
    const bindings = { bound_table: BOUND_TABLE, ...(isPure ? {} : { bound_sums: sums }) };
    const kernel = device.kernel({ code, entryPoint: "main", pure: isPure });
    const lengths = [(sumStart - rangeStart) * PAGE_BYTES, (pages - sumStart) * PAGE_BYTES];
    const variables = isPure ? ["range_words"] : ["range_words", "range_sums"];
    const ranges = variables.map((variable, i) => ({
      variable,
      address: base + (i === 0 ? rangeStart : sumStart) * PAGE_BYTES,
      lengthBytes: lengths[i] ?? 0,
    }));
    result = await kernel.dispatch(workgroups, { args, bindings, ranges });
    if (isPrivate) {
      outcome = loadSome(space, base, expected.words, seed);
      await storeAnew(space, base, words);
      await sums.write(new Uint8Array(BOUND_WORDS * 4));
      result = await kernel.dispatch(workgroups, { args, bindings, ranges });
    }
  } catch (error) {
    if (!(error instanceof HmmError) || error.code !== "ENOMEM") throw error;
    outcome = "too small";
  }
  const { lost = 0, steps = 0 } = (await agent?.()) ?? {};
  if (lost > 0) outcome = `${lost} stores of the CPU were lost`;
  const { staleCommits } = device.statsSync();
  if (outcome === "equal") {
    const got = new Uint32Array(words.length);
    await space.read(base, new Uint8Array(got.buffer));
    const wrong = got.findIndex((word, i) => i % PAGE_WORDS !== 1023 && word !== expected.words[i]);
    if (wrong >= 0)
      outcome = `word ${wrong} is ${got[wrong]}, not ${expected.words[wrong]}\n${code}`;
    const gotSums = new Uint32Array((await sums.read()).buffer);
    const wrongSum = gotSums.findIndex((sum, i) => sum !== expected.sums[i]);
    if (wrongSum >= 0)
      outcome = `sum ${wrongSum} is ${gotSums[wrongSum]}, not ${expected.sums[wrongSum]}\n${code}`;
  }
  await device[Symbol.asyncDispose]();
  gpuDevice?.destroy();
  return { outcome, result, disturbances: steps, staleCommits };
}
