/** @module The Worker of source-threads.test.ts: it plays one part on a space, and answers. */

import { parentPort, workerData } from "node:worker_threads";
import { AddressSpace, type AddressSpaceHandle, SegmentationFault } from "../../src/index.ts";
import { PAGE } from "./fixture.ts";
import { MemorySource } from "./memory-source.ts";

export interface SourceRequest {
  readonly handle: AddressSpaceHandle;
  readonly part: SourcePart;
  readonly address: number;
  readonly pages: number;
  readonly path: string;
}

export type SourcePart = "sum" | "fill" | "own" | "ownFile" | "file" | "private";

function sum(space: AddressSpace, { address, pages }: SourceRequest): number {
  let total = 0;
  for (let page = 0; page < pages; page++) total += space.u32.load(address + page * PAGE);
  return total;
}

const parts: Readonly<
  Record<SourcePart, (space: AddressSpace, request: SourceRequest) => unknown>
> = {
  sum,
  /** Stores, and writes back through the thread that has the code. */
  fill: (space, { address, pages }) => {
    for (let page = 0; page < pages; page++) space.u32.store(address + page * PAGE, page + 1);
    space.msyncSync(address, pages * PAGE);
  },
  /** Maps a source of its own and waits to be terminated. */
  own: (space, { address, pages }) => {
    const source = new MemorySource(2 * pages * PAGE);
    const options = { address, fixed: "noreplace", source, shared: true } as const;
    space.mmapSync(2 * pages * PAGE, options);
    return sum(space, { ...workerData, address, pages });
  },
  /** Maps a file, stores to its first pages, and waits to be terminated. */
  ownFile: (space, { address, pages, path }) => {
    const options = { address, fixed: "noreplace", source: path, shared: true } as const;
    space.mmapSync(2 * pages * PAGE, options);
    for (let page = 0; page < pages; page++) space.u32.store(address + page * PAGE, page + 1);
  },
  /** Maps the same file, and adds 1 to each page. */
  file: (space, { pages, path }) => {
    const p = space.mmapSync(pages * PAGE, { source: path, shared: true });
    for (let page = 0; page < pages; page++) space.u32.atomicAdd(p + page * PAGE, 1);
    space.munmapSync(p, pages * PAGE);
  },
  /** A page that nobody can read any more. */
  private: (space, { address }) => {
    try {
      return space.u32.load(address);
    } catch (error) {
      return error instanceof SegmentationFault ? error.signal : "another error";
    }
  },
};

const request: SourceRequest = workerData;
const space = AddressSpace.attachSync(request.handle);
const result = parts[request.part](space, request);
if (request.part === "own" || request.part === "ownFile") {
  parentPort?.postMessage({ result });
  setInterval(() => {}, 1000);
} else {
  space.disposeSync();
  parentPort?.postMessage({ result });
}
