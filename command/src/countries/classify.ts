/** @module The middle of the job: a device classifies the raster, some rows of tiles at a time. */

import { type AddressSpace, type DeviceStats, SoftwareDevice } from "../../../src/index.ts";
import { WebGpuDevice } from "../../../src/webgpu.ts";
import { type DeviceName, type MemoryKind, describeGpu } from "../device-options.ts";
import { openGpu } from "../open-gpus.ts";
import { CLASSIFY_CODE, CLASSIFY_ENTRY } from "./classify-wgsl.ts";
import { type Raster, tilesOf } from "./raster.ts";

/** Tiles of one dispatch: enough for any device, and few enough for a bar that moves. */
const DISPATCH_TILES = 2048;

/** Addresses of what the kernel works with. */
export interface ClassifyMap {
  readonly root: number;
  readonly xs: number;
  readonly ys: number;
  readonly answers: number;
}

/** Which device, and with what memory. */
export interface DeviceChoice {
  readonly device: DeviceName;
  /** Of a software device: whose its pages are, and its threads. */
  readonly memory: MemoryKind;
  readonly threads: number;
  readonly budgetBytes: number;
}

export interface ClassifyReport {
  /** In dispatches. */
  readonly seconds: number;
  readonly stats: DeviceStats;
  /** Passes on the GPU; 0 for a software device. */
  readonly passes: number;
  /** Of the device, for people. */
  readonly description: string;
}

/** A device with the kernel, whichever it is. */
interface Classifier extends AsyncDisposable {
  readonly description: string;
  dispatch(tiles: number, args: readonly number[]): Promise<unknown>;
  stats(): DeviceStats;
  passes(): number;
}

/** What the kernels are given, in this order. */
export function classifyArguments(
  { root, xs, ys, answers }: ClassifyMap,
  { width, height }: Raster,
  firstTile: number,
): readonly number[] {
  return [root, xs, ys, answers, width, height, firstTile];
}

/** Rejects with HmmError when the device cannot be had, or fails. */
export async function classify(
  space: AddressSpace,
  map: ClassifyMap,
  raster: Raster,
  choice: DeviceChoice,
  onTiles: (done: number) => void,
): Promise<ClassifyReport> {
  await using device = await makeClassifier(space, choice);
  const tiles = tilesOf(raster);
  const start = performance.now();
  for (let first = 0; first < tiles; first += DISPATCH_TILES) {
    const count = Math.min(DISPATCH_TILES, tiles - first);
    await device.dispatch(count, classifyArguments(map, raster, first));
    onTiles(first + count);
  }
  const seconds = (performance.now() - start) / 1000;
  const { description } = device;
  return { seconds, stats: device.stats(), passes: device.passes(), description };
}

async function makeClassifier(
  space: AddressSpace,
  { device, memory, threads, budgetBytes: memoryBytes }: DeviceChoice,
): Promise<Classifier> {
  if (device === "webgpu") {
    const gpu = await openGpu(WebGpuDevice.create(space, { memoryBytes, name: "countries" }));
    const kernel = gpu.kernel({ code: CLASSIFY_CODE, entryPoint: CLASSIFY_ENTRY });
    return {
      description: describeGpu(gpu),
      dispatch: async (tiles, args) => await kernel.dispatch(tiles, { args }),
      stats: () => gpu.statsSync(),
      passes: () => gpu.statsSync().passes,
      [Symbol.asyncDispose]: async () => await gpu[Symbol.asyncDispose](),
    };
  }
  const software = await SoftwareDevice.create(space, {
    memory,
    memoryBytes,
    threads,
    name: "countries",
  });
  const kernel = software.kernel({
    module: new URL("./classify-kernel.js", import.meta.url),
    exportName: "classifyTile",
  });
  return {
    description: `software, ${memory}, ${threads === 1 ? "1 thread" : `${threads} threads`}`,
    dispatch: async (tiles, args) => await kernel.dispatch(tiles, { args }),
    stats: () => software.statsSync(),
    passes: () => 0,
    [Symbol.asyncDispose]: async () => await software[Symbol.asyncDispose](),
  };
}
