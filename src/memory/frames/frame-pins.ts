/**
 * @module memory/frames/frame-pins
 * References to page frames (frame-refs.ts) that are pins (Linux `pin_user_pages`): of one frame,
 * or of many that lie in a row.
 *
 *   P1  A pin is a reference that is also counted as a pin: the frame must not be moved, replaced
 *       or taken away meanwhile.
 *   P2  The counts of a frame with one reference, which an entry has, may be written plainly by who
 *       holds the mmap lock of that entry for writing: nobody else has the frame, and nobody can
 *       find it but through the entry. They may be read plainly, too: who has a second reference
 *       got it under that lock. An atomic operation takes 4 to 10 ns where the frame table is not
 *       in the processor's caches, two a page for a pin, and a page was looked at before; so pages
 *       of private memory that lie in a row took 27 ns, and take 9.
 */

import { atomicLoad, storePairNoted } from "../../sync/atomics.ts";
import { bug } from "../../sync/errors.ts";
import { EXPLORED } from "../../sync/shared-memory.ts";
import { doneBoolean } from "../../sync/tasks/task.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { type FrameCounts, PINS_AFTER_COUNT } from "./frame-counts.ts";
import { FrameRefs } from "./frame-refs.ts";
import { changePins, pinNoted, unpinBack } from "./noted-pins.ts";
import { ZERO_PFN } from "./ram-section.ts";

/** References to frames, and pins. */
export class FramePins extends FrameRefs {
  /**
   * A pin (P1) of each of `pages` frames in a row, of private memory, if all of them are exclusive
   * (C1 of mm/fault/copy-on-write.ts). Else none is pinned, and the answer is false. The caller
   * holds the mmap lock for writing, and an entry has each of the frames (P2). The word `note` of
   * the heap counts the frames as they are pinned, in case that the thread dies. Pairs with
   * `unpinNoted`.
   */
  *pinRunIfExclusive(pfn: number, pages: number, note: number): Task<boolean> {
    const before = this.memory.words[note]!;
    const counts = this.sections.countsOf(pfn);
    const pinned = this.#pinExclusive(counts, pfn, pages, note, before);
    if (pinned === pages) return true;
    unpinBack(this.memory, counts, pfn, pinned, note, before);
    return false;
  }

  /**
   * A pin of each of `pages` frames from `pfn` on, which lie in one section. The caller holds a
   * reference. The word `note` of the heap counts them as they are pinned, after `before` others,
   * as for `unpinNoted`, in case that the thread dies.
   *
   * @stepped frame pins
   */
  pinRunNoted(pfn: number, pages: number, note: number, before: number): void {
    const counts = this.sections.countsOf(pfn);
    const each = counts.areShared ? pages : 1;
    for (let i = 0; i < pages; i += each)
      pinNoted(this.memory, counts, pfn + i, note, before + i, each);
  }

  /**
   * Drops the pins of as many frames as the word `note` of the heap counts (noted-pins.ts), from
   * the last to the first. The word `hand` notes one that is to become free, as of `putNoted`,
   * `given` is the word for that. So whoever goes on for a dead thread unpins what is left.
   */
  unpinNoted(pfn: number, note: number, hand: number, given: number): Task<void> {
    return this.#unpinAll(pfn, 0, note, hand, given);
  }

  /** The same of frames that words from `table` on name, in the order in which they were pinned. */
  unpinEachNoted(table: number, note: number, hand: number, given: number): Task<void> {
    return this.#unpinAll(0, table, note, hand, given);
  }

  /** Of frames in a row, or, with a `table`, of those that it names. */
  *#unpinAll(first: number, table: number, note: number, hand: number, given: number): Task<void> {
    const { words } = this.memory;
    for (let left = words[note]!; left !== 0; left = words[note]!) {
      const i = Math.abs(left) - 1;
      const last = table === 0 ? first + i : words[table + i]!;
      const counts = this.sections.countsOf(last);
      const each = table === 0 && counts.areShared ? i + 1 : 1;
      const pfn = last - each + 1;
      if (left > 0 && changePins(this.memory, counts, pfn, -each, note, -left) < each)
        bug(`Cannot unpin frame ${pfn}: it has no pins; unpin once for each pin`);
      const count = this.dropNoted(pfn, hand, each);
      // No function is entered in between (H1 of sync/lockdep/held-locks.ts).
      words[note] = i + 1 - each;
      if (count <= each && this.isFreed(pfn, count - each + 1))
        yield* this.putLeft(hand, hand + 1, given);
    }
  }

  /** How many of the references are pins; the number may be old. */
  pagePins(pfn: number): number {
    return this.#pins(pfn);
  }

  /**
   * As `pagePinned`, for code that is not a task.
   *
   * @stepped
   */
  pagePinnedFast(pfn: number): boolean {
    return this.#pins(pfn) > 0;
  }

  /** Whether the frame has pins; the answer may be old. */
  pagePinned(pfn: number): Task<boolean> {
    if (this.memory.mode === EXPLORED && pfn !== ZERO_PFN) return this.#pinnedExplored(pfn);
    return doneBoolean(this.#pins(pfn) > 0);
  }

  /** Whether any of `pages` frames from `pfn` on, in one section, has pins. */
  *isAnyPinned(pfn: number, pages: number): Task<boolean> {
    if (this.memory.mode === EXPLORED) {
      for (let i = 0; i < pages; i++) if (yield* this.pagePinned(pfn + i)) return true;
      return false;
    }
    const counts = this.sections.countsOf(pfn);
    for (let i = 0; i < pages; i++)
      if (atomicLoad(counts.words, counts.index(pfn + i) + PINS_AFTER_COUNT) > 0) return true;
    return false;
  }

  /** Whether `pageAnonExclusive` is true of all `pages` frames from `pfn` on, in one section. */
  *isRunExclusive(pfn: number, pages: number): Task<boolean> {
    if (this.memory.mode === EXPLORED) {
      for (let i = 0; i < pages; i++) if (!(yield* this.pageAnonExclusive(pfn + i))) return false;
      return true;
    }
    const counts = this.sections.countsOf(pfn);
    const { words } = counts;
    for (let i = 0; i < pages; i++) {
      const index = counts.index(pfn + i);
      if (atomicLoad(words, index) === 1) continue;
      if (atomicLoad(words, index + PINS_AFTER_COUNT) <= 0) return false;
    }
    return true;
  }

  /**
   * Whether the caller's page-table entry is the only one that has a frame of private memory. So it
   * is if the frame has one reference, or pins: a frame is pinned only while it has one entry, and
   * fork shares no pinned frame. The answer may be no while another thread holds a reference for a
   * short time; it is never yes by mistake.
   */
  *pageAnonExclusive(pfn: number): Task<boolean> {
    return (yield* this.pagePinned(pfn)) || (yield* this.pageHas(pfn, 1));
  }

  /** References to all frames, pins included, and pins. Exact while they do not change. */
  total(): { references: number; pins: number } {
    let references = 0;
    let pins = 0;
    for (const { basePfn, pages, counts } of this.sections.known()) {
      if (basePfn === ZERO_PFN) continue;
      for (let pfn = basePfn; pfn < basePfn + (counts.areShared ? 1 : pages); pfn++) {
        references += counts.words[counts.index(pfn)]!;
        pins += counts.words[counts.index(pfn) + PINS_AFTER_COUNT]!;
      }
    }
    return { references, pins };
  }

  /** How many frames from the first on were exclusive, and are pinned. @stepped frame pins */
  #pinExclusive(
    counts: FrameCounts,
    pfn: number,
    pages: number,
    note: number,
    before: number,
  ): number {
    const { words } = counts;
    const noted = this.memory.words;
    for (let i = 0; i < pages; i++) {
      const index = counts.index(pfn + i);
      if (words[index] === 1) {
        storePairNoted(words, index, 2, 1, noted, note); // COUNT, PINS
      } else if (atomicLoad(words, index + PINS_AFTER_COUNT) > 0) {
        pinNoted(this.memory, counts, pfn + i, note, before + i);
      } else {
        return i;
      }
    }
    return pages;
  }

  /** @stepped frame pins */
  #pins(pfn: number): number {
    if (pfn === ZERO_PFN) return 0;
    const counts = this.sections.countsOf(pfn);
    return atomicLoad(counts.words, counts.index(pfn) + PINS_AFTER_COUNT);
  }

  *#pinnedExplored(pfn: number): Task<boolean> {
    return this.#pins(pfn) > 0;
  }
}
