/**
 * @module mmu/store-tlb
 * The store side of one width's access: the translation that it used last, and entering a store
 * with it. The protocol is X5 of soft-tlb.ts and S1, S2 of sync/primitives/shootdown.ts. One class
 * for all widths, so that the code that reads its fields is monomorphic. The write itself is in the
 * width's own class.
 */

import { PAGE_BYTES } from "../memory/frames/ram-section.ts";
import type { RamSection } from "../memory/frames/ram-section.ts";
import { atomicLoad } from "../sync/atomics.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { enterStore, leaveStore } from "../sync/primitives/shootdown.ts";
import { checkRetry, pageOf } from "./address.ts";
import type { SoftTlb } from "./soft-tlb.ts";
import {
  ENTRY_GENERATION,
  ENTRY_GENERATION_WORD,
  ENTRY_INDEX,
  ENTRY_SHIFT,
  NOT_A_GENERATION,
} from "./tlb-entry.ts";

/** A work item of a device, for which stores are made. */
export interface StoringItem {
  /** Whether its stores are refused. */
  readonly isOver: boolean;
  /** The error of a refused store. */
  refusal(): Error;
  /** Whether it has changed memory: then it cannot be run again. */
  hasStored: boolean;
}

export class StoreTlb {
  /** The section that the index of `enter` belongs to. Meaningful while inside. */
  section: RamSection | undefined = undefined;
  readonly #tlb: SoftTlb;
  readonly #item: StoringItem | undefined;
  readonly #memory: SharedMemory;
  readonly #words: Int32Array;
  readonly #widthShift: number;
  readonly #widthBytes: number;
  /** The bits that no aligned offset in a page has: see i32-access.ts. */
  readonly #outsideBits: number;
  #base = 0;
  #index = 0;
  #generationWord: number = NOT_A_GENERATION;
  #generation = 0;

  constructor(tlb: SoftTlb, widthBytes: number, item: StoringItem | undefined) {
    this.#tlb = tlb;
    this.#item = item;
    this.#memory = tlb.memory;
    this.#words = tlb.words;
    this.#widthBytes = widthBytes;
    this.#widthShift = Math.log2(widthBytes);
    this.#outsideBits = ~(PAGE_BYTES - widthBytes);
  }

  /** Drops the remembered translation. */
  forget(): void {
    this.#generationWord = NOT_A_GENERATION;
    this.#generation = 0;
    this.section = undefined;
  }

  /**
   * Enters a store: on return this thread is inside, with a valid writable translation. The caller
   * writes the element of the section's array that is returned, then calls leaveStore. Between the
   * two it does nothing that could throw or wait. Throws as `find` and `pageOf` do, and for an item
   * that is over; then this thread is not inside.
   *
   * @stepped generation
   */
  enter(address: number): number {
    const item = this.#item;
    if (item !== undefined && item.isOver) throw item.refusal();
    const distance = address - this.#base;
    const offset = distance | 0;
    if (offset === distance && (offset & this.#outsideBits) === 0) {
      enterStore(this.#memory);
      // Atomic: after the mark of enterStore, which a plain read could overtake.
      if (atomicLoad(this.#words, this.#generationWord) === this.#generation) {
        if (item !== undefined) item.hasStored = true;
        return this.#index + (offset >> this.#widthShift);
      }
      leaveStore(this.#memory);
    }
    return this.#enterSlow(address);
  }

  /** @stepped generation */
  #enterSlow(address: number): number {
    const page = pageOf(address, this.#widthBytes);
    // Before enterStore: if the address is an object, this runs its valueOf, which must not run
    // inside.
    const offset = address - page * PAGE_BYTES;
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      const entry = this.#tlb.find(page, true, address);
      this.#base = page * PAGE_BYTES;
      this.section = this.#tlb.sections[entry];
      const { entries } = this.#tlb;
      const at = entry << ENTRY_SHIFT;
      this.#index = (entries[at + ENTRY_INDEX]! * 4) / this.#widthBytes;
      this.#generationWord = entries[at + ENTRY_GENERATION_WORD]!;
      this.#generation = entries[at + ENTRY_GENERATION]!;
      enterStore(this.#memory);
      if (atomicLoad(this.#words, this.#generationWord) === this.#generation) {
        if (this.#item !== undefined) this.#item.hasStored = true;
        return this.#index + offset / this.#widthBytes;
      }
      leaveStore(this.#memory);
    }
  }
}
