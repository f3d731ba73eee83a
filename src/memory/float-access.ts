/**
 * @module memory/float-access
 * Floating-point loads and stores of 32 and 64 bits, through a TranslationCache. The protocol and its races are in translation.ts (X1 to X5); here is the code that must be
 * fast: a load that hits is a subtraction, two compares and three reads.
 *
 * The classes say the same thing twice, on purpose: V8 keeps type feedback by place in the source, and a shared body would see all kinds of
 * typed array and take the slow generic path.
 *
 * `offset` is a whole multiple of the width inside the page exactly when it equals `unit * width` for the unit that the shift gives and is
 * less than a page: a fraction, a negative number or NaN differs. Values are converted before entering a store: what that may run
 * or throw must not happen inside (S2).
 *
 * X4 needs an integer that depends on the value. Converting a float would be slow where it is large or not a number, so its bits are
 * taken: stored to a scratch word of this thread and read back as an integer. CPUs with weak order keep the order of reads also
 * along a dependency that goes through a store and the same thread's read of it (Armv8: dependency-ordered-before).
 */

import type { SharedMemory } from "../sync/shared-memory.ts";
import { leaveStore } from "../sync/shootdown.ts";
import type { ValueAccess } from "./access.ts";
import { NOWHERE, checkRetry, pageOf } from "./access.ts";
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
  readonly #words: Int32Array;
  readonly #aim: StoreAim;
  #data: Float32Array = new Float32Array(0);
  #base: number = NOWHERE;
  #index = 0;
  #generationWord = 0;
  #generation = 0;
  #zero = 1;

  constructor(cache: TranslationCache) {
    this.#cache = cache;
    this.#memory = cache.memory;
    this.#words = cache.words;
    this.#aim = new StoreAim(cache, 4);
    this.#zero = 0; // assigned twice, or the compiler would take it for a constant (X4)
  }

  load(address: number): number {
    const offset = address - this.#base;
    const unit = offset >>> 2;
    if (offset < PAGE_BYTES && unit * 4 === offset) {
      const value = this.#data[this.#index + unit]!;
      scratch32[0] = value;
      if (this.#words[this.#generationWord + (bits32[0]! & this.#zero)] === this.#generation) return value;
    }
    return this.#loadSlow(address);
  }

  store(address: number, value: number): void {
    scratch32[0] = value; // converts: whatever that may run or throw must not happen inside
    const converted = scratch32[0];
    const index = this.#aim.enter(address);
    this.#aim.section!.f32[index] = converted; // set by enter
    leaveStore(this.#memory);
  }

  #loadSlow(address: number): number {
    const page = pageOf(address, 4);
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      const entry = this.#cache.find(page, false, address);
      this.#base = page * PAGE_BYTES;
      this.#data = this.#cache.sectionOf(entry).f32;
      this.#index = this.#cache.wordIndices[entry]!;
      this.#generationWord = this.#cache.shootdown.generationWord(page);
      this.#generation = this.#cache.generations[entry]!;
      const value = this.#data[this.#index + (address - this.#base) / 4]!;
      scratch32[0] = value;
      if (this.#words[this.#generationWord + (bits32[0]! & this.#zero)] === this.#generation) return value;
    }
  }
}

export class F64Access implements ValueAccess {
  readonly #cache: TranslationCache;
  readonly #memory: SharedMemory;
  readonly #words: Int32Array;
  readonly #aim: StoreAim;
  #data: Float64Array = new Float64Array(0);
  #base: number = NOWHERE;
  #index = 0;
  #generationWord = 0;
  #generation = 0;
  #zero = 1;

  constructor(cache: TranslationCache) {
    this.#cache = cache;
    this.#memory = cache.memory;
    this.#words = cache.words;
    this.#aim = new StoreAim(cache, 8);
    this.#zero = 0; // assigned twice, or the compiler would take it for a constant (X4)
  }

  load(address: number): number {
    const offset = address - this.#base;
    const unit = offset >>> 3;
    if (offset < PAGE_BYTES && unit * 8 === offset) {
      const value = this.#data[this.#index + unit]!;
      scratch64[0] = value;
      if (this.#words[this.#generationWord + (bits64[0]! & this.#zero)] === this.#generation) return value;
    }
    return this.#loadSlow(address);
  }

  store(address: number, value: number): void {
    scratch64[0] = value;
    const converted = scratch64[0];
    const index = this.#aim.enter(address);
    this.#aim.section!.f64[index] = converted; // set by enter
    leaveStore(this.#memory);
  }

  #loadSlow(address: number): number {
    const page = pageOf(address, 8);
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      const entry = this.#cache.find(page, false, address);
      this.#base = page * PAGE_BYTES;
      this.#data = this.#cache.sectionOf(entry).f64;
      this.#index = this.#cache.wordIndices[entry]! / 2;
      this.#generationWord = this.#cache.shootdown.generationWord(page);
      this.#generation = this.#cache.generations[entry]!;
      const value = this.#data[this.#index + (address - this.#base) / 8]!;
      scratch64[0] = value;
      if (this.#words[this.#generationWord + (bits64[0]! & this.#zero)] === this.#generation) return value;
    }
  }
}
