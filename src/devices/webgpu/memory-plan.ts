/**
 * @module devices/webgpu/memory-plan
 * How a device's memory is divided: frames of the pool, rows for direct ranges, and backups.
 */

import { PAGE_BYTES } from "../../driver-interface.ts";
import type { WorkerStart } from "./messages.ts";
import { FIRST_FRAME } from "./wgsl/layout.ts";

/** A quarter of the frames for pages are for backups, where pages stay on the GPU. */
const FRAMES_PER_SLOT = 4;
/** In one buffer, which is as large everywhere. */
const SLOTS_MAX: number = 2 ** 16;

/** How a device's memory is divided, in pages. Two frames of the pool hold no page. */
export function framesFor({
  memoryBytes,
  rangeBytes,
  isPrivate,
}: Pick<WorkerStart, "memoryBytes" | "rangeBytes" | "isPrivate">): {
  readonly poolFrames: number;
  readonly rowFrames: number;
  readonly slots: number;
} {
  const frames = (memoryBytes - rangeBytes) / PAGE_BYTES;
  const forPages = frames - FIRST_FRAME;
  const slots = isPrivate ? Math.min(Math.floor(forPages / FRAMES_PER_SLOT), SLOTS_MAX) : 0;
  return { poolFrames: frames - slots, rowFrames: rangeBytes / PAGE_BYTES, slots };
}
