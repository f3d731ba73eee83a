/**
 * @module mmu/access
 * Single loads and stores, as a program sees them: the same two interfaces for CPU threads and for
 * the kernels of a device. The code is in i32-access.ts, from which the build makes all widths. The
 * protocol is in soft-tlb.ts.
 */

/** The typed arrays that values of this kind can be loaded into. */
export type RowOf<Value extends number | bigint> = Value extends bigint
  ? BigInt64Array | BigUint64Array
  :
      | Uint8Array
      | Int8Array
      | Uint16Array
      | Int16Array
      | Uint32Array
      | Int32Array
      | Float32Array
      | Float64Array;

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
export interface ValueAccess<
  Value extends number | bigint = number,
  Row extends RowOf<Value> = RowOf<Value>,
> {
  /** Throws SegmentationFault where no mapping may be read. */
  load(address: number): Value;
  /**
   * Loads a record in one go: `count` elements (default: as many as fit) from `address` on into
   * `target`, from its element `targetOffset` (default 0) on. Sixteen words take half the time of
   * sixteen loads, and nothing is allocated.
   *
   * All elements that lie in one page come from one mapping of it: when the page is unmapped,
   * mapped anew, copied on a write or moved meanwhile, all of them are from before that, or all
   * from after. If the record crosses the border of a page, this holds for either piece. It is no
   * lock: what another thread stores at the same time may be seen in part, though each element is
   * whole.
   *
   * `count` may be 0, which touches nothing. HmmError EINVAL: `target` is too short, or the address
   * is no multiple of the width. SegmentationFault: a page of the record may not be read. After an
   * error the elements of `target` may hold anything.
   *
   * @example
   * ```ts
   * import { AddressSpace } from "hmm-ts";
   *
   * using space = AddressSpace.createSync();
   * const p = space.mmapSync(4096);
   * space.f64.store(p, 0.5);
   * space.u32.store(p + 8, 7);
   * // Fields of several widths: load words, and look at their bytes as what they are.
   * const words = new Uint32Array(4);
   * const doubles = new Float64Array(words.buffer);
   * space.u32.loadInto(p, words);
   * console.log(doubles[0], words[2]); // 0.5 7
   * ```
   */
  loadInto(address: number, target: Row, targetOffset?: number, count?: number): void;
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
export interface IntegerAccess<
  Value extends number | bigint = number,
  Row extends RowOf<Value> = RowOf<Value>,
> extends ValueAccess<Value, Row> {
  /** The value, read atomically. */
  atomicLoad(address: number): Value;
  /** Stores `value` atomically. */
  atomicStore(address: number, value: Value): void;
  /** Adds `value`, modulo the width. Returns the value from before. */
  atomicAdd(address: number, value: Value): Value;
  /** Subtracts `value`, modulo the width. Returns the value from before. */
  atomicSub(address: number, value: Value): Value;
  /** Keeps the bits that `value` has, too. Returns the value from before. */
  atomicAnd(address: number, value: Value): Value;
  /** Sets the bits of `value`. Returns the value from before. */
  atomicOr(address: number, value: Value): Value;
  /** Flips the bits of `value`. Returns the value from before. */
  atomicXor(address: number, value: Value): Value;
  /** Stores `value`. Returns the value from before. */
  atomicExchange(address: number, value: Value): Value;
  /** Stores `replacement` if the value is `expected`. Returns the value from before. */
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
export interface PointerAccess extends ValueAccess<number, Float64Array> {
  /** The address, read atomically. */
  atomicLoad(address: number): number;
  /** Stores the address `value` atomically. */
  atomicStore(address: number, value: number): void;
  /** Stores the address `value`. Returns the one from before. */
  atomicExchange(address: number, value: number): number;
  /** Stores `replacement` if the address is `expected`. Returns the one from before. */
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
}

/**
 * Scopes in which stores are cheap. A store alone tells other threads that it is under way, before
 * and after, which costs ten times the store. In a section that is told once, with its first store.
 * Loads and atomic operations are as outside.
 *
 * Whoever changes a mapping of the space (munmap, fork, mprotect, a device that fetches a page, a
 * store to a page that is shared since a fork) waits for the sections of other threads that have
 * stored. A section lets go for a moment at its next access, load or store. So a long one holds
 * nobody up as long as it accesses memory of this space. It must not block, nor compute for long
 * without an access. A debug build throws HmmError EDEADLK at the end of a section for which
 * somebody has waited for more than a second. Operations of the space may be called inside, and
 * other sections be opened; they let go, too.
 *
 * A section is no transaction: other threads see each store at once, and the stores before an error
 * stay.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * const p = space.mmapSync(2 ** 20);
 * const sum = space.section(({ f64, u32 }) => {
 *   for (let i = 0; i < 1000; i++) f64.store(p + 8 * i, i / 2);
 *   u32.store(p + 8000, 1000);
 *   return f64.load(p + 8) + f64.load(p + 8 * 999);
 * });
 * console.log(sum, space.u32.load(p + 8000)); // 500 1000
 * ```
 */
export interface StoreSections {
  /**
   * Calls `use` and returns what it returns. Its argument is typed access to this space; the space
   * object's own is the same and may be used inside as well. Throws what `use` throws, and HmmError
   * EINVAL if that returns a promise or an iterator: the section is over when the call returns.
   */
  section<Result>(use: (memory: TypedAccess) => Result): Result;
}
