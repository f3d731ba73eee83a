/**
 * @module memory/frames/frame-zones
 * The free frames of the sections of a machine's own RAM: a buddy system for each (heap/buddy.ts),
 * all under ramLock. The free lists of threads before them are in frame-allocator.ts.
 */

import type { Spinlock } from "../../sync/primitives/spinlock.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { UNDO_FRAME } from "../../sync/words/undo-log.ts";
import { Buddy } from "../heap/buddy.ts";
import { FRAME_WORDS, SectionRecord } from "./ram-section.ts";
import type { RamSection } from "./ram-section.ts";

interface Zone {
  readonly section: RamSection;
  readonly buddy: Buddy;
}

/** The sections that frames are allocated from. */
export class FrameZones {
  readonly #memory: SharedMemory;
  readonly #lock: Spinlock;
  #zones: readonly Zone[] = [];

  constructor(memory: SharedMemory, lock: Spinlock) {
    this.#memory = memory;
    this.#lock = lock;
  }

  /** The sections to allocate from, in this order. Set once, when the thread attaches. */
  set(owned: readonly RamSection[]): void {
    this.#zones = owned.map((section) => {
      const record = SectionRecord.at(this.#memory, section.handle.recordAt);
      const table = { words: section.frames };
      return {
        section,
        buddy: new Buddy({
          heads: this.#memory,
          headsAt: record.buddy.at,
          table,
          tableAt: 0,
          strideWords: FRAME_WORDS,
          debug: this.#memory.debug,
          undo: {
            memory: this.#memory,
            lock: this.#lock.at,
            tablePlace: UNDO_FRAME + section.basePfn * FRAME_WORDS,
          },
        }),
      };
    });
    this.#memory.storeFrameWord = (number, value) => this.#storeFrameWord(number, value);
  }

  /** Makes all frames of a new section free, before another thread knows of it. */
  fill(section: RamSection): void {
    for (const zone of this.#zones) if (zone.section === section) zone.buddy.extend(section.pages);
  }

  /** Exact while nobody allocates. */
  freePages(): number {
    let pages = 0;
    for (const { buddy } of this.#zones) pages += buddy.freePages;
    return pages;
  }

  /** For tests and reports. */
  freeBlocks(): { pfn: number; order: number }[] {
    return this.#zones.flatMap(({ section: { basePfn }, buddy }) =>
      buddy.freeBlocks().map(({ page, order }) => ({ pfn: basePfn + page, order })),
    );
  }

  /** Takes the 2^order frames at `pfn` if they are free. Holding ramLock. */
  takeAt(pfn: number, order: number): boolean {
    const zone = this.#zoneOf(pfn);
    return zone?.buddy.takeBlock(pfn - zone.section.basePfn, order) ?? false;
  }

  /**
   * The first frame of what `alloc` takes of a section, from the first section on that has it; 0:
   * none has. `alloc` answers with a page of its section, or less than 0. Holding ramLock.
   */
  take(alloc: (buddy: Buddy, basePfn: number) => number): number {
    for (const { section, buddy } of this.#zones) {
      if (buddy.freePages === 0) continue;
      const page = alloc(buddy, section.basePfn);
      if (page >= 0) return section.basePfn + page;
    }
    return 0;
  }

  /** Frees frames [startPfn, endPfn), which may lie in neighbouring sections. Holding ramLock. */
  give(startPfn: number, endPfn: number): void {
    for (const { section, buddy } of this.#zones) {
      const start = Math.max(startPfn - section.basePfn, 0);
      const end = Math.min(endPfn - section.basePfn, section.pages);
      if (start < end) buddy.freeRange(start, end);
    }
  }

  /** Frees frames that are sorted: adjacent ones together. Holding ramLock. */
  giveRows(frames: ArrayLike<number>): void {
    for (let start = 0; start < frames.length;) {
      let end = start + 1;
      while (end < frames.length && frames[end] === frames[start]! + end - start) end++;
      if (frames[start] !== 0) this.give(frames[start]!, frames[start]! + end - start);
      start = end;
    }
  }

  /** Of any frame of the machine's own RAM, by its number in the undo log. False: there is none. */
  #storeFrameWord(number: number, value: number): boolean {
    const pfn = Math.floor(number / FRAME_WORDS);
    const zone = this.#zoneOf(pfn);
    if (zone === undefined) return false;
    zone.section.frames[number - zone.section.basePfn * FRAME_WORDS] = value;
    return true;
  }

  #zoneOf(pfn: number): Zone | undefined {
    return this.#zones.find(
      ({ section: { basePfn, pages } }) => pfn >= basePfn && pfn < basePfn + pages,
    );
  }
}
