/** @module Maps what the job needs into an address space, and says how much RAM that is. */

import type { AddressSpace } from "../../../src/index.ts";
import type { CityList } from "./city-list.ts";
import {
  ANSWER_BYTES,
  CITY_BYTES,
  CONTROL_BYTES,
  LOG_BYTES,
  QUESTION_BYTES,
  wholePages,
} from "./layout.ts";
import type { GeocodeMap } from "./layout.ts";
import { VECTOR_BYTES } from "./nearest-wgsl.ts";
import { treeBytes } from "./tree-builder.ts";

/** Memory beside the tree that comes and goes. */
const RESTLESS_BYTES: number = 2 ** 20;

/**
 * Entries of the census log. Its pages take RAM only when they are written; a census that fills it
 * stops rewriting.
 */
const LOG_CAPACITY: number = 2 ** 22;

/** For page tables of devices, and for the copy that a view makes while it gathers its frames. */
const SPARE_BYTES: number = 64 * 2 ** 20;

/** RAM that the job may use at most. */
export function ramBytesNeeded(cityCount: number, questionCount: number): number {
  const perQuestion = QUESTION_BYTES + ANSWER_BYTES + VECTOR_BYTES;
  const log = LOG_CAPACITY * LOG_BYTES;
  const cities = cityCount * CITY_BYTES;
  const tree = treeBytes(cityCount);
  return wholePages(
    tree + cities + questionCount * perQuestion + log + RESTLESS_BYTES + SPARE_BYTES,
  );
}

/** Maps everything, all of it zero. The restless memory begins where the nodes end. */
export async function mapMemory(
  space: AddressSpace,
  cities: CityList,
  questionCount: number,
): Promise<GeocodeMap> {
  const nodeBytes = treeBytes(cities.count);
  const nodes = await space.mmap(nodeBytes + RESTLESS_BYTES);
  return {
    cityCount: cities.count,
    questionCount,
    nodes,
    cities: await space.mmap(wholePages(cities.count * CITY_BYTES)),
    questions: await space.mmap(wholePages(questionCount * QUESTION_BYTES)),
    answers: await space.mmap(wholePages(questionCount * ANSWER_BYTES)),
    control: await space.mmap(CONTROL_BYTES),
    log: await space.mmap(LOG_CAPACITY * LOG_BYTES),
    logCapacity: LOG_CAPACITY,
    restless: nodes + nodeBytes,
    restlessBytes: RESTLESS_BYTES,
  };
}
