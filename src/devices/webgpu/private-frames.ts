/**
 * @module devices/webgpu/private-frames
 * The frames of a device's private memory: taken for pages that move there, and made free by moving
 * pages that are not in use to RAM. What the GPU has of them: private-pages.ts. Of the device's
 * Worker.
 */

import {
  DeviceMemory,
  type DeviceFrame,
  type Machine,
  type Task,
  devicePageHint,
  evictDeviceFrames,
  isDeviceFrameUsed,
  isDeviceMemoryFull,
  takeDeviceFrames,
  usedDeviceFrames,
} from "../../driver-interface.ts";
import type { FramePool } from "./frame-pool.ts";
import { CURRENT, chunksOf, stateOf } from "../webgpu-record/private-memory.ts";
import type { WebGpuRecord } from "../webgpu-record/record.ts";

export class PrivateFrames {
  readonly #machine: Machine;
  readonly #pool: FramePool;
  readonly #devices: readonly DeviceMemory[];
  /** Where the search for a frame whose page may leave goes on. */
  #hand = 0;

  constructor(machine: Machine, record: WebGpuRecord, pool: FramePool) {
    this.#machine = machine;
    this.#pool = pool;
    this.#devices = chunksOf(record).map(({ device }) => DeviceMemory.at(record.memory, device));
  }

  /** The part of the memory that a frame lies in. */
  deviceOf(pfn: number): DeviceMemory {
    const { memory, ram } = this.#machine;
    return DeviceMemory.at(memory, ram.sections.deviceOf(pfn));
  }

  /** Fills `frames`, as far as there are some. How many: their pages may just have been freed. */
  *take(frames: Uint32Array): Task<number> {
    let next = 0;
    for (const device of this.#devices) {
      if (next === frames.length) break;
      if (!isDeviceMemoryFull(device)) next = yield* takeDeviceFrames(device, frames, next);
    }
    return next;
  }

  /**
   * Moves pages that are not in use to RAM, until there are `wanted` frames for others: many
   * together, for neighbours move as one.
   */
  *makeFree(wanted: number): Task<void> {
    let { total, used } = yield* this.#usage();
    for (let tried = 0; tried < total && total - used < wanted;) {
      const lacking = wanted - (total - used);
      const victims: DeviceFrame[] = [];
      for (; tried < total && victims.length < lacking; tried++) {
        const pfn = this.#nextFrame(total);
        const device = this.deviceOf(pfn);
        if (this.#mayLeave(device, pfn)) victims.push({ device, pfn });
      }
      if ((yield* evictDeviceFrames(this.#machine, victims)) > 0) return; // RAM is used up
      ({ total, used } = yield* this.#usage());
    }
  }

  /** Frames of the private memory, and those of them that are used. */
  *#usage(): Task<{ total: number; used: number }> {
    let [total, used] = [0, 0];
    for (const device of this.#devices) {
      total += device.pages;
      used += yield* usedDeviceFrames(device);
    }
    return { total, used };
  }

  /** Whether the frame's page is not in use, and RAM's copy of it is as new. */
  #mayLeave(device: DeviceMemory, pfn: number): boolean {
    if (!isDeviceFrameUsed(device, pfn) || stateOf(device, pfn) !== CURRENT) return false;
    const frame = this.#pool.frameOf(devicePageHint(device, pfn));
    return frame === 0 || !this.#pool.isPinned(frame);
  }

  #nextFrame(total: number): number {
    let place = this.#hand++ % total;
    for (const { basePfn, pages } of this.#devices) {
      if (place < pages) return basePfn + place;
      place -= pages;
    }
    return 0;
  }
}
