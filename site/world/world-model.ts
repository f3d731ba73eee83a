/**
 * @module The world of the page: an address space, the tree of borders in it, which a Worker
 * builds, and a WebGPU device that classifies the pixels of a view. Nothing here draws.
 */

import { AddressSpace } from "hmm-ts";
import { WebGpuDevice, type WebGpuStats } from "hmm-ts/webgpu";
import { CLASSIFY_CODE, CLASSIFY_ENTRY } from "../../command/src/countries/classify-wgsl.ts";
import { type Box, type Raster, makeRaster, tilesOf } from "../../command/src/countries/raster.ts";
import { type Room, roomsFor } from "../../command/src/countries/tree-builder.ts";
import type { BuildOrder, BuildReport } from "./world-builder.ts";
import type { MapSource } from "./world-maps.ts";

/** For page tables, for files of a few borders, and for what a picture needs. */
const SPARE_BYTES = 32 * 2 ** 20;
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

  /**
   * Loads borders. Rejects when they, or shared memory, cannot be had, and when `signal` is raised.
   */
  static async open(
    source: MapSource,
    onProgress: (text: string) => void,
    signal: AbortSignal,
  ): Promise<WorldModel> {
    const builder = new Builder(onProgress, signal);
    let space: AddressSpace | undefined;
    try {
      const { placeBytes } = await builder.ask({ kind: "read", url: source.url }, "read");
      const { nodeBytes, leafBytes } = roomsFor(placeBytes);
      // What is never touched takes no memory: addresses alone are reserved for it.
      space = await AddressSpace.create({ ramBytes: nodeBytes + leafBytes + 3 * SPARE_BYTES });
      const nodes = await roomIn(space, wholePages(nodeBytes) + SPARE_BYTES);
      const leaves = await roomIn(space, wholePages(leafBytes) + SPARE_BYTES);
      const { handle } = space;
      const built = await builder.ask({ kind: "build", handle, nodes, leaves }, "built");
      const addresses: number[] = [];
      for (let i = 0; i < 3; i++) addresses.push(await space.mmap(4 * PIXELS_MAX));
      return new WorldModel(space, built, addresses);
    } catch (error) {
      await space?.dispose();
      throw error;
    } finally {
      builder.end();
    }
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

async function roomIn(space: AddressSpace, lengthBytes: number): Promise<Room> {
  return { address: await space.mmap(lengthBytes), lengthBytes };
}

type ReportOf<Kind extends BuildReport["kind"]> = BuildReport & { readonly kind: Kind };

/** The Worker that builds, asked one thing after the other. */
class Builder {
  readonly #worker = new Worker(new URL("./world-builder.ts", import.meta.url), { type: "module" });
  readonly #onProgress: (text: string) => void;
  readonly #signal: AbortSignal;

  constructor(onProgress: (text: string) => void, signal: AbortSignal) {
    this.#onProgress = onProgress;
    this.#signal = signal;
  }

  /** Resolves to its report of this kind. */
  async ask<Kind extends BuildReport["kind"]>(
    order: BuildOrder,
    kind: Kind,
  ): Promise<ReportOf<Kind>> {
    const worker = this.#worker;
    const ended = new AbortController();
    const { signal } = ended;
    try {
      return await new Promise<ReportOf<Kind>>((resolve, reject) => {
        const giveUp = (): void => reject(new Error("another map was chosen"));
        if (this.#signal.aborted) return giveUp();
        this.#signal.addEventListener("abort", giveUp, { signal });
        worker.addEventListener("error", (event) => reject(new Error(event.message)), { signal });
        const hear = ({ data }: MessageEvent<BuildReport>): void => {
          if (data.kind === "progress") this.#onProgress(data.text);
          else if (data.kind === "failed") reject(new Error(data.text));
          else if (data.kind === kind) resolve(data as ReportOf<Kind>);
        };
        worker.addEventListener("message", hear, { signal });
        worker.postMessage(order);
      });
    } finally {
      ended.abort();
    }
  }

  end(): void {
    this.#worker.terminate();
  }
}
