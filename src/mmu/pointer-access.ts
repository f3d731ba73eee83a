/**
 * @module mmu/pointer-access
 * Addresses in memory (access.ts): loads and stores of the class that the build makes, and atomic
 * operations as those of 64-bit integers.
 */

import { accessPartOf } from "../sync/call-place.ts";
import type { IntegerAccess, PointerAccess } from "./access.ts";
import { fromWide, toWide } from "./pointer.ts";
import type { SoftTlb } from "./soft-tlb.ts";
import type { StoreMark } from "./store-mark.ts";
import { PtrAccess } from "./widths/ptr-access.ts";

export class Pointers extends PtrAccess implements PointerAccess {
  readonly #u64: IntegerAccess<bigint>;

  constructor(tlb: SoftTlb, mark: StoreMark, u64: IntegerAccess<bigint>) {
    super(tlb, mark);
    this.#u64 = u64;
    accessPartOf(this, u64);
  }

  /** @stepped */
  atomicLoad(address: number): number {
    return fromWide(this.#u64.atomicLoad(address), address);
  }

  /** @stepped */
  atomicStore(address: number, value: number): void {
    this.#u64.atomicStore(address, toWide(value, this));
  }

  /** @stepped */
  atomicExchange(address: number, value: number): number {
    return fromWide(this.#u64.atomicExchange(address, toWide(value, this)), address);
  }

  /** @stepped */
  atomicCompareExchange(address: number, expected: number, replacement: number): number {
    const before = this.#u64.atomicCompareExchange(
      address,
      toWide(expected, this),
      toWide(replacement, this),
    );
    return fromWide(before, address);
  }
}
