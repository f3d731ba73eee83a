/**
 * @module Fills the records before they become a tree: node and city `slot` of the list's city
 * `slot`, unlinked.
 */

import { CITY_BYTES, NODE_BYTES } from "./layout.ts";
import type { CityList } from "./city-list.ts";
import { encodePopulation } from "./population.ts";
import { writeUnitVector } from "./sphere.ts";
import type { TreeSlots } from "./tree-builder.ts";

/** Typed arrays over the bytes of nodes and of cities, from slot `firstSlot` on. */
export function treeSlots(
  nodes: Uint8Array,
  cities: Uint8Array,
  firstSlot: number,
  nodesAddress: number,
  citiesAddress: number,
): TreeSlots {
  const nodeBytes = nodes.byteLength;
  return {
    firstSlot,
    nodesF64: new Float64Array(nodes.buffer, nodes.byteOffset, nodeBytes / 8),
    nodesF32: new Float32Array(nodes.buffer, nodes.byteOffset, nodeBytes / 4),
    citiesF64: new Float64Array(cities.buffer, cities.byteOffset, cities.byteLength / 8),
    citiesU32: new Uint32Array(cities.buffer, cities.byteOffset, cities.byteLength / 4),
    nodesAddress,
    citiesAddress,
  };
}

/** Writes one record for each city of `list`. The memory must be zero, as fresh memory is. */
export function fillRecords(list: CityList, slots: TreeSlots): void {
  for (let slot = 0; slot < list.count; slot++) {
    writeUnitVector(
      list.longitudes[slot]!,
      list.latitudes[slot]!,
      slots.nodesF64,
      (slot * NODE_BYTES) / 8,
    );
    slots.citiesF64[(slot * CITY_BYTES) / 8] = encodePopulation(list.populations[slot]!, 0);
    slots.citiesU32[(slot * CITY_BYTES) / 4 + 2] = slot;
  }
}
