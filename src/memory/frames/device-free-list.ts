/**
 * @module memory/frames/device-free-list
 * The free frames of a device's memory (device-frames.ts): a list through their records, from the
 * one that was freed last. Holding deviceMemoryLock.
 *
 * A frame is taken, or given, by stores in a row, without a call or a loop between them: no thread
 * dies there (H1 of sync/lockdep/held-locks.ts). What notes the frame is one of these stores. So
 * whoever finds the holder of the lock dead releases it, and nothing is to be undone.
 */

import { PINS_AFTER_COUNT } from "./frame-counts.ts";
import { DEVICE_FRAME_COUNT, DEVICE_FRAME_WORDS } from "./ram-section.ts";

const LINK: number = DEVICE_FRAME_COUNT + PINS_AFTER_COUNT + 1;
export const PAGE: number = LINK + 1;

/** Where the words of a list lie. */
export interface FreeListPlace {
  readonly words: Int32Array;
  /** The frame table, whose first frame is `basePfn`. */
  readonly table: number;
  readonly basePfn: number;
  /** Word of the first free frame's number. */
  readonly firstAt: number;
  /** Word that counts the frames that are not free. */
  readonly usedAt: number;
  /** First of the words that count the free frames of each block of `1 << blockShift`. */
  readonly blocksAt: number;
  readonly blockShift: number;
}

/** The list of one memory, for one section of its lock. */
export class DeviceFreeList {
  readonly #words: Int32Array;
  readonly #table: number;
  readonly #basePfn: number;
  readonly #firstAt: number;
  readonly #usedAt: number;
  readonly #blocksAt: number;
  readonly #blockShift: number;

  constructor(place: FreeListPlace) {
    this.#words = place.words;
    this.#table = place.table;
    this.#basePfn = place.basePfn;
    this.#firstAt = place.firstAt;
    this.#usedAt = place.usedAt;
    this.#blocksAt = place.blocksAt;
    this.#blockShift = place.blockShift;
  }

  /** The frame that was freed last, or 0. */
  get first(): number {
    return this.#words[this.#firstAt]! >>> 0;
  }

  /** Takes a free frame, with its first reference: `frames[i]` is its number. */
  take(pfn: number, frames: Uint32Array, i: number): void {
    const words = this.#words;
    const usedAt = this.#usedAt;
    const at = this.#wordOf(pfn);
    const next = words[at + LINK]!;
    const previous = words[at + PAGE]!;
    const linkAt = previous === 0 ? this.#firstAt : this.#wordOf(previous) + LINK;
    const nextAt = next === 0 ? 0 : this.#wordOf(next) + PAGE;
    const blockAt = this.#blockOf(pfn);
    // In a row.
    words[linkAt] = next;
    if (nextAt !== 0) words[nextAt] = previous;
    words[blockAt] = words[blockAt]! - 1;
    words[usedAt] = words[usedAt]! + 1;
    words[at + PAGE] = 0;
    words[at + DEVICE_FRAME_COUNT] = 1;
    frames[i] = pfn;
  }

  /** A frame without a reference is free. The word `note`, which notes it, is 0 then. */
  give(pfn: number, note: number): void {
    const words = this.#words;
    const usedAt = this.#usedAt;
    const firstAt = this.#firstAt;
    const first = words[firstAt]!;
    const at = this.#wordOf(pfn);
    const nextAt = first === 0 ? 0 : this.#wordOf(first) + PAGE;
    const blockAt = this.#blockOf(pfn);
    // In a row.
    words[at + LINK] = first;
    words[at + PAGE] = 0;
    if (nextAt !== 0) words[nextAt] = pfn;
    words[firstAt] = pfn;
    words[blockAt] = words[blockAt]! + 1;
    words[usedAt] = words[usedAt]! - 1;
    if (note !== 0) words[note] = 0;
  }

  #wordOf(pfn: number): number {
    return this.#table + (pfn - this.#basePfn) * DEVICE_FRAME_WORDS;
  }

  #blockOf(pfn: number): number {
    return this.#blocksAt + ((pfn - this.#basePfn) >>> this.#blockShift);
  }
}
