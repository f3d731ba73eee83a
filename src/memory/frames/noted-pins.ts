/**
 * @module memory/frames/noted-pins
 * The two counts of a frame that is pinned, as they change with a note. A word of the heap counts
 * the frames of a view that are pinned (`FramePins.pinRunNoted`, `unpinNoted`). It is -n while
 * frame n has the reference of its pin, and not the pin. So each of the two changes is one step
 * with the word, and whoever goes on for a dead thread knows how far it is. Frames in a row that
 * share their counts, those of a user's buffer, get all their references in one step, and then all
 * pins in one.
 */

import { incrementNoted } from "../../sync/atomics.ts";
import { bug } from "../../sync/errors.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { type FrameCounts, PINS_AFTER_COUNT } from "./frame-counts.ts";

/**
 * One pin more, of the frame behind the `pinned` ones that the word `note` counts; or `pages` pins,
 * of so many frames that share a count.
 *
 * @stepped frame pins
 */
export function pinNoted(
  memory: SharedMemory,
  counts: FrameCounts,
  pfn: number,
  note: number,
  pinned: number,
  pages: number = 1,
): void {
  if (changeCount(memory, counts, pfn, pages, note, -(pinned + pages)) <= 0 && counts.isOwned)
    bug(`Cannot pin frame ${pfn}: it is free; hold a reference while using it`);
  changePins(memory, counts, pfn, pages, note, pinned + pages);
}

/**
 * Takes back the last `pinned` pins of those that `note` counts, behind `before` others. Entries
 * have the frames: none becomes free.
 *
 * @stepped frame pins
 */
export function unpinBack(
  memory: SharedMemory,
  counts: FrameCounts,
  pfn: number,
  pinned: number,
  note: number,
  before: number,
): void {
  for (let i = pinned - 1; i >= 0; i--) {
    changePins(memory, counts, pfn + i, -1, note, -(before + i + 1));
    changeCount(memory, counts, pfn + i, -1, note, before + i);
  }
}

/**
 * Changes the pins of a frame; the word `note` becomes `noted` in the same step. Returns the number
 * from before.
 *
 * @stepped frame pins
 */
export function changePins(
  { words }: SharedMemory,
  counts: FrameCounts,
  pfn: number,
  by: number,
  note: number,
  noted: number,
): number {
  const index = counts.index(pfn) + PINS_AFTER_COUNT;
  return incrementNoted(counts.words, index, words, note, noted, by);
}

/**
 * The same of the references.
 *
 * @stepped frame count
 */
function changeCount(
  { words }: SharedMemory,
  counts: FrameCounts,
  pfn: number,
  by: number,
  note: number,
  noted: number,
): number {
  return incrementNoted(counts.words, counts.index(pfn), words, note, noted, by);
}
