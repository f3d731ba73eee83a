/**
 * @module mmu/store-tlb
 * The store side of one width's access: the translation that it used last, and entering a store
 * with it. The protocol is X5 of soft-tlb.ts and S1, S2 of sync/primitives/shootdown.ts. One class
 * for all widths, so that the code that reads its fields is monomorphic. The write itself is in the
 * width's own class.
 */

import { PAGE_BYTES } from "../memory/frames/ram-section.ts";
import type { RamSection } from "../memory/frames/ram-section.ts";
import { atomicLoad, speculativeLoad } from "../sync/atomics.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { enterStore, leaveStore } from "../sync/primitives/shootdown.ts";
import { generationIndex } from "../sync/primitives/shootdown.ts";
import { checkRetry, pageOf } from "./address.ts";
import { NOT_A_GENERATION } from "./soft-tlb.ts";
import type { SoftTlb, TlbUser } from "./soft-tlb.ts";

/** A work item of a device, for which stores are made. */
export interface StoringItem {
  /** Whether its stores are refused. */
  readonly isOver: boolean;
  /** The error of a refused store. */
  refusal(): Error;
  /** Whether it has changed memory: then it cannot be run again. */
  hasStored: boolean;
}

/** What a typed field holds until its constructor is done. */
const NO_WORDS: Int32Array = new Int32Array(0);

/** See i32-access.ts. */
const entryIn = speculativeLoad;

export class StoreTlb implements TlbUser {
  /** The section that the index of `enter` belongs to. Meaningful while inside. */
  section: RamSection | undefined = undefined;
  readonly #tlb: SoftTlb;
  readonly #item: StoringItem | undefined;
  readonly #memory: SharedMemory;
  /** By near block its leaf, then the generations (soft-tlb.ts). */
  readonly #near: Int32Array = NO_WORDS;
  readonly #generationsAt: number = 0; // values, or V8 would not know that they are small integers
  readonly #writeBits: number = 0;
  readonly #widthShift: number = 0;
  readonly #widthBytes: number = 0;
  /** The bits that no aligned offset in a page has: see i32-access.ts. */
  readonly #outsideBits: number = 0;
  /** The bits that no aligned address below 2^31 has. */
  readonly #farBits: number = 0;
  #words: Int32Array = NO_WORDS;
  /** Of `section`: see i32-access.ts. */
  #basePfn = 0;
  #pages = 0;
  #base = 0;
  #index = 0;
  #generationWord: number = NOT_A_GENERATION;
  #generation = 0;

  constructor(tlb: SoftTlb, widthBytes: number, item: StoringItem | undefined) {
    this.#tlb = tlb;
    this.#item = item;
    this.#memory = tlb.memory;
    this.#words = tlb.words;
    this.#near = tlb.near;
    this.#generationsAt = tlb.generationsAt;
    this.#writeBits = tlb.translator.writeBits;
    this.#widthBytes = widthBytes;
    this.#widthShift = Math.log2(widthBytes);
    this.#outsideBits = ~(PAGE_BYTES - widthBytes);
    this.#farBits = -(2 ** 31) | (widthBytes - 1);
    tlb.addUser(this);
  }

  heapGrew(words: Int32Array): void {
    this.#words = words;
  }

  forgetSection(): void {
    this.#pages = 0;
  }

  /** Drops what is remembered. */
  forget(): void {
    this.#generationWord = NOT_A_GENERATION;
    this.#generation = 0;
    this.#pages = 0;
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
    return this.#enterSecond(address);
  }

  /**
   * Another page than the one remembered: as a load does (i32-access.ts), but that the generation
   * comes first and the entry is read after the mark.
   *
   * @stepped generation
   */
  #enterSecond(address: number): number {
    const small = address | 0;
    if (small === address && (small & this.#farBits) === 0) {
      const near = this.#near;
      const words = this.#words;
      const block = small >> 21;
      const leaf = near[block]!;
      if (leaf !== 0) {
        const generationWord = (this.#generationsAt + (block & 63)) | 0;
        const generation = near[1024 + (block & 63)]!;
        enterStore(this.#memory);
        if (atomicLoad(words, generationWord) === generation) {
          const entry = entryIn(words, (leaf + ((small >> 12) & 511)) | 0);
          const frame = ((entry >>> 8) - this.#basePfn) | 0;
          const wanted = this.#writeBits;
          if ((entry & wanted) === wanted && frame >>> 0 < this.#pages) {
            this.#base = small & ~4095;
            this.#index = frame << (12 - this.#widthShift);
            this.#generationWord = generationWord;
            this.#generation = generation;
            if (this.#item !== undefined) this.#item.hasStored = true;
            return this.#index + ((small & 4095) >> this.#widthShift);
          }
        }
        leaveStore(this.#memory);
      }
    }
    return this.#enterSlow(address);
  }

  /** @stepped generation */
  #enterSlow(address: number): number {
    const page = pageOf(address, this.#widthBytes);
    // Before enterStore: if the address is an object, this runs its valueOf, which must not run
    // inside.
    const offset = address - page * PAGE_BYTES;
    const tlb = this.#tlb;
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      tlb.find(page, true, address);
      const section = tlb.section!; // set by find
      this.section = section;
      this.#basePfn = section.basePfn;
      this.#pages = Math.min(section.pages, (2 ** 31 / PAGE_BYTES) * this.#widthBytes);
      this.#base = page * PAGE_BYTES;
      this.#index = tlb.frame * (PAGE_BYTES / this.#widthBytes);
      this.#generationWord = this.#generationsAt + generationIndex(page);
      this.#generation = tlb.generationOf(page);
      enterStore(this.#memory);
      // Atomic: see `enter`. Unchanged since the walk: so is the entry, or a flush waits for us.
      if (atomicLoad(this.#words, this.#generationWord) === this.#generation) {
        if (this.#item !== undefined) this.#item.hasStored = true;
        return this.#index + offset / this.#widthBytes;
      }
      leaveStore(this.#memory);
    }
  }
}
