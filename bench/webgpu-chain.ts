/**
 * @module A chain of dispatches over the same pages: they stay on the GPU, against pages that are
 * copied to RAM at the end of each dispatch. With and without a load from every page at the end of
 * the chain.
 */

import { AddressSpace } from "../src/index.ts";
import { WebGpuDevice } from "../src/webgpu.ts";
import { missingGpu } from "../test/devices/webgpu/find-gpu.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import { type Side, measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

const PAGE_BYTES = 4096;
const MiB: number = 2 ** 20;
/** Dispatches of a chain. */
const CHAIN = 16;

/** Adds 1 to every eighth word, one page an invocation. */
const STEP_CODE = `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= arg_u32(1)) { return; }
  let p = ptr_at(arg_ptr(0), id.x, 4096u);
  let s = span_write(p, 1024u);
  for (var i = 0u; i < 1024u; i += 8u) { span_set_u32(s, i, span_u32(s, i) + 1u); }
}`;

/** A device with its own pages. */
class Chain implements AsyncDisposable {
  readonly #space: AddressSpace;
  readonly #device: WebGpuDevice;
  readonly #address: number;
  readonly #pages: number;
  #steps = 0;

  private constructor(space: AddressSpace, device: WebGpuDevice, address: number, pages: number) {
    this.#space = space;
    this.#device = device;
    this.#address = address;
    this.#pages = pages;
  }

  static async open(pages: number, memory: "ram" | "private"): Promise<Chain> {
    const ramBytes = pages * PAGE_BYTES * 2 + 16 * MiB;
    const space = await AddressSpace.create({ ramBytes, heapBytes: 16 * MiB });
    const address = await space.mmap(pages * PAGE_BYTES);
    // Enough for them and for the backups of all of them.
    const memoryBytes = pages * PAGE_BYTES * 5 + MiB;
    const device = await WebGpuDevice.create(space, { memoryBytes, memory });
    return new Chain(space, device, address, pages);
  }

  /** Milliseconds of a chain, and of the loads at its end. */
  async run(isLoaded: boolean): Promise<number> {
    const kernel = this.#device.kernel({ code: STEP_CODE, entryPoint: "main" });
    const startMs = performance.now();
    for (let step = 0; step < CHAIN; step++)
      await kernel.dispatch(Math.ceil(this.#pages / 64), { args: [this.#address, this.#pages] });
    this.#steps += CHAIN;
    if (isLoaded) this.#load();
    return performance.now() - startMs;
  }

  #load(): void {
    for (let page = 0; page < this.#pages; page++) {
      const value = this.#space.u32.load(this.#address + page * PAGE_BYTES);
      if (value !== this.#steps) throw new Error(`page ${page} has ${value}, not ${this.#steps}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#device[Symbol.asyncDispose]();
    await this.#space[Symbol.asyncDispose]();
  }
}

export async function measureChain(options: MeasureOptions): Promise<Measurement> {
  if (missingGpu !== false) return { notMeasured: missingGpu };
  const rounds = roundsOf(options);
  const sizes = options.isQuick ? [MiB] : [MiB, 16 * MiB];
  const onRound = roundCounter(rounds * sizes.length * 2, options);
  const readings: Reading[] = [];
  for (const bytes of sizes) {
    const pages = bytes / PAGE_BYTES;
    await using ours = await Chain.open(pages, "private");
    await using plain = await Chain.open(pages, "ram");
    for (const isLoaded of [false, true]) {
      const sideOf =
        (chain: Chain): Side =>
        () =>
          chain.run(isLoaded);
      const how = isLoaded ? ", and a load from each page" : "";
      readings.push(
        await measurePairs({
          label: `${CHAIN} dispatches over ${bytes / MiB} MiB${how}`,
          unit: "ms",
          ours: sideOf(ours),
          plain: sideOf(plain),
          rounds,
          onRound,
          isBound: !isLoaded,
        }),
      );
    }
  }
  return { readings };
}
