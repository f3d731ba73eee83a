/**
 * @module memory/frames/ram-snapshot
 * The RAM as it is now, to be restored many times: each execution of an exploration begins with the
 * state that the set-up has left. The explorer restores the kernel heap; this file restores frame
 * tables and frames.
 *
 * Few frames of a section are ever touched, so only those that have been allocated are copied.
 */

import { FRAME_STATE, FRAME_USED_BEFORE, FRAME_WORDS, PAGE_WORDS } from "./ram-section.ts";
import type { RamSection } from "./ram-section.ts";

export class RamSnapshot {
  readonly #parts: readonly Part[];
  readonly #forgetNewer: () => void;

  /**
   * Of these sections, while no thread uses them. `forgetNewer` makes the thread forget sections
   * that it has been given since: restoring the heap removes their records.
   */
  constructor(sections: readonly RamSection[], forgetNewer: () => void) {
    this.#parts = sections.map((section) => new Part(section));
    this.#forgetNewer = forgetNewer;
  }

  /** Nobody else uses the RAM meanwhile. */
  restore(): void {
    this.#forgetNewer();
    for (const part of this.#parts) part.restore();
  }
}

class Part {
  readonly #section: RamSection;
  readonly #frames: Int32Array;
  /**
   * The data of pages that had been allocated, by page; of a user's buffer all data, as page 0.
   */
  readonly #contents = new Map<number, Int32Array>();

  constructor(section: RamSection) {
    this.#section = section;
    this.#frames = section.frames.slice();
    if (section.frames.length === 0) this.#contents.set(0, section.i32.slice());
    for (let page = 0; page * FRAME_WORDS < this.#frames.length; page++) {
      if (wasUsed(this.#frames, page)) {
        this.#contents.set(page, section.i32.slice(page * PAGE_WORDS, (page + 1) * PAGE_WORDS));
      }
    }
  }

  restore(): void {
    const { frames, i32 } = this.#section;
    for (let page = 0; page * FRAME_WORDS < frames.length; page++) {
      // Allocated since: zeroed again, for a page that is marked as never used must hold zeros.
      if (wasUsed(frames, page) && !wasUsed(this.#frames, page)) {
        i32.fill(0, page * PAGE_WORDS, (page + 1) * PAGE_WORDS);
      }
    }
    frames.set(this.#frames);
    for (const [page, words] of this.#contents) i32.set(words, page * PAGE_WORDS);
  }
}

function wasUsed(frames: Int32Array, page: number): boolean {
  return (frames[page * FRAME_WORDS + FRAME_STATE]! & FRAME_USED_BEFORE) !== 0;
}
