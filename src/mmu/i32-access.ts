/**
 * @module mmu/i32-access
 * Loads, stores and atomic operations of one width, through a software TLB. This code must be fast:
 * a load that hits is a subtraction, two compares and three reads. The protocol and its races are
 * in soft-tlb.ts (X1 to X5).
 *
 * This file is the class for 32-bit integers, and the template of all others: the build copies it
 * for each width, with other numbers, another typed array, and other bodies of `converted` and
 * `bitsOf` (scripts/make-widths.mjs has the table). A copy for each, because V8 keeps type feedback
 * by place in the source: one body for all widths would see all kinds of typed array and take the
 * slow generic path. Made at build time, because a class that a function returns shares its
 * feedback, too.
 *
 * The check of an address is one subtraction and two compares: the distance from the page's start
 * must be a small whole number, and must have no bits but those of an aligned offset in a page
 * (4092 for words). A fraction, a negative number, NaN or another page fails it.
 *
 * When the remembered translation does not serve, an integer load gets its value from the function
 * that looks the translation up. A float load remembers the new translation and tries again: a
 * double that is returned from a call is an allocation, 5 ns and garbage. An unsigned word is
 * returned as a signed one, for the same reason.
 */

import { PAGE_BYTES } from "../memory/frames/ram-section.ts";
import {
  atomicAdd,
  atomicAnd,
  atomicCompareExchange,
  atomicExchange,
  atomicLoad,
  atomicOr,
  atomicStore,
  atomicSub,
  atomicXor,
  speculativeAtomicLoad,
} from "../sync/atomics.ts";
import type { AtomicArray } from "../sync/atomics.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { leaveStore } from "../sync/primitives/shootdown.ts";
import type { IntegerAccess } from "./access.ts";
import { checkRetry, pageOf } from "./address.ts";
import type { SoftTlb } from "./soft-tlb.ts";
import { StoreTlb } from "./store-tlb.ts";
import type { StoringItem } from "./store-tlb.ts";
import {
  ENTRY_GENERATION,
  ENTRY_GENERATION_WORD,
  ENTRY_INDEX,
  ENTRY_KEY,
  ENTRY_SHIFT,
  NOT_A_GENERATION,
  TLB_ENTRY_MASK,
  quickSection,
} from "./tlb-entry.ts";

type Modify = (array: AtomicArray, index: number, value: number) => number;

/**
 * The first value of a typed field: so V8 knows the kind of the array.
 */
const NO_WORDS: Int32Array = new Int32Array(0);

/** What a store writes. Called before enterStore, for the conversion may run any code. */
function converted(value: number): number {
  return value | 0;
}

/** An integer that depends on the value (X4); of an integer, all its bits. */
function bitsOf(value: number): number {
  return value;
}

export class I32Access implements IntegerAccess {
  readonly #tlb: SoftTlb;
  readonly #memory: SharedMemory;
  readonly #words: Int32Array = NO_WORDS;
  readonly #entries: Int32Array = NO_WORDS;
  readonly #store: StoreTlb;
  /** Whether an atomic load needs a translation for stores: then it is not made in a copy. */
  readonly #loadsInRam: boolean;
  #data: Int32Array = new Int32Array(0);
  #base = 0;
  #index = 0;
  #generationWord: number = NOT_A_GENERATION;
  #generation = 0;
  #zero = 1;
  /** The section that `#data` is of, as a key of its page 0. */
  #sectionKey = 0;

  /** `item`: the work item of a device that it is for; undefined for a thread of the CPU. */
  constructor(tlb: SoftTlb, item: StoringItem | undefined) {
    this.#tlb = tlb;
    this.#memory = tlb.memory;
    this.#words = tlb.words;
    this.#entries = tlb.entries;
    this.#store = new StoreTlb(tlb, 4, item);
    this.#loadsInRam = item !== undefined;
    this.#zero = 0; // assigned twice, or the compiler would take it for a constant (X4)
  }

  /** Drops the remembered translations. */
  forget(): void {
    this.#generationWord = NOT_A_GENERATION;
    this.#generation = 0;
    this.#sectionKey = 0;
    this.#store.forget();
  }

  /** @stepped data */
  load(address: number): number {
    const distance = address - this.#base;
    const offset = distance | 0;
    if (offset === distance && (offset & ~4092) === 0) {
      const value = this.#data[this.#index + (offset >> 2)]!;
      const bits = bitsOf(value) & this.#zero;
      if (this.#words[this.#generationWord + bits] === this.#generation) return value;
    }
    return this.#loadSecond(address) | 0;
  }

  /** @stepped data */
  store(address: number, value: number): void {
    const element = converted(value);
    const index = this.#store.enter(address);
    this.#store.section!.i32[index] = element; // set by enter
    leaveStore(this.#memory);
  }

  /**
   * Remembers the translation of `address`; `tries`: how often this access has done that already.
   * One function on purpose: with less than 460 bytes of bytecode V8 would inline it into every
   * loop that loads, at the cost of inlining other loads.
   *
   * @stepped data
   */
  #aimAt(address: number, tries: number): void {
    const tlb = this.#tlb;
    const entries = this.#entries;
    const small = address | 0;
    if (tries === 0 && small === address && small >= 0) {
      const smallPage = small >> 12;
      const smallAt = (smallPage & 255) << 2; // numbers, not names: an imported constant is a load
      if (entries[smallAt] === (smallPage | this.#sectionKey)) {
        this.#base = small & ~4095;
        this.#index = entries[smallAt + 1]! << 0;
        this.#generationWord = entries[smallAt + 2]!;
        this.#generation = entries[smallAt + 3]!;
        return;
      }
    }
    const page = Math.floor(address / PAGE_BYTES);
    let entry = page & TLB_ENTRY_MASK;
    if (tries > 0 || tlb.pages[entry] !== page) {
      checkRetry(tries, address);
      entry = tlb.find(pageOf(address, 4), false, address);
    }
    const at = entry << ENTRY_SHIFT;
    this.#base = page * PAGE_BYTES;
    this.#data = tlb.sections[entry]!.i32; // an entry with a page has a section
    this.#sectionKey = quickSection(entries[at + ENTRY_KEY]!);
    this.#index = entries[at + ENTRY_INDEX]! << 0;
    this.#generationWord = entries[at + ENTRY_GENERATION_WORD]!;
    this.#generation = entries[at + ENTRY_GENERATION]!;
  }

  // Integers only, from here to the end of the class.

  /**
   * The second level. First a quick check, with integers alone, for an address below 2^31 in the
   * section that was used last: loads that go from page to page take 4 ns with it and 5 without.
   * Returns the bits.
   *
   * @stepped data
   */
  #loadSecond(address: number): number {
    const small = address | 0;
    if (small === address && (small & 0x80000003) === 0) {
      const entries = this.#entries;
      const page = small >> 12;
      const at = (page & 255) << 2; // numbers, not names: an imported constant is a load
      if (entries[at] === (page | this.#sectionKey)) {
        const index = entries[at + 1]! << 0;
        const generationWord = entries[at + 2]!;
        const generation = entries[at + 3]!;
        const value = bitsOf(this.#data[(index + ((small & 4095) >> 2)) | 0]!);
        if (this.#words[(generationWord + (value & this.#zero)) | 0] === generation) {
          this.#base = small & ~4095;
          this.#index = index;
          this.#generationWord = generationWord;
          this.#generation = generation;
          return value;
        }
      }
    }
    for (let tries = 1; ; tries++) {
      this.#aimAt(address, tries);
      const value = bitsOf(this.#data[this.#index + ((address - this.#base) >> 2)]!);
      if (this.#words[this.#generationWord + (value & this.#zero)] === this.#generation)
        return value;
    }
  }

  /**
   * X3 with two atomic reads, so their order needs no help.
   *
   * @stepped data
   */
  atomicLoad(address: number): number {
    const page = pageOf(address, 4);
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      const entry = this.#tlb.find(page, this.#loadsInRam, address);
      const at = entry << ENTRY_SHIFT;
      const index = (this.#entries[at + ENTRY_INDEX]! << 0) + (address - page * PAGE_BYTES) / 4;
      const value = speculativeAtomicLoad(this.#tlb.sections[entry]!.i32, index);
      const generationWord = this.#entries[at + ENTRY_GENERATION_WORD]!;
      if (atomicLoad(this.#words, generationWord) === this.#entries[at + ENTRY_GENERATION])
        return value;
    }
  }

  /** @stepped data */
  atomicStore(address: number, value: number): void {
    const element = converted(value);
    const index = this.#store.enter(address);
    atomicStore(this.#store.section!.i32, index, element); // set by enter
    leaveStore(this.#memory);
  }

  /** @stepped data */
  atomicAdd(address: number, value: number): number {
    return this.#modify(atomicAdd, address, value);
  }

  /** @stepped data */
  atomicSub(address: number, value: number): number {
    return this.#modify(atomicSub, address, value);
  }

  /** @stepped data */
  atomicAnd(address: number, value: number): number {
    return this.#modify(atomicAnd, address, value);
  }

  /** @stepped data */
  atomicOr(address: number, value: number): number {
    return this.#modify(atomicOr, address, value);
  }

  /** @stepped data */
  atomicXor(address: number, value: number): number {
    return this.#modify(atomicXor, address, value);
  }

  /** @stepped data */
  atomicExchange(address: number, value: number): number {
    return this.#modify(atomicExchange, address, value);
  }

  /** @stepped data */
  atomicCompareExchange(address: number, expected: number, replacement: number): number {
    const expectedElement = converted(expected);
    const element = converted(replacement);
    const index = this.#store.enter(address);
    const words = this.#store.section!.i32; // set by enter
    const before = atomicCompareExchange(words, index, expectedElement, element);
    leaveStore(this.#memory);
    return before;
  }

  /** @stepped data */
  #modify(operation: Modify, address: number, value: number): number {
    const element = converted(value);
    const index = this.#store.enter(address);
    const before = operation(this.#store.section!.i32, index, element); // set by enter
    leaveStore(this.#memory);
    return before;
  }
}
