/**
 * @module The records around the tree: the rows that the builder sorts, typed arrays over the
 * tree's memory, and the cities, written in the order of the leaves.
 */

import { CITY_BYTES, CITY_INDEX, CITY_POPULATION } from "./layout.ts";
import type { CityList } from "./city-list.ts";
import { encodePopulation } from "./population.ts";
import { writeUnitVector } from "./sphere.ts";
import { ROW } from "./tree-builder.ts";
import type { TreeMemory } from "./tree-builder.ts";

/** A row for each city, in the order of the list, in memory that two threads can share. */
export function makeRows({ count, longitudes, latitudes }: CityList): Float64Array {
  const rows = new Float64Array(new SharedArrayBuffer(8 * ROW * count));
  for (let city = 0; city < count; city++) {
    writeUnitVector(longitudes[city]!, latitudes[city]!, rows, ROW * city);
    rows[ROW * city + 3] = city;
  }
  return rows;
}

/** Typed arrays over bytes of the tree, from `startByte` on. */
export function treeMemory(
  { buffer, byteOffset, byteLength }: Uint8Array,
  startByte: number,
  nodesAddress: number,
  citiesAddress: number,
): TreeMemory {
  return {
    startByte,
    f64: new Float64Array(buffer, byteOffset, byteLength / 8),
    f32: new Float32Array(buffer, byteOffset, byteLength / 4),
    u32: new Uint32Array(buffer, byteOffset, byteLength / 4),
    u8: new Uint8Array(buffer, byteOffset, byteLength),
    nodesAddress,
    citiesAddress,
  };
}

/** Writes the cities of the sorted rows `startRow` to `endRow`. `bytes` begins with the first. */
export function writeCities(
  bytes: Uint8Array,
  rows: Float64Array,
  startRow: number,
  endRow: number,
  { populations }: CityList,
): void {
  const { buffer, byteOffset, byteLength } = bytes;
  const f64 = new Float64Array(buffer, byteOffset, byteLength / 8);
  const u32 = new Uint32Array(buffer, byteOffset, byteLength / 4);
  for (let row = startRow; row < endRow; row++) {
    const at = (row - startRow) * CITY_BYTES;
    const city = rows[ROW * row + 3]!;
    f64[(at + CITY_POPULATION) / 8] = encodePopulation(populations[city]!, 0);
    u32[(at + CITY_INDEX) / 4] = city;
  }
}
