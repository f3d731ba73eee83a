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
 * A load whose translation is not the one remembered remembers it and tries again, where an integer load (integer-access.ts) gets the value from the function that looks it
 * up: a double that comes back from a function is an allocation, 5 ns and garbage.
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

  /** @stepped data */
  load(address: number): number {
    for (let tries = 0; ; tries++) {
      const distance = address - this.#base;
      const offset = distance | 0;
      if (offset === distance && (offset & ~4092) === 0) {
        const value = this.#data[this.#index + (offset >> 2)]!;
        scratch32[0] = value;
        if (this.#words[this.#generationWord + (bits32[0]! & this.#zero)] === this.#generation) return value;
      }
      this.#aimAt(address, tries);
    }
  }

  /** @stepped data */
  store(address: number, value: number): void {
    scratch32[0] = value; // converts: whatever that may run or throw must not happen inside
    const converted = scratch32[0];
    const index = this.#aim.enter(address);
    this.#aim.section!.f32[index] = converted; // set by enter
    leaveStore(this.#memory);
  }

  /**
   * Remembers the translation of `address`; `tries`: how often that has been done for this access already. All in one function on purpose: with less than 460 bytes of
   * bytecode V8 would put it into every loop that loads, where it takes the place of other loads.
   */
  #aimAt(address: number, tries: number): void {
    const cache = this.#cache;
    const entries = this.#entries;
    const small = address | 0;
    if (tries === 0 && small === address && small >= 0) {
      const smallPage = small >> 12;
      const smallAt = (smallPage & 255) << 2; // numbers, not names: an imported constant is a load, and there would be eight
      if (entries[smallAt] === (smallPage | this.#sectionKey)) {
        this.#base = small & ~4095;
        this.#index = entries[smallAt + 1]!;
        this.#generationWord = entries[smallAt + 2]!;
        this.#generation = entries[smallAt + 3]!;
        return;
      }
    }
    const page = Math.floor(address / PAGE_BYTES);
    let entry = page & CACHE_ENTRY_MASK;
    if (tries > 0 || cache.pages[entry] !== page) {
      checkRetry(tries, address);
      entry = cache.find(pageOf(address, 4), false, address);
    }
    const at = entry << ENTRY_SHIFT;
    this.#base = page * PAGE_BYTES;
    this.#data = cache.sections[entry]!.f32; // an entry with a page has a section
    this.#sectionKey = quickSection(entries[at + ENTRY_KEY]!);
    this.#index = entries[at + ENTRY_INDEX]!;
    this.#generationWord = entries[at + ENTRY_GENERATION_WORD]!;
    this.#generation = entries[at + ENTRY_GENERATION]!;
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

  /** @stepped data */
  load(address: number): number {
    for (let tries = 0; ; tries++) {
      const distance = address - this.#base;
      const offset = distance | 0;
      if (offset === distance && (offset & ~4088) === 0) {
        const value = this.#data[this.#index + (offset >> 3)]!;
        scratch64[0] = value;
        if (this.#words[this.#generationWord + (bits64[0]! & this.#zero)] === this.#generation) return value;
      }
      this.#aimAt(address, tries);
    }
  }

  /** @stepped data */
  store(address: number, value: number): void {
    scratch64[0] = value;
    const converted = scratch64[0];
    const index = this.#aim.enter(address);
    this.#aim.section!.f64[index] = converted; // set by enter
    leaveStore(this.#memory);
  }

  /**
   * Remembers the translation of `address`; `tries`: how often that has been done for this access already. All in one function on purpose: with less than 460 bytes of
   * bytecode V8 would put it into every loop that loads, where it takes the place of other loads.
   */
  #aimAt(address: number, tries: number): void {
    const cache = this.#cache;
    const entries = this.#entries;
    const small = address | 0;
    if (tries === 0 && small === address && small >= 0) {
      const smallPage = small >> 12;
      const smallAt = (smallPage & 255) << 2; // numbers, not names: an imported constant is a load, and there would be eight
      if (entries[smallAt] === (smallPage | this.#sectionKey)) {
        this.#base = small & ~4095;
        this.#index = entries[smallAt + 1]! / 2;
        this.#generationWord = entries[smallAt + 2]!;
        this.#generation = entries[smallAt + 3]!;
        return;
      }
    }
    const page = Math.floor(address / PAGE_BYTES);
    let entry = page & CACHE_ENTRY_MASK;
    if (tries > 0 || cache.pages[entry] !== page) {
      checkRetry(tries, address);
      entry = cache.find(pageOf(address, 8), false, address);
    }
    const at = entry << ENTRY_SHIFT;
    this.#base = page * PAGE_BYTES;
    this.#data = cache.sections[entry]!.f64; // an entry with a page has a section
    this.#sectionKey = quickSection(entries[at + ENTRY_KEY]!);
    this.#index = entries[at + ENTRY_INDEX]! / 2;
    this.#generationWord = entries[at + ENTRY_GENERATION_WORD]!;
    this.#generation = entries[at + ENTRY_GENERATION]!;
  }
}
