/** @module A thread that builds part of the tree (build.ts). Entry file of a Worker. */

import { AddressSpace } from "../../index.ts";
import { answerCall } from "../worker-call.ts";
import type { BuildInput } from "./build.ts";
import { CITY_BYTES, NODE_BYTES } from "./layout.ts";
import type { GeocodeMap } from "./layout.ts";
import { fillRecords, treeSlots } from "./records.ts";
import { TreeBuilder } from "./tree-builder.ts";
import type { Groups, TreeSlots } from "./tree-builder.ts";

/** Runs `work` on the slots `start` to `end` as typed arrays: a write view of the nodes, and one of the cities. */
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

await answerCall(async ({ handle, map, step }: BuildInput): Promise<readonly [Groups, Groups] | undefined> => {
  await using space = await AddressSpace.attach(handle);
  if (step.kind === "half") {
    withSlots(space, map, step.start, step.end, (slots) => {
      const builder = new TreeBuilder(slots);
      if (step.groups.lowerCount > 0) builder.buildBelow(step.groups);
      builder.linkCities(step.start, step.end);
    });
    return undefined;
  }
  return withSlots(space, map, 0, map.cityCount, (slots) => {
    fillRecords(step.cities, slots);
    return new TreeBuilder(slots).plantRoot(map.cityCount);
  });
});
