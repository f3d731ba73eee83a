/**
 * @module The main job's search on a device against the same search on plain arrays: the same
 * questions in the same order, the same tree, two threads on either side. The device's questions
 * cost what they cost in the job: the clock is read over the bus twice, the answer is stored over
 * the bus. No census runs, since the plain side could not stand one.
 */

import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { mapMemory, ramBytesNeeded } from "../command/src/geocode/address-map.ts";
import { buildTree } from "../command/src/geocode/build.ts";
import { type CityList, loadCities } from "../command/src/geocode/city-list.ts";
import { type GeocodeMap, PAGE_BYTES } from "../command/src/geocode/layout.ts";
import { kernelArguments } from "../command/src/geocode/nearest-kernel.ts";
import { buildPlainTree } from "../command/src/geocode/nearest-plain.ts";
import { makeQuestions } from "../command/src/geocode/questions.ts";
import { treeBytes } from "../command/src/geocode/tree-builder.ts";
import { AddressSpace, SoftwareDevice } from "../src/index.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import type { PlainJob } from "./geocode-plain-worker.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

const THREADS = 2;
const SEED = 1;

/** The plain side: two Workers over one tree in a SharedArrayBuffer. */
class PlainSearch {
  readonly #next = new Int32Array(new SharedArrayBuffer(4));
  readonly #workers: readonly Worker[];

  constructor(cities: CityList, questions: Int32Array) {
    const shared = new Int32Array(new SharedArrayBuffer(questions.byteLength));
    shared.set(questions);
    const answers = new Float64Array(new SharedArrayBuffer(questions.length * 8));
    const workerData: PlainJob = {
      tree: buildPlainTree(cities),
      questions: shared,
      answers,
      next: this.#next,
    };
    this.#workers = Array.from(
      { length: THREADS },
      () => new Worker(new URL("./geocode-plain-worker.js", import.meta.url), { workerData }),
    );
  }

  /** Milliseconds until the last thread is done. */
  async run(): Promise<number> {
    Atomics.store(this.#next, 0, 0);
    const startMs = performance.now();
    await Promise.all(
      this.#workers.map(async (worker) => {
        worker.postMessage("go");
        await once(worker, "message"); // rejects when the Worker fails
      }),
    );
    return performance.now() - startMs;
  }

  async end(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}

async function measureWith(
  space: AddressSpace,
  map: GeocodeMap,
  plain: PlainSearch,
  label: string,
  memoryBytes: number,
  rounds: number,
  onRound: () => void,
): Promise<Reading> {
  await using device = await SoftwareDevice.create(space, {
    memoryBytes,
    threads: THREADS,
    name: "bench",
  });
  const kernel = device.kernel({
    module: new URL("../command/src/geocode/nearest-kernel.js", import.meta.url),
    exportName: "nearest",
  });
  const ask = async (): Promise<number> => {
    const startMs = performance.now();
    await kernel.dispatch(map.questionCount, { args: kernelArguments(map) });
    return performance.now() - startMs;
  };
  return await measurePairs({
    label,
    unit: "ms",
    rounds,
    onRound,
    ours: ask,
    plain: () => plain.run(),
  });
}

export async function measureGeocode(options: MeasureOptions): Promise<Measurement> {
  const points = options.isQuick ? 50_000 : 500_000;
  const rounds = roundsOf(options);
  const onRound = roundCounter(2 * rounds, options);
  const cities = await loadCities();
  const questions = makeQuestions(SEED, points);
  await using space = await AddressSpace.create({ ramBytes: ramBytesNeeded(cities.count, points) });
  const map = await mapMemory(space, cities, points);
  await buildTree(space, map, cities);
  await space.write(map.questions, new Uint8Array(questions.buffer));
  const plain = new PlainSearch(cities, questions);
  try {
    const quarter = Math.floor(treeBytes(cities.count) / 4 / PAGE_BYTES) * PAGE_BYTES;
    const all = treeBytes(cities.count) * 2 + points * 8;
    return {
      readings: [
        await measureWith(
          space,
          map,
          plain,
          "device memory for a quarter of the tree",
          quarter,
          rounds,
          onRound,
        ),
        await measureWith(
          space,
          map,
          plain,
          "device memory for everything",
          Math.ceil(all / PAGE_BYTES) * PAGE_BYTES,
          rounds,
          onRound,
        ),
      ],
    };
  } finally {
    await plain.end();
  }
}
