/**
 * @module The main job. All cities of the world become a k-d tree, linked by pointers, in an
 * address space. A device with memory for a quarter of the tree follows the same pointers and
 * answers, for many places, which city is nearest. Meanwhile a CPU thread rewrites what it reads.
 * Then every answer is checked against others.
 */

import { AddressSpace } from "../../../src/index.ts";
import type { DeviceName, MemoryKind } from "../device-options.ts";
import { StageClock } from "../stage-clock.ts";
import { mapMemory, ramBytesNeeded } from "./address-map.ts";
import { askDevice } from "./ask.ts";
import type { AskReport } from "./ask.ts";
import { buildTree } from "./build.ts";
import { loadCities } from "./city-list.ts";
import type { CityList } from "./city-list.ts";
import type { GeocodeMap } from "./layout.ts";
import { PAGE_BYTES } from "./layout.ts";
import { makeQuestions } from "./questions.ts";
import type { Verdict } from "./verdict.ts";
import { treeBytes } from "./tree-builder.ts";
import { verifyAnswers } from "./verify.ts";

export interface GeocodeOptions {
  /** Questions. */
  readonly points: number;
  /** Which device answers; "software" when left out. */
  readonly device?: DeviceName | undefined;
  /** Of a software device: whose its pages are; "remote" when left out. */
  readonly memory?: MemoryKind | undefined;
  /** Device memory; a quarter of the tree when left out. */
  readonly memoryBytes?: number | undefined;
  /** Threads of a software device. */
  readonly threads: number;
  readonly seed: number;
  /** Cities other than all of them. */
  readonly cities?: CityList | undefined;
  /** Called as the job goes on. A total of 0: unknown. */
  readonly onProgress?: ((stage: GeocodeStage, done: number, total: number) => void) | undefined;
  /** Called between answering and checking: a test puts errors in here, which must be found. */
  readonly onAnswered?: ((space: AddressSpace, map: GeocodeMap) => Promise<void>) | undefined;
}

export type GeocodeStage = "loading" | "building" | "answering" | "checking";

export interface GeocodeResult {
  readonly options: GeocodeOptions;
  readonly memoryBytes: number;
  readonly treeBytes: number;
  readonly map: GeocodeMap;
  readonly asked: AskReport;
  readonly verdict: Verdict;
  /** Every answer was checked, none was wrong, and no memory came back dirty. */
  readonly verified: boolean;
  readonly stageSeconds: (stage: GeocodeStage) => number;
  /** All of it. */
  readonly seconds: number;
}

/** A quarter of a tree of `cityCount` cities, in whole pages. */
function quarterOfTree(cityCount: number): number {
  return Math.max(1, Math.floor(treeBytes(cityCount) / 4 / PAGE_BYTES)) * PAGE_BYTES;
}

/**
 * Does the whole job. Rejects with HmmError when the address space or the device fails; wrong
 * answers are a result.
 */
export async function geocode(options: GeocodeOptions): Promise<GeocodeResult> {
  const { points, threads, seed } = options;
  const progress = options.onProgress ?? (() => {});
  const stages = new StageClock<GeocodeStage>();

  progress("loading", 0, 0);
  const cities = options.cities ?? (await loadCities());
  const questions = makeQuestions(seed, points);
  const memoryBytes = options.memoryBytes ?? quarterOfTree(cities.count);
  stages.end("loading");

  progress("building", 0, 0);
  await using space = await AddressSpace.create({ ramBytes: ramBytesNeeded(cities.count, points) });
  const map = await mapMemory(space, cities, points);
  await buildTree(space, map, cities);
  await space.write(map.questions, new Uint8Array(questions.buffer));
  stages.end("building");

  const asked = await askDevice(space, map, cities, {
    device: options.device ?? "software",
    memory: options.memory ?? "remote",
    memoryBytes,
    threads,
    seed,
    onProgress: (done) => progress("answering", done, points),
  });
  stages.end("answering");

  await options.onAnswered?.(space, map);
  const verdict = await verifyAnswers(space, map, cities, {
    rewrites: asked.census.rewrites,
    seed,
    onProgress: (done) => progress("checking", done, points),
  });
  stages.end("checking");

  const verified =
    verdict.wrong === 0 && verdict.checked === points && asked.census.dirtyRemaps === 0;
  return {
    options,
    memoryBytes,
    treeBytes: treeBytes(cities.count),
    map,
    asked,
    verdict,
    verified,
    stageSeconds: stages.secondsOf.bind(stages),
    seconds: stages.total(),
  };
}
