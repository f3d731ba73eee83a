/**
 * @module mmu/access
 * Single loads and stores, as a program sees them: the same two interfaces for CPU threads and for
 * the kernels of a device. The code is in i32-access.ts, from which the build makes all widths. The
 * protocol is in soft-tlb.ts.
 */

/**
 * Loads and stores of one width. An address is a number of bytes, a multiple of the width; else
 * HmmError EINVAL.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * const p = space.mmapSync(4096);
 * space.f64.store(p + 8, 0.5);
 * console.log(space.f64.load(p + 8)); // 0.5
 * ```
 */
export interface ValueAccess<Value extends number | bigint = number> {
  /** Throws SegmentationFault where no mapping may be read. */
  load(address: number): Value;
  /** Throws SegmentationFault where no mapping may be written. Converts as a typed array does. */
  store(address: number, value: Value): void;
}

/**
 * Integers also have sequentially consistent loads, stores and read-modify-writes. A
 * read-modify-write returns the value from before. All but `atomicLoad` need the right to write. A
 * device makes all of them in RAM, never in a copy, and for `atomicLoad` it needs that right too.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * const { i32 } = space;
 * const p = space.mmapSync(4096);
 * console.log(i32.atomicAdd(p, 3), i32.atomicCompareExchange(p, 3, 9), i32.atomicLoad(p)); // 0 3 9
 * ```
 */
export interface IntegerAccess<Value extends number | bigint = number> extends ValueAccess<Value> {
  atomicLoad(address: number): Value;
  atomicStore(address: number, value: Value): void;
  atomicAdd(address: number, value: Value): Value;
  atomicSub(address: number, value: Value): Value;
  atomicAnd(address: number, value: Value): Value;
  atomicOr(address: number, value: Value): Value;
  atomicXor(address: number, value: Value): Value;
  atomicExchange(address: number, value: Value): Value;
  atomicCompareExchange(address: number, expected: Value, replacement: Value): Value;
}

/**
 * Addresses in memory: 8 bytes, little-endian, as a pointer of C in wasm64 and a `vec2u` in WGSL.
 * In JavaScript they are numbers. A load of 8 bytes that are 2^53 or more is EINVAL, and so is a
 * store of anything but a whole number from 0 to 2^53 - 1. The address is a multiple of 8. A load
 * sees all of one store, or nothing of it.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * const { ptr, u32 } = space;
 * const head = space.mmapSync(4096);
 * ptr.store(head, head + 64); // a list of two
 * u32.store(head + 64 + 8, 7);
 * console.log(u32.load(ptr.load(head) + 8), ptr.load(head + 64)); // 7 0
 * ```
 */
export interface PointerAccess extends ValueAccess {
  atomicLoad(address: number): number;
  atomicStore(address: number, value: number): void;
  atomicExchange(address: number, value: number): number;
  atomicCompareExchange(address: number, expected: number, replacement: number): number;
}

/**
 * Typed access of every width. An AddressSpace has it for a thread of the CPU, and a kernel gets it
 * on a device. So a function that takes it runs on both.
 *
 * @example
 * ```ts
 * import { AddressSpace, type TypedAccess } from "hmm-ts";
 *
 * function sum(memory: TypedAccess, start: number, end: number): number {
 *   let total = 0;
 *   for (let p = start; p < end; p += 8) total += memory.f64.load(p);
 *   return total;
 * }
 *
 * using space = AddressSpace.createSync();
 * const p = space.mmapSync(4096);
 * space.f64.store(p, 1.5);
 * console.log(sum(space, p, p + 4096)); // 1.5
 * ```
 */
export interface TypedAccess {
  readonly u8: IntegerAccess;
  readonly i8: IntegerAccess;
  readonly u16: IntegerAccess;
  readonly i16: IntegerAccess;
  readonly u32: IntegerAccess;
  readonly i32: IntegerAccess;
  readonly f32: ValueAccess;
  readonly f64: ValueAccess;
  readonly u64: IntegerAccess<bigint>;
  readonly i64: IntegerAccess<bigint>;
  readonly ptr: PointerAccess;
}
