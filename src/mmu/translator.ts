/** @module mmu/translator: what a software TLB asks of the owner of a page table. */

/** A radix table (radix-table.ts), and what is done where its entries allow no access. */
export interface Translator {
  /** The bits of an entry that a store needs, all of them. A load needs ENTRY_READABLE. */
  readonly writeBits: number;
  /**
   * The top table. Throws if the owner refuses every access now. Called in the accessing thread,
   * outside any store, before each walk.
   *
   * @stepped
   */
  root(): number;
  /**
   * The entry of `page` does not allow the access: changes that, and returns, or throws (a
   * SegmentationFault where no mapping allows it). `page` may be any page of a safe integer;
   * `address` is for the error. `faults`: how often this access has called it before. Called in the
   * accessing thread, outside any store; may block.
   *
   * @stepped
   */
  fault(page: number, write: boolean, address: number, faults: number): void;
}
