/**
 * @module memory/integer-access
 * Integer loads, stores and atomic operations of 8 and 16 bits (32: word-access.ts), through a TranslationCache. The protocol and its races are in translation.ts (X1 to X5); here is the code that must be
 * fast: a load that hits is a subtraction, two compares and three reads.
 *
 * The classes of all widths say the same thing, on purpose: V8 keeps type feedback by place in the source, and a shared body would see all kinds of
 * typed array and take the slow generic path. The signed and unsigned twins of a
 * width share one class and its translations.
 *
 * The test of an address is one subtraction and two compares: the distance from the page's start is a small whole number, and none of its
 * bits stand outside those that an aligned offset in a page has (4092 for words). A fraction, a negative number, NaN or another page fail it.
 * Behind it stands, for all but the first load from a page, a quick look into the second level in integers alone: loads that go from page to page take 7 ns
 * by it and 12 without.
 *
 * Values are converted before entering a store: what that may run or throw must not happen inside (S2).
 */

import {
  atomicAdd,
  atomicAnd,
  atomicCompareExchange,
  atomicExchange,
  atomicOr,
  atomicSub,
  atomicXor,
} from "../sync/atomics.ts";
import type { AtomicArray } from "../sync/atomics.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { leaveStore } from "../sync/shootdown.ts";
import type { IntegerAccess } from "./access.ts";
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

type Modify = (array: AtomicArray, index: number, value: number) => number;

export class U8Access implements IntegerAccess {
  readonly #cache: TranslationCache;
  readonly #memory: SharedMemory;
  readonly #words: Int32Array = NO_WORDS;
  readonly #entries: Int32Array = NO_WORDS;
  readonly #aim: StoreAim;
  #data: Uint8Array = new Uint8Array(0);
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
    this.#aim = new StoreAim(cache, 1);
    this.#zero = 0; // assigned twice, or the compiler would take it for a constant (X4)
  }

  /** Drops the remembered translations. */
  forget(): void {
    this.#generationWord = NOT_A_GENERATION;
    this.#generation = 0;
    this.#sectionKey = 0;
    this.#aim.forget();
  }

  /** @stepped data */
  load(address: number): number {
    const distance = address - this.#base;
    const offset = distance | 0;
    if (offset === distance && (offset & ~4095) === 0) {
      const value = this.#data[this.#index + offset]!;
      if (this.#words[this.#generationWord + (value & this.#zero)] === this.#generation) return value;
    }
    return this.#loadSecond(address) | 0; // an integer also for the compiler
  }

  /** @stepped data */
  store(address: number, value: number): void {
    const converted = value | 0;
    const index = this.#aim.enter(address);
    this.#aim.section!.u8[index] = converted; // set by enter
    leaveStore(this.#memory);
  }

  /** @stepped data */
  add(address: number, value: number): number {
    return this.#modify(atomicAdd, address, value);
  }

  /** @stepped data */
  sub(address: number, value: number): number {
    return this.#modify(atomicSub, address, value);
  }

  /** @stepped data */
  and(address: number, value: number): number {
    return this.#modify(atomicAnd, address, value);
  }

  /** @stepped data */
  or(address: number, value: number): number {
    return this.#modify(atomicOr, address, value);
  }

  /** @stepped data */
  xor(address: number, value: number): number {
    return this.#modify(atomicXor, address, value);
  }

  /** @stepped data */
  exchange(address: number, value: number): number {
    return this.#modify(atomicExchange, address, value);
  }

  /** @stepped data */
  compareExchange(address: number, expected: number, replacement: number): number {
    const expectedInteger = expected | 0;
    const replacementInteger = replacement | 0;
    const index = this.#aim.enter(address);
    const before = atomicCompareExchange(this.#aim.section!.u8, index, expectedInteger, replacementInteger); // set by enter
    leaveStore(this.#memory);
    return before;
  }

  /** @stepped data */
  #modify(operation: Modify, address: number, value: number): number {
    const integer = value | 0;
    const index = this.#aim.enter(address);
    const before = operation(this.#aim.section!.u8, index, integer); // set by enter
    leaveStore(this.#memory);
    return before;
  }

  /**
   * Second level, the quick look: an address below 2^31 in the section that was met last. Its translation is the one remembered from now on.
   *
   * @stepped data
   */
  #loadSecond(address: number): number {
    const small = address | 0;
    if (small === address && (small & 0x80000000) === 0) {
      const entries = this.#entries;
      const page = small >> 12;
      const at = (page & 255) << 2; // numbers, not names: an imported constant is a load, and there are eight
      if (entries[at] === (page | this.#sectionKey)) {
        const index = entries[at + 1]! * 4;
        const generationWord = entries[at + 2]!;
        const generation = entries[at + 3]!;
        const value = this.#data[(index + (small & 4095)) | 0]!;
        if (this.#words[(generationWord + (value & this.#zero)) | 0] === generation) {
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

  /**
   * Second level: the translation is among those of the cache. Then it is the one remembered from now on.
   *
   * @stepped data
   */
  #loadThird(address: number): number {
    const cache = this.#cache;
    const page = Math.floor(address / PAGE_BYTES);
    const entry = page & CACHE_ENTRY_MASK;
    const distance = address - page * PAGE_BYTES;
    const offset = distance | 0;
    if (cache.pages[entry] === page && offset === distance && (offset & ~4095) === 0) {
      const data = cache.sections[entry]!.u8; // an entry with a page has a section
      const entries = this.#entries;
      const at = entry << ENTRY_SHIFT;
      const index = entries[at + ENTRY_INDEX]! * 4;
      const generationWord = entries[at + ENTRY_GENERATION_WORD]!;
      const generation = entries[at + ENTRY_GENERATION]!;
      const value = data[index + offset]!;
      if (this.#words[generationWord + (value & this.#zero)] === generation) {
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

  /** @stepped data */
  #loadMiss(address: number): number {
    const page = pageOf(address, 1);
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      const entry = this.#cache.find(page, false, address);
      const entries = this.#entries;
      const at = entry << ENTRY_SHIFT;
      const index = entries[at + ENTRY_INDEX]! * 4 + (address - page * PAGE_BYTES) / 1;
      const value = this.#cache.sections[entry]!.u8[index]!;
      if (this.#words[entries[at + ENTRY_GENERATION_WORD]! + (value & this.#zero)] === entries[at + ENTRY_GENERATION])
        return value;
    }
  }
}

export class U16Access implements IntegerAccess {
  readonly #cache: TranslationCache;
  readonly #memory: SharedMemory;
  readonly #words: Int32Array = NO_WORDS;
  readonly #entries: Int32Array = NO_WORDS;
  readonly #aim: StoreAim;
  #data: Uint16Array = new Uint16Array(0);
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
    this.#aim = new StoreAim(cache, 2);
    this.#zero = 0; // assigned twice, or the compiler would take it for a constant (X4)
  }

  /** Drops the remembered translations. */
  forget(): void {
    this.#generationWord = NOT_A_GENERATION;
    this.#generation = 0;
    this.#sectionKey = 0;
    this.#aim.forget();
  }

  /** @stepped data */
  load(address: number): number {
    const distance = address - this.#base;
    const offset = distance | 0;
    if (offset === distance && (offset & ~4094) === 0) {
      const value = this.#data[this.#index + (offset >> 1)]!;
      if (this.#words[this.#generationWord + (value & this.#zero)] === this.#generation) return value;
    }
    return this.#loadSecond(address) | 0; // an integer also for the compiler
  }

  /** @stepped data */
  store(address: number, value: number): void {
    const converted = value | 0;
    const index = this.#aim.enter(address);
    this.#aim.section!.u16[index] = converted; // set by enter
    leaveStore(this.#memory);
  }

  /** @stepped data */
  add(address: number, value: number): number {
    return this.#modify(atomicAdd, address, value);
  }

  /** @stepped data */
  sub(address: number, value: number): number {
    return this.#modify(atomicSub, address, value);
  }

  /** @stepped data */
  and(address: number, value: number): number {
    return this.#modify(atomicAnd, address, value);
  }

  /** @stepped data */
  or(address: number, value: number): number {
    return this.#modify(atomicOr, address, value);
  }

  /** @stepped data */
  xor(address: number, value: number): number {
    return this.#modify(atomicXor, address, value);
  }

  /** @stepped data */
  exchange(address: number, value: number): number {
    return this.#modify(atomicExchange, address, value);
  }

  /** @stepped data */
  compareExchange(address: number, expected: number, replacement: number): number {
    const expectedInteger = expected | 0;
    const replacementInteger = replacement | 0;
    const index = this.#aim.enter(address);
    const before = atomicCompareExchange(this.#aim.section!.u16, index, expectedInteger, replacementInteger); // set by enter
    leaveStore(this.#memory);
    return before;
  }

  /** @stepped data */
  #modify(operation: Modify, address: number, value: number): number {
    const integer = value | 0;
    const index = this.#aim.enter(address);
    const before = operation(this.#aim.section!.u16, index, integer); // set by enter
    leaveStore(this.#memory);
    return before;
  }

  /**
   * Second level, the quick look: an address below 2^31 in the section that was met last. Its translation is the one remembered from now on.
   *
   * @stepped data
   */
  #loadSecond(address: number): number {
    const small = address | 0;
    if (small === address && (small & 0x80000001) === 0) {
      const entries = this.#entries;
      const page = small >> 12;
      const at = (page & 255) << 2; // numbers, not names: an imported constant is a load, and there are eight
      if (entries[at] === (page | this.#sectionKey)) {
        const index = entries[at + 1]! * 2;
        const generationWord = entries[at + 2]!;
        const generation = entries[at + 3]!;
        const value = this.#data[(index + ((small & 4095) >> 1)) | 0]!;
        if (this.#words[(generationWord + (value & this.#zero)) | 0] === generation) {
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

  /**
   * Second level: the translation is among those of the cache. Then it is the one remembered from now on.
   *
   * @stepped data
   */
  #loadThird(address: number): number {
    const cache = this.#cache;
    const page = Math.floor(address / PAGE_BYTES);
    const entry = page & CACHE_ENTRY_MASK;
    const distance = address - page * PAGE_BYTES;
    const offset = distance | 0;
    if (cache.pages[entry] === page && offset === distance && (offset & ~4094) === 0) {
      const data = cache.sections[entry]!.u16; // an entry with a page has a section
      const entries = this.#entries;
      const at = entry << ENTRY_SHIFT;
      const index = entries[at + ENTRY_INDEX]! * 2;
      const generationWord = entries[at + ENTRY_GENERATION_WORD]!;
      const generation = entries[at + ENTRY_GENERATION]!;
      const value = data[index + (offset >> 1)]!;
      if (this.#words[generationWord + (value & this.#zero)] === generation) {
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

  /** @stepped data */
  #loadMiss(address: number): number {
    const page = pageOf(address, 2);
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      const entry = this.#cache.find(page, false, address);
      const entries = this.#entries;
      const at = entry << ENTRY_SHIFT;
      const index = entries[at + ENTRY_INDEX]! * 2 + (address - page * PAGE_BYTES) / 2;
      const value = this.#cache.sections[entry]!.u16[index]!;
      if (this.#words[entries[at + ENTRY_GENERATION_WORD]! + (value & this.#zero)] === entries[at + ENTRY_GENERATION])
        return value;
    }
  }
}
