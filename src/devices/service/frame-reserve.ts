/**
 * @module devices/service/frame-reserve
 * Frames of device memory for pages that are about to be copied: free ones first, then those of
 * pages that the clock evicts (policy/eviction.ts). The entries of evicted pages are cleared and
 * flushed before the frames are given out. Copies are never written, so evicting one moves nothing.
 *
 * Holding the driver lock, as the service owner.
 */

import type { Task } from "../../driver-interface.ts";
import { type ClockFrames, evictCold, evictUnused } from "../policy/eviction.ts";
import { BLOCK_PAGES } from "../policy/prefetch.ts";
import { count } from "./device-stats.ts";
import type { DeviceTable } from "./device-table.ts";
import { FRAME_MAPPED, type Frames } from "./frames.ts";

/** The clock's view of the frames. It notes in which 2 MiB blocks translations must be flushed. */
class Clock implements ClockFrames {
  readonly frames: number;
  /** One flush serves all pages of its block that the hand has passed. */
  readonly staleBlocks = new Set<number>();
  readonly #table: DeviceTable;
  readonly #frames: Frames;
  #lastBlock = -1;

  constructor(table: DeviceTable) {
    this.frames = table.frames.frames;
    this.#table = table;
    this.#frames = table.frames;
  }

  get hand(): number {
    return this.#frames.record.hand;
  }

  set hand(frame: number) {
    this.#frames.record.hand = frame;
  }

  isMapped(frame: number): boolean {
    return this.#frames.stateOf(frame) === FRAME_MAPPED;
  }

  isAccessed(frame: number): boolean {
    return this.#frames.isAccessed(frame);
  }

  spare(frame: number): void {
    this.#frames.clearAccessed(frame);
    this.#table.makeOld(this.#frames.pageOf(frame));
    this.#noteStale(frame);
  }

  claim(frame: number): void {
    this.#frames.judge(frame);
    this.#frames.unbind(frame);
    this.#noteStale(frame);
  }

  /** All noted blocks have been flushed. */
  settle(): void {
    this.staleBlocks.clear();
    this.#lastBlock = -1;
  }

  #noteStale(frame: number): void {
    const block = Math.floor(this.#frames.pageOf(frame) / BLOCK_PAGES);
    if (block === this.#lastBlock) return;
    this.#lastBlock = block;
    this.staleBlocks.add(block);
  }
}

/** One thread's way to get frames. */
export class FrameReserve {
  readonly #table: DeviceTable;
  readonly #clock: Clock;

  constructor(table: DeviceTable) {
    this.#table = table;
    this.#clock = new Clock(table);
  }

  /**
   * Puts up to `wanted` frames into `into`, for the caller to fill, and returns how many: fewer
   * than `wanted` when the device has no more.
   */
  *reserve(wanted: number, into: Int32Array): Task<number> {
    const free = this.takeFree(wanted, into);
    if (free === wanted) return free;
    const taken = evictUnused(this.#clock, into, free, wanted);
    yield* this.#clearEvicted(into, free, taken);
    return taken;
  }

  /** As `reserve`, but evicts only pages that nobody uses. */
  *reserveCold(wanted: number, into: Int32Array): Task<number> {
    const free = this.takeFree(wanted, into);
    if (free === wanted) return free;
    const taken = evictCold(this.#clock, into, free, wanted);
    yield* this.#clearEvicted(into, free, taken);
    return taken;
  }

  /** Takes up to `wanted` frames that are free. */
  takeFree(wanted: number, into: Int32Array): number {
    const { frames } = this.#table;
    for (let taken = 0; taken < wanted; taken++) {
      const frame = frames.take();
      if (frame < 0) return taken;
      into[taken] = frame;
    }
    return wanted;
  }

  /**
   * Before a frame gets its new content, the device uses it for its old page no more. A page that
   * was spared is flushed, too, so that its next use is seen.
   */
  *#clearEvicted(into: Int32Array, first: number, end: number): Task<void> {
    const { frames, unit, record } = this.#table;
    for (let i = first; i < end; i++) this.#table.clearEntry(frames.pageOf(into[i]!));
    for (const block of this.#clock.staleBlocks)
      yield* unit.flush(block * BLOCK_PAGES, (block + 1) * BLOCK_PAGES);
    this.#clock.settle();
    count(record, "evictions", end - first);
  }
}
