/**
 * @module mmu/typed-memory
 * One thread's typed access to one address space: every width, over one software TLB.
 */

import type { Machine } from "../memory/machine.ts";
import type { Shootdown } from "../sync/primitives/shootdown.ts";
import type {
  IntegerAccess,
  PointerAccess,
  StoreSections,
  TypedAccess,
  ValueAccess,
} from "./access.ts";
import { I32Access } from "./i32-access.ts";
import { I64Access } from "./i64-access.ts";
import { Pointers } from "./pointer-access.ts";
import { SoftTlb } from "./soft-tlb.ts";
import { StoreMark, requireDone } from "./store-mark.ts";
import type { StoringItem } from "./store-mark.ts";
import type { Translator } from "./translator.ts";
import { F32Access } from "./widths/f32-access.ts";
import { F64Access } from "./widths/f64-access.ts";
import { I16Access } from "./widths/i16-access.ts";
import { I8Access } from "./widths/i8-access.ts";
import { U16Access } from "./widths/u16-access.ts";
import { U32Access } from "./widths/u32-access.ts";
import { U64Access } from "./widths/u64-access.ts";
import { U8Access } from "./widths/u8-access.ts";

/**
 * Loads and stores of single values through a page table, by the software TLB of one thread: the
 * CPU's, or that of a device which is made of threads.
 */
export class TypedMemory implements TypedAccess, StoreSections {
  /** Unsigned integers of 8 bits, at any address. */
  readonly u8: IntegerAccess<number, Uint8Array>;
  /** Signed integers of 8 bits, at any address. */
  readonly i8: IntegerAccess<number, Int8Array>;
  /** Unsigned integers of 16 bits, at multiples of 2. */
  readonly u16: IntegerAccess<number, Uint16Array>;
  /** Signed integers of 16 bits, at multiples of 2. */
  readonly i16: IntegerAccess<number, Int16Array>;
  /** Unsigned integers of 32 bits, at multiples of 4. */
  readonly u32: IntegerAccess<number, Uint32Array>;
  /** Signed integers of 32 bits, at multiples of 4. */
  readonly i32: IntegerAccess<number, Int32Array>;
  /** Floating-point numbers of 32 bits, at multiples of 4. */
  readonly f32: ValueAccess<number, Float32Array>;
  /** Floating-point numbers of 64 bits, at multiples of 8. */
  readonly f64: ValueAccess<number, Float64Array>;
  /** Unsigned integers of 64 bits, as BigInt, at multiples of 8. */
  readonly u64: IntegerAccess<bigint, BigUint64Array>;
  /** Signed integers of 64 bits, as BigInt, at multiples of 8. */
  readonly i64: IntegerAccess<bigint, BigInt64Array>;
  /** Addresses: 8 bytes in memory, numbers in JavaScript, at multiples of 8. */
  readonly ptr: PointerAccess;
  /** The translations that the thread remembers. */
  readonly tlb: SoftTlb;
  /** How long the marks of stores last. */
  readonly mark: StoreMark;
  /** The widths: each remembers a translation of its own. */
  readonly #widths: readonly { forget(): void }[];

  /** `item`: the work item of a device that uses it; none for a thread of the CPU. */
  constructor(machine: Machine, shootdown: Shootdown, translator: Translator, item?: StoringItem) {
    const tlb = new SoftTlb(machine, shootdown, translator);
    const mark = new StoreMark(machine.memory, shootdown.at, item);
    this.mark = mark;
    const u8 = new U8Access(tlb, mark);
    const i8 = new I8Access(tlb, mark);
    const u16 = new U16Access(tlb, mark);
    const i16 = new I16Access(tlb, mark);
    const u32 = new U32Access(tlb, mark);
    const i32 = new I32Access(tlb, mark);
    const f32 = new F32Access(tlb, mark);
    const f64 = new F64Access(tlb, mark);
    const u64 = new U64Access(tlb, mark);
    const i64 = new I64Access(tlb, mark);
    const ptr = new Pointers(tlb, mark, u64);
    this.tlb = tlb;
    this.u8 = u8;
    this.i8 = i8;
    this.u16 = u16;
    this.i16 = i16;
    this.u32 = u32;
    this.i32 = i32;
    this.f32 = f32;
    this.f64 = f64;
    this.u64 = u64;
    this.i64 = i64;
    this.ptr = ptr;
    this.#widths = [u8, i8, u16, i16, u32, i32, f32, f64, u64, i64, ptr];
  }

  /**
   * Runs `use` as a section (store-mark.ts): the mark of its stores is made once. Throws what it
   * throws, and HmmError EINVAL if it is not done when it returns; the section is over in any case.
   */
  section<Result>(use: (memory: TypedAccess) => Result): Result {
    this.mark.openSection();
    let result: Result;
    try {
      result = use(this);
    } finally {
      this.mark.closeSection();
    }
    requireDone(result);
    this.mark.requirePrompt();
    return result;
  }

  /**
   * Drops every translation, so that each access calls the translator again. For the end of the
   * owner's use of the space: after it, the generation words may belong to another object.
   */
  forget(): void {
    this.mark.letGo();
    this.tlb.forget();
    for (const width of this.#widths) width.forget();
  }
}
