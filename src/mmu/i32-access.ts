/**
 * @module mmu/i32-access
 * Loads, stores and atomic operations of one width, through a software TLB. This is the code that
 * must be fast: a load that hits is three reads, of the page's word, the data and the epoch. The
 * protocol and its races are in soft-tlb.ts (X1 to X7), what a page word says in page-words.ts.
 *
 * This file is the class for 32-bit integers, and the template of all others: the build copies it
 * for each width, with other numbers, another typed array, and other bodies of `converted` and
 * `bitsOf` (scripts/make-widths.mjs has the table). A copy for each, because V8 keeps type feedback
 * by place in the source: one body for all widths would see all kinds of typed array and take the
 * slow generic path. Made at build time, because a class that a function returns shares its
 * feedback, too.
 *
 * The test of an address: it is a whole number of 32 bits (`small`), and it is turned right by the
 * bits that an aligned address has none of. What was there stands at the top then; so one compare
 * with the number of near pages (524288) refuses them, negative addresses, and far pages. Numbers
 * stand here instead of names, because an imported constant is a load in compiled code. That
 * compare looks superfluous, as V8 compares the index with the length in any case. It is not: once
 * V8 has met an index that has no element it compiles the two as doubles, and a load takes 1.7
 * times as long from then on.
 *
 * Behind that test the lowest bits of the address are 0, and the compiler does not know it: they
 * are the zero of X4. They are in a register already, and an index that is made with them needs no
 * sign. Elsewhere, and for bytes, `#zero` serves.
 *
 * Whatever is not found here, is found by `#loadSecond`. Its value is converted where it returns,
 * to a type that the compiler knows: else each load would end as an object that may be anything,
 * for a double an allocation.
 *
 * A record (`loadInto`) is X3 with more words: the page's word, all words that lie in the page,
 * then the epoch, whose index depends on every one of them. So they are all of one mapping of the
 * page:
 *
 *      loading thread                              invalidating thread
 *      --------------                              -------------------
 *      first word read: the page's
 *                                                  entry taken out of the table
 *                                                  generation := g + 1, epoch := e + 1
 *                                                  frame freed, written by its new owner
 *      second word read: the new owner's
 *      epoch read: e + 1 [not e: both are loaded anew]
 */

import { PAGE_BYTES } from "../memory/frames/ram-section.ts";
import type { FrameArrays } from "../memory/frames/ram-section.ts";
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
import { accessDone, accessFrom } from "../sync/call-place.ts";
import type { IntegerAccess } from "./access.ts";
import { checkRetry, checkTarget, pageOf, throwNoAddress, throwNoValue } from "./address.ts";
import { I32Stores } from "./i32-stores.ts";
import type { PageWordReader } from "./page-words.ts";
import type { SoftTlb } from "./soft-tlb.ts";
import type { StoreMark } from "./store-mark.ts";
import { generationIndex } from "../sync/primitives/shootdown.ts";

type Modify = (array: AtomicArray, index: number, value: number) => number;

/**
 * What a typed field holds until its constructor is done: V8 then knows what kind of array it has.
 */
const NO_WORDS: Int32Array = new Int32Array(0);

const PAGE_ELEMENTS: number = PAGE_BYTES / 4;

/** What a store writes. Converts before the store is entered: that may run anything. */
const converted = (value: number, accessor: object): number => {
  if (typeof value !== "number") throwNoValue(value, "a number", accessor);
  return value | 0;
};

/** An integer that depends on the value (X4); of an integer, all its bits. */
const bitsOf = (value: number): number => {
  return value;
};

export class I32Access
  extends I32Stores
  implements IntegerAccess<number, Int32Array>, PageWordReader
{
  readonly #tlb: SoftTlb;
  /** Whether an atomic load wants a translation that is good for stores: a copy is not. */
  readonly #loadsInRam: boolean;
  /** By near page where its frame lies, and by slot the data of a buffer (page-words.ts). */
  #pageWords: Int32Array = NO_WORDS;
  #home: Int32Array = new Int32Array(0);
  readonly #elsewhere: Int32Array[] = [new Int32Array(0)];
  /** The space's epoch, and the one under which this width believes page words (X7). */
  readonly #epochWord: Int32Array = NO_WORDS;
  #epoch = 0;
  #zero = 1;
  /** The page that `#aim` found last, under that epoch: its address, its data, its start there. */
  #lastBase: number = Number.NaN;
  #lastData: Int32Array = new Int32Array(0);
  #lastIndex = 0;

  constructor(tlb: SoftTlb, mark: StoreMark) {
    super(tlb, mark);
    this.#tlb = tlb;
    this.#epochWord = tlb.epochWord;
    this.#pageWords = tlb.pageWords.near;
    this.#loadsInRam = mark.item !== undefined;
    this.#zero = 0; // assigned twice, or the compiler would take it for a constant (X4)
    tlb.pageWords.addReader(this);
  }

  usePageWords(pageWords: Int32Array): void {
    this.#pageWords = pageWords;
  }

  useArrays(slot: number, arrays: FrameArrays): void {
    if (slot === 0) this.#home = arrays.i32;
    else this.#elsewhere[slot] = arrays.i32;
  }

  /** Drops what is remembered. */
  override forget(): void {
    super.forget();
    this.#lastBase = Number.NaN;
  }

  /** @stepped data */
  load(address: number): number {
    if (typeof address !== "number") throwNoAddress(address, 4, this);
    const small = address | 0;
    if (small === address) {
      const turned = (small >>> 2) | (small << 30);
      const page = turned >>> 10;
      if (page < 524288) {
        const word = this.#pageWords[page]! | 0; // undefined behind the last
        if ((word & 1) !== 0) {
          const value = this.#home[(word + small) >>> 2]!;
          if (this.#epochWord[bitsOf(value) & small & 3] === this.#epoch) return value;
        } else if (word !== 0) {
          const data = this.#elsewhere[(word >> 1) & 31]!;
          const value = data[((word & ~4095) + small) >>> 2]!;
          if (this.#epochWord[bitsOf(value) & small & 3] === this.#epoch) return value;
        }
      }
    }
    return this.#loadSecond(address) | 0;
  }

  /**
   * A load of a page that is not known or has no word of its own, or under a new epoch.
   *
   * @stepped data
   */
  #loadSecond(address: number): number {
    // Far pages in order, and those far inside a large buffer.
    const distance = address - this.#lastBase;
    const offset = distance | 0;
    if (offset === distance && (offset & ~4092) === 0) {
      const value = this.#lastData[this.#lastIndex + (offset >> 2)]!;
      if (this.#epochWord[bitsOf(value) & this.#zero] === this.#epoch) return value;
    }
    for (let tries = 0; ; tries++) {
      const index = this.#aim(address, tries);
      const value = this.#tlb.arrays!.i32[index]!; // set by aim
      if (this.#epochWord[bitsOf(value) & this.#zero] === this.#epoch) return value;
    }
  }

  /**
   * Finds what a load of `address` reads: element of the array that the TLB says. `tries`: how
   * often that has been done for this access already.
   *
   * @stepped data
   */
  #aim(address: number, tries: number): number {
    const tlb = this.#tlb;
    const index = tlb.aim(address, 4, this, tries);
    this.#epoch = tlb.aimedEpoch;
    this.#lastBase = tlb.aimedBase;
    this.#lastData = tlb.arrays!.i32; // set by aim
    this.#lastIndex = tlb.arraysFrame * PAGE_ELEMENTS;
    return index;
  }

  /**
   * A record: first of a near page that is known, all of it in that page. X3: all elements are read
   * before the epoch, whose index depends on each of them (X4). Kept small, so that V8 puts it into
   * a loop that loads records: an address that is passed in a call may cost an allocation.
   *
   * @stepped data
   */
  loadInto(
    address: number,
    target: Int32Array,
    targetOffset: number = 0,
    count: number = target.length - targetOffset,
  ): void {
    if (typeof address !== "number") throwNoAddress(address, 4, this);
    const small = address | 0;
    const turned = (small >>> 2) | (small << 30);
    const page = turned >>> 10;
    if (
      small === address &&
      page < 524288 &&
      count >>> 0 === count &&
      (turned & 1023) + count <= 1024 &&
      targetOffset >>> 0 === targetOffset &&
      targetOffset + count <= target.length
    ) {
      const word = this.#pageWords[page]! | 0;
      if (word !== 0) {
        const data = (word & 1) !== 0 ? this.#home : this.#elsewhere[(word >> 1) & 31]!;
        const index = ((word & ~4095) + small) >>> 2;
        let bits = 0;
        for (let i = 0; i < count; i++) {
          const value = data[(index + i) | 0]!;
          target[targetOffset + i] = value;
          bits |= bitsOf(value);
        }
        if (this.#epochWord[bits & this.#zero] === this.#epoch) return;
      }
    }
    this.#loadPieces(address, target, targetOffset, count);
  }

  /**
   * A record, page by page. What an attempt has loaded that fails the check is loaded anew.
   *
   * @stepped data
   */
  #loadPieces(address: number, target: Int32Array, targetOffset: number, count: number): void {
    checkTarget(target.length, targetOffset, count);
    const end = targetOffset + count;
    let tries = 0;
    for (let start = targetOffset; start < end;) {
      const at = address - (targetOffset - start) * 4;
      const index = this.#aim(at, tries);
      const data = this.#tlb.arrays!.i32; // set by aim
      const stop = Math.min(end, start + PAGE_ELEMENTS - (index % PAGE_ELEMENTS));
      let bits = 0;
      for (let to = start; to < stop; to++) {
        const value = data[index + (to - start)]!;
        target[to] = value;
        bits |= bitsOf(value);
      }
      tries++;
      if (this.#epochWord[bits & this.#zero] === this.#epoch) {
        start = stop;
        tries = 0;
      }
    }
  }

  /** @stepped data */
  store(address: number, value: number): void {
    this.put(address, converted(value, this));
  }

  // Integers only, from here to the end of the class.

  /**
   * X3 with two atomic reads, so their order needs no help.
   *
   * @stepped data
   */
  atomicLoad(address: number): number {
    const page = pageOf(address, 4, this);
    const tlb = this.#tlb;
    const generationWord = tlb.generationsAt + generationIndex(page);
    const frame = tlb.findAgain(page, this.#loadsInRam);
    if (frame >= 0) {
      const index = frame * PAGE_ELEMENTS + (address - page * PAGE_BYTES) / 4;
      const value = speculativeAtomicLoad(tlb.lastSection!.i32, index); // set, or it is -1
      if (atomicLoad(tlb.words, generationWord) === tlb.generationOf(page)) return value;
    }
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      accessFrom(this);
      tlb.find(page, this.#loadsInRam, address);
      accessDone();
      const index = tlb.frame * PAGE_ELEMENTS + (address - page * PAGE_BYTES) / 4;
      const value = speculativeAtomicLoad(tlb.section!.i32, index); // set by find
      if (atomicLoad(tlb.words, generationWord) === tlb.generationOf(page)) return value;
    }
  }

  /** @stepped data */
  atomicStore(address: number, value: number): void {
    const element = converted(value, this);
    const index = this.enter(address);
    atomicStore(this.data, index, element);
    this.leave();
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
    const expectedElement = converted(expected, this);
    const element = converted(replacement, this);
    const index = this.enter(address);
    const before = atomicCompareExchange(this.data, index, expectedElement, element);
    this.leave();
    return before;
  }

  /** @stepped data */
  #modify(operation: Modify, address: number, value: number): number {
    const element = converted(value, this);
    const index = this.enter(address);
    const before = operation(this.data, index, element);
    this.leave();
    return before;
  }
}
