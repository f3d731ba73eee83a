/**
 * @module devices/webgpu/stats
 * What a device has done so far. Its Worker writes the numbers to the record, each a word, after
 * every order and every chunk; the owner reads them at any time, without a lock.
 */

import { PAGE_BYTES, plainLoad } from "../../driver-interface.ts";
import type { DeviceStats } from "../driver.ts";
import type { BringCounts } from "./bind-pages.ts";
import type { ChunkCounts } from "./chunk-parts.ts";
import type { FramePool } from "./frame-pool.ts";
import type { PrivatePages } from "./private-pages.ts";
import { WebGpuRecord, invalidationsOf } from "../webgpu-record/record.ts";

/** What a WebGPU device has done, besides what every device counts. Times in milliseconds. */
export interface WebGpuStats extends DeviceStats {
  /** Runs of a chunk on the GPU. */
  readonly passes: number;
  /** Of them, those that missed, or ran out of fuel, and were undone. */
  readonly failedPasses: number;
  /** Prefetched pages that were used, as far as passes have told by now. */
  readonly prefetchedUsed: number;
  /** Pages that were missed again soon after they had been evicted. */
  readonly refaults: number;
  /** Faults that named a page which had come meanwhile. */
  readonly validFaults: number;
  /** Commits that failed because a page that the pass wrote was taken away meanwhile. */
  readonly staleCommits: number;
  /** Passes during which threads that wanted to change a mapping had to wait. */
  readonly lockedPasses: number;
  /** Devices that were lost and replaced. */
  readonly losses: number;
  /** Bytes that were read back from device memory. */
  readonly bytesToHost: number;
  /** Pages that were read back from the GPU alone: others needed them, or there was no room. */
  readonly pagesReadBack: number;
  /** Times that a thread had to wait for a page that the GPU alone had. */
  readonly homeRequests: number;
  /** Pages that were copied on the GPU before a pass, to undo it. */
  readonly pagesBackedUp: number;
  /** In hmm, until pages were had, with the copying. */
  readonly collectMs: number;
  /** In copying pages to device memory. */
  readonly copyMs: number;
  /** In handing changes of its page table to the GPU. */
  readonly bindMs: number;
  /** Until the GPU had answered. */
  readonly runMs: number;
  /** In copying back what chunks had stored. */
  readonly commitMs: number;
  /** In undoing passes that failed. */
  readonly restoreMs: number;
}

/** Numbers in the record, in their order. Times in microseconds. */
const NAMES = [
  "faults",
  "batches",
  "validFaults",
  "prefetched",
  "pagesToDevice",
  "pagesToHost",
  "evictions",
  "dropped",
  "retries",
  "items",
  "passes",
  "failedPasses",
  "staleCommits",
  "lockedPasses",
  "losses",
  "residentPages",
  "memoryPages",
  "collectUs",
  "copyUs",
  "runUs",
  "commitUs",
  "restoreUs",
  "pagesReadBack",
  "homeRequests",
  "pagesBackedUp",
  "prefetchedUsed",
  "refaults",
  "bindUs",
  "replays",
] as const;
type Name = (typeof NAMES)[number];

export interface StatsSources {
  readonly bring: BringCounts;
  readonly chunk: ChunkCounts;
  readonly pool: FramePool;
  readonly privatePages: PrivatePages | undefined;
  readonly items: number;
  readonly losses: number;
}

/** As the device's Worker. */
export function publishStats(record: WebGpuRecord, sources: StatsSources): void {
  const { bring, chunk, pool, items, losses } = sources;
  const { readBack = 0, requests = 0, backedUp = 0 } = sources.privatePages?.counts ?? {};
  const values: Record<Name, number> = {
    faults: chunk.faults,
    batches: chunk.batches,
    validFaults: chunk.validFaults,
    prefetched: bring.prefetched,
    pagesToDevice: bring.pagesToDevice,
    pagesToHost: chunk.pagesToHost + readBack,
    evictions: pool.evictions,
    dropped: pool.struck,
    retries: bring.retries,
    items,
    passes: chunk.passes,
    failedPasses: chunk.failedPasses,
    staleCommits: chunk.stale,
    lockedPasses: chunk.lockedPasses,
    losses,
    residentPages: pool.usedFrames,
    memoryPages: pool.usable + pool.rows.frames,
    collectUs: bring.collectMs * 1000,
    copyUs: bring.copyMs * 1000,
    runUs: chunk.runMs * 1000,
    commitUs: chunk.commitMs * 1000,
    restoreUs: chunk.restoreMs * 1000,
    pagesReadBack: readBack,
    homeRequests: requests,
    pagesBackedUp: backedUp,
    prefetchedUsed: pool.prefetchedUsed,
    refaults: pool.evictedPages.refaults,
    bindUs: chunk.bindMs * 1000,
    replays: chunk.replays,
  };
  for (const [i, name] of NAMES.entries()) record.counters.set(i, values[name]);
}

export function readStats(record: WebGpuRecord): WebGpuStats {
  const { words } = record.memory;
  const at = record.at + WebGpuRecord.offset.counters;
  const value = (name: Name): number => plainLoad(words, at + NAMES.indexOf(name)) >>> 0;
  return {
    faults: value("faults"),
    batches: value("batches"),
    duplicates: 0,
    prefetched: value("prefetched"),
    pagesToDevice: value("pagesToDevice"),
    bytesToDevice: value("pagesToDevice") * PAGE_BYTES,
    evictions: value("evictions"),
    invalidations: invalidationsOf(record),
    dropped: value("dropped"),
    retries: value("retries"),
    remoteMaps: 0,
    thrashing: 0,
    items: value("items"),
    replays: value("replays"),
    stalls: 0,
    residentPages: value("residentPages"),
    memoryPages: value("memoryPages"),
    passes: value("passes"),
    prefetchedUsed: value("prefetchedUsed"),
    refaults: value("refaults"),
    failedPasses: value("failedPasses"),
    validFaults: value("validFaults"),
    staleCommits: value("staleCommits"),
    lockedPasses: value("lockedPasses"),
    losses: value("losses"),
    bytesToHost: value("pagesToHost") * PAGE_BYTES,
    pagesReadBack: value("pagesReadBack"),
    homeRequests: value("homeRequests"),
    pagesBackedUp: value("pagesBackedUp"),
    collectMs: value("collectUs") / 1000,
    copyMs: value("copyUs") / 1000,
    bindMs: value("bindUs") / 1000,
    runMs: value("runUs") / 1000,
    commitMs: value("commitUs") / 1000,
    restoreMs: value("restoreUs") / 1000,
  };
}
