/**
 * @module The world of the page: an address space, the tree of borders in it, which a Worker
 * builds, and a WebGPU device that classifies the pixels of a view. Nothing here draws.
 */

import { AddressSpace } from "hmm-ts";
import { WebGpuDevice, type WebGpuStats } from "hmm-ts/webgpu";
import { CLASSIFY_CODE, CLASSIFY_ENTRY } from "../../command/src/countries/classify-wgsl.ts";
import { type Box, type Raster, makeRaster, tilesOf } from "../../command/src/countries/raster.ts";
import type { BuildOrder, BuildReport } from "./world-builder.ts";

const RAM_BYTES = 64 * 2 ** 20;
/** For the nodes of the tree, and for its leaves. */
const ROOM_BYTES = 16 * 2 ** 20;
const PIXELS_MAX = 2 ** 20;
const PAGE_BYTES = 4096;

/** A view of the map, classified. */
export interface Picture {
  readonly raster: Raster;
  /** Number of the country of each pixel; 0: none. */
  readonly answers: Uint32Array;
  readonly milliseconds: number;
  /** What the device has done since it was made. */
  readonly stats: WebGpuStats;
}

/** Where the tree is. */
export interface Built {
  readonly root: number;
  readonly bytes: number;
  readonly names: readonly string[];
}

export class WorldModel {
  readonly built: Built;
  readonly #space: AddressSpace;
  readonly #columns: number;
  readonly #rows: number;
  readonly #answers: number;
  #device: WebGpuDevice | undefined;
  #isBusy: Promise<unknown> = Promise.resolve();

  private constructor(space: AddressSpace, built: Built, addresses: readonly number[]) {
    this.#space = space;
    this.built = built;
    [this.#columns = 0, this.#rows = 0, this.#answers = 0] = addresses;
  }

  /** Loads the borders at `url`. Rejects when they, or shared memory, cannot be had. */
  static async open(url: string, onProgress: (text: string) => void): Promise<WorldModel> {
    const space = await AddressSpace.create({ ramBytes: RAM_BYTES });
    const nodes = { address: await space.mmap(ROOM_BYTES), lengthBytes: ROOM_BYTES };
    const leaves = { address: await space.mmap(ROOM_BYTES), lengthBytes: ROOM_BYTES };
    const order: BuildOrder = { handle: space.handle, url, nodes, leaves };
    const built = await build(order, onProgress);
    const lengths = [4 * PIXELS_MAX, 4 * PIXELS_MAX, 4 * PIXELS_MAX];
    const addresses: number[] = [];
    for (const length of lengths) addresses.push(await space.mmap(length));
    return new WorldModel(space, built, addresses);
  }

  /** What the adapter says of itself; undefined before the first picture. */
  get adapter(): WebGpuDevice["adapter"] | undefined {
    return this.#device?.adapter;
  }

  /** Makes a device with so much memory, in place of the one before. Rejects with HmmError. */
  async setBudget(memoryBytes: number): Promise<void> {
    await this.#inTurn(async () => {
      await this.#device?.[Symbol.asyncDispose]();
      this.#device = undefined;
      this.#device = await WebGpuDevice.create(this.#space, {
        memoryBytes,
        worker: () => new Worker(new URL("./world-gpu.ts", import.meta.url), { type: "module" }),
      });
    });
  }

  /** Classifies a view. Rejects with HmmError; ECANCELED when `signal` is raised. */
  async draw(box: Box, width: number, signal: AbortSignal): Promise<Picture> {
    return await this.#inTurn(async () => {
      const device = this.#device;
      if (device === undefined) throw new Error("There is no device; set a budget first");
      const raster = makeRaster(box, width);
      const space = this.#space;
      await space.write(this.#columns, new Uint8Array(raster.xs.buffer));
      await space.write(this.#rows, new Uint8Array(raster.ys.buffer));
      const { root } = this.built;
      const args = [root, this.#columns, this.#rows, this.#answers, width, raster.height, 0];
      const startMs = performance.now();
      const kernel = device.kernel({ code: CLASSIFY_CODE, entryPoint: CLASSIFY_ENTRY });
      await kernel.dispatch(tilesOf(raster), { args, signal });
      const answers = new Uint32Array(width * raster.height);
      await space.read(this.#answers, new Uint8Array(answers.buffer));
      const milliseconds = performance.now() - startMs;
      return { raster, answers, milliseconds, stats: device.statsSync() };
    });
  }

  /** Ends the device and the space, after what is under way. */
  async dispose(): Promise<void> {
    await this.#inTurn(async () => {
      await this.#device?.[Symbol.asyncDispose]();
      this.#device = undefined;
      await this.#space.dispose();
    });
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#isBusy.then(work);
    this.#isBusy = turn.catch(() => {});
    return await turn;
  }
}

/** Whole pages, for a budget. */
export function wholePages(bytes: number): number {
  return Math.round(bytes / PAGE_BYTES) * PAGE_BYTES;
}

async function build(order: BuildOrder, onProgress: (text: string) => void): Promise<Built> {
  const worker = new Worker(new URL("./world-builder.ts", import.meta.url), { type: "module" });
  try {
    return await new Promise<Built>((resolve, reject) => {
      worker.addEventListener("error", (event) => reject(new Error(event.message)));
      worker.addEventListener("message", ({ data }: MessageEvent<BuildReport>) => {
        if (data.kind === "progress") onProgress(data.text);
        else if (data.kind === "failed") reject(new Error(data.text));
        else resolve(data);
      });
      worker.postMessage(order);
    });
  } finally {
    worker.terminate();
  }
}
