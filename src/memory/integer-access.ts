/**
 * @module memory/integer-access
 * Integer loads, stores and atomic operations of 8, 16 and 32 bits, through a TranslationCache. The protocol and its races are in translation.ts (X1 to X5); here is the code that must be
 * fast: a load that hits is a subtraction, two compares and three reads.
 *
 * The classes say the same thing three times, on purpose: V8 keeps type feedback by place in the source, and a shared body would see all kinds of
 * typed array and take the slow generic path. The signed and unsigned twins of a
 * width share one class and its translations.
 *
 * `offset` is a whole multiple of the width inside the page exactly when it equals `unit * width` for the unit that the shift gives and is
 * less than a page: a fraction, a negative number or NaN differs. Values are converted before entering a store: what that may run
 * or throw must not happen inside (S2).
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
import { NOWHERE, checkRetry, pageOf } from "./access.ts";
import { PAGE_BYTES } from "./ram-section.ts";
import { StoreAim } from "./store-aim.ts";
import type { TranslationCache } from "./translation.ts";

type Modify = (array: AtomicArray, index: number, value: number) => number;

export class U8Access implements IntegerAccess {
  readonly #cache: TranslationCache;
  readonly #memory: SharedMemory;
  readonly #words: Int32Array;
  readonly #aim: StoreAim;
  #data: Uint8Array = new Uint8Array(0);
  #base: number = NOWHERE;
  #index = 0;
  #generationWord = 0;
  #generation = 0;
  #zero = 1;

  constructor(cache: TranslationCache) {
    this.#cache = cache;
    this.#memory = cache.memory;
    this.#words = cache.words;
    this.#aim = new StoreAim(cache, 1);
    this.#zero = 0; // assigned twice, or the compiler would take it for a constant (X4)
  }

  load(address: number): number {
    const offset = address - this.#base;
    const unit = offset >>> 0;
    if (offset < PAGE_BYTES && unit === offset) {
      const value = this.#data[this.#index + unit]!;
      if (this.#words[this.#generationWord + (value & this.#zero)] === this.#generation) return value;
    }
    return this.#loadSlow(address);
  }

  store(address: number, value: number): void {
    const converted = value | 0;
    const index = this.#aim.enter(address);
    this.#aim.section!.u8[index] = converted; // set by enter
    leaveStore(this.#memory);
  }

  add(address: number, value: number): number {
    return this.#modify(atomicAdd, address, value);
  }

  sub(address: number, value: number): number {
    return this.#modify(atomicSub, address, value);
  }

  and(address: number, value: number): number {
    return this.#modify(atomicAnd, address, value);
  }

  or(address: number, value: number): number {
    return this.#modify(atomicOr, address, value);
  }

  xor(address: number, value: number): number {
    return this.#modify(atomicXor, address, value);
  }

  exchange(address: number, value: number): number {
    return this.#modify(atomicExchange, address, value);
  }

  compareExchange(address: number, expected: number, replacement: number): number {
    const expectedInteger = expected | 0;
    const replacementInteger = replacement | 0;
    const index = this.#aim.enter(address);
    const before = atomicCompareExchange(this.#aim.section!.u8, index, expectedInteger, replacementInteger); // set by enter
    leaveStore(this.#memory);
    return before;
  }

  #modify(operation: Modify, address: number, value: number): number {
    const integer = value | 0;
    const index = this.#aim.enter(address);
    const before = operation(this.#aim.section!.u8, index, integer); // set by enter
    leaveStore(this.#memory);
    return before;
  }

  #loadSlow(address: number): number {
    const page = pageOf(address, 1);
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      const entry = this.#cache.find(page, false, address);
      this.#base = page * PAGE_BYTES;
      this.#data = this.#cache.sectionOf(entry).u8;
      this.#index = this.#cache.wordIndices[entry]! * 4;
      this.#generationWord = this.#cache.shootdown.generationWord(page);
      this.#generation = this.#cache.generations[entry]!;
      const value = this.#data[this.#index + (address - this.#base)]!;
      if (this.#words[this.#generationWord + (value & this.#zero)] === this.#generation) return value;
    }
  }
}

export class U16Access implements IntegerAccess {
  readonly #cache: TranslationCache;
  readonly #memory: SharedMemory;
  readonly #words: Int32Array;
  readonly #aim: StoreAim;
  #data: Uint16Array = new Uint16Array(0);
  #base: number = NOWHERE;
  #index = 0;
  #generationWord = 0;
  #generation = 0;
  #zero = 1;

  constructor(cache: TranslationCache) {
    this.#cache = cache;
    this.#memory = cache.memory;
    this.#words = cache.words;
    this.#aim = new StoreAim(cache, 2);
    this.#zero = 0; // assigned twice, or the compiler would take it for a constant (X4)
  }

  load(address: number): number {
    const offset = address - this.#base;
    const unit = offset >>> 1;
    if (offset < PAGE_BYTES && unit * 2 === offset) {
      const value = this.#data[this.#index + unit]!;
      if (this.#words[this.#generationWord + (value & this.#zero)] === this.#generation) return value;
    }
    return this.#loadSlow(address);
  }

  store(address: number, value: number): void {
    const converted = value | 0;
    const index = this.#aim.enter(address);
    this.#aim.section!.u16[index] = converted; // set by enter
    leaveStore(this.#memory);
  }

  add(address: number, value: number): number {
    return this.#modify(atomicAdd, address, value);
  }

  sub(address: number, value: number): number {
    return this.#modify(atomicSub, address, value);
  }

  and(address: number, value: number): number {
    return this.#modify(atomicAnd, address, value);
  }

  or(address: number, value: number): number {
    return this.#modify(atomicOr, address, value);
  }

  xor(address: number, value: number): number {
    return this.#modify(atomicXor, address, value);
  }

  exchange(address: number, value: number): number {
    return this.#modify(atomicExchange, address, value);
  }

  compareExchange(address: number, expected: number, replacement: number): number {
    const expectedInteger = expected | 0;
    const replacementInteger = replacement | 0;
    const index = this.#aim.enter(address);
    const before = atomicCompareExchange(this.#aim.section!.u16, index, expectedInteger, replacementInteger); // set by enter
    leaveStore(this.#memory);
    return before;
  }

  #modify(operation: Modify, address: number, value: number): number {
    const integer = value | 0;
    const index = this.#aim.enter(address);
    const before = operation(this.#aim.section!.u16, index, integer); // set by enter
    leaveStore(this.#memory);
    return before;
  }

  #loadSlow(address: number): number {
    const page = pageOf(address, 2);
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      const entry = this.#cache.find(page, false, address);
      this.#base = page * PAGE_BYTES;
      this.#data = this.#cache.sectionOf(entry).u16;
      this.#index = this.#cache.wordIndices[entry]! * 2;
      this.#generationWord = this.#cache.shootdown.generationWord(page);
      this.#generation = this.#cache.generations[entry]!;
      const value = this.#data[this.#index + (address - this.#base) / 2]!;
      if (this.#words[this.#generationWord + (value & this.#zero)] === this.#generation) return value;
    }
  }
}

export class I32Access implements IntegerAccess {
  readonly #cache: TranslationCache;
  readonly #memory: SharedMemory;
  readonly #words: Int32Array;
  readonly #aim: StoreAim;
  #data: Int32Array = new Int32Array(0);
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
      if (this.#words[this.#generationWord + (value & this.#zero)] === this.#generation) return value;
    }
    return this.#loadSlow(address);
  }

  store(address: number, value: number): void {
    const converted = value | 0;
    const index = this.#aim.enter(address);
    this.#aim.section!.i32[index] = converted; // set by enter
    leaveStore(this.#memory);
  }

  add(address: number, value: number): number {
    return this.#modify(atomicAdd, address, value);
  }

  sub(address: number, value: number): number {
    return this.#modify(atomicSub, address, value);
  }

  and(address: number, value: number): number {
    return this.#modify(atomicAnd, address, value);
  }

  or(address: number, value: number): number {
    return this.#modify(atomicOr, address, value);
  }

  xor(address: number, value: number): number {
    return this.#modify(atomicXor, address, value);
  }

  exchange(address: number, value: number): number {
    return this.#modify(atomicExchange, address, value);
  }

  compareExchange(address: number, expected: number, replacement: number): number {
    const expectedInteger = expected | 0;
    const replacementInteger = replacement | 0;
    const index = this.#aim.enter(address);
    const before = atomicCompareExchange(this.#aim.section!.i32, index, expectedInteger, replacementInteger); // set by enter
    leaveStore(this.#memory);
    return before;
  }

  #modify(operation: Modify, address: number, value: number): number {
    const integer = value | 0;
    const index = this.#aim.enter(address);
    const before = operation(this.#aim.section!.i32, index, integer); // set by enter
    leaveStore(this.#memory);
    return before;
  }

  #loadSlow(address: number): number {
    const page = pageOf(address, 4);
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      const entry = this.#cache.find(page, false, address);
      this.#base = page * PAGE_BYTES;
      this.#data = this.#cache.sectionOf(entry).i32;
      this.#index = this.#cache.wordIndices[entry]!;
      this.#generationWord = this.#cache.shootdown.generationWord(page);
      this.#generation = this.#cache.generations[entry]!;
      const value = this.#data[this.#index + (address - this.#base) / 4]!;
      if (this.#words[this.#generationWord + (value & this.#zero)] === this.#generation) return value;
    }
  }
}
