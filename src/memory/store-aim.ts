/**
 * @module memory/store-aim
 * The store side of one width's access: the translation that it used last, and getting inside with it. The protocol is X5 of
 * translation.ts and S1, S2 of sync/shootdown.ts. One class for all widths, so that its fields are read by monomorphic code; the
 * write itself stands in the width's own class.
 */

import { atomicLoad } from "../sync/atomics.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { enterStore, leaveStore } from "../sync/shootdown.ts";
import {
  ENTRY_GENERATION,
  ENTRY_GENERATION_WORD,
  ENTRY_INDEX,
  ENTRY_SHIFT,
  NOT_A_GENERATION,
  checkRetry,
  pageOf,
} from "./access.ts";
import { PAGE_BYTES } from "./ram-section.ts";
import type { RamSection } from "./ram-section.ts";
import type { TranslationCache } from "./translation.ts";

export class StoreAim {
  /** The section that the index of `enter` belongs to. Meaningful while inside. */
  section: RamSection | undefined = undefined;
  readonly #cache: TranslationCache;
  readonly #memory: SharedMemory;
  readonly #words: Int32Array;
  readonly #widthShift: number;
  readonly #widthBytes: number;
  /** The bits that no aligned offset in a page has: see integer-access.ts. */
  readonly #outsideBits: number;
  #base = 0;
  #index = 0;
  #generationWord: number = NOT_A_GENERATION;
  #generation = 0;

  constructor(cache: TranslationCache, widthBytes: number) {
    this.#cache = cache;
    this.#memory = cache.memory;
    this.#words = cache.words;
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
   * Enters: on return this thread is inside, with a writable translation in force. The caller writes element `index` of the section's
   * array and calls leaveStore, and between does nothing that could throw or wait. Throws (and is not inside) as `find` and `pageOf` do.
   *
   * @stepped generation
   */
  enter(address: number): number {
    const distance = address - this.#base;
    const offset = distance | 0;
    if (offset === distance && (offset & this.#outsideBits) === 0) {
      enterStore(this.#memory);
      // Atomic: after the mark of enterStore, which a plain read could overtake.
      if (atomicLoad(this.#words, this.#generationWord) === this.#generation)
        return this.#index + (offset >> this.#widthShift);
      leaveStore(this.#memory);
    }
    return this.#enterSlow(address);
  }

  /** @stepped generation */
  #enterSlow(address: number): number {
    const page = pageOf(address, this.#widthBytes);
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      const entry = this.#cache.find(page, true, address);
      this.#base = page * PAGE_BYTES;
      this.section = this.#cache.sections[entry];
      const { entries } = this.#cache;
      const at = entry << ENTRY_SHIFT;
      this.#index = (entries[at + ENTRY_INDEX]! * 4) / this.#widthBytes;
      this.#generationWord = entries[at + ENTRY_GENERATION_WORD]!;
      this.#generation = entries[at + ENTRY_GENERATION]!;
      enterStore(this.#memory);
      if (atomicLoad(this.#words, this.#generationWord) === this.#generation) {
        return this.#index + (address - this.#base) / this.#widthBytes;
      }
      leaveStore(this.#memory);
    }
  }
}
