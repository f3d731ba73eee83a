/**
 * @module Two CPU threads build the tree in the address space. The first fills the records and plants the root, since
 * there is nothing to share out before the first split; then each has one half, in a write view of its own.
 */

import type { AddressSpace, AddressSpaceHandle } from "../../index.ts";
import { callWorker } from "../worker-call.ts";
import type { CityList } from "./city-list.ts";
import type { GeocodeMap } from "./layout.ts";
import type { Groups } from "./tree-builder.ts";

/** Threads that build. More would have to share out the quickselects themselves. */
export const BUILD_THREADS = 2;

/** What a building Worker is told: to fill and plant, or to build one half. */
export interface BuildInput {
  readonly handle: AddressSpaceHandle;
  readonly map: GeocodeMap;
  readonly step:
    | { readonly kind: "plant"; readonly cities: CityList }
    | { readonly kind: "half"; readonly groups: Groups; readonly start: number; readonly end: number };
}

/** Builds the tree of `cities` at `map.nodes`. */
export async function buildTree(space: AddressSpace, map: GeocodeMap, cities: CityList): Promise<void> {
  const [lower, higher] = await callBuilder<readonly [Groups, Groups]>(space, map, { kind: "plant", cities });
  const middle = higher.lowerCount === 0 ? map.cityCount : higher.slot;
  await Promise.all([
    callBuilder(space, map, { kind: "half", groups: lower, start: 0, end: middle }),
    middle < map.cityCount
      ? callBuilder(space, map, { kind: "half", groups: higher, start: middle, end: map.cityCount })
      : undefined,
  ]);
}

async function callBuilder<Result>(space: AddressSpace, map: GeocodeMap, step: BuildInput["step"]): Promise<Result> {
  const input: BuildInput = { handle: space.handle, map, step };
  return await callWorker<Result>(new URL("./build-worker.js", import.meta.url), input).result;
}
