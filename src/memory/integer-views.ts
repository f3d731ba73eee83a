/**
 * @module memory/integer-views
 * The other signedness of the integer widths: the same translations and the same bits, read the other way. A wrapper costs nothing
 * where the compiler inlines it, and what is stored does not depend on the sign.
 */

import type { I32Access } from "./word-access.ts";
import type { IntegerAccess } from "./access.ts";

/** 32 bits, unsigned. */
export class U32Access implements IntegerAccess {
  readonly #inner: I32Access;

  constructor(inner: I32Access) {
    this.#inner = inner;
  }

  /** @stepped data */
  load(address: number): number {
    return this.#inner.load(address) >>> 0;
  }

  /** @stepped data */
  store(address: number, value: number): void {
    this.#inner.store(address, value);
  }

  /** @stepped data */
  add(address: number, value: number): number {
    return this.#inner.add(address, value) >>> 0;
  }

  /** @stepped data */
  sub(address: number, value: number): number {
    return this.#inner.sub(address, value) >>> 0;
  }

  /** @stepped data */
  and(address: number, value: number): number {
    return this.#inner.and(address, value) >>> 0;
  }

  /** @stepped data */
  or(address: number, value: number): number {
    return this.#inner.or(address, value) >>> 0;
  }

  /** @stepped data */
  xor(address: number, value: number): number {
    return this.#inner.xor(address, value) >>> 0;
  }

  /** @stepped data */
  exchange(address: number, value: number): number {
    return this.#inner.exchange(address, value) >>> 0;
  }

  /** @stepped data */
  compareExchange(address: number, expected: number, replacement: number): number {
    return this.#inner.compareExchange(address, expected, replacement) >>> 0;
  }
}

/** 8 or 16 bits, signed: `unusedBits` are 32 less the width. */
export class SignedAccess implements IntegerAccess {
  readonly #inner: IntegerAccess;
  readonly #unusedBits: number;

  constructor(inner: IntegerAccess, unusedBits: 24 | 16) {
    this.#inner = inner;
    this.#unusedBits = unusedBits;
  }

  /** @stepped data */
  load(address: number): number {
    return (this.#inner.load(address) << this.#unusedBits) >> this.#unusedBits;
  }

  /** @stepped data */
  store(address: number, value: number): void {
    this.#inner.store(address, value);
  }

  /** @stepped data */
  add(address: number, value: number): number {
    return (this.#inner.add(address, value) << this.#unusedBits) >> this.#unusedBits;
  }

  /** @stepped data */
  sub(address: number, value: number): number {
    return (this.#inner.sub(address, value) << this.#unusedBits) >> this.#unusedBits;
  }

  /** @stepped data */
  and(address: number, value: number): number {
    return (this.#inner.and(address, value) << this.#unusedBits) >> this.#unusedBits;
  }

  /** @stepped data */
  or(address: number, value: number): number {
    return (this.#inner.or(address, value) << this.#unusedBits) >> this.#unusedBits;
  }

  /** @stepped data */
  xor(address: number, value: number): number {
    return (this.#inner.xor(address, value) << this.#unusedBits) >> this.#unusedBits;
  }

  /** @stepped data */
  exchange(address: number, value: number): number {
    return (this.#inner.exchange(address, value) << this.#unusedBits) >> this.#unusedBits;
  }

  /** @stepped data */
  compareExchange(address: number, expected: number, replacement: number): number {
    return (this.#inner.compareExchange(address, expected, replacement) << this.#unusedBits) >> this.#unusedBits;
  }
}
