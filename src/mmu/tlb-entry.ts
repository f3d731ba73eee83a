/**
 * @module mmu/tlb-entry
 * The layout of an entry of the software TLB. All entries are in one Int32Array, four words each:
 * so compiled code checks the type and the address of one array only.
 */

/**
 * In the place of a generation word while no translation is remembered. It is the index of the
 * heap's first word, which is never 0, and the generation that is remembered is 0. So the first
 * access fails the check of the generation and takes the slow path.
 */
export const NOT_A_GENERATION = 0;

/** Translations that all widths share. A power of two. */
export const TLB_ENTRIES = 256;
/** The entry of a page is `page & TLB_ENTRY_MASK`. */
export const TLB_ENTRY_MASK: number = TLB_ENTRIES - 1;

export const ENTRY_SHIFT = 2;
export const ENTRY_WORDS: number = 2 ** ENTRY_SHIFT;
/** For the quick check of an address below 2^31: `quickKey`, or NO_QUICK_KEY. */
export const ENTRY_KEY = 0;
/** Index of the frame's first 32-bit word in its section. */
export const ENTRY_INDEX = 1;
/** Word of the generation of the page's block. */
export const ENTRY_GENERATION_WORD = 2;
/** That generation, read before the page table was walked. */
export const ENTRY_GENERATION = 3;

/** Bits of the page of an address below 2^31. */
const QUICK_PAGE_BITS = 19;
const QUICK_SECTIONS: number = 2 ** (32 - QUICK_PAGE_BITS) - 1;
/** The key of no page and section. */
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
