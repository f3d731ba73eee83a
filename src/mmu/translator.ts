/** @module mmu/translator: what a software TLB calls for a page that it has no translation of. */

/** Bit of a translator's answer: the translation is good for stores too. */
export const TRANSLATION_WRITABLE = 1;

/** Walks a page table and takes the faults. */
export interface Translator {
  /**
   * The frame of `page`, as `pfn * 2 + TRANSLATION_WRITABLE`, or `pfn * 2` when only loads may use
   * it; for `write` it must be writable. Takes the fault if there is no translation yet. Throws
   * SegmentationFault where no mapping allows the access; `address` is for that error. `page` may
   * be any page of a safe integer. Called in the accessing thread, outside any store; may block.
   * Must read the table after it was called (X2 of soft-tlb.ts).
   */
  translate(page: number, write: boolean, address: number): number;
}
