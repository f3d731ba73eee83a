/**
 * @module devices/service/span-frames
 * The device frames of a span that is being served (span-service.ts): which pages are copied, and
 * where to. Frames are reserved first, and belong to no page then; each page whose translation is
 * installed takes its own, and what nobody took goes back.
 *
 * As the service owner; where it says so, under the driver lock.
 */

import type { Task } from "../../driver-interface.ts";
import { BLOCK_PAGES } from "../policy/prefetch.ts";
import type { CopyBatch } from "./device-hardware.ts";
import { type DeviceTable, entryFrameNumber } from "./device-table.ts";
import { FrameReserve } from "./frame-reserve.ts";
import { WANT_READ } from "./wants.ts";

/** What the frames are for. Pages are counted from the span's start. */
export interface SpanPages {
  readonly pages: number;
  /** A Want for each page. */
  readonly wants: Uint8Array;
  /** 1 for each page that may be copied. */
  readonly copyable: Uint8Array;
  /** The page that somebody waits for, if it is one of them. */
  readonly urgent: number;
  /** Pages that somebody asked for that may be copied at most. */
  readonly copiesMax: number;
}

export class SpanFrames {
  readonly #table: DeviceTable;
  readonly #reserve: FrameReserve;
  /** The reserved frames; -1 for one that a page has taken. */
  readonly #frames = new Int32Array(BLOCK_PAGES);
  #reserved = 0;
  /** For each page: where its frame stands in `#frames`, or -1. */
  readonly #frameOf = new Int32Array(BLOCK_PAGES);
  readonly #sources = new Uint32Array(BLOCK_PAGES);
  readonly #targets = new Int32Array(BLOCK_PAGES);

  constructor(table: DeviceTable) {
    this.#table = table;
    this.#reserve = new FrameReserve(table);
  }

  /**
   * Frames for the pages to copy: for those that were asked for, then, from what is free or cold,
   * for prefetched ones. Holding the driver lock. Pairs with `giveBack`.
   */
  *reserve(span: SpanPages): Task<void> {
    const { pages, wants, copyable, copiesMax } = span;
    let demanded = 0;
    let prefetched = 0;
    for (let i = 0; i < pages; i++) {
      if (copyable[i] === 0) continue;
      if (wants[i] === WANT_READ) demanded++;
      else prefetched++;
    }
    const wanted = Math.min(demanded, copiesMax);
    const forDemand = yield* this.#reserve.reserve(wanted, this.#frames);
    const mayPrefetch = forDemand === demanded && prefetched > 0;
    const forPrefetch = mayPrefetch
      ? yield* this.#reserve.reserveCold(prefetched, this.#frames.subarray(forDemand))
      : 0;
    this.#reserved = forDemand + forPrefetch;
    this.#assign(span, forDemand);
  }

  /** The page that somebody waits for comes first. */
  #assign({ pages, wants, copyable, urgent }: SpanPages, forDemand: number): void {
    const frameOf = this.#frameOf.fill(-1);
    let next = 0;
    let nextPrefetch = forDemand;
    const isUrgentHere = urgent >= 0 && urgent < pages && copyable[urgent] === 1;
    if (isUrgentHere && forDemand > 0) frameOf[urgent] = next++;
    for (let i = 0; i < pages; i++) {
      if (copyable[i] === 0 || frameOf[i]! >= 0) continue;
      if (wants[i] === WANT_READ) {
        if (next < forDemand) frameOf[i] = next++;
      } else if (nextPrefetch < this.#reserved) {
        frameOf[i] = nextPrefetch++;
      }
    }
  }

  /** What is to be copied: `pfns` are the entries of the pages. */
  collectCopies(pages: number, pfns: Uint32Array): CopyBatch {
    let copies = 0;
    for (let i = 0; i < pages; i++) {
      const slot = this.#frameOf[i]!;
      if (slot < 0) continue;
      this.#sources[copies] = entryFrameNumber(pfns[i]!);
      this.#targets[copies++] = this.#frames[slot]!;
    }
    return { count: copies, sources: this.#sources, targets: this.#targets };
  }

  /** Whether page `i` has a frame. */
  has(i: number): boolean {
    return this.#frameOf[i]! >= 0;
  }

  /** The frame of page `i`, which has one: the page's from now on. Holding the driver lock. */
  take(i: number): number {
    const slot = this.#frameOf[i]!;
    const frame = this.#frames[slot]!;
    this.#frames[slot] = -1;
    return frame;
  }

  /** The frames that no page took. Holding the driver lock. */
  giveBack(): void {
    for (let i = 0; i < this.#reserved; i++)
      if (this.#frames[i]! >= 0) this.#table.frames.give(this.#frames[i]!);
  }
}
