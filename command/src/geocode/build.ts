/**
 * @module Two CPU threads build the tree in the address space. The first makes the rows and plants
 * the root, since there is nothing to share out before the first splits. Then each builds one half,
 * in write views of its own, and no page of one is a page of the other. Both are started at once,
 * so that the second is awake when its half is ready.
 */

import type { AddressSpace, AddressSpaceHandle } from "../../../src/index.ts";
import { callWorker } from "../worker-call.ts";
import type { CityList } from "./city-list.ts";
import type { GeocodeMap } from "./layout.ts";
import type { Half } from "./tree-builder.ts";

/** Threads that build. More would have to share out the quickselects themselves. */
export const BUILD_THREADS = 2;

/** What a building Worker is told. */
export interface BuildInput {
  readonly handle: AddressSpaceHandle;
  readonly map: GeocodeMap;
  readonly cities: CityList;
  /**
   * Whether it plants the root. It reports what the second has to do, which the second is then
   * sent; undefined if nobody will.
   */
  readonly isFirst: boolean;
}

/** The second thread's part: sorted so far that its rows are its own. */
export interface SecondPart {
  readonly rows: Float64Array;
  readonly half: Half;
}

/** Builds the tree of `cities` at `map.nodes`. */
export async function buildTree(
  space: AddressSpace,
  map: GeocodeMap,
  cities: CityList,
): Promise<void> {
  const url = new URL("./build-worker.js", import.meta.url);
  const { handle } = space;
  const input = { handle, map, cities };
  const second = callWorker<void>(url, { ...input, isFirst: false } satisfies BuildInput);
  const first = callWorker<void>(
    url,
    { ...input, isFirst: true } satisfies BuildInput,
    (part: SecondPart) => second.send(part),
  );
  first.result.catch(() => second.send(undefined)); // nobody will plant what it waits for
  await Promise.all([first.result, second.result]);
}
