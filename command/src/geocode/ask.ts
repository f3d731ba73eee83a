/**
 * @module The middle of the job. The device answers all questions; meanwhile the census rewrites
 * what it reads.
 */

import type { AddressSpace, DeviceStats, SpaceCounts } from "../../../src/index.ts";
import { SoftwareDevice } from "../../../src/index.ts";
import type { MemoryKind } from "../device-options.ts";
import { startCensus } from "./census.ts";
import type { CensusReport } from "./census.ts";
import type { CityList } from "./city-list.ts";
import { CONTROL_ANSWERED } from "./layout.ts";
import type { GeocodeMap } from "./layout.ts";
import { kernelArguments } from "./nearest-kernel.ts";

const PROGRESS_MS = 100;

export interface AskOptions {
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
  readonly device: DeviceStats;
  readonly space: SpaceCounts;
  readonly census: CensusReport;
}

/** Starts device and census, answers all questions, and ends both, also when something fails. */
export async function askDevice(
  space: AddressSpace,
  map: GeocodeMap,
  cities: CityList,
  { memory, memoryBytes, threads, seed, onProgress }: AskOptions,
): Promise<AskReport> {
  await using device = await SoftwareDevice.create(space, {
    memory,
    memoryBytes,
    threads,
    name: "geocode",
  });
  const kernel = device.kernel({
    module: new URL("./nearest-kernel.js", import.meta.url),
    exportName: "nearest",
  });
  const census = startCensus(space, map, cities, seed);
  const progress = setInterval(
    () => onProgress(space.u32.load(map.control + CONTROL_ANSWERED)),
    PROGRESS_MS,
  );
  try {
    const start = performance.now();
    const dispatch = kernel.dispatch(map.questionCount, { args: kernelArguments(map) });
    dispatch.catch(() => {}); // heard below, unless the census fails first
    // If the census fails, so does the job: without rewrites the answers would prove nothing.
    await Promise.race([dispatch, census.result]);
    await dispatch;
    const seconds = (performance.now() - start) / 1000;
    census.send("stop");
    const { counters } = space.statsSync();
    return { seconds, device: device.statsSync(), space: counters, census: await census.result };
  } finally {
    clearInterval(progress);
    census.send("stop"); // a second one does no harm
    await census.result.catch(() => {});
  }
}
