/**
 * @module space/user-buffers
 * The user's own buffers that this thread has mapped. Each is a section of the machine's RAM, from
 * its first mapping to the end of its last one.
 *
 *   U1  A mapping of a buffer holds a count of the section's first frame (mm/vma/vma-map.ts), and
 *       so does `acquire`, until `release`. While the first frame is counted the section stays.
 *   U2  Only the thread that added a section raises that count from 0, or removes the section; so
 *       the two cannot happen at once. (Another thread copies a mapping that exists: then the count
 *       is above 0.)
 *
 * A SharedArrayBuffer is known by its object. Another thread that received the same memory in a
 * message has another object, and maps a further section over the same memory. That is harmless,
 * for such pages are never copied.
 */

import type { Machine } from "../memory/machine.ts";
import { PAGE_BYTES } from "../memory/ram.ts";
import { EINVAL, ENOMEM } from "../sync/errno.ts";
import { DONE, type Task } from "../sync/tasks/task.ts";

/**
 * A WebAssembly.Memory that was made with `shared: true`.
 *
 * @example
 * ```ts fragment
 * import { AddressSpace } from "hmm-ts";
 *
 * const memory = new WebAssembly.Memory({ initial: 16, maximum: 256, shared: true });
 * using space = AddressSpace.createSync();
 * // At address 0, so that the module's pointers are addresses.
 * space.mmapSync(memory.buffer.byteLength, { address: 0, fixed: "replace", buffer: memory });
 * ```
 */
export interface SharedWasmMemory {
  /** The memory itself: a SharedArrayBuffer. */
  readonly buffer: ArrayBufferLike;
}

/**
 * Pages of 4 KiB that a 32-bit WebAssembly.Memory can grow to. They get frame numbers at once, so
 * that it can grow in place.
 */
const WASM_PAGES_MAX = 2 ** 20;

/** The buffer of what the user wants to map, or undefined. */
function bufferOf(source: unknown): SharedArrayBuffer | undefined {
  if (source instanceof SharedArrayBuffer) return source;
  if (typeof source !== "object" || source === null) return undefined;
  const { buffer } = source as Partial<SharedWasmMemory>;
  return buffer instanceof SharedArrayBuffer && !ArrayBuffer.isView(source) ? buffer : undefined;
}

export class UserBuffers {
  readonly #machine: Machine;
  /** First frames of the sections that this thread added. */
  readonly #added = new Set<number>();
  /** A WebAssembly.Memory has a new buffer object after it grew. */
  readonly #byMemory = new WeakMap<object, number>();

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /**
   * The first frame of the buffer's section, in its present length, with a reference (U1). EINVAL
   * for what cannot be mapped, ENOMEM.
   */
  *acquire(source: SharedArrayBuffer | SharedWasmMemory): Task<number> {
    const buffer = bufferOf(source);
    if (buffer === undefined) return EINVAL;
    let basePfn = this.#find(source, buffer);
    if (basePfn !== 0 && (yield* this.#extend(basePfn, buffer)) !== 0) basePfn = 0;
    if (basePfn === 0) {
      basePfn = yield* this.#add(source, buffer);
      if (basePfn < 0) return basePfn;
    }
    yield* this.#machine.ram.refs.pageGet(basePfn);
    return basePfn;
  }

  /** Drops the reference of `acquire`. */
  *release(basePfn: number): Task<void> {
    yield* this.#machine.ram.refs.pagePut(basePfn);
    yield* this.sweep();
  }

  /** Removes sections that are not mapped any more. Cheap when this thread has added none. */
  sweep(): Task<void> {
    return this.#added.size === 0 ? DONE : this.#sweepAdded();
  }

  *#sweepAdded(): Task<void> {
    const { ram } = this.#machine;
    for (const basePfn of this.#added) {
      if (ram.refs.pageCount(basePfn) !== 0) continue;
      // EBUSY while a view of it is still open.
      if ((yield* ram.sections.remove(basePfn)) === 0) this.#added.delete(basePfn);
    }
  }

  #find(source: object, buffer: SharedArrayBuffer): number {
    const known = this.#machine.ram.sections.ofBuffer(buffer);
    if (known !== undefined) return known.basePfn;
    const before = this.#byMemory.get(source) ?? 0;
    return this.#added.has(before) ? before : 0;
  }

  *#extend(basePfn: number, buffer: SharedArrayBuffer): Task<number> {
    const pages = Math.floor(buffer.byteLength / PAGE_BYTES);
    if (pages <= this.#machine.ram.sections.of(basePfn).pages) return 0;
    return yield* this.#machine.ram.sections.extend(basePfn, buffer);
  }

  *#add(source: object, buffer: SharedArrayBuffer): Task<number> {
    const { ram } = this.#machine;
    yield* this.sweep();
    const isMemory = source !== buffer;
    let basePfn: number = isMemory ? yield* ram.sections.add(buffer, WASM_PAGES_MAX) : ENOMEM;
    if (basePfn === ENOMEM) basePfn = yield* ram.sections.add(buffer);
    if (basePfn < 0) return basePfn;
    this.#added.add(basePfn);
    if (isMemory) this.#byMemory.set(source, basePfn);
    return basePfn;
  }
}
