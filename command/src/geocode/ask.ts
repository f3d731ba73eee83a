/**
 * @module The middle of the job. The device answers all questions; meanwhile the census rewrites
 * what it reads.
 */

import type { AddressSpace, DeviceStats, SpaceCounts } from "../../../src/index.ts";
import { SoftwareDevice } from "../../../src/index.ts";
import type { DeviceName, MemoryKind } from "../device-options.ts";
import { formatThings } from "../quantities.ts";
import type { Asker } from "./asker.ts";
import { askGpu } from "./ask-gpu.ts";
import { startCensus } from "./census.ts";
import type { CensusReport } from "./census.ts";
import type { CityList } from "./city-list.ts";
import { CONTROL_ANSWERED } from "./layout.ts";
import type { GeocodeMap } from "./layout.ts";
import { kernelArguments } from "./nearest-kernel.ts";

const PROGRESS_MS = 100;

export interface AskOptions {
  readonly device: DeviceName;
  readonly memory: MemoryKind;
  readonly memoryBytes: number;
  readonly threads: number;
  readonly seed: number;
  /** Hears how many questions have been answered. */
  readonly onProgress: (done: number) => void;
}

export interface AskReport {
  /** From the dispatch to its end, without starting threads. */
  readonly seconds: number;
  readonly description: string;
  readonly device: DeviceStats;
  readonly space: SpaceCounts;
  readonly census: CensusReport;
}

/** Starts device and census, answers all questions, and ends both, also when something fails. */
export async function askDevice(
  space: AddressSpace,
  map: GeocodeMap,
  cities: CityList,
  options: AskOptions,
): Promise<AskReport> {
  const isGpu = options.device === "webgpu";
  await using asker = await (isGpu
    ? askGpu(space, map, options.memoryBytes)
    : askSoftware(space, map, options));
  const census = startCensus(space, map, cities, options.seed, isGpu);
  const progress = setInterval(
    () => options.onProgress(space.u32.load(map.control + CONTROL_ANSWERED)),
    PROGRESS_MS,
  );
  try {
    const start = performance.now();
    const answering = asker.answer();
    answering.catch(() => {}); // heard below, unless the census fails first
    // If the census fails, so does the job: without rewrites the answers would prove nothing.
    await Promise.race([answering, census.result]);
    await answering;
    const seconds = (performance.now() - start) / 1000;
    census.send("stop");
    const { counters } = space.statsSync();
    const { description } = asker;
    const device = asker.stats();
    return { seconds, description, device, space: counters, census: await census.result };
  } finally {
    clearInterval(progress);
    census.send("stop"); // a second one does no harm
    await census.result.catch(() => {});
  }
}

async function askSoftware(
  space: AddressSpace,
  map: GeocodeMap,
  { memory, memoryBytes, threads }: AskOptions,
): Promise<Asker> {
  const device = await SoftwareDevice.create(space, {
    memory,
    memoryBytes,
    threads,
    name: "geocode",
  });
  const kernel = device.kernel({
    module: new URL("./nearest-kernel.js", import.meta.url),
    exportName: "nearest",
  });
  return {
    description: `software, ${memory}, ${formatThings(threads, "thread")}`,
    answer: async () => await kernel.dispatch(map.questionCount, { args: kernelArguments(map) }),
    stats: () => device.statsSync(),
    [Symbol.asyncDispose]: async () => await device[Symbol.asyncDispose](),
  };
}
