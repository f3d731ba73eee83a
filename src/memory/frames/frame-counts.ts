/**
 * @module memory/frames/frame-counts
 * Where the references to a section's frames are counted: two words, COUNT and PINS. Each frame of
 * the machine's own RAM has its own, in the section's frame table. All frames of a user's buffer
 * share two in the section's record, in the kernel heap: nobody asks for the count of one such
 * frame, since none is ever freed, copied or moved. So a thread that has not been given the buffer
 * can count all the same, and no operation that holds a lock ever has to have it.
 */

import type { SharedMemory } from "../../sync/shared-memory.ts";

/** Words from COUNT to PINS, in the frame table and in the record. */
export const PINS_AFTER_COUNT = 1;

export class FrameCounts {
  /**
   * The words' array. For a record the heap as it is now: it only grows, and the record is there.
   */
  readonly words: Int32Array;
  /** Whether a count of 0 frees the frame: so in the machine's own RAM only. */
  readonly isOwned: boolean;
  readonly #start: number;
  readonly #stride: number;
  readonly #basePfn: number;

  private constructor(
    words: Int32Array,
    start: number,
    stride: number,
    basePfn: number,
    isOwned: boolean,
  ) {
    this.words = words;
    this.isOwned = isOwned;
    this.#start = start;
    this.#stride = stride;
    this.#basePfn = basePfn;
  }

  /** One COUNT for each frame from `basePfn` on, `stride` words apart, the first at `start`. */
  static each(
    words: Int32Array,
    start: number,
    stride: number,
    basePfn: number,
    isOwned: boolean,
  ): FrameCounts {
    return new FrameCounts(words, start, stride, basePfn, isOwned);
  }

  /** One COUNT at word `at` of the heap for all frames. */
  static together(memory: SharedMemory, at: number): FrameCounts {
    return new FrameCounts(memory.words, at, 0, 0, false);
  }

  /** Index of the frame's COUNT in `words`. */
  index(pfn: number): number {
    return this.#start + (pfn - this.#basePfn) * this.#stride;
  }

  /** Whether the frame shares its count with the others. */
  get areShared(): boolean {
    return this.#stride === 0;
  }
}
