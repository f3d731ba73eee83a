/**
 * The whole job over plain buffers: the real builder and the real kernel, with an address space
 * that is one table.
 */

import type { AnswerBlock, CheckerFacts } from "../../command/src/geocode/answer-checker.ts";
import { CensusHistory } from "../../command/src/geocode/census-history.ts";
import type { CityList } from "../../command/src/geocode/city-list.ts";
import {
  ANSWER_BYTES,
  CITY_BYTES,
  CONTROL_BYTES,
  PAGE_BYTES,
  wholePages,
} from "../../command/src/geocode/layout.ts";
import type { GeocodeMap } from "../../command/src/geocode/layout.ts";
import { kernelArguments, nearest } from "../../command/src/geocode/nearest-kernel.ts";
import type { KernelMemory } from "../../command/src/geocode/nearest-kernel.ts";
import { Random } from "../../command/src/geocode/random.ts";
import { makeRows, treeMemory, writeCities } from "../../command/src/geocode/records.ts";
import { buildReferenceIndex, referenceNearest } from "../../command/src/geocode/reference.ts";
import { TreeBuilder, treeBytes } from "../../command/src/geocode/tree-builder.ts";
import type { TreeMemory } from "../../command/src/geocode/tree-builder.ts";
import { plainMemory } from "./plain-memory.ts";

/**
 * Far from 0 and above 2^32, so that a pointer cut to 32 bits or taken for an offset leads nowhere.
 */
const NODES = 5 * 2 ** 32;
const CITIES = 6 * 2 ** 32;
const QUESTIONS = 7 * 2 ** 32;
const ANSWERS = 8 * 2 ** 32;
const CONTROL = 9 * 2 ** 32;

export interface PlainJob {
  readonly list: CityList;
  readonly world: PlainWorld;
  readonly memory: KernelMemory;
  readonly map: GeocodeMap;
  readonly block: AnswerBlock;
}

/**
 * `count` cities at seeded places, uniform over degrees; every eighth shares the place of the one
 * before.
 */
export function randomCities(seed: number, count: number): CityList {
  const random = new Random(seed);
  const longitudes = new Float64Array(count);
  const latitudes = new Float64Array(count);
  const populations = new Uint32Array(count);
  for (let city = 0; city < count; city++) {
    const twin = city % 8 === 7;
    longitudes[city] = twin ? longitudes[city - 1]! : random.nextUnit() * 360 - 180;
    latitudes[city] = twin ? latitudes[city - 1]! : random.nextUnit() * 180 - 90;
    populations[city] = random.nextBelow(30_000_000);
  }
  return { count, longitudes, latitudes, populations };
}

/** The tree of a job, and its cities, in plain buffers. */
export interface PlainWorld {
  readonly tree: TreeMemory;
  readonly citiesU32: Uint32Array;
  readonly citiesF64: Float64Array;
}

/** Builds the tree as the job does: the root first, then each half with arrays of its own. */
export function buildPlainWorld(list: CityList): PlainWorld {
  const bytes = new Uint8Array(treeBytes(list.count));
  const cities = new Uint8Array(wholePages(list.count * CITY_BYTES));
  const rows = makeRows(list);
  const memoryOf = (start: number, end: number): TreeMemory =>
    treeMemory(bytes.subarray(start, end), start, NODES, CITIES);
  for (const half of new TreeBuilder(rows, memoryOf(0, PAGE_BYTES)).plantRoot()) {
    const { startByte, endByte, startRow, endRow } = half;
    new TreeBuilder(rows, memoryOf(startByte, endByte)).build(half);
    const own = cities.subarray(startRow * CITY_BYTES, endRow * CITY_BYTES);
    writeCities(own, rows, startRow, endRow, list);
  }
  return {
    tree: memoryOf(0, bytes.length),
    citiesU32: new Uint32Array(cities.buffer),
    citiesF64: new Float64Array(cities.buffer),
  };
}

export function plainJob(list: CityList, questions: Int32Array): PlainJob {
  const count = questions.length / 2;
  const world = buildPlainWorld(list);
  const answers = new Uint8Array(count * ANSWER_BYTES);
  const bytesOf = (array: Float64Array | Int32Array): Uint8Array =>
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  const memory = plainMemory([
    { address: NODES, bytes: world.tree.u8 },
    { address: CITIES, bytes: bytesOf(world.citiesF64) },
    { address: QUESTIONS, bytes: bytesOf(questions) },
    { address: ANSWERS, bytes: answers },
    { address: CONTROL, bytes: new Uint8Array(CONTROL_BYTES) },
  ]);
  const map = {
    cityCount: list.count,
    questionCount: count,
    nodes: NODES,
    cities: CITIES,
    questions: QUESTIONS,
    answers: ANSWERS,
    control: CONTROL,
    log: 0,
    logCapacity: 0,
    restless: 0,
    restlessBytes: 0,
  };
  const answersF64 = new Float64Array(answers.buffer);
  const answersU32 = new Uint32Array(answers.buffer);
  return {
    list,
    world,
    memory,
    map,
    block: { first: 0, count, questions, answersF64, answersU32 },
  };
}

/** Runs the kernel for every question. */
export function runKernel(job: PlainJob): void {
  const args = kernelArguments(job.map);
  for (let item = 0; item < job.map.questionCount; item++) nearest(job.memory, item, args);
}

/** What a checker needs to know about `job`, with a census of `log` entries. */
export function factsOf(job: PlainJob, log: readonly number[] = []): CheckerFacts {
  return {
    cities: job.list,
    citiesAddress: job.map.cities,
    cityRecords: job.world.citiesU32,
    history: new CensusHistory(Uint32Array.from(log), job.list.count),
    nearest: referenceNearest(job.list, buildReferenceIndex(job.list)),
  };
}
