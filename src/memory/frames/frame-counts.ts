/**
 * @module memory/frames/frame-counts
 * Where the references to a section's frames are counted: two words, COUNT and PINS. Each frame of
 * the machine's own RAM, and of a device's memory, has a pair of its own, in the section's frame
 * table. All frames of a user's
 * buffer share one pair in the section's record, in the kernel heap. No operation needs the count
 * of a single such frame, for none is ever freed, copied or moved. So a thread can count without
 * the buffer, and no operation that holds a lock needs the buffer.
 */

import type { SharedMemory } from "../../sync/shared-memory.ts";

/** Words from COUNT to PINS, in the frame table and in the record. */
export const PINS_AFTER_COUNT = 1;

/** What frames of a device's memory have in common. */
export interface OfDevice {
  readonly device: number;
  readonly deviceKind: number;
}

const NO_DEVICE: OfDevice = { device: 0, deviceKind: 0 };

export class FrameCounts {
  /**
   * The array of the words. For a record it is the present view of the heap: the heap only grows,
   * and the view covers the record.
   */
  readonly words: Int32Array;
  /** Whether a count of 0 frees the frame: in the machine's own RAM, and in a device's memory. */
  readonly isOwned: boolean;
  /** The deviceMemory that the frames belong to, or 0. */
  readonly device: number;
  /** Its owner times 4, plus its type. */
  readonly deviceKind: number;
  readonly #start: number;
  readonly #stride: number;
  readonly #basePfn: number;

  private constructor(
    words: Int32Array,
    start: number,
    stride: number,
    basePfn: number,
    isOwned: boolean,
    { device, deviceKind }: OfDevice,
  ) {
    this.words = words;
    this.device = device;
    this.deviceKind = deviceKind;
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
    ofDevice: OfDevice = NO_DEVICE,
  ): FrameCounts {
    return new FrameCounts(words, start, stride, basePfn, isOwned, ofDevice);
  }

  /** One COUNT at word `at` of the heap for all frames. */
  static together(memory: SharedMemory, at: number): FrameCounts {
    return new FrameCounts(memory.words, at, 0, 0, false, NO_DEVICE);
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
