/**
 * @module Two CPU threads build the tree in the address space. The first fills the records and
 * plants the root, since there is nothing to share out before the first split; then each has one
 * half, in a write view of its own, and no page of one is a page of the other. Both are started at
 * once, so that the second is awake when its half is ready.
 */

import type { AddressSpace, AddressSpaceHandle } from "../../../src/index.ts";
import { callWorker } from "../worker-call.ts";
import type { CityList } from "./city-list.ts";
import type { GeocodeMap } from "./layout.ts";
import type { Groups } from "./tree-builder.ts";

/** Threads that build. More would have to share out the quickselects themselves. */
export const BUILD_THREADS = 2;

/** What a building Worker is told. */
export interface BuildInput {
  readonly handle: AddressSpaceHandle;
  readonly map: GeocodeMap;
  /**
   * For the first: what to fill the records from. It reports the groups of the second half, which
   * the second is then sent, or undefined when there are none.
   */
  readonly cities: CityList | undefined;
}

/** Builds the tree of `cities` at `map.nodes`. */
export async function buildTree(
  space: AddressSpace,
  map: GeocodeMap,
  cities: CityList,
): Promise<void> {
  const url = new URL("./build-worker.js", import.meta.url);
  const { handle } = space;
  const second = callWorker<void>(url, { handle, map, cities: undefined } satisfies BuildInput);
  const first = callWorker<void>(
    url,
    { handle, map, cities } satisfies BuildInput,
    (half: Groups) => second.send(half),
  );
  first.result.catch(() => second.send(undefined)); // nobody will plant what it waits for
  await Promise.all([first.result, second.result]);
}
