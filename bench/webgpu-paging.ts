/**
 * @module Pages that come to the WebGPU device on demand, against uploading everything by hand from
 * the same shared memory, on one adapter: few pages of many, all pages once, and one batch of
 * faults against the same kernel without any.
 */

import { AddressSpace } from "../src/index.ts";
import { WebGpuDevice, type WebGpuKernel } from "../src/webgpu.ts";
import { missingGpu } from "../test/devices/webgpu/find-gpu.ts";
import type { MeasureOptions, Measurement } from "./figure.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";
import { PlainDevice, adapterName, measureByHand } from "./webgpu-plain.ts";

const PAGE_BYTES = 4096;
const MiB: number = 2 ** 20;

/** One number out for each page in: the invocation's page, by the list `which` if there is one. */
const PAGES_CODE = `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= arg_u32(2)) { return; }
  let page = id.x * arg_u32(3) % arg_u32(4);
  let s = span_read(ptr_at(arg_ptr(0), page, 4096u), 1024u);
  var x = 0u;
  for (var i = 0u; i < 1024u; i += 4u) { x += span_u32(s, i); }
  store_u32(ptr_at(arg_ptr(1), id.x, 4u), x);
}`;

/** The same for the pages from `given[0]` on that the buffer has. */
function plainPagesCode({ count, stride, dataBytes }: Job): string {
  return `
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(0) @binding(1) var<storage, read> data: array<u32>;
@group(0) @binding(2) var<storage, read> given: array<u32, 4>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= ${count}u) { return; }
  let page = id.x * ${stride}u % ${dataBytes / PAGE_BYTES}u;
  if (page < given[0] || page >= given[0] + arrayLength(&data) / 1024u) { return; }
  let b = (page - given[0]) * 1024u;
  var x = 0u;
  for (var i = 0u; i < 1024u; i += 4u) { x += data[b + i]; }
  out[id.x] = x;
}`;
}

interface Job {
  /** Bytes of the whole data. */
  readonly dataBytes: number;
  readonly memoryBytes: number;
  /** Pages that the kernel reads, and from one to the next. */
  readonly count: number;
  readonly stride: number;
  readonly isPure?: boolean;
}

async function elapsed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}

/** The data in shared memory, and both ways to its sums. */
class Bed implements AsyncDisposable {
  readonly space: AddressSpace;
  readonly device: WebGpuDevice;
  readonly kernel: WebGpuKernel;
  readonly args: readonly number[];
  readonly #address: number;
  readonly #job: Job;

  private constructor(
    space: AddressSpace,
    device: WebGpuDevice,
    job: Job,
    address: number,
    out: number,
  ) {
    const pages = job.dataBytes / PAGE_BYTES;
    this.space = space;
    this.device = device;
    this.kernel = device.kernel({
      code: PAGES_CODE,
      entryPoint: "main",
      pure: job.isPure ?? false,
    });
    this.args = [address, out, job.count, job.stride, pages];
    this.#address = address;
    this.#job = job;
  }

  static async open(job: Job): Promise<Bed> {
    const space = await AddressSpace.create({ ramBytes: job.dataBytes + 64 * MiB });
    const address = await space.mmap(job.dataBytes);
    const out = await space.mmap(Math.max(PAGE_BYTES, job.count * 4));
    {
      using view = await space.view(address, job.dataBytes, "write");
      const words = view.as(Uint32Array);
      for (let i = 0; i < words.length; i += 4) words[i] = i;
    }
    const device = await WebGpuDevice.create(space, { memoryBytes: job.memoryBytes });
    return new Bed(space, device, job, address, out);
  }

  /** Milliseconds of a dispatch with none of the data on the device. */
  async cold(): Promise<number> {
    await this.forget();
    return await elapsed(() => this.dispatch());
  }

  dispatch(): Promise<unknown> {
    return this.kernel.dispatch(Math.ceil(this.#job.count / 64), { args: this.args });
  }

  /** Takes every page from the device: write-protects all that it could have, and again not. */
  async forget(): Promise<void> {
    const { dataBytes } = this.#job;
    await this.space.mprotect(this.#address, dataBytes, "read");
    await this.space.mprotect(this.#address, dataBytes, "read-write");
  }

  /** The bytes, for whoever uploads them. */
  async withBytes<T>(use: (bytes: Uint8Array) => Promise<T>): Promise<T> {
    using view = await this.space.view(this.#address, this.#job.dataBytes, "read");
    return await use(view.as(Uint8Array));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.device[Symbol.asyncDispose]();
    await this.space[Symbol.asyncDispose]();
  }
}

/** Dispatches before the first that counts: a batch is a lot of code that is not compiled yet. */
const WARM_DISPATCHES = 4;
/** Those of few pages take so many before the compiler is through with it. */
const WARM_BATCHES = 40;

/** On-demand paging against upload and dispatch by hand; the ratio is how many times as fast. */
async function againstUpload(
  label: string,
  job: Job,
  options: MeasureOptions,
): Promise<Measurement> {
  if (missingGpu !== false) return { notMeasured: missingGpu };
  await using bed = await Bed.open(job);
  const partBytes = Math.min(job.dataBytes, PLAIN_BYTES);
  const plain = await PlainDevice.create(partBytes);
  const [out, data, given] = [Math.max(16, job.count * 4), partBytes, 16].map((bytes) =>
    plain.buffer(bytes),
  );
  if (out === undefined || data === undefined || given === undefined) throw new Error("no buffers");
  const pipeline = await plain.pipeline(plainPagesCode(job));
  const byHand = (): Promise<number> =>
    bed.withBytes((bytes) =>
      elapsed(async () => {
        for (let at = 0; at < bytes.length; at += partBytes) {
          plain.upload(data, 0, bytes.subarray(at, at + partBytes));
          plain.write(given, Uint32Array.of(at / PAGE_BYTES));
          await plain.run(pipeline, [out, data, given], Math.ceil(job.count / 64));
        }
      }),
    );
  for (let i = 0; i < WARM_DISPATCHES; i++) await bed.cold();
  const named = `${label}, on ${adapterName(bed.device)}`;
  const measurement = await measureByHand(named, () => bed.cold(), byHand, options);
  plain.destroy();
  return measurement;
}

/** As large as one plain binding can be without asking for more: what is larger goes in parts. */
const PLAIN_BYTES: number = 128 * MiB;
const SPARSE_BYTES: number = 1024 * MiB;

export async function measureSparse(options: MeasureOptions): Promise<Measurement> {
  const dataBytes = options.isQuick ? 16 * MiB : SPARSE_BYTES;
  const pages = dataBytes / PAGE_BYTES;
  const count = Math.floor(pages / 100);
  const job = { dataBytes, memoryBytes: 16 * MiB, count, stride: 99_991 };
  return await againstUpload(`1 % of the pages of ${dataBytes / MiB} MiB`, job, options);
}

export function measureStream(options: MeasureOptions): Promise<Measurement> {
  return measureStreamOf(options, false);
}

export function measurePureStream(options: MeasureOptions): Promise<Measurement> {
  return measureStreamOf(options, true);
}

async function measureStreamOf(options: MeasureOptions, isPure: boolean): Promise<Measurement> {
  const dataBytes = options.isQuick ? 8 * MiB : 64 * MiB;
  const pages = dataBytes / PAGE_BYTES;
  const job = { dataBytes, memoryBytes: dataBytes + MiB, count: pages, stride: 1, isPure };
  const how = isPure ? ", a pure kernel" : "";
  return await againstUpload(`all pages of ${dataBytes / MiB} MiB on demand${how}`, job, options);
}

const BATCH_PAGES = 256;

export async function measureFaultBatch(options: MeasureOptions): Promise<Measurement> {
  if (missingGpu !== false) return { notMeasured: missingGpu };
  const dataBytes = BATCH_PAGES * PAGE_BYTES;
  const job = { dataBytes, memoryBytes: 8 * MiB, count: BATCH_PAGES, stride: 1 };
  await using bed = await Bed.open(job);
  const rounds = roundsOf(options);
  for (let i = 0; i < WARM_BATCHES; i++) await bed.cold();
  const reading = await measurePairs({
    label: `a dispatch that faults on ${BATCH_PAGES} pages, against one that faults on none, on ${adapterName(bed.device)}`,
    unit: "ms",
    ours: () => bed.cold(),
    plain: async () => {
      await bed.dispatch();
      return await elapsed(() => bed.dispatch());
    },
    rounds,
    onRound: roundCounter(rounds, options),
  });
  const pageUs = reading.ratios.map(() => ((reading.ours - reading.plain) * 1000) / BATCH_PAGES);
  return {
    readings: [
      reading,
      {
        label: "what the faults add, for each page",
        ratios: pageUs,
        ours: pageUs[0] ?? 0,
        plain: 1,
        unit: "us a page",
        isBound: false,
      },
    ],
  };
}
