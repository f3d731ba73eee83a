/**
 * @module devices/webgpu/backups
 * Slots of the backups, by which a pass is undone: which of them has the bytes of which kept frame
 * (private-pages.ts). A frame that was stored to keeps its slot, for the next backup goes there: so
 * frames in a row have slots in a row from the first backup on, and nothing is sorted again. Of the
 * device's Worker.
 *
 * Functions that go through frames are no generators: a generator's loops run uncompiled for some
 * dozens of dispatches, and took 0.8 us a page then.
 */

import { bug } from "../../driver-interface.ts";

/** Of a frame that has none. */
const NO_SLOT = -1;

export class Backups {
  /** By frame. */
  readonly #slots: Int32Array;
  /** By frame: 1, its slot has what it holds. */
  readonly #isGood: Uint8Array;
  readonly #free: number[];

  constructor(frames: number, slots: number) {
    this.#slots = new Int32Array(frames).fill(NO_SLOT);
    this.#isGood = new Uint8Array(frames);
    this.#free = Array.from({ length: slots }, (_, i) => slots - 1 - i);
  }

  /** Whether a slot has what the frame holds. */
  isGood(frame: number): boolean {
    return this.#isGood[frame] === 1;
  }

  /** The slot of a frame that has one. */
  slotOf(frame: number): number {
    const slot = this.#slots[frame] ?? NO_SLOT;
    return slot === NO_SLOT ? bug(`Cannot find the backup of frame ${frame}: it has none`) : slot;
  }

  /** What a pass has stored to the frame is committed. */
  spoil(frame: number): void {
    this.#isGood[frame] = 0;
  }

  /** The frame needs no backup, for now or for ever. */
  release(frame: number): void {
    const slot = this.#slots[frame] ?? NO_SLOT;
    this.#isGood[frame] = 0;
    if (slot === NO_SLOT) return;
    this.#slots[frame] = NO_SLOT;
    this.#free.push(slot);
  }

  /** Those of the frames, in their order, of which no slot has what they hold. */
  missingOf(frames: readonly number[]): number[] {
    const missing: number[] = [];
    for (const frame of frames) if (this.#isGood[frame] === 0) missing.push(frame);
    return missing;
  }

  /** How many slots there are too few for these frames; below 0: so many are left. */
  lackingFor(frames: readonly number[]): number {
    let wanted = 0;
    for (const frame of frames) if (this.#slots[frame] === NO_SLOT) wanted++;
    return wanted - this.#free.length;
  }

  /**
   * The slots of these frames, which are ascending, from now on good: they are copied there. There
   * are enough.
   */
  take(frames: readonly number[]): number[] {
    const fresh: number[] = [];
    for (const frame of frames) {
      this.#isGood[frame] = 1;
      if (this.#slots[frame] === NO_SLOT) fresh.push(this.#free.pop() ?? bug(NONE_LEFT));
    }
    sortAscending(fresh); // what lies in a row on both sides is one copy
    const slots: number[] = [];
    let next = 0;
    for (const frame of frames) {
      if (this.#slots[frame] === NO_SLOT) this.#slots[frame] = fresh[next++] ?? bug(NONE_LEFT);
      slots.push(this.slotOf(frame));
    }
    return slots;
  }
}

const NONE_LEFT = "Cannot back up a frame: no slot is free, and it was counted";

/** In place. Mostly they are in order, and it costs nothing. */
export function sortAscending(numbers: number[]): void {
  for (let i = 1; i < numbers.length; i++)
    if (numbers[i - 1]! > numbers[i]!) {
      numbers.sort((a, b) => a - b);
      return;
    }
}
