/**
 * @module Loads through the page table of the WebGPU device, everything resident, against the same
 * kernel over a plain buffer, on one adapter. Each kernel goes over the data often enough for its
 * run to outweigh submit and map, and has invocations enough to fill a large GPU.
 */

import { AddressSpace } from "../src/index.ts";
import { WebGpuDevice, type WebGpuRange } from "../src/webgpu.ts";
import { missingGpu } from "../test/devices/webgpu/find-gpu.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";
import { PlainDevice, adapterName } from "./webgpu-plain.ts";

const DATA_BYTES: number = 8 * 2 ** 20;
const WORDS: number = DATA_BYTES / 4;
const INVOCATIONS: number = 2 ** 18;
const WORKGROUPS: number = INVOCATIONS / 64;
/** Words of a span, and spans in the data. */
const RUN = 64;
const RUNS: number = WORDS / RUN;
/** What the kernels store, and what the device has beside it for itself. */
const OUT_BYTES: number = INVOCATIONS * 4;
const SPARE_BYTES: number = 2 ** 19;
/** What a run of the plain kernel should take at least: a longer one of ours would be cut, */
const RUN_MS = 25;
const QUICK_MS = 5;
/** unless one of ours takes this long before: a large GPU has the plain one in no time. */
const PAGED_RUN_MS = 400;

/**
 * How a kernel goes over the data: the loop around `x += LOAD;`. Each round `r` goes another way,
 * or the compiler loads once for all rounds (seen: a plain kernel 17,000 times as fast as a GPU
 * can).
 */
interface Way {
  readonly label: string;
  /** Loads of one invocation in one round. */
  readonly loads: number;
  readonly plain: string;
  readonly paged: string;
  /** The data is bound to `data` as a direct range. */
  readonly isDirect?: boolean;
  /** If it is not DATA_BYTES. */
  readonly dataBytes?: number;
  /** Buffers of the pool, if more than one. */
  readonly poolBuffers?: number;
}

const PER_INVOCATION: number = WORDS / INVOCATIONS;
/** In each round another part, of 32 neighbours: it is in no cache that is next to a core. */
const NEXT: string = `(g ^ (r * 1237u % ${INVOCATIONS / 32}u * 32u))`;
const HASH = "((k * 2654435761u) ^ (g * 40503u) ^ (r * 668265263u) ^ (k >> 7u)) * 2246822519u";

export const SPAN: Way = {
  label: "span",
  loads: RUN,
  plain: `{ let b = g % ${RUNS}u * ${RUN}u; for (var i = 0u; i < ${RUN}u; i++) { x += data[b + (i ^ (r & ${RUN - 1}u))]; } }`,
  paged: `{ let s = span_read(ptr_at(arg_ptr(0), g % ${RUNS}u * ${RUN}u, 4u), ${RUN}u);
    for (var i = 0u; i < ${RUN}u; i++) { x += span_u32(s, i ^ (r & ${RUN - 1}u)); } }`,
};
export const COALESCED: Way = {
  label: "bare load, coalesced",
  loads: PER_INVOCATION,
  plain: `for (var k = 0u; k < ${PER_INVOCATION}u; k++) { x += data[k * ${INVOCATIONS}u + ${NEXT}]; }`,
  paged: `for (var k = 0u; k < ${PER_INVOCATION}u; k++) {
    x += load_u32(ptr_at(arg_ptr(0), k * ${INVOCATIONS}u + ${NEXT}, 4u)); }`,
};
export const RANDOM: Way = randomOver(DATA_BYTES);

function randomOver(dataBytes: number): Way {
  const words = dataBytes / 4;
  return {
    label: "bare load, random",
    loads: PER_INVOCATION,
    plain: `for (var k = 0u; k < ${PER_INVOCATION}u; k++) { x += data[${HASH} % ${words}u]; }`,
    paged: `for (var k = 0u; k < ${PER_INVOCATION}u; k++) {
      x += load_u32(ptr_at(arg_ptr(0), ${HASH} % ${words}u, 4u)); }`,
    dataBytes,
  };
}

export const DIRECT: Way = {
  ...COALESCED,
  label: "direct range, coalesced",
  paged: COALESCED.plain,
  isDirect: true,
};

/** A pool of several buffers, which are of a power of two of pages each. */
const POOL_BYTES: number = 2 * DATA_BYTES;

/** As RANDOM, from a pool of so many buffers, all of which have data. */
export function randomOf(poolBuffers: number): Way {
  const way = randomOver(POOL_BYTES - OUT_BYTES - SPARE_BYTES);
  return { ...way, label: `${way.label}, ${poolBuffers} pool bindings`, poolBuffers };
}

/** What the sum hardly ever is: the loads must be done, and no page of results goes home. */
const RARE = "2654435769u";

function plainCode({ plain }: Way): string {
  return `
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(0) @binding(1) var<storage, read> data: array<u32>;
@group(0) @binding(2) var<storage, read> given: array<u32, 4>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  let g = id.x;
  let rounds = given[0];
  var x = 0u;
  for (var r = 0u; r < rounds; r++) { ${plain} x ^= r; }
  if (x == ${RARE}) { out[g] = x; }
}`;
}

function pagedCode({ paged, isDirect = false }: Way): string {
  return `
${isDirect ? "@group(0) @binding(0) var<storage, read> data: array<u32>;" : ""}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  let g = id.x;
  let rounds = arg_u32(2);
  var x = 0u;
  for (var r = 0u; r < rounds; r++) { ${paged} x ^= r; }
  if (x == ${RARE}) { store_u32(ptr_at(arg_ptr(1), g, 4u), x); }
}`;
}

async function elapsed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}

/** Times that the data is gone over at most. */
const ROUNDS_MAX: number = 2 ** 16;
/** After these the device knows how long a chunk takes. */
const WARM_RUNS = 2;

/** Each takes how often to go over the data: an argument, not a constant that is compiled in. */
interface Runs {
  readonly plain: (rounds: number) => Promise<unknown>;
  readonly paged: (rounds: number) => Promise<unknown>;
}

/** Both sides of a way, ready to run. */
class Sides implements AsyncDisposable {
  readonly #plain: PlainDevice;
  readonly #buffers: readonly GPUBuffer[];
  readonly #space: AddressSpace;
  readonly #device: WebGpuDevice;
  readonly #args: readonly number[];

  private constructor(
    plain: PlainDevice,
    space: AddressSpace,
    device: WebGpuDevice,
    args: readonly number[],
    dataBytes: number,
  ) {
    this.#plain = plain;
    this.#buffers = [plain.buffer(OUT_BYTES), plain.buffer(dataBytes), plain.buffer(16)];
    this.#space = space;
    this.#device = device;
    this.#args = args;
  }

  static async open(way: Way): Promise<Sides> {
    const { isDirect = false, poolBuffers = 1, dataBytes = DATA_BYTES } = way;
    const plain = await PlainDevice.create(dataBytes);
    const space = await AddressSpace.create({ ramBytes: 2 * dataBytes + OUT_BYTES });
    const rangeBytes = isDirect ? dataBytes : 0;
    const pieceBytes = poolBuffers === 1 ? undefined : POOL_BYTES / poolBuffers;
    const device = await WebGpuDevice.create(space, {
      memoryBytes:
        pieceBytes === undefined ? dataBytes + rangeBytes + OUT_BYTES + SPARE_BYTES : POOL_BYTES,
      rangeBytes,
      ...(pieceBytes === undefined ? {} : { bufferBytesMax: pieceBytes }),
    });
    const data = await space.mmap(dataBytes);
    const out = await space.mmap(OUT_BYTES);
    const sides = new Sides(plain, space, device, [data, out], dataBytes);
    await sides.#fill(data, dataBytes);
    return sides;
  }

  async #fill(address: number, dataBytes: number): Promise<void> {
    const words = Uint32Array.from({ length: dataBytes / 4 }, (_, i) => Math.imul(i, 0x9e3779b9));
    const bytes = new Uint8Array(words.buffer);
    await this.#space.write(address, bytes);
    const [, data] = this.#buffers;
    if (data !== undefined) this.#plain.upload(data, 0, bytes);
  }

  async measure(way: Way, options: MeasureOptions, onRound: () => void): Promise<Reading> {
    const leastMs = options.isQuick ? QUICK_MS : RUN_MS;
    const runs = await this.#runs(way);
    let rounds = 1;
    for (; rounds < ROUNDS_MAX; rounds *= 2) {
      const plainMs = await elapsed(() => runs.plain(rounds));
      if (plainMs >= leastMs || (await elapsed(() => runs.paged(rounds))) >= PAGED_RUN_MS) break;
    }
    for (let i = 0; i < WARM_RUNS; i++) await runs.paged(rounds);
    const loads = (INVOCATIONS * way.loads * rounds) / 1e6;
    return await measurePairs({
      label: `${way.label}, on ${adapterName(this.#device)}`,
      unit: "ns a load",
      ours: async () => (await elapsed(() => runs.paged(rounds))) / loads,
      plain: async () => (await elapsed(() => runs.plain(rounds))) / loads,
      rounds: roundsOf(options),
      onRound,
    });
  }

  /** Both kernels, compiled. */
  async #runs(way: Way): Promise<Runs> {
    const pipeline = await this.#plain.pipeline(plainCode(way));
    const kernel = this.#device.kernel({ code: pagedCode(way), entryPoint: "main" });
    const [, , given] = this.#buffers;
    const ranges = this.#ranges(way);
    const runs: Runs = {
      plain: async (rounds) => {
        if (given !== undefined) this.#plain.write(given, Uint32Array.of(rounds));
        await this.#plain.run(pipeline, this.#buffers, WORKGROUPS);
      },
      paged: (rounds) => kernel.dispatch(WORKGROUPS, { args: [...this.#args, rounds], ranges }),
    };
    await runs.plain(1);
    await runs.paged(1);
    return runs;
  }

  #ranges({ isDirect = false }: Way): WebGpuRange[] {
    const [address = 0] = this.#args;
    return isDirect ? [{ variable: "data", address, lengthBytes: DATA_BYTES }] : [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#device[Symbol.asyncDispose]();
    await this.#space[Symbol.asyncDispose]();
    this.#plain.destroy();
  }
}

/** A measure of one way. */
export function measureAccess(way: Way): (options: MeasureOptions) => Promise<Measurement> {
  return async (options) => {
    if (missingGpu !== false) return { notMeasured: missingGpu };
    await using sides = await Sides.open(way);
    const onRound = roundCounter(roundsOf(options), options);
    return { readings: [await sides.measure(way, options, onRound)] };
  };
}
