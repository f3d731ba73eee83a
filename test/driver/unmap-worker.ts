/**
 * @module A CPU thread beside the pretend card: it unmaps and maps the card's pages, and stores
 * tagged values into them. It has nothing of the driver but the module with its call-backs, and
 * without that it is refused.
 */

import { parentPort, workerData } from "node:worker_threads";
import { AddressSpace, type AddressSpaceHandle } from "../../src/index.ts";
import { PAGE_BYTES } from "../../src/driver.ts";

export interface UnmapRequest {
  readonly handle: AddressSpaceHandle;
  readonly address: number;
  readonly pages: number;
  readonly rounds: number;
  /** Whether it loads the driver's module before it attaches. */
  readonly hasDriver: boolean;
}

/** The page of `value`, which a round stored, from 1 on; 0 for a fresh page. */
export function pageOfTag(value: number): number {
  return value >>> 20;
}

/** What round `round` stores into page `i`. */
export function tagOf(i: number, round: number): number {
  return ((i + 1) << 20) | round;
}

/** Unmaps each page, maps it anew, stores. In the last round every page has its last tag. */
function storm(space: AddressSpace, { address, pages, rounds }: UnmapRequest): void {
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < pages; i++) {
      const page = address + i * PAGE_BYTES;
      space.munmapSync(page, PAGE_BYTES);
      space.mmapSync(PAGE_BYTES, { address: page, fixed: "noreplace" });
      space.u32.store(page, tagOf(i, round));
    }
  }
}

async function main(request: UnmapRequest): Promise<string> {
  if (request.hasDriver) await import("./pretend-card.ts");
  try {
    using space = AddressSpace.attachSync(request.handle);
    storm(space, request);
    return "done";
  } catch (error) {
    return String(error);
  }
}

if (workerData !== null) parentPort?.postMessage(await main(workerData as UnmapRequest));
