/**
 * @module memory/frames/frame-refs
 * References to page frames (Linux `include/linux/mm.h`: get_page, put_page). Those that are pins
 * are in frame-pins.ts. Where the counts lie is frame-counts.ts.
 *
 *   F1  A frame of the machine's RAM is free exactly when its count is 0. Whoever allocates it has
 *       the first reference; whoever drops the last one frees it, in the same step. `pagePutAll`
 *       frees what it has dropped a little later, all at once: who looks at the count meanwhile
 *       finds a frame that is free, and is not to be had yet.
 *   F2  To raise a count, a caller holds a reference already, or uses `pageGetNotZero`, which
 *       raises no count of 0. To read a count needs no reference: the counts stay where they are,
 *       also those of a free frame. What the number means depends on what else the caller knows of
 *       the frame.
 *   F3  Frame 0 is the page of zeros: never written, not counted, always there. Frames of a user's
 *       buffer are counted all together, and a count of 0 frees none of them.
 */

import {
  atomicAdd,
  atomicCompareExchange,
  atomicLoad,
  atomicSub,
  compareExchangeNoted,
  decrementNoted,
  incrementNoted,
} from "../../sync/atomics.ts";
import { bug } from "../../sync/errors.ts";
import { EXPLORED, REAL } from "../../sync/shared-memory.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { DONE, access, doneBoolean } from "../../sync/tasks/task.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { DeviceMemory, giveDeviceFrames } from "./device-frames.ts";
import { type FrameAllocator, NOTED_PFN_SHIFT, notedFrame } from "./frame-allocator.ts";
import { type FrameCounts, PINS_AFTER_COUNT } from "./frame-counts.ts";
import { poisonPage } from "./page-data.ts";
import { FRAME_COUNT, FRAME_MAPPING, ZERO_PFN, frameWord } from "./ram-section.ts";
import { GRANULE_SHIFT } from "./section-records.ts";
import type { Sections } from "./sections.ts";

export class FrameRefs {
  readonly memory: SharedMemory;
  protected readonly sections: Sections;
  readonly #allocator: FrameAllocator;

  constructor(memory: SharedMemory, sections: Sections, allocator: FrameAllocator) {
    this.memory = memory;
    this.sections = sections;
    this.#allocator = allocator;
  }

  /** One more reference (F2). */
  pageGet(pfn: number): Task<void> {
    if (pfn === ZERO_PFN) return DONE;
    if (this.memory.mode === EXPLORED) return this.#getExplored(pfn);
    this.#get(pfn);
    return DONE;
  }

  /** One more reference, unless the frame is free. A `note`, a word of the heap, notes it. */
  pageGetNotZero(pfn: number, note: number = 0): Task<boolean> {
    if (this.memory.mode === EXPLORED) return this.#getNotZeroExplored(pfn, note);
    return doneBoolean(this.#getNotZero(pfn, note));
  }

  /** Drops a reference. The last one frees the frame (F1, F3). */
  pagePut(pfn: number): Task<void> {
    if (pfn === ZERO_PFN) return DONE;
    if (this.memory.mode === EXPLORED) return this.#putExplored(pfn);
    return this.isFreed(pfn, this.#drop(pfn)) ? this.free(pfn) : DONE;
  }

  /**
   * `pagePut` of many frames. Those that become free go back together: one by one they go through
   * the thread's free list, which costs three times as much. In other modes than REAL it is exactly
   * that, with the checks and steps of each.
   */
  *pagePutAll(pfns: readonly number[]): Task<void> {
    if (this.memory.mode !== REAL) {
      for (const pfn of pfns) yield* this.pagePut(pfn);
      return;
    }
    const rows: number[] = [];
    for (let i = 0, end = 0; i < pfns.length; i = end) {
      const pfn = pfns[i]!;
      end = i + 1;
      if (pfn === ZERO_PFN) continue;
      const counts = this.sections.countsOf(pfn);
      while (pfns[end] === pfn + (end - i) && this.sections.countsOf(pfns[end]!) === counts) end++;
      yield* this.#putRow(counts, pfn, end - i, rows);
    }
    yield* this.#allocator.giveRows(rows);
  }

  /**
   * Puts the frames that words [start, end) of the heap note, and clears these words. A word is a
   * frame number from bit NOTED_PFN_SHIFT on; 0, and frame 0, are none. If the thread dies, each
   * word that is not 0 notes a reference, or a frame that has none any more and is not to be had
   * yet: another thread goes on with `putLeft`. `given` is a word for this, 0.
   */
  putNoted(start: number, end: number, given: number): Task<void> {
    return this.memory.mode === REAL
      ? this.#putNoted(start, end, given, false)
      : this.#putNotedInSteps(start, end, false);
  }

  /** Goes on with `putNoted` of a dead thread. May be done again, if whoever did it died, too. */
  *putLeft(start: number, end: number, given: number): Task<void> {
    const { mode, words } = this.memory;
    if (words[given] === 0 && mode === REAL) yield* this.#putNoted(start, end, given, true);
    else if (words[given] === 0) yield* this.#putNotedInSteps(start, end, true);
    words.fill(0, start, end);
    words[given] = 0;
  }

  /** Frame by frame, with the checks and steps of each. */
  *#putNotedInSteps(start: number, end: number, isLeft: boolean): Task<void> {
    const { words } = this.memory;
    for (let note = start; note < end; note++) {
      const pfn = words[note]! >>> NOTED_PFN_SHIFT;
      if (pfn === ZERO_PFN) continue;
      const isDropped = isLeft && this.#isUnused(pfn);
      if (!isDropped && !this.isFreed(pfn, this.dropNoted(pfn, note))) continue;
      if (this.sections.countsOf(pfn).device === 0) yield* this.#freeNoted(pfn, note);
      else yield* this.#freeInSteps(pfn, note);
    }
  }

  /** Most copies free nothing, and need no task: their frame is another space's still. */
  #putNoted(start: number, end: number, given: number, isLeft: boolean): Task<void> {
    const rows: number[] = [];
    const ofDevices: number[] = [];
    for (let note = start; note < end;)
      note = this.#dropNotedRow(note, end, isLeft, rows, ofDevices);
    if (ofDevices.length > 0) return this.#giveToDevices(rows, ofDevices, start, end, given);
    return rows.length > 0 ? this.#allocator.giveNoted(rows, start, end, given) : DONE;
  }

  *#giveToDevices(
    rows: readonly number[],
    ofDevices: readonly number[],
    start: number,
    end: number,
    given: number,
  ): Task<void> {
    for (let i = 0; i < ofDevices.length; i += 4) {
      const device = DeviceMemory.at(this.memory, ofDevices[i]!);
      const [first, pfn, endPfn] = [ofDevices[i + 1]!, ofDevices[i + 2]!, ofDevices[i + 3]!];
      yield* giveDeviceFrames(device, pfn, endPfn - pfn, first);
    }
    yield* this.#allocator.giveNoted(rows, start, end, given);
  }

  /**
   * Drops a reference of each frame that notes from `note` on name, as long as they are of one
   * section: a row or many. Those that become free are noted still, and go to `rows`, which gets
   * the first frame and the end of each row; those of a device to `ofDevices`, which has the
   * device's memory and the note of the first frame before these two. Returns the note after the
   * last.
   */
  #dropNotedRow(
    note: number,
    end: number,
    isLeft: boolean,
    rows: number[],
    ofDevices: number[],
  ): number {
    const { words } = this.memory;
    const pfn = words[note]! >>> NOTED_PFN_SHIFT;
    if (pfn === ZERO_PFN) return note + 1;
    const counts = this.sections.countsOf(pfn);
    const granule = pfn >>> GRANULE_SHIFT;
    const { device } = counts;
    const into = device === 0 ? rows : ofDevices;
    let at = note;
    for (let row = -1, next = pfn; at < end; at++) {
      const frame = words[at]! >>> NOTED_PFN_SHIFT;
      if (frame >>> GRANULE_SHIFT !== granule) break; // of another section, or none
      if (frame !== next) row = -1;
      next = frame + 1;
      const isDropped = isLeft && isUnused(counts, frame);
      if (!isDropped && !isFreed(counts, frame, dropNoted(counts, frame, words, at))) {
        row = -1;
        continue;
      }
      if (row < 0) {
        if (device !== 0) into.push(device, at);
        row = into.push(frame, next) - 1;
      }
      into[row] = next;
    }
    return at;
  }

  /** @stepped frame count */
  #isUnused(pfn: number): boolean {
    return isUnused(this.sections.countsOf(pfn), pfn);
  }

  /** Returns the number from before. @stepped frame count */
  protected dropNoted(pfn: number, note: number, times: number = 1): number {
    return dropNoted(this.sections.countsOf(pfn), pfn, this.memory.words, note, times);
  }

  *#freeNoted(pfn: number, note: number): Task<void> {
    // F2: not the counts.
    yield* access(this.memory, "free", frameWord(pfn, 0), FRAME_COUNT, "frame");
    this.#poison(pfn);
    yield* this.#allocator.give(pfn, note);
  }

  /**
   * As `pageGet`, for code that is not a task.
   *
   * @stepped
   */
  pageGetFast(pfn: number): void {
    if (pfn !== ZERO_PFN) this.#get(pfn);
  }

  /**
   * As `pageGetFast`, of no page of zeros; in the same step the word `note` becomes `noted`.
   *
   * @stepped frame count
   */
  pageGetNoted(pfn: number, note: number, noted: number): void {
    const counts = this.sections.countsOf(pfn);
    const { words } = this.memory;
    const count = incrementNoted(counts.words, counts.index(pfn), words, note, noted);
    if (count <= 0 && counts.isOwned)
      bug(`Cannot get frame ${pfn}: it is free; hold a reference while using it`);
  }

  /**
   * References, pins included. The number may be old when it is returned; the holder of the only
   * reference reads 1. For a frame of a user's buffer this counts all frames of the buffer, here
   * and in the functions below.
   *
   * @stepped frame count
   */
  pageCount(pfn: number): number {
    if (pfn === ZERO_PFN) return 1;
    const counts = this.sections.countsOf(pfn);
    return atomicLoad(counts.words, counts.index(pfn));
  }

  /** Whether the frame has exactly so many references, pins included. */
  pageHas(pfn: number, references: number): Task<boolean> {
    if (this.memory.mode === EXPLORED) return this.#hasExplored(pfn, references);
    return doneBoolean(this.pageCount(pfn) === references);
  }

  /**
   * Drops a reference of each frame of a row, which lies in one section. Of those that become free,
   * a device's go back to it, and others are noted in `rows`, for `giveRows`.
   */
  #putRow(counts: FrameCounts, pfn: number, pages: number, rows: number[]): Task<void> {
    if (counts.device !== 0) return this.#putDeviceRow(counts, pfn, pages);
    this.#dropRow(counts, pfn, pages, rows);
    return DONE;
  }

  *#putDeviceRow(counts: FrameCounts, pfn: number, pages: number): Task<void> {
    const rows: number[] = [];
    this.#dropRow(counts, pfn, pages, rows);
    const device = DeviceMemory.at(this.memory, counts.device);
    for (let i = 0; i < rows.length; i += 2)
      yield* giveDeviceFrames(device, rows[i]!, rows[i + 1]! - rows[i]!);
  }

  /** `rows` gets the first frame and the end of each row of those that become free. */
  #dropRow(counts: FrameCounts, pfn: number, pages: number, rows: number[]): void {
    const { words } = counts;
    let start = -1;
    for (let i = pfn; i < pfn + pages; i++) {
      const count = atomicSub(words, counts.index(i), 1);
      if (count <= 1 && isFreed(counts, i, count)) {
        if (start < 0) start = i;
      } else if (start >= 0) {
        rows.push(start, i);
        start = -1;
      }
    }
    if (start >= 0) rows.push(start, pfn + pages);
  }

  /**
   * What the frame belongs to, if not to entries alone: the page cache of a source (mm/vma), or 0.
   * It stays so until the frame is freed. Without a reference the answer may be of another use of
   * the frame.
   */
  mappingOf(pfn: number): number {
    if (pfn === ZERO_PFN) return 0;
    const section = this.sections.of(pfn);
    return section.owned ? section.frames[section.frameIndex(pfn) + FRAME_MAPPING]! : 0;
  }

  /** Of a frame that has just been allocated, before another thread can find it. */
  setMapping(pfn: number, mapping: number): void {
    const section = this.sections.of(pfn);
    section.frames[section.frameIndex(pfn) + FRAME_MAPPING] = mapping;
  }

  /**
   * As `pagePut`, for code that is not a task, for a frame that it has just got from
   * `allocFrameFast`: its place in the free list is still free. The word `note` notes it.
   */
  pagePutFast(pfn: number, note: number): void {
    this.dropNoted(pfn, note);
    this.#poison(pfn);
    if (this.#allocator.give(pfn, note) !== DONE)
      bug(`frame ${pfn} does not fit into the free list that it came from`);
  }

  /** The same for an explorer. */
  *pagePutFast$steps(_pfn: number, note: number): Task<void> {
    yield* this.putNoted(note, note + 1, 0);
  }

  /** @stepped frame count */
  #get(pfn: number): void {
    const counts = this.sections.countsOf(pfn);
    const count = atomicAdd(counts.words, counts.index(pfn), 1);
    if (count <= 0 && counts.isOwned)
      bug(`Cannot get frame ${pfn}: it is free; hold a reference while using it`);
  }

  /** @stepped frame count */
  #getNotZero(pfn: number, note: number): boolean {
    if (pfn === ZERO_PFN) return true;
    const counts = this.sections.countsOf(pfn);
    const { words } = counts;
    const index = counts.index(pfn);
    const noted = notedFrame(pfn);
    for (let count = atomicLoad(words, index); count > 0;) {
      const seen =
        note === 0
          ? atomicCompareExchange(words, index, count, count + 1)
          : compareExchangeNoted(words, index, count, count + 1, this.memory.words, note, noted);
      if (seen === count) return true;
      count = seen;
    }
    return false;
  }

  /** Returns the number from before. @stepped frame count */
  #drop(pfn: number): number {
    const counts = this.sections.countsOf(pfn);
    return atomicSub(counts.words, counts.index(pfn), 1);
  }

  /** Whether the caller, who has dropped one of `count` references, must free the frame. */
  protected isFreed(pfn: number, count: number): boolean {
    return count <= 1 && isFreed(this.sections.countsOf(pfn), pfn, count);
  }

  *#hasExplored(pfn: number, references: number): Task<boolean> {
    return this.pageCount(pfn) === references;
  }

  *#putExplored(pfn: number): Task<void> {
    if (this.isFreed(pfn, this.#drop(pfn))) yield* this.#freeInSteps(pfn);
  }

  *#freeInSteps(pfn: number, note: number = 0): Task<void> {
    // F2: not the counts. A device's frame is freed under a lock, by a step of its own.
    if (this.sections.countsOf(pfn).device === 0)
      yield* access(this.memory, "free", frameWord(pfn, 0), FRAME_COUNT, "frame");
    yield* this.free(pfn, note);
  }

  /**
   * Debug builds and explorers poison a frame that becomes free, so that a load through a stale
   * translation is noticed.
   *
   * @stepped
   */
  #poison(pfn: number): void {
    if (this.memory.mode !== REAL && this.sections.isReached(pfn))
      poisonPage(this.sections.of(pfn), pfn);
  }

  /** The word `note`, which notes it, is 0 in the step that makes it free. @stepped */
  protected free(pfn: number, note: number = 0): Task<void> {
    const { device } = this.sections.countsOf(pfn);
    this.#poison(pfn);
    return device === 0
      ? this.#allocator.give(pfn, note)
      : giveDeviceFrames(DeviceMemory.at(this.memory, device), pfn, 1, note);
  }

  *#getExplored(pfn: number): Task<void> {
    this.#get(pfn);
  }

  *#getNotZeroExplored(pfn: number, note: number): Task<boolean> {
    return this.#getNotZero(pfn, note);
  }
}

/** @stepped frame count */
function isUnused(counts: FrameCounts, pfn: number): boolean {
  return counts.isOwned && atomicLoad(counts.words, counts.index(pfn)) === 0;
}

/** Returns the number from before. @stepped frame count */
function dropNoted(
  counts: FrameCounts,
  pfn: number,
  words: Int32Array,
  note: number,
  times: number = 1,
): number {
  const last = counts.isOwned ? notedFrame(pfn) : 0;
  return decrementNoted(counts.words, counts.index(pfn), words, note, last, times);
}

function isFreed(counts: FrameCounts, pfn: number, count: number): boolean {
  if (count > 1) return false;
  if (count <= 0) bug(`Cannot put frame ${pfn}: it is free already; put once for each get`);
  if (!counts.isOwned) return false;
  if (atomicLoad(counts.words, counts.index(pfn) + PINS_AFTER_COUNT) > 0)
    bug(`Cannot free frame ${pfn}: it is pinned; unpin before the last put`);
  return true;
}
