/**
 * @module mmu/i32-access
 * Loads, stores and atomic operations of one width, through a software TLB. This is the code that
 * must be fast: a load that hits is a subtraction, two compares and three reads. The protocol and
 * its races are in soft-tlb.ts (X1 to X5).
 *
 * This file is the class for 32-bit integers, and the template of all others: the build copies it
 * for each width, with other numbers, another typed array, and other bodies of `converted` and
 * `bitsOf` (scripts/make-widths.mjs has the table). A copy for each, because V8 keeps type feedback
 * by place in the source: one body for all widths would see all kinds of typed array and take the
 * slow generic path. Made at build time, because a class that a function returns shares its
 * feedback, too.
 *
 * The test of an address is one subtraction and two compares: the distance from the page's start is
 * a small whole number, and none of its bits stand outside those that an aligned offset in a page
 * has (4092 for words). A fraction, a negative number, NaN or another page fail it.
 *
 * Another page of a near block (soft-tlb.ts) takes the entry, the data and the generation: three
 * reads that depend on nothing but the address and each other, so a processor has several loads
 * under way at once. What makes that hard to keep: every test beside them costs as much as a read
 * that hits. So there is no key to compare (a near block has a word of its own), the leaf is tested
 * by being 0, and whether the section is the right one is the test of the frame's bounds.
 *
 * An integer load whose page is not the one remembered gets its value from the function that looks
 * it up. A float's load remembers the page and tries again: a double that comes back from a call is
 * an allocation, 5 ns and garbage. A word without a sign comes back as one with a sign, for the
 * same reason.
 *
 * A record (`loadInto`) is X3 with more words: the entry, all words that lie in its page, then the
 * generation, whose index depends on every one of them. So they are all of one mapping of the page:
 *
 *      loading thread                              invalidating thread
 *      --------------                              -------------------
 *      entry read
 *      first word read: the page's
 *                                                  entry taken out of the table
 *                                                  generation := g + 1
 *                                                  frame freed, written by its new owner
 *      second word read: the new owner's
 *      generation read: g + 1 [not g: both are loaded anew]
 *
 * It looks the entry up each time: a record lies mostly in another page than the one before.
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
  speculativeLoad,
} from "../sync/atomics.ts";
import type { AtomicArray } from "../sync/atomics.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { leaveStore } from "../sync/primitives/shootdown.ts";
import type { IntegerAccess } from "./access.ts";
import { checkRetry, checkTarget, pageOf } from "./address.ts";
import { NOT_A_GENERATION } from "./soft-tlb.ts";
import type { SoftTlb, TlbUser } from "./soft-tlb.ts";
import { StoreTlb } from "./store-tlb.ts";
import type { StoringItem } from "./store-tlb.ts";
import { generationIndex } from "../sync/primitives/shootdown.ts";

type Modify = (array: AtomicArray, index: number, value: number) => number;

/**
 * What a typed field holds until its constructor is done: V8 then knows what kind of array it has.
 */
const NO_WORDS: Int32Array = new Int32Array(0);

/** A constant: compiled code looks up what is imported, or declared as a function. */
const entryIn = speculativeLoad;
const PAGE_ELEMENTS: number = PAGE_BYTES / 4;
/** Frames of a section whose elements an index of 31 bits reaches. */
const FRAMES_MAX: number = 2 ** 31 / PAGE_ELEMENTS;

/** What a store writes. Converts before the store is entered: that may run anything. */
const converted = (value: number): number => {
  return value | 0;
};

/** An integer that depends on the value (X4); of an integer, all its bits. */
const bitsOf = (value: number): number => {
  return value;
};

export class I32Access implements IntegerAccess<number, Int32Array>, TlbUser {
  readonly #tlb: SoftTlb;
  readonly #memory: SharedMemory;
  /** By near block its leaf, then the generations (soft-tlb.ts). */
  readonly #near: Int32Array = NO_WORDS;
  readonly #generationsAt: number = 0; // a value, or V8 would not know that it is a small integer
  readonly #store: StoreTlb;
  /** Whether an atomic load wants a translation that is good for stores: a copy is not. */
  readonly #loadsInRam: boolean;
  #words: Int32Array = NO_WORDS;
  /**
   * The section that was met last (X6): its data, its first frame, frames that an index reaches.
   */
  #data: Int32Array = new Int32Array(0);
  #basePfn = 0;
  #pages = 0;
  /** The same of the one before: pages of zeros lie in a section of their own. */
  #otherData: Int32Array = new Int32Array(0);
  #otherPfn = 0;
  #otherPages = 0;
  /** The page that was met last: its address, its first element, its generation and whose it is. */
  #base = 0;
  #index = 0;
  #generationWord: number = NOT_A_GENERATION;
  #generation = 0;
  #zero = 1;

  /** `item`: the work item of a device that it is for; undefined for a thread of the CPU. */
  constructor(tlb: SoftTlb, item: StoringItem | undefined) {
    this.#tlb = tlb;
    this.#memory = tlb.memory;
    this.#words = tlb.words;
    this.#near = tlb.near;
    this.#generationsAt = tlb.generationsAt;
    this.#store = new StoreTlb(tlb, 4, item);
    this.#loadsInRam = item !== undefined;
    this.#zero = 0; // assigned twice, or the compiler would take it for a constant (X4)
    tlb.addUser(this);
  }

  heapGrew(words: Int32Array): void {
    this.#words = words;
  }

  forgetSection(): void {
    this.#pages = 0;
    this.#otherPages = 0;
  }

  /** Drops what is remembered. */
  forget(): void {
    this.#generationWord = NOT_A_GENERATION;
    this.#generation = 0;
    this.forgetSection();
    this.#store.forget();
  }

  /** @stepped data */
  load(address: number): number {
    const distance = address - this.#base;
    const offset = distance | 0;
    if (offset === distance && (offset & ~4092) === 0) {
      const value = this.#data[this.#index + (offset >> 2)]!;
      const bits = bitsOf(value) & this.#zero;
      if (this.#words[(this.#generationWord + bits) | 0] === this.#generation) return value;
    }
    return this.#loadSecond(address) | 0;
  }

  /**
   * A record: the elements from `address` on, by one look at the translation for each page of them.
   *
   * @stepped data
   */
  loadInto(
    address: number,
    target: Int32Array,
    targetOffset: number = 0,
    count: number = target.length - targetOffset,
  ): void {
    checkTarget(target.length, targetOffset, count);
    const end = targetOffset + count;
    for (let next = targetOffset; next < end;)
      next = this.#loadPiece(address - (targetOffset - next) * 4, target, next, end);
  }

  /**
   * X3 for all elements of one page: all are read before the generation, whose index depends on
   * each of them (X4). Loads `target` from `start` on, up to `end` or the end of the page; returns
   * where it ended. What an attempt has loaded that fails the check is loaded anew.
   *
   * @stepped data
   */
  #loadPiece(address: number, target: Int32Array, start: number, end: number): number {
    for (let tries = 0; ; tries++) {
      const small = address | 0;
      let index = -1;
      let generationWord = 0;
      let generation = 0;
      if (tries === 0 && small === address && (small & 0x80000003) === 0) {
        const near = this.#near;
        const block = small >> 21;
        const leaf = near[block]!;
        const entry = leaf === 0 ? 0 : entryIn(this.#words, (leaf + ((small >> 12) & 511)) | 0);
        const frame = ((entry >>> 8) - this.#basePfn) | 0;
        if ((entry & 1) !== 0 && frame >>> 0 < this.#pages) {
          index = (frame << 10) + ((small & 4095) >> 2);
          generationWord = (this.#generationsAt + (block & 63)) | 0;
          generation = near[1024 + (block & 63)]!;
        }
      }
      if (index < 0) {
        this.#aimAt(address, tries);
        index = this.#index + ((address - this.#base) >> 2);
        generationWord = this.#generationWord;
        generation = this.#generation;
      }
      const data = this.#data;
      const shift = index - start; // not cut to 31 bits: far inside a large section it has more
      const border = start + ((4096 - (small & 4095)) >> 2);
      const stop = border < end ? border : end;
      let bits = 0;
      for (let to = start; to < stop; to++) {
        const value = data[shift + to]!;
        target[to] = value;
        bits |= bitsOf(value);
      }
      if (this.#words[(generationWord + (bits & this.#zero)) | 0] === generation) return stop;
    }
  }

  /** @stepped data */
  store(address: number, value: number): void {
    const element = converted(value);
    const index = this.#store.enter(address);
    this.#store.section!.i32[index] = element; // set by enter
    leaveStore(this.#memory);
  }

  /**
   * Remembers the page of `address`; `tries`: how often that has been done for this access already.
   * All in one function on purpose: with less than 460 bytes of bytecode V8 would put it into every
   * loop that loads, where it takes the place of other loads.
   *
   * @stepped data
   */
  #aimAt(address: number, tries: number): void {
    const small = address | 0;
    if (tries === 0 && small === address && (small & 0x80000003) === 0) {
      const near = this.#near;
      const block = small >> 21; // numbers, not names: an imported constant is a load
      const leaf = near[block]!;
      if (leaf !== 0) {
        const entry = entryIn(this.#words, (leaf + ((small >> 12) & 511)) | 0);
        let frame = ((entry >>> 8) - this.#basePfn) | 0;
        // Only with the page that is in it: the one remembered now lies in the present section.
        if ((entry & 1) !== 0 && frame >>> 0 >= this.#pages && this.#isInOther(entry >>> 8)) {
          this.#useSection(this.#otherData, this.#otherPfn, this.#otherPages);
          frame = ((entry >>> 8) - this.#basePfn) | 0;
        }
        if ((entry & 1) !== 0 && frame >>> 0 < this.#pages) {
          this.#base = small & ~4095;
          this.#index = frame << 10;
          this.#generationWord = (this.#generationsAt + (block & 63)) | 0;
          this.#generation = near[1024 + (block & 63)]!;
          return;
        }
      }
    }
    checkRetry(tries, address);
    const page = pageOf(address, 4);
    const tlb = this.#tlb;
    tlb.find(page, false, address);
    const section = tlb.section!; // set by find
    if (section.i32 !== this.#data || this.#pages === 0)
      this.#useSection(section.i32, section.basePfn, Math.min(section.pages, FRAMES_MAX));
    this.#base = page * PAGE_BYTES;
    this.#index = tlb.frame * PAGE_ELEMENTS;
    this.#generationWord = this.#generationsAt + generationIndex(page);
    this.#generation = tlb.generationOf(page);
  }

  #isInOther(pfn: number): boolean {
    return ((pfn - this.#otherPfn) | 0) >>> 0 < this.#otherPages;
  }

  /** The section that was met last is another one now. */
  #useSection(data: Int32Array, basePfn: number, pages: number): void {
    this.#otherData = this.#data;
    this.#otherPfn = this.#basePfn;
    this.#otherPages = this.#pages;
    this.#data = data;
    this.#basePfn = basePfn;
    this.#pages = pages;
  }

  // Integers only, from here to the end of the class.

  /**
   * Another page than the one remembered. First, of integers alone, for a near block that was met
   * before, with the entry in the section that was met last. Returns the bits.
   *
   * @stepped data
   */
  #loadSecond(address: number): number {
    const small = address | 0;
    if (small === address && (small & 0x80000003) === 0) {
      const near = this.#near;
      const words = this.#words;
      const block = small >> 21; // numbers, not names: an imported constant is a load
      const leaf = near[block]!;
      if (leaf !== 0) {
        const entry = entryIn(words, (leaf + ((small >> 12) & 511)) | 0);
        const frame = ((entry >>> 8) - this.#basePfn) | 0;
        if ((entry & 1) !== 0 && frame >>> 0 < this.#pages) {
          const index = frame << 10;
          const value = bitsOf(this.#data[(index + ((small & 4095) >> 2)) | 0]!);
          const generationWord = (this.#generationsAt + (block & 63)) | 0;
          const generation = near[1024 + (block & 63)]!;
          if (words[(generationWord + (value & this.#zero)) | 0] === generation) {
            this.#base = small & ~4095;
            this.#index = index;
            this.#generationWord = generationWord;
            this.#generation = generation;
            return value;
          }
        }
      }
    }
    for (let tries = 0; ; tries++) {
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
    const tlb = this.#tlb;
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      tlb.find(page, this.#loadsInRam, address);
      const index = tlb.frame * PAGE_ELEMENTS + (address - page * PAGE_BYTES) / 4;
      const value = speculativeAtomicLoad(tlb.section!.i32, index); // set by find
      const generation = atomicLoad(this.#words, this.#generationsAt + generationIndex(page));
      if (generation === tlb.generationOf(page)) return value;
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
