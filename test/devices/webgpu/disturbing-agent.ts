/**
 * @module A CPU thread beside a dispatch: it stores to words of its own in the pages that the
 * kernel uses, protects pages anew, forks, and opens views, none of which changes a word that the
 * kernel knows. It checks that none of its own stores is lost.
 */

import { parentPort, workerData } from "node:worker_threads";
import { AddressSpace, type AddressSpaceHandle } from "../../../src/index.ts";
import "../../../src/webgpu.ts";
import { diceOf } from "../../dice.ts";

export interface DisturbingStart {
  readonly handle: AddressSpaceHandle;
  readonly base: number;
  readonly pages: number;
  /** Of them, the first so many are only read by the kernel. */
  readonly readOnlyPages: number;
  readonly seed: number;
  readonly stop: Int32Array;
}

const { handle, base, pages, readOnlyPages, seed, stop } = workerData as DisturbingStart;
const space = await AddressSpace.attach(handle);
const random = diceOf(seed);
const stored = new Map<number, number>();
let lost = 0;
let steps = 0;
/** The CPU's word of a page. */
const wordOf = (page: number): number => base + page * 4096 + 4092;

parentPort?.postMessage("ready");
while (Atomics.load(stop, 0) === 0) {
  steps++;
  const page = random(pages);
  switch (random(24)) {
    case 0: {
      const child = await space.fork();
      await child[Symbol.asyncDispose]();
      break;
    }
    case 1: {
      const at = base + random(readOnlyPages) * 4096;
      await space.mprotect(at, 4096, "read");
      await space.mprotect(at, 4096, "read-write");
      break;
    }
    case 2: {
      using view = await space.view(base + page * 4096, 4096, "read");
      void view;
      break;
    }
    case 3: {
      const other = await space.mmap(8192);
      space.u32.store(other, 1);
      await space.munmap(other, 8192);
      break;
    }
    default:
      if (stored.has(page) && space.u32.load(wordOf(page)) !== stored.get(page)) lost++;
      if (random(4) === 0) {
        stored.set(page, steps);
        space.u32.store(wordOf(page), steps);
      }
  }
  if (steps % 16 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
}
for (const [page, value] of stored) if (space.u32.load(wordOf(page)) !== value) lost++;
await space[Symbol.asyncDispose]();
parentPort?.postMessage({ lost, steps });
