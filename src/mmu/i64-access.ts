/**
 * @module mmu/i64-access
 * Loads, stores and atomic operations of 64-bit integers, which are bigints in JavaScript. This is
 * the class for signed ones, and the template of that for others (scripts/make-widths.mjs). The
 * protocol is that of soft-tlb.ts, without the fast paths of i32-access.ts: a bigint is an
 * allocation, beside which they do not count. All accesses are atomic, so that none is torn.
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
import type { WideArray } from "../sync/atomics.ts";
import { accessDone, accessFrom } from "../sync/call-place.ts";
import { generationIndex } from "../sync/primitives/shootdown.ts";
import type { IntegerAccess } from "./access.ts";
import { checkRetry, checkTarget, pageOf, throwNoValue } from "./address.ts";
import type { SoftTlb } from "./soft-tlb.ts";
import type { StoreMark } from "./store-mark.ts";
import { I64Stores } from "./widths/i64-stores.ts";

type Modify = (array: WideArray, index: number, value: bigint) => bigint;

/** What a store writes. Called before enterStore: it throws for what is no bigint. */
function converted(value: bigint, accessor: object): bigint {
  if (typeof value !== "bigint") throwNoValue(value, "a bigint", accessor);
  return BigInt.asIntN(64, value);
}

export class I64Access extends I64Stores implements IntegerAccess<bigint, BigInt64Array> {
  readonly #tlb: SoftTlb;
  /** See i32-access.ts. */
  readonly #loadsInRam: boolean;

  constructor(tlb: SoftTlb, mark: StoreMark) {
    super(tlb, mark);
    this.#tlb = tlb;
    this.#loadsInRam = mark.item !== undefined;
  }

  /** @stepped data */
  load(address: number): bigint {
    return this.#load(address, false);
  }

  /** @stepped data */
  atomicLoad(address: number): bigint {
    return this.#load(address, this.#loadsInRam);
  }

  /**
   * X3 of soft-tlb.ts with two atomic reads.
   *
   * @stepped data
   */
  #load(address: number, inRam: boolean): bigint {
    const page = pageOf(address, 8, this);
    const tlb = this.#tlb;
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      accessFrom(this);
      tlb.find(page, inRam, address);
      accessDone();
      const index = tlb.frame * (PAGE_BYTES / 8) + (address - page * PAGE_BYTES) / 8;
      const value = speculativeAtomicLoad(tlb.section!.i64, index); // set by find
      const generation = atomicLoad(tlb.words, tlb.generationsAt + generationIndex(page));
      if (generation === tlb.generationOf(page)) return value;
    }
  }

  /**
   * A record, as in i32-access.ts.
   *
   * @stepped data
   */
  loadInto(
    address: number,
    target: BigInt64Array,
    targetOffset: number = 0,
    count: number = target.length - targetOffset,
  ): void {
    checkTarget(target.length, targetOffset, count);
    const end = targetOffset + count;
    for (let next = targetOffset; next < end;)
      next = this.#loadPiece(address - (targetOffset - next) * 8, target, next, end);
  }

  /** @stepped data */
  #loadPiece(address: number, target: BigInt64Array, start: number, end: number): number {
    const page = pageOf(address, 8, this);
    const tlb = this.#tlb;
    const offset = (address - page * PAGE_BYTES) / 8;
    const stop = Math.min(end, start + PAGE_BYTES / 8 - offset);
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      accessFrom(this);
      tlb.find(page, false, address);
      accessDone();
      const shift = tlb.frame * (PAGE_BYTES / 8) + offset - start;
      for (let to = start; to < stop; to++)
        target[to] = speculativeAtomicLoad(tlb.section!.i64, shift + to); // set by find
      const generation = atomicLoad(tlb.words, tlb.generationsAt + generationIndex(page));
      if (generation === tlb.generationOf(page)) return stop;
    }
  }

  /** @stepped data */
  store(address: number, value: bigint): void {
    this.atomicStore(address, value);
  }

  /** @stepped data */
  atomicStore(address: number, value: bigint): void {
    const element = converted(value, this);
    const index = this.enter(address);
    atomicStore(this.data, index, element);
    this.leave();
  }

  /** @stepped data */
  atomicAdd(address: number, value: bigint): bigint {
    return this.#modify(atomicAdd, address, value);
  }

  /** @stepped data */
  atomicSub(address: number, value: bigint): bigint {
    return this.#modify(atomicSub, address, value);
  }

  /** @stepped data */
  atomicAnd(address: number, value: bigint): bigint {
    return this.#modify(atomicAnd, address, value);
  }

  /** @stepped data */
  atomicOr(address: number, value: bigint): bigint {
    return this.#modify(atomicOr, address, value);
  }

  /** @stepped data */
  atomicXor(address: number, value: bigint): bigint {
    return this.#modify(atomicXor, address, value);
  }

  /** @stepped data */
  atomicExchange(address: number, value: bigint): bigint {
    return this.#modify(atomicExchange, address, value);
  }

  /** @stepped data */
  atomicCompareExchange(address: number, expected: bigint, replacement: bigint): bigint {
    const expectedElement = converted(expected, this);
    const element = converted(replacement, this);
    const index = this.enter(address);
    const before = atomicCompareExchange(this.data, index, expectedElement, element);
    this.leave();
    return before;
  }

  /** @stepped data */
  #modify(operation: Modify, address: number, value: bigint): bigint {
    const element = converted(value, this);
    const index = this.enter(address);
    const before = operation(this.data, index, element);
    this.leave();
    return before;
  }
}
