/**
 * @module mmu/tlb-entry
 * How an entry of the software TLB lies in memory. All entries stand in one Int32Array, four words
 * each: compiled code then checks the type and the place of one array.
 */

/**
 * Stands for a generation word where no translation is remembered yet: the heap's first word, which
 * is never 0, while the generation that is remembered is. So the first access fails the check of
 * the generation and takes the slow path.
 */
export const NOT_A_GENERATION = 0;

/** Translations that all widths share. A power of two. */
export const TLB_ENTRIES = 256;
/** The entry of a page is `page & TLB_ENTRY_MASK`. */
export const TLB_ENTRY_MASK: number = TLB_ENTRIES - 1;

export const ENTRY_SHIFT = 2;
export const ENTRY_WORDS: number = 2 ** ENTRY_SHIFT;
/** For the quick look at an address below 2^31: `quickKey` of page and section, or NO_QUICK_KEY. */
export const ENTRY_KEY = 0;
/** Index of the frame's first 32-bit word in its section. */
export const ENTRY_INDEX = 1;
/** Word of the generation of the page's block. */
export const ENTRY_GENERATION_WORD = 2;
/** That generation before the page's table was walked. */
export const ENTRY_GENERATION = 3;

/** Pages of addresses below 2^31 have so many bits. */
const QUICK_PAGE_BITS = 19;
const QUICK_SECTIONS: number = 2 ** (32 - QUICK_PAGE_BITS) - 1;
/** Of no page and section. */
export const NO_QUICK_KEY = -1;

/**
 * One number for a page and the section of its frame, if both are small: a TLB numbers its sections
 * from 1 on.
 */
export function quickKey(page: number, sectionNumber: number): number {
  if (page >= 2 ** QUICK_PAGE_BITS || sectionNumber >= QUICK_SECTIONS) return NO_QUICK_KEY;
  return (sectionNumber << QUICK_PAGE_BITS) | page;
}

/**
 * The key of page 0 and the section of `key`: 0, which is in no entry's key, when that is
 * NO_QUICK_KEY.
 */
export function quickSection(key: number): number {
  return key === NO_QUICK_KEY ? 0 : key & -(2 ** QUICK_PAGE_BITS);
}
