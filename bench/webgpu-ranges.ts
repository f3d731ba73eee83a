/**
 * @module Data that go through the WebGPU device as declared ranges, against upload and dispatch by
 * hand from the same shared memory, on one adapter: all of them in one dispatch, and in tiles of a
 * quarter, where memory holds no more.
 */

import { AddressSpace } from "../src/index.ts";
import { WebGpuDevice, type WebGpuKernel, type WebGpuRange } from "../src/webgpu.ts";
import { missingGpu } from "../test/devices/webgpu/find-gpu.ts";
import type { MeasureOptions, Measurement } from "./figure.ts";
import { PlainDevice, adapterName, measureByHand } from "./webgpu-plain.ts";

const MiB: number = 2 ** 20;
const PAGE_BYTES = 4096;
const PAGE_WORDS = 1024;
/** For the pages of results. */
const SPARE_BYTES: number = 2 * MiB;
/** A bound buffer is no larger by default. */
const BINDING_BYTES: number = 128 * MiB;

/** The sum of every fourth word of a page, a page an invocation: `data` is a plain array. */
const SUM_TEXT = `
  let at = id.x * ${PAGE_WORDS}u;
  if (at >= arrayLength(&data)) { return; }
  var x = 0u;
  for (var i = 0u; i < ${PAGE_WORDS}u; i += 4u) { x += data[at + i]; }`;

const RANGE_CODE = `
@group(0) @binding(0) var<storage, read> data: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  ${SUM_TEXT}
  store_u32(ptr_at(arg_ptr(0), id.x, 4u), x);
}`;

const PLAIN_CODE = `
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(0) @binding(1) var<storage, read> data: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  ${SUM_TEXT}
  out[id.x] = x;
}`;

/** Bytes in all, and of one dispatch: what both sides have on the GPU at once. */
interface Job {
  readonly dataBytes: number;
  readonly tileBytes: number;
}

/** The data in shared memory, and a device for them. */
class Bed implements AsyncDisposable {
  readonly job: Job;
  readonly space: AddressSpace;
  readonly device: WebGpuDevice;
  readonly #kernel: WebGpuKernel;
  readonly #data: number;
  readonly #out: number;

  private constructor(
    job: Job,
    space: AddressSpace,
    device: WebGpuDevice,
    data: number,
    out: number,
  ) {
    this.job = job;
    this.space = space;
    this.device = device;
    this.#kernel = device.kernel({ code: RANGE_CODE, entryPoint: "main" });
    this.#data = data;
    this.#out = out;
  }

  static async open(job: Job): Promise<Bed> {
    const { dataBytes, tileBytes } = job;
    const space = await AddressSpace.create({ ramBytes: dataBytes + 64 * MiB });
    const data = await space.mmap(dataBytes);
    const out = await space.mmap(dataBytes / PAGE_WORDS);
    {
      using view = await space.view(data, dataBytes, "write");
      const words = view.as(Uint32Array);
      for (let i = 0; i < words.length; i += 4) words[i] = i;
    }
    const device = await WebGpuDevice.create(space, {
      memoryBytes: tileBytes + SPARE_BYTES,
      rangeBytes: tileBytes,
    });
    return new Bed(job, space, device, data, out);
  }

  /** Milliseconds of all tiles, none of which is on the device. */
  async cold(): Promise<number> {
    const { dataBytes, tileBytes } = this.job;
    await this.space.mprotect(this.#data, dataBytes, "read");
    await this.space.mprotect(this.#data, dataBytes, "read-write");
    const startMs = performance.now();
    for (let at = 0; at < dataBytes; at += tileBytes) {
      const ranges: WebGpuRange[] = [
        { variable: "data", address: this.#data + at, lengthBytes: tileBytes },
      ];
      const args = [this.#out + at / PAGE_WORDS];
      await this.#kernel.dispatch(tileBytes / PAGE_BYTES / 64, { args, ranges });
    }
    return performance.now() - startMs;
  }

  /** The bytes, for whoever uploads them. */
  async withBytes<T>(use: (bytes: Uint8Array) => Promise<T>): Promise<T> {
    using view = await this.space.view(this.#data, this.job.dataBytes, "read");
    return await use(view.as(Uint8Array));
  }

  /** Pages whose sum is not that of the plain program. */
  wrong(): number {
    let wrong = 0;
    for (let page = 0; page < this.job.dataBytes / PAGE_BYTES; page++) {
      let sum = 0;
      for (let i = 0; i < PAGE_WORDS; i += 4) sum = (sum + page * PAGE_WORDS + i) >>> 0;
      if (this.space.u32.load(this.#out + page * 4) !== sum) wrong++;
    }
    return wrong;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.device[Symbol.asyncDispose]();
    await this.space[Symbol.asyncDispose]();
  }
}

async function againstTiles(
  label: string,
  job: Job,
  options: MeasureOptions,
): Promise<Measurement> {
  if (missingGpu !== false) return { notMeasured: missingGpu };
  await using bed = await Bed.open(job);
  const { tileBytes } = job;
  const plain = await PlainDevice.create(tileBytes);
  const [out, data] = [plain.buffer(tileBytes / PAGE_WORDS), plain.buffer(tileBytes)];
  const pipeline = await plain.pipeline(PLAIN_CODE);
  const byHand = (): Promise<number> =>
    bed.withBytes(async (bytes) => {
      const startMs = performance.now();
      for (let at = 0; at < bytes.length; at += tileBytes) {
        plain.upload(data, 0, bytes.subarray(at, at + tileBytes));
        await plain.run(pipeline, [out, data], tileBytes / PAGE_BYTES / 64);
      }
      return performance.now() - startMs;
    });
  await bed.cold();
  const wrong = bed.wrong();
  if (wrong > 0) throw new Error(`${wrong} pages have another sum`);
  const named = `${label}, on ${adapterName(bed.device)}`;
  const measurement = await measureByHand(named, () => bed.cold(), byHand, options);
  plain.destroy();
  return measurement;
}

/** All that one binding may have, in one dispatch, and as often as it takes for the data. */
export async function measureDeclared(options: MeasureOptions): Promise<Measurement> {
  const dataBytes = options.isQuick ? 8 * MiB : 2 * BINDING_BYTES;
  const job = { dataBytes, tileBytes: Math.min(dataBytes, BINDING_BYTES) };
  return await againstTiles(`all pages of ${dataBytes / MiB} MiB as ranges`, job, options);
}

/** Memory for a quarter of the data. */
export async function measureTiles(options: MeasureOptions): Promise<Measurement> {
  const dataBytes = options.isQuick ? 8 * MiB : 128 * MiB;
  const job = { dataBytes, tileBytes: dataBytes / 4 };
  const label = `${dataBytes / MiB} MiB through ${dataBytes / 4 / MiB} MiB, as ranges`;
  return await againstTiles(label, job, options);
}
