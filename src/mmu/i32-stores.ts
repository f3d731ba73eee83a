/**
 * @module mmu/i32-stores
 * The stores of one width, through a software TLB, as the base of its class (i32-access.ts). The
 * protocol is X5 of soft-tlb.ts, and S1 and S2 of sync/primitives/shootdown.ts; how long a mark
 * lasts is for store-mark.ts. Atomic operations enter and leave here, too.
 *
 * This file is the class for 32-bit integers and the template of all others, as i32-access.ts
 * (scripts/make-widths.mjs).
 *
 * What a store alone costs: two marks, which wait until the processor's earlier stores have reached
 * its cache, and the generation, an atomic load: 16 and 6 of 33 ns. A plain load of it would do on
 * x64, where a mark is a fence, but on ARM a load may overtake the mark. To read the entry before
 * the mark would be right (X5 needs only that the generation is read after), and was measured: no
 * gain, in order or at random. The rest must be short for another reason than its
 * own time: with few instructions between two marks, a processor already looks for the cache line
 * of the next store while it waits for this one's.
 */

import { PAGE_BYTES } from "../memory/frames/ram-section.ts";
import type { FrameArrays, RamSection } from "../memory/frames/ram-section.ts";
import { atomicLoad, speculativeLoad } from "../sync/atomics.ts";
import { accessDone, accessFrom } from "../sync/call-place.ts";
import { generationIndex } from "../sync/primitives/shootdown.ts";
import { checkRetry, pageOf, throwNoAddress } from "./address.ts";
import { NO_PAGES } from "./known-pages.ts";
import type { PageUser } from "./known-pages.ts";
import { NOT_A_GENERATION } from "./soft-tlb.ts";
import type { SoftTlb, TlbUser } from "./soft-tlb.ts";
import type { StoreMark } from "./store-mark.ts";

/** See i32-access.ts. */
const NO_ELEMENTS: Int32Array = new Int32Array(0);
const NO_WORDS: Int32Array = new Int32Array(0);
/** The element that is to be stored. */
const pending: Int32Array = new Int32Array(1);
const entryIn = speculativeLoad;
const PAGE_ELEMENTS: number = PAGE_BYTES / 4;
const FRAMES_MAX: number = 2 ** 31 / PAGE_ELEMENTS;

export class I32Stores implements TlbUser, PageUser {
  /** The section that was met last (X6). While inside, `enter`'s index belongs to it. */
  data: Int32Array = NO_ELEMENTS;
  /** Of the pages that are known in a section (SM4 of store-mark.ts): see `joinPages`. */
  #pagesKnown: Int32Array = NO_PAGES;
  #asked: Int32Array = NO_WORDS;
  #known: Int32Array = NO_ELEMENTS;
  readonly #tlb: SoftTlb;
  readonly #mark: StoreMark;
  /** By near block its leaf, then the generations (soft-tlb.ts). */
  readonly #near: Int32Array = NO_WORDS;
  readonly #generationsAt: number = 0; // values, or V8 would not know that they are small integers
  readonly #writeBits: number = 0;
  #words: Int32Array = NO_WORDS;
  /** Of `data`: its first frame, frames that an index reaches. */
  #section: RamSection | undefined = undefined;
  #basePfn = 0;
  #pages = 0;
  /** The page that was looked up last, its frame in the section, its generation, whose that is. */
  #page = -1;
  #frame = 0;
  #generationWord: number = NOT_A_GENERATION;
  #generation = 0;

  constructor(tlb: SoftTlb, mark: StoreMark) {
    this.#tlb = tlb;
    this.#mark = mark;
    this.#words = tlb.words;
    this.#near = tlb.near;
    this.#generationsAt = tlb.generationsAt;
    this.#writeBits = tlb.translator.writeBits;
    tlb.addUser(this);
  }

  heapGrew(words: Int32Array): void {
    this.#words = words;
  }

  forgetSection(): void {
    this.#pages = 0;
  }

  joinPages(known: Int32Array, asked: Int32Array, { i32 }: FrameArrays): void {
    this.#pagesKnown = known;
    this.#asked = asked;
    this.#known = i32;
  }

  partPages(): void {
    this.#pagesKnown = NO_PAGES;
  }

  /** Drops what is remembered. */
  forget(): void {
    this.#section = undefined;
    this.#page = -1;
    this.#generationWord = NOT_A_GENERATION;
    this.#generation = 0;
    this.#pages = 0;
  }

  /**
   * Stores an element, a value that has been converted. In a section, to a page that it has stored
   * to before, that is all in the first lines.
   *
   * @stepped data
   */
  put(address: number, element: number): void {
    if (typeof address !== "number") throwNoAddress(address, 4, this);
    const small = address | 0;
    const known = this.#pagesKnown[small >>> 12]!;
    if (small === address && known !== 0 && ((small & 3) | this.#asked[0]!) === 0) {
      this.#known[(known + small) >>> 2] = element;
      return;
    }
    pending[0] = element;
    this.#enterAnd(true, address);
  }

  /**
   * Enters a store: on return this thread is marked, with a valid writable translation. The caller
   * writes the element of `data` that is returned, then calls `leave`. Between the two it does
   * nothing that could throw or wait. Throws as `find` and `pageOf` do, and for an item that is
   * over; then this thread is not inside a store.
   *
   * @stepped generation
   */
  enter(address: number): number {
    return this.#enterAnd(false, address);
  }

  /**
   * Enters a store and, with `stores`, makes it and leaves: of what is in `pending`, for a double
   * that is an argument of a call is an allocation.
   *
   * First, of integers alone, for a near block that was met before. All in one function on purpose:
   * with less than 460 bytes of bytecode V8 would put it into every loop that stores, where it
   * takes the place of other things.
   *
   * @stepped data
   */
  #enterAnd(stores: boolean, address: number): number {
    if (typeof address !== "number") throwNoAddress(address, 4, this);
    const element = pending[0]!;
    const mark = this.#mark;
    const small = address | 0;
    if (small === address && (small & 0x80000003) === 0) {
      const near = this.#near;
      const words = this.#words;
      const block = small >> 21; // numbers, not names: an imported constant is a load
      const leaf = near[block]!;
      if (leaf !== 0) {
        const generationWord = (this.#generationsAt + (block & 63)) | 0;
        const generation = near[1024 + (block & 63)]!;
        const seen = mark.enter() ? atomicLoad(words, generationWord) : words[generationWord]!;
        if (seen === generation) {
          const entry = entryIn(words, (leaf + ((small >> 12) & 511)) | 0);
          const frame = ((entry >>> 8) - this.#basePfn) | 0;
          const wanted = this.#writeBits;
          if ((entry & wanted) === wanted && frame >>> 0 < this.#pages) {
            if (mark.item !== undefined) mark.item.hasStored = true;
            mark.know(small >>> 12, frame, this.#section!, this); // as data
            const index = (frame << 10) + ((small & 4095) >> 2);
            if (!stores) return index;
            this.data[index] = element;
            mark.leave();
            return index;
          }
        }
        mark.leaveUnused();
      }
    }
    const page = pageOf(address, 4, this);
    const offset = address - page * PAGE_BYTES;
    // A far block has no word of its own: the page that was met last may serve.
    let isKnown = page === this.#page;
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      if (!isKnown) this.#look(page, address);
      isKnown = false;
      const words = this.#words;
      const generationWord = this.#generationWord;
      const seen = mark.enter() ? atomicLoad(words, generationWord) : words[generationWord]!;
      // Unchanged since the walk: so is the entry, or a flush waits for us.
      if (seen === this.#generation) {
        if (mark.item !== undefined) mark.item.hasStored = true;
        mark.know(page, this.#frame, this.#section!, this); // set by look
        const index = this.#frame * PAGE_ELEMENTS + offset / 4;
        if (!stores) return index;
        this.data[index] = element;
        mark.leave();
        return index;
      }
      mark.leaveUnused();
    }
  }

  /**
   * After `enter` and the write.
   *
   * @stepped store mark
   */
  leave(): void {
    this.#mark.leave();
  }

  /** @stepped generation */
  #look(page: number, address: number): void {
    const tlb = this.#tlb;
    accessFrom(this);
    tlb.find(page, true, address);
    accessDone();
    const section = tlb.section!; // set by find
    this.data = section.i32;
    this.#section = section;
    this.#basePfn = section.basePfn;
    this.#pages = Math.min(section.pages, FRAMES_MAX);
    this.#page = page;
    this.#frame = tlb.frame;
    this.#generationWord = this.#generationsAt + generationIndex(page);
    this.#generation = tlb.generationOf(page);
  }
}
