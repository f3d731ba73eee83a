/**
 * @module devices/service/frames
 * Device memory, frame by frame: which are free, which page each holds, and which of them have been
 * used lately. Not which page leaves when none is free: that is policy/eviction.ts. The bytes
 * themselves are wherever the device has its memory; here a frame is a number from 0 on.
 *
 * Frame table, FRAME_WORDS words for each frame, in blocks of FRAMES_PER_BLOCK:
 *
 *     0  PAGE      the page it holds, when mapped
 *     1  STATE     free -> loading (the service owner fills it) -> mapped -> free, or
 *                  mapped -> loading when it is evicted
 *     2  ACCESSED  1: a thread has fetched its translation since the hand passed; PREFETCHED: it
 *                  was prefetched, and no thread has yet. Set plainly, without a lock: when the
 *                  hand's clearing overwrites it, the page loses one chance
 *     3  NEXT      of the free list: frame plus 1, or 0
 *
 * All of it under the driver lock, but for ACCESSED.
 */

import {
  bug,
  plainLoad,
  type Machine,
  type SharedMemory,
  type Task,
} from "../../driver-interface.ts";
import { nextScore } from "../policy/prefetch.ts";
import { DeviceRecord, FRAME_BLOCKS_MAX } from "./device-record.ts";

const PAGE = 0;
const STATE = 1;
const ACCESSED = 2;
const NEXT = 3;
const FRAME_WORDS = 4;

const BLOCK_SHIFT = 12;
const FRAMES_PER_BLOCK: number = 2 ** BLOCK_SHIFT;
const BLOCK_WORDS_MIN = 512;

/** Most frames of one device: 4 GiB. */
export const FRAMES_MAX: number = FRAMES_PER_BLOCK * FRAME_BLOCKS_MAX;

/** ACCESSED of a page that was prefetched and has not been used yet. */
const PREFETCHED = 2;

export const FRAME_FREE = 0;
export const FRAME_LOADING = 1;
export const FRAME_MAPPED = 2;

const BLOCKS_AT: number = DeviceRecord.offset.frameBlocks;
const SCORE_AT: number = DeviceRecord.offset.prefetchScore;

/** Words of the block that describes frames from `firstFrame` on: a size that the heap has. */
function blockWords(frames: number, firstFrame: number): number {
  const needed = Math.min(frames - firstFrame, FRAMES_PER_BLOCK) * FRAME_WORDS;
  let words = BLOCK_WORDS_MIN;
  while (words < needed) words *= 2;
  return words;
}

/**
 * Makes the frame table of a new device, all frames free. False: ENOMEM; `freeFrameTable` gives
 * back what there is of it.
 */
export function* allocFrameTable(machine: Machine, record: DeviceRecord): Task<boolean> {
  const { frames, frameBlocks } = record;
  for (let frame = 0; frame < frames; frame += FRAMES_PER_BLOCK) {
    const note = frameBlocks.at + (frame >>> BLOCK_SHIFT);
    if ((yield* machine.heap.allocWords(blockWords(frames, frame), note)) === 0) return false;
  }
  const table = new Frames(record);
  for (let frame = frames - 1; frame >= 0; frame--) table.give(frame);
  return true;
}

/** Gives back what `allocFrameTable` took. Nobody uses the device any more. */
export function* freeFrameTable(machine: Machine, record: DeviceRecord): Task<void> {
  const { frames, frameBlocks } = record;
  for (let frame = 0; frame < frames; frame += FRAMES_PER_BLOCK) {
    const i = frame >>> BLOCK_SHIFT;
    const block = frameBlocks.get(i);
    if (block !== 0)
      yield* machine.heap.freeWords(block, blockWords(frames, frame), frameBlocks.at + i);
  }
}

/** One thread's view of a device's frame table. */
export class Frames {
  /** The device's record in the kernel heap. */
  readonly record: DeviceRecord;
  /** The number of frames: the device's budget. */
  readonly frames: number;
  readonly #memory: SharedMemory;
  readonly #blocksAt: number;

  constructor(record: DeviceRecord) {
    const { memory, frames, frameBlocks } = record;
    this.record = record;
    this.frames = frames;
    this.#memory = memory;
    this.#blocksAt = record.at + BLOCKS_AT;
    // Views of the heap only grow: what is covered now stays so.
    for (let frame = 0; frame < frames; frame += FRAMES_PER_BLOCK) {
      memory.ensure(frameBlocks.get(frame >>> BLOCK_SHIFT) + blockWords(frames, frame));
    }
  }

  /** A free frame, which is then loading; -1 when there is none. */
  take(): number {
    const { record } = this;
    const frame = record.freeHead - 1;
    if (frame < 0) return -1;
    const { words } = this.#memory;
    const at = this.#wordOf(frame);
    record.freeHead = plainLoad(words, at + NEXT);
    record.freeFrames--;
    words[at + STATE] = FRAME_LOADING;
    return frame;
  }

  /** The frame becomes free, in whatever state it is. Its translation is not in the table. */
  give(frame: number): void {
    const { record } = this;
    const { words } = this.#memory;
    const at = this.#wordOf(frame);
    words[at + STATE] = FRAME_FREE;
    words[at + ACCESSED] = 0;
    words[at + NEXT] = record.freeHead;
    record.freeHead = frame + 1;
    record.freeFrames++;
  }

  /** No frame holds a page: all are free but those that are loading, whatever the list was. */
  forget(): void {
    const { words } = this.#memory;
    this.record.freeHead = 0;
    this.record.freeFrames = 0;
    for (let frame = this.frames - 1; frame >= 0; frame--)
      if (plainLoad(words, this.#wordOf(frame) + STATE) !== FRAME_LOADING) this.give(frame);
  }

  /** A loading frame now holds `page`, whose entry names it. */
  bind(frame: number, page: number, wasAskedFor: boolean): void {
    const { words } = this.#memory;
    const at = this.#wordOf(frame);
    if (plainLoad(words, at + STATE) !== FRAME_LOADING)
      bug(`Cannot bind frame ${frame} of the device: it is not loading`);
    words[at + PAGE] = page;
    words[at + STATE] = FRAME_MAPPED;
    words[at + ACCESSED] = wasAskedFor ? 1 : PREFETCHED;
  }

  /** A mapped frame is about to hold something else. */
  unbind(frame: number): void {
    this.#memory.words[this.#wordOf(frame) + STATE] = FRAME_LOADING;
  }

  /**
   * A thread has fetched the frame's translation. No lock; `frame` may be stale, so it is checked.
   *
   * @stepped accessed
   */
  touch(frame: number): void {
    if (!(frame >= 0 && frame < this.frames)) return;
    const at = this.#wordOf(frame) + ACCESSED;
    const { words } = this.#memory;
    const before = plainLoad(words, at);
    // A store only where it changes something: all threads of the device look at these words.
    if (before === 1) return;
    words[at] = 1;
    if (before === PREFETCHED) this.#score(true);
  }

  /** A mapped frame loses its page: counts against prefetching if it came unasked and unused. */
  judge(frame: number): void {
    if (plainLoad(this.#memory.words, this.#wordOf(frame) + ACCESSED) === PREFETCHED)
      this.#score(false);
  }

  /**
   * How well prefetching has paid lately (policy/prefetch.ts). Kept without a lock: two threads at
   * once may count as one.
   */
  get prefetchScore(): number {
    return plainLoad(this.#memory.words, this.record.at + SCORE_AT);
  }

  #score(wasUsed: boolean): void {
    this.#memory.words[this.record.at + SCORE_AT] = nextScore(this.prefetchScore, wasUsed);
  }

  /** The virtual page number that the frame holds. Holding the driver lock. */
  pageOf(frame: number): number {
    return plainLoad(this.#memory.words, this.#wordOf(frame) + PAGE) >>> 0;
  }

  /** Whether the frame is free, used or on its way: a FRAME_ constant. Holding the driver lock. */
  stateOf(frame: number): number {
    return plainLoad(this.#memory.words, this.#wordOf(frame) + STATE);
  }

  /** Whether the device has used the frame since its accessed bit was cleared. */
  isAccessed(frame: number): boolean {
    return plainLoad(this.#memory.words, this.#wordOf(frame) + ACCESSED) === 1;
  }

  /** Clears the accessed bit, for the clock's hand. Holding the driver lock. */
  clearAccessed(frame: number): void {
    this.#memory.words[this.#wordOf(frame) + ACCESSED] = 0;
  }

  #wordOf(frame: number): number {
    return (
      plainLoad(this.#memory.words, this.#blocksAt + (frame >>> BLOCK_SHIFT)) +
      (frame & (FRAMES_PER_BLOCK - 1)) * FRAME_WORDS
    );
  }
}
