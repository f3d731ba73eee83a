/**
 * @module The Worker of section-threads.test.ts: one long section of stores to all pages of a
 * range, with loads in between or without. Only the last word of its flag page ends it.
 */

import { parentPort, workerData } from "node:worker_threads";
import { AddressSpace, type AddressSpaceHandle, SegmentationFault } from "../../src/index.ts";

export interface SectionRequest {
  readonly handle: AddressSpaceHandle;
  /** First of the pages that are stored to. */
  readonly start: number;
  readonly pages: number;
  /** Ends the section when it is not 0. */
  readonly flag: number;
  /** What is stored. */
  readonly value: number;
  /** How many stores come between two looks at the flag. */
  readonly storesBetween: number;
}

const PAGE = 4096;

/** Answers how many stores found a page. */
function storeUntilFlag(space: AddressSpace, request: SectionRequest): number {
  const { start, pages, flag, value, storesBetween } = request;
  return space.section(({ u32 }) => {
    let stored = 0;
    let next = 0;
    while (u32.load(flag) === 0) {
      try {
        for (let i = 0; i < storesBetween; i++, next = (next + 1) % (pages * 64)) {
          u32.store(start + (next >> 6) * PAGE + 4 * (next & 63), value);
          stored++;
        }
      } catch (error) {
        if (!(error instanceof SegmentationFault)) throw error;
        next = (next + 64) % (pages * 64);
      }
    }
    return stored;
  });
}

const request = workerData as SectionRequest;
const space = AddressSpace.attachSync(request.handle);
parentPort?.postMessage("begins");
parentPort?.postMessage(storeUntilFlag(space, request));
space.disposeSync();
