/** @module A thread that builds part of the tree (build.ts). Entry file of a Worker. */

import { AddressSpace } from "../../../src/index.ts";
import { answerCall } from "../worker-call.ts";
import type { BuildInput } from "./build.ts";
import { CITY_BYTES, NODE_BYTES } from "./layout.ts";
import type { GeocodeMap } from "./layout.ts";
import { fillRecords, treeSlots } from "./records.ts";
import { TreeBuilder } from "./tree-builder.ts";
import type { Groups, TreeSlots } from "./tree-builder.ts";

/**
 * Runs `work` on the slots `start` to `end` as typed arrays: a write view of the nodes, and one of
 * the cities.
 */
function withSlots<Result>(
  space: AddressSpace,
  map: GeocodeMap,
  start: number,
  end: number,
  work: (slots: TreeSlots) => Result,
): Result {
  const count = end - start;
  using nodes = space.viewSync(map.nodes + start * NODE_BYTES, count * NODE_BYTES, "write");
  using cities = space.viewSync(map.cities + start * CITY_BYTES, count * CITY_BYTES, "write");
  return work(treeSlots(nodes.as(Uint8Array), cities.as(Uint8Array), start, map.nodes, map.cities));
}

/** Builds one half, whose groups begin where the half does. */
function buildHalf(
  space: AddressSpace,
  map: GeocodeMap,
  groups: Groups,
  start: number,
  end: number,
): void {
  if (start >= end) return;
  withSlots(space, map, start, end, (slots) => {
    const builder = new TreeBuilder(slots);
    if (groups.lowerCount > 0) builder.buildBelow(groups);
    builder.linkCities(start, end);
  });
}

await answerCall(async ({ handle, map, cities }: BuildInput, call): Promise<void> => {
  await using space = await AddressSpace.attach(handle);
  if (cities === undefined) {
    const half = (await call.nextMessage()) as Groups | undefined;
    if (half === undefined) return;
    buildHalf(space, map, half, half.lowerCount === 0 ? map.cityCount : half.slot, map.cityCount);
    return;
  }
  const [lower, higher] = withSlots(space, map, 0, map.cityCount, (slots) => {
    fillRecords(cities, slots);
    return new TreeBuilder(slots).plantRoot(map.cityCount);
  });
  call.report(higher);
  buildHalf(space, map, lower, 0, higher.lowerCount === 0 ? map.cityCount : higher.slot);
});
