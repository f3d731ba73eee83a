/**
 * @module devices/webgpu/chunk-parts
 * What the parts of a chunk's way share (chunk.ts): the device as they see it, and what they count.
 */

import type { Machine, Task } from "../../driver-interface.ts";
import type { Bringer } from "./bring.ts";
import type { FramePool } from "./frame-pool.ts";
import type { Gpu } from "./gpu.ts";
import type { PageMap } from "./page-map.ts";
import type { PrivatePages } from "./private-pages.ts";
import { type WebGpuRecord, noteHeldHere } from "../webgpu-record/record.ts";

/** What passes have cost. */
export interface ChunkCounts {
  passes: number;
  failedPasses: number;
  /** Workgroups that were run again. */
  replays: number;
  faults: number;
  validFaults: number;
  batches: number;
  stale: number;
  lockedPasses: number;
  pagesToHost: number;
  bindMs: number;
  runMs: number;
  commitMs: number;
  restoreMs: number;
}

export function noCounts(): ChunkCounts {
  return {
    passes: 0,
    failedPasses: 0,
    replays: 0,
    faults: 0,
    validFaults: 0,
    batches: 0,
    stale: 0,
    lockedPasses: 0,
    pagesToHost: 0,
    bindMs: 0,
    runMs: 0,
    commitMs: 0,
    restoreMs: 0,
  };
}

export interface ChunkParts {
  readonly machine: Machine;
  readonly record: WebGpuRecord;
  readonly pool: FramePool;
  readonly map: PageMap;
  readonly gpu: () => Gpu;
  readonly bringer: Bringer;
  /** Undefined: it has no private memory. */
  readonly privatePages?: PrivatePages | undefined;
  /** The thread is the program's, which changes mappings too. */
  readonly isOwnersThread?: boolean;
}

/** The driver lock is held while the GPU is waited for, or no more. */
export function noteHeld({ record, isOwnersThread = false }: ChunkParts, isHeld: boolean): void {
  if (isOwnersThread) noteHeldHere(record, isHeld);
}

/** Drops the driver lock that was noted as held. */
export function unlockHeld(parts: ChunkParts): Task<void> {
  noteHeld(parts, false);
  return parts.record.driverLock.unlock();
}
