/**
 * @module memory/float-access
 * Floating-point loads and stores of 32 and 64 bits, through a TranslationCache. The protocol and its races are in translation.ts (X1 to X5); here is the code that must be
 * fast: a load that hits is a subtraction, two compares and three reads.
 *
 * The classes say the same thing twice, on purpose: V8 keeps type feedback by place in the source, and a shared body would see all kinds of
 * typed array and take the slow generic path.
 *
 * The test of an address is one subtraction and two compares: the distance from the page's start is a small whole number, and none of its
 * bits stand outside those that an aligned offset in a page has (4092 for words). A fraction, a negative number, NaN or another page fail it.
 * Values are converted before entering a store: what that may run or throw must not happen inside (S2).
 *
 * X4 needs an integer that depends on the value. Converting a float would be slow where it is large or not a number, so its bits are
 * taken: stored to a scratch word of this thread and read back as an integer. CPUs with weak order keep the order of reads also
 * along a dependency that goes through a store and the same thread's read of it (Armv8: dependency-ordered-before).
 */

import type { SharedMemory } from "../sync/shared-memory.ts";
import { leaveStore } from "../sync/shootdown.ts";
import type { ValueAccess } from "./access.ts";
import {
  CACHE_ENTRY_MASK,
  ENTRY_GENERATION,
  ENTRY_GENERATION_WORD,
  ENTRY_INDEX,
  ENTRY_KEY,
  ENTRY_SHIFT,
  NOT_A_GENERATION,
  NO_WORDS,
  checkRetry,
  pageOf,
  quickSection,
} from "./access.ts";
import { PAGE_BYTES } from "./ram-section.ts";
import { StoreAim } from "./store-aim.ts";
import type { TranslationCache } from "./translation.ts";

const scratch = new ArrayBuffer(8);
const scratch32 = new Float32Array(scratch);
const bits32 = new Int32Array(scratch);
const scratch64 = new Float64Array(scratch);
const bits64 = new Int32Array(scratch);

export class F32Access implements ValueAccess {
  readonly #cache: TranslationCache;
  readonly #memory: SharedMemory;
  readonly #words: Int32Array = NO_WORDS;
  readonly #entries: Int32Array = NO_WORDS;
  readonly #aim: StoreAim;
  #data: Float32Array = new Float32Array(0);
  #base = 0;
  #index = 0;
  #generationWord: number = NOT_A_GENERATION;
  #generation = 0;
  #zero = 1;
  /** The section that `#data` is of, as a key of its page 0. */
  #sectionKey = 0;

  constructor(cache: TranslationCache) {
    this.#cache = cache;
    this.#memory = cache.memory;
    this.#words = cache.words;
    this.#entries = cache.entries;
    this.#aim = new StoreAim(cache, 4);
    this.#zero = 0; // assigned twice, or the compiler would take it for a constant (X4)
  }

  /** Drops the remembered translations. */
  forget(): void {
    this.#generationWord = NOT_A_GENERATION;
    this.#generation = 0;
    this.#sectionKey = 0;
    this.#aim.forget();
  }

  load(address: number): number {
    const distance = address - this.#base;
    const offset = distance | 0;
    if (offset === distance && (offset & ~4092) === 0) {
      const value = this.#data[this.#index + (offset >> 2)]!;
      scratch32[0] = value;
      if (this.#words[this.#generationWord + (bits32[0]! & this.#zero)] === this.#generation) return value;
    }
    return this.#loadSecond(address);
  }

  store(address: number, value: number): void {
    scratch32[0] = value; // converts: whatever that may run or throw must not happen inside
    const converted = scratch32[0];
    const index = this.#aim.enter(address);
    this.#aim.section!.f32[index] = converted; // set by enter
    leaveStore(this.#memory);
  }

  /** Second level, the quick look: an address below 2^31 in the section that was met last. Its translation is the one remembered from now on. */
  #loadSecond(address: number): number {
    const small = address | 0;
    if (small === address && (small & 0x80000003) === 0) {
      const entries = this.#entries;
      const page = small >> 12;
      const at = (page & 255) << 2; // numbers, not names: an imported constant is a load, and there are eight
      if (entries[at] === (page | this.#sectionKey)) {
        const index = entries[at + 1]!;
        const generationWord = entries[at + 2]!;
        const generation = entries[at + 3]!;
        const value = this.#data[(index + ((small & 4095) >> 2)) | 0]!;
        scratch32[0] = value;
        if (this.#words[(generationWord + (bits32[0]! & this.#zero)) | 0] === generation) {
          this.#base = small & ~4095;
          this.#index = index;
          this.#generationWord = generationWord;
          this.#generation = generation;
          return value;
        }
      }
    }
    return this.#loadThird(address);
  }

  /** Second level: the translation is among those of the cache. Then it is the one remembered from now on. */
  #loadThird(address: number): number {
    const cache = this.#cache;
    const page = Math.floor(address / PAGE_BYTES);
    const entry = page & CACHE_ENTRY_MASK;
    const distance = address - page * PAGE_BYTES;
    const offset = distance | 0;
    if (cache.pages[entry] === page && offset === distance && (offset & ~4092) === 0) {
      const data = cache.sections[entry]!.f32; // an entry with a page has a section
      const entries = this.#entries;
      const at = entry << ENTRY_SHIFT;
      const index = entries[at + ENTRY_INDEX]!;
      const generationWord = entries[at + ENTRY_GENERATION_WORD]!;
      const generation = entries[at + ENTRY_GENERATION]!;
      const value = data[index + (offset >> 2)]!;
      scratch32[0] = value;
      if (this.#words[generationWord + (bits32[0]! & this.#zero)] === generation) {
        this.#base = page * PAGE_BYTES;
        this.#data = data;
        this.#index = index;
        this.#generationWord = generationWord;
        this.#generation = generation;
        this.#sectionKey = quickSection(entries[at + ENTRY_KEY]!);
        return value;
      }
    }
    return this.#loadMiss(address);
  }

  #loadMiss(address: number): number {
    const page = pageOf(address, 4);
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      const entry = this.#cache.find(page, false, address);
      const entries = this.#entries;
      const at = entry << ENTRY_SHIFT;
      const index = entries[at + ENTRY_INDEX]! + (address - page * PAGE_BYTES) / 4;
      const value = this.#cache.sections[entry]!.f32[index]!;
      scratch32[0] = value;
      if (
        this.#words[entries[at + ENTRY_GENERATION_WORD]! + (bits32[0]! & this.#zero)] === entries[at + ENTRY_GENERATION]
      )
        return value;
    }
  }
}

export class F64Access implements ValueAccess {
  readonly #cache: TranslationCache;
  readonly #memory: SharedMemory;
  readonly #words: Int32Array = NO_WORDS;
  readonly #entries: Int32Array = NO_WORDS;
  readonly #aim: StoreAim;
  #data: Float64Array = new Float64Array(0);
  #base = 0;
  #index = 0;
  #generationWord: number = NOT_A_GENERATION;
  #generation = 0;
  #zero = 1;
  /** The section that `#data` is of, as a key of its page 0. */
  #sectionKey = 0;

  constructor(cache: TranslationCache) {
    this.#cache = cache;
    this.#memory = cache.memory;
    this.#words = cache.words;
    this.#entries = cache.entries;
    this.#aim = new StoreAim(cache, 8);
    this.#zero = 0; // assigned twice, or the compiler would take it for a constant (X4)
  }

  /** Drops the remembered translations. */
  forget(): void {
    this.#generationWord = NOT_A_GENERATION;
    this.#generation = 0;
    this.#sectionKey = 0;
    this.#aim.forget();
  }

  load(address: number): number {
    const distance = address - this.#base;
    const offset = distance | 0;
    if (offset === distance && (offset & ~4088) === 0) {
      const value = this.#data[this.#index + (offset >> 3)]!;
      scratch64[0] = value;
      if (this.#words[this.#generationWord + (bits64[0]! & this.#zero)] === this.#generation) return value;
    }
    return this.#loadSecond(address);
  }

  store(address: number, value: number): void {
    scratch64[0] = value;
    const converted = scratch64[0];
    const index = this.#aim.enter(address);
    this.#aim.section!.f64[index] = converted; // set by enter
    leaveStore(this.#memory);
  }

  /** Second level, the quick look: an address below 2^31 in the section that was met last. Its translation is the one remembered from now on. */
  #loadSecond(address: number): number {
    const small = address | 0;
    if (small === address && (small & 0x80000007) === 0) {
      const entries = this.#entries;
      const page = small >> 12;
      const at = (page & 255) << 2; // numbers, not names: an imported constant is a load, and there are eight
      if (entries[at] === (page | this.#sectionKey)) {
        const index = entries[at + 1]! / 2;
        const generationWord = entries[at + 2]!;
        const generation = entries[at + 3]!;
        const value = this.#data[(index + ((small & 4095) >> 3)) | 0]!;
        scratch64[0] = value;
        if (this.#words[(generationWord + (bits64[0]! & this.#zero)) | 0] === generation) {
          this.#base = small & ~4095;
          this.#index = index;
          this.#generationWord = generationWord;
          this.#generation = generation;
          return value;
        }
      }
    }
    return this.#loadThird(address);
  }

  /** Second level: the translation is among those of the cache. Then it is the one remembered from now on. */
  #loadThird(address: number): number {
    const cache = this.#cache;
    const page = Math.floor(address / PAGE_BYTES);
    const entry = page & CACHE_ENTRY_MASK;
    const distance = address - page * PAGE_BYTES;
    const offset = distance | 0;
    if (cache.pages[entry] === page && offset === distance && (offset & ~4088) === 0) {
      const data = cache.sections[entry]!.f64; // an entry with a page has a section
      const entries = this.#entries;
      const at = entry << ENTRY_SHIFT;
      const index = entries[at + ENTRY_INDEX]! / 2;
      const generationWord = entries[at + ENTRY_GENERATION_WORD]!;
      const generation = entries[at + ENTRY_GENERATION]!;
      const value = data[index + (offset >> 3)]!;
      scratch64[0] = value;
      if (this.#words[generationWord + (bits64[0]! & this.#zero)] === generation) {
        this.#base = page * PAGE_BYTES;
        this.#data = data;
        this.#index = index;
        this.#generationWord = generationWord;
        this.#generation = generation;
        this.#sectionKey = quickSection(entries[at + ENTRY_KEY]!);
        return value;
      }
    }
    return this.#loadMiss(address);
  }

  #loadMiss(address: number): number {
    const page = pageOf(address, 8);
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      const entry = this.#cache.find(page, false, address);
      const entries = this.#entries;
      const at = entry << ENTRY_SHIFT;
      const index = entries[at + ENTRY_INDEX]! / 2 + (address - page * PAGE_BYTES) / 8;
      const value = this.#cache.sections[entry]!.f64[index]!;
      scratch64[0] = value;
      if (
        this.#words[entries[at + ENTRY_GENERATION_WORD]! + (bits64[0]! & this.#zero)] === entries[at + ENTRY_GENERATION]
      )
        return value;
    }
  }
}
