/**
 * @module mmu/page-words
 * What a load needs of the pages that its thread has met: for each page one word that says where
 * the frame lies, and beside them the arrays of data that the words speak of. The widths read both
 * by themselves (i32-access.ts); what makes a word valid, and for how long, is for soft-tlb.ts (X3,
 * X6, X7).
 *
 *     home       frame + 1                                 the section of slot 0; above 0
 *     elsewhere  sign bit | slot << 23 | frame             another section; below 0
 *     0          nothing is known
 *
 * One section is at home: an access to it takes the shortest way, and its array stands in a field
 * of each width. If many pages of others are met too, none is at home: at random, a processor could
 * not guess which of two ways an access takes, and that costs more than the longer way for all.
 *
 * Near pages, those of addresses below 2 GiB, have a word each. Mappings are placed from the bottom
 * up, so most programs need no others. Far pages share as many words, block by block of 2 MiB.
 */

import type { RamSection } from "../memory/frames/ram-section.ts";
import { bug } from "../sync/errors.ts";
import { GENERATIONS, GENERATION_PAGE_SHIFT } from "../sync/primitives/shootdown.ts";

/** Blocks of near pages, and blocks that far pages have room for. A multiple of GENERATIONS. */
const BLOCKS = 1024;
const BLOCK_PAGES: number = 1 << GENERATION_PAGE_SHIFT;
export const NEAR_PAGES: number = BLOCKS * BLOCK_PAGES;
const NO_BLOCK = -1;
const SLOT_SHIFT = 23;
const SLOTS = 32;
/** Frames whose bytes an index of 31 bits reaches, in a section. Others have no page words. */
const FRAMES_MAX: number = 2 ** 19;
/** One page in so many elsewhere: then none is at home. Not for a few. */
const ELSEWHERE_SHARE = 8;
const ELSEWHERE_MIN = 16;

/** What all near pages have before the first is met. Nobody writes to it, so it takes no memory. */
const NOTHING_KNOWN: Int32Array = new Int32Array(NEAR_PAGES);

/** A width's loads. */
export interface PageWordReader {
  /** The words of near pages are in `pageWords` from now on. */
  usePageWords(pageWords: Int32Array): void;
  /** Page words mean `section` by `slot` from now on. */
  useSection(slot: number, section: RamSection): void;
}

export class PageWords {
  /** By near page. As long as there are near pages, or shorter: then others are never known. */
  near: Int32Array = NOTHING_KNOWN;
  readonly #nearPages: number;
  /** Empty before the first far page is met. */
  #far: Int32Array = new Int32Array(0);
  /** By place of a block of far pages: whose words stand there. */
  readonly #farBlocks: Int32Array = new Int32Array(BLOCKS).fill(NO_BLOCK);
  /** By near block, then by place of a far one: bits of the slots that its words speak of. */
  readonly #slotsOf: Int32Array = new Int32Array(2 * BLOCKS);
  /** By slot. */
  readonly #sections: (RamSection | undefined)[] = [undefined];
  readonly #readers: PageWordReader[] = [];
  #hasHome = true;
  #pagesAtHome = 0;
  #pagesElsewhere = 0;

  /** `nearPages`: room for the words of so many, at most NEAR_PAGES. */
  constructor(nearPages: number) {
    this.#nearPages = nearPages;
  }

  addReader(reader: PageWordReader): void {
    this.#readers.push(reader);
  }

  /** The word of `page`. */
  of(page: number): number {
    if (page < NEAR_PAGES) return page < this.near.length ? this.near[page]! : 0;
    const block = Math.floor(page / BLOCK_PAGES);
    const place = block & (BLOCKS - 1);
    return this.#farBlocks[place] === block ? this.#far[farIndex(place, page)]! : 0;
  }

  /** The section that `word` speaks of. */
  sectionOf(word: number): RamSection {
    const slot = word > 0 ? 0 : (word >>> SLOT_SHIFT) & (SLOTS - 1);
    return this.#sections[slot] ?? bug(`No section has slot ${slot}`);
  }

  /** The frame that `word` speaks of, as a number in its section. */
  frameOf(word: number): number {
    return word > 0 ? word - 1 : word & (FRAMES_MAX - 1);
  }

  /** From now on `page` is known to have frame number `frame` of `section`. */
  set(page: number, section: RamSection, frame: number): void {
    if (frame >= FRAMES_MAX) return;
    const slot = this.#slotOf(section);
    const word = slot === 0 ? frame + 1 : -(2 ** 31) | (slot << SLOT_SHIFT) | frame;
    const block = Math.floor(page / BLOCK_PAGES);
    if (page >= NEAR_PAGES) {
      const place = block & (BLOCKS - 1);
      if (this.#far.length === 0) this.#far = new Int32Array(NEAR_PAGES);
      if (this.#farBlocks[place] !== block) this.#clear(BLOCKS + place);
      this.#farBlocks[place] = block;
      this.#far[farIndex(place, page)] = word;
      this.#slotsOf[BLOCKS + place]! |= 1 << slot;
    } else if (page < this.#nearPages) {
      if (this.near === NOTHING_KNOWN) this.#useNear(new Int32Array(this.#nearPages));
      this.near[page] = word;
      this.#slotsOf[block]! |= 1 << slot;
    }
  }

  /** Nothing is known any more of the pages of one generation. */
  drop(generation: number): void {
    for (let i = generation; i < 2 * BLOCKS; i += GENERATIONS) this.#clear(i);
  }

  /** Nothing is known any more, and the next section may be at home. */
  dropAll(): void {
    for (let i = 0; i < 2 * BLOCKS; i++) this.#clear(i);
    this.#hasHome = true;
    this.#pagesAtHome = 0;
    this.#pagesElsewhere = 0;
  }

  /** As `dropAll`, and gives the memory back. */
  release(): void {
    this.dropAll();
    this.#far = new Int32Array(0);
    this.#useNear(NOTHING_KNOWN);
  }

  /** Of the near block `i`, or of the place `i - BLOCKS` of a far one. */
  #clear(i: number): void {
    if (this.#slotsOf[i] === 0) return;
    this.#slotsOf[i] = 0;
    const start = (i % BLOCKS) * BLOCK_PAGES;
    (i < BLOCKS ? this.near : this.#far).fill(0, start, start + BLOCK_PAGES);
    if (i >= BLOCKS) this.#farBlocks[i - BLOCKS] = NO_BLOCK;
  }

  #useNear(words: Int32Array): void {
    this.near = words;
    for (const reader of this.#readers) reader.usePageWords(words);
  }

  #slotOf(section: RamSection): number {
    const slot = this.#sections.indexOf(section, this.#hasHome ? 0 : 1);
    // Pages of zeros do not count: what is stored to leaves their section.
    if (section.pages > 1) {
      if (slot === 0) this.#pagesAtHome++;
      else this.#pagesElsewhere++;
      const most = Math.max(ELSEWHERE_MIN, this.#pagesAtHome / ELSEWHERE_SHARE);
      if (this.#hasHome && this.#pagesElsewhere > most) {
        const hasMoved = this.#pagesElsewhere > ELSEWHERE_SHARE * this.#pagesAtHome;
        this.dropAll();
        if (hasMoved) return this.#newSlot(section);
        this.#hasHome = false;
      }
    }
    return slot < 0 || (slot === 0 && !this.#hasHome) ? this.#newSlot(section) : slot;
  }

  /** A slot that no word speaks of. */
  #newSlot(section: RamSection): number {
    let used = 0;
    for (const bits of this.#slotsOf) used |= bits;
    if (used === 0 || (used | 1) === -1) {
      this.dropAll();
      used = 0;
    }
    const mayBeHome = this.#hasHome && section.pages > 1;
    let slot = mayBeHome ? 0 : 1;
    while ((used & (1 << slot)) !== 0) slot++;
    this.#sections[slot] = section;
    for (const reader of this.#readers) reader.useSection(slot, section);
    return slot;
  }
}

function farIndex(place: number, page: number): number {
  return place * BLOCK_PAGES + (page % BLOCK_PAGES);
}
