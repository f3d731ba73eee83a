/**
 * @module mmu/page-words
 * What a load needs of the pages that its thread has met: for each page one word that says where
 * the frame lies, and beside them the arrays of data that the words speak of. The widths read both
 * by themselves (i32-access.ts); what makes a word valid, and for how long, is for soft-tlb.ts (X3,
 * X6, X7).
 *
 *     home       distance << 12 | 1                        the buffer of slot 0; odd
 *     elsewhere  distance << 12 | slot << 1                another buffer; slot is not 0
 *     0          nothing is known
 *
 * The distance is the number of the frame in its buffer less that of the page, modulo 2^20: so the
 * address and the word, added, are the place of the data, and a load needs no parts of either.
 *
 * One buffer is at home: an access to it takes the shortest way, and its array stands in a field of
 * each width. If many pages of others are met too, none is at home: at random, a processor could
 * not guess which of two ways an access takes, and that costs more than the longer way for all. So
 * now and then the words that were set are counted by buffer; pages of zeros are not, because what
 * is stored to leaves their buffer.
 *
 * Near pages, those of addresses below 2 GiB, have a word each. Mappings are placed from the bottom
 * up, so most programs need no others. Far pages share as many words, block by block of 2 MiB.
 */

import type { FrameArrays } from "../memory/frames/ram-section.ts";
import { bug } from "../sync/errors.ts";
import { GENERATIONS, GENERATION_PAGE_SHIFT } from "../sync/primitives/shootdown.ts";

/** Blocks of near pages, and blocks that far pages have room for. A multiple of GENERATIONS. */
const BLOCKS = 1024;
const BLOCK_PAGES: number = 1 << GENERATION_PAGE_SHIFT;
export const NEAR_PAGES: number = BLOCKS * BLOCK_PAGES;
const NO_BLOCK = -1;
const SLOT_SHIFT = 1;
const SLOTS = 32;
/** Frames whose bytes an index of 31 bits reaches, in a buffer. Others have no page words. */
const FRAMES_MAX: number = 2 ** 19;
/** A buffer comes home that has this share of the words, and leaves it with less than that one. */
const SHARE_TO_COME = 7 / 8;
const SHARE_TO_STAY = 3 / 4;
/** Words that are set between two counts: at first, and at most. */
const COUNT_INTERVAL = 32;
const COUNT_INTERVAL_MAX = 4096;

/** What all near pages have before the first is met. Nobody writes to it, so it takes no memory. */
const NOTHING_KNOWN: Int32Array = new Int32Array(NEAR_PAGES);
const PAGE_SHIFT = 12;
const HOME = 1;

/** A width's loads. */
export interface PageWordReader {
  /** The words of near pages are in `pageWords` from now on. */
  usePageWords(pageWords: Int32Array): void;
  /** Page words mean `arrays` by `slot` from now on. */
  useArrays(slot: number, arrays: FrameArrays): void;
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
  readonly #arrays: (FrameArrays | undefined)[] = [undefined];
  readonly #readers: PageWordReader[] = [];
  #home: FrameArrays | undefined;
  /** By slot: words that were set, the older ones for less. */
  readonly #counts: Int32Array = new Int32Array(SLOTS);
  #interval = COUNT_INTERVAL;
  #untilCount: number = COUNT_INTERVAL;

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

  /** The buffer that `word` speaks of. */
  arraysOf(word: number): FrameArrays {
    const slot = (word & HOME) !== 0 ? 0 : (word >> SLOT_SHIFT) & (SLOTS - 1);
    return this.#arrays[slot] ?? bug(`No buffer has slot ${slot}`);
  }

  /** The frame that `word`, of `page`, speaks of, as a number in its buffer. */
  frameOf(word: number, page: number): number {
    return (word >> PAGE_SHIFT) + (page % NEAR_PAGES);
  }

  /** From now on `page` is known to have frame number `frame` of `arrays`. */
  set(page: number, arrays: FrameArrays, frame: number): void {
    if (frame >= FRAMES_MAX) return;
    const slot = this.#slotOf(arrays);
    if (arrays.pages > 1) {
      this.#counts[slot]!++;
      this.#untilCount--;
    }
    const distance = frame - (page % NEAR_PAGES);
    const word = (distance << PAGE_SHIFT) | (slot === 0 ? HOME : slot << SLOT_SHIFT);
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

  /** Nothing is known any more. */
  dropAll(): void {
    for (let i = 0; i < 2 * BLOCKS; i++) this.#clear(i);
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

  #slotOf(arrays: FrameArrays): number {
    if (this.#untilCount === 0) this.#chooseHome();
    else if (this.#home === undefined && this.#interval === COUNT_INTERVAL && arrays.pages > 1)
      this.#bringHome(arrays);
    if (arrays === this.#home) return 0;
    const slot = this.#arrays.indexOf(arrays, 1);
    return slot > 0 ? slot : this.#newSlot(arrays);
  }

  /** By what was met since the last time. */
  #chooseHome(): void {
    const counts = this.#counts;
    let best = 0;
    let all = 0;
    for (let slot = 0; slot < SLOTS; slot++) {
      if (counts[slot]! > counts[best]!) best = slot;
      all += counts[slot]!;
    }
    const share = counts[best]! / all;
    for (let slot = 0; slot < SLOTS; slot++) counts[slot]! >>= 1;
    if (best !== 0 && share >= SHARE_TO_COME) this.#bringHome(this.#arrays[best]);
    else if (share < SHARE_TO_STAY && this.#home !== undefined) this.#bringHome(undefined);
    this.#interval = Math.min(2 * this.#interval, COUNT_INTERVAL_MAX);
    this.#untilCount = this.#interval;
  }

  /** What was known of those at home is not known any more; undefined: none is at home. */
  #bringHome(arrays: FrameArrays | undefined): void {
    this.dropAll();
    this.#home = arrays;
    this.#counts.fill(0);
    if (arrays !== undefined) this.#name(0, arrays);
  }

  /** A slot that no word speaks of. */
  #newSlot(arrays: FrameArrays): number {
    let used = 1;
    for (const bits of this.#slotsOf) used |= bits;
    if (used === -1) {
      this.dropAll();
      used = 1;
    }
    let slot = 1;
    while ((used & (1 << slot)) !== 0) slot++;
    this.#counts[slot] = 0;
    this.#name(slot, arrays);
    return slot;
  }

  #name(slot: number, arrays: FrameArrays): void {
    this.#arrays[slot] = arrays;
    for (const reader of this.#readers) reader.useArrays(slot, arrays);
  }
}

function farIndex(place: number, page: number): number {
  return place * BLOCK_PAGES + (page % BLOCK_PAGES);
}
