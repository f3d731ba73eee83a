/**
 * @module space/view
 * A range of an address space as typed arrays over the frames themselves, at the speed of any typed
 * array, until it is disposed of. mm/view/view-hold.ts says what a view holds and forbids
 * meanwhile; here is its life in this thread.
 *
 * A view outlives the AddressSpace object that opened it (L6 of space-hold.ts). When its thread
 * dies, the reaper closes it. JavaScript cannot revoke a typed array: one that came from a view
 * must not be used after the view was disposed of, for its frames may have other users then.
 */

import type { Mm } from "../mm/mm-struct.ts";
import { mayBlock } from "../sync/atomics.ts";
import { beginStacksAtCalls } from "../sync/call-place.ts";
import { EBADF, EINVAL, EPERM } from "../sync/errno.ts";
import { HmmError } from "../sync/errors.ts";
import { hasPanicked } from "../sync/death/panic.ts";
import { runAsync } from "../sync/runners/run-async.ts";
import { runBlocking } from "../sync/runners/run-blocking.ts";
import type { Task } from "../sync/tasks/task.ts";
import { type ArgumentRule, checkArgument, ruleOf } from "../sync/argument-rules.ts";
import { customFailure, refusalBy } from "./failures.ts";
import type { MachineSeat } from "./machine-seat.ts";
import { requireBlocking } from "./requirements.ts";
import { type OpenView, type ViewMode, closeView, openView } from "./view-tasks.ts";

export type { ViewMode } from "./view-tasks.ts";

/**
 * The constructor of a typed array, such as `Float32Array`.
 *
 * @example
 * ```ts
 * import { AddressSpace, type TypedArrayConstructor } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * const p = space.mmapSync(4096);
 * function sum<T extends Iterable<number>>(type: TypedArrayConstructor<T>): number {
 *   using view = space.viewSync(p, 16, "read");
 *   return Array.from(view.as(type)).reduce((total, value) => total + value, 0);
 * }
 * console.log(sum(Float32Array), sum(Uint8Array)); // 0 0
 * ```
 */
export interface TypedArrayConstructor<T> {
  /** Bytes that one element takes. */
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: SharedArrayBuffer, byteOffset: number, length: number): T;
}

const ARRAY_TYPE: ArgumentRule = ruleOf(
  "a typed array's constructor, such as Float32Array",
  (value) => {
    const { BYTES_PER_ELEMENT: bytes } = (value ?? {}) as Partial<TypedArrayConstructor<unknown>>;
    return typeof value === "function" && Number.isInteger(bytes) && Number(bytes) > 0;
  },
);

function strayStore(view: number, address: number): HmmError {
  const [start, byte] = [view, address].map((number) => `0x${number.toString(16)}`);
  return new HmmError(
    EPERM,
    "view",
    `Cannot trust the view at ${start}, opened for "read": the byte at ${byte} was changed by a store through its typed array or another one, which passes every protection and is not seen by devices; open the view with "write" to store through it, or use write()`,
    address,
  );
}

// Set by the class, whose constructor is its own.
let makeView: (seat: MachineSeat, open: OpenView, address: number, mode: ViewMode) => View;

/**
 * A range of an address space as typed arrays, from `AddressSpace.view`. Dispose of it when done:
 * its pages stay where they are until then, and a write view keeps devices out.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * await using space = await AddressSpace.create({ ramBytes: 1 << 20 });
 * const p = await space.mmap(4096);
 * {
 *   using view = await space.view(p, 16, "write");
 *   view.as(Float32Array).set([1, 2, 3, 4]);
 * }
 * console.log(space.f32.load(p + 8)); // 3
 * ```
 */
export class View implements Disposable, AsyncDisposable {
  static {
    beginStacksAtCalls(this, ["open"]);
  }

  /** Address of the first byte. */
  readonly address: number;
  /** Length in bytes. */
  readonly lengthBytes: number;
  /** Whether the program may store through it. */
  readonly mode: ViewMode;
  readonly #seat: MachineSeat;
  readonly #open: OpenView;
  #closing: Promise<void> | undefined;

  static {
    makeView = (seat, open, address, mode) => new View(seat, open, address, mode);
  }

  private constructor(seat: MachineSeat, open: OpenView, address: number, mode: ViewMode) {
    this.#seat = seat;
    this.#open = open;
    this.address = address;
    this.lengthBytes = open.bytes.length;
    this.mode = mode;
    seat.use();
  }

  /** The range's bytes, over the frames. Throws HmmError EBADF after the view was disposed of. */
  get bytes(): Uint8Array & { readonly buffer: SharedArrayBuffer } {
    if (this.#closing !== undefined) {
      throw customFailure(
        "view",
        EBADF,
        "the view has been disposed of; open another",
        this.address,
      );
    }
    return this.#open.bytes;
  }

  /**
   * The range as a typed array, such as `view.as(Float32Array)`. Throws HmmError EINVAL unless
   * address and length are multiples of the element's size, EBADF after the view was disposed of.
   */
  as<T>(arrayType: TypedArrayConstructor<T>): T {
    const { buffer, byteOffset } = this.bytes;
    checkArgument(refusalBy("view", this.address), "the array type", arrayType, ARRAY_TYPE);
    const widthBytes = arrayType.BYTES_PER_ELEMENT;
    if (byteOffset % widthBytes !== 0 || this.lengthBytes % widthBytes !== 0) {
      const text = `address and length (${this.lengthBytes}) are not multiples of ${widthBytes} bytes; open a view of an aligned range`;
      throw customFailure("view", EINVAL, text, this.address);
    }
    return new arrayType(buffer, byteOffset, this.lengthBytes / widthBytes);
  }

  /**
   * Closes the view. To dispose of it again does nothing. In a debug build it rejects with HmmError
   * EPERM where a stray store was made through a read view ({@link ViewMode}); the view is closed
   * all the same.
   */
  dispose(): Promise<void> {
    if (this.#closing !== undefined) return this.#closing;
    const closing = this.#closeAsync();
    // A second call waits for the end too, but a stray store is reported once.
    this.#closing = closing.catch(() => {});
    return closing;
  }

  /**
   * As {@link View.dispose}, blocking. Throws HmmError EOPNOTSUPP where the thread may not block.
   */
  disposeSync(): void {
    if (this.#closing !== undefined) return;
    requireBlocking("view");
    this.#closing = Promise.resolve();
    const { machine } = this.#seat;
    let stray: number | undefined;
    if (!hasPanicked(machine.memory))
      stray = runBlocking(machine.memory, this.#closeTask(), "dispose");
    this.#seat.drop();
    if (stray !== undefined) throw strayStore(this.address, stray);
  }

  /**
   * At the end of a `using` block. Where the thread may not block, the view is closed in the
   * background.
   */
  [Symbol.dispose](): void {
    if (mayBlock()) this.disposeSync();
    else void this.dispose();
  }

  /** At the end of an `await using` block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #closeAsync(): Promise<void> {
    const { machine } = this.#seat;
    let stray: number | undefined;
    if (!hasPanicked(machine.memory))
      stray = await runAsync(machine.memory, this.#closeTask(), "dispose");
    this.#seat.drop();
    if (stray !== undefined) throw strayStore(this.address, stray);
  }

  #closeTask(): Task<number | undefined> {
    return closeView(this.#seat.machine, this.#open, this.address);
  }
}

/** Opens a view of a space that the caller keeps alive. */
export function* openViewOf(
  seat: MachineSeat,
  mm: Mm,
  address: number,
  lengthBytes: number,
  mode: ViewMode,
): Task<View> {
  return makeView(
    seat,
    yield* openView(seat.machine, mm, address, lengthBytes, mode),
    address,
    mode,
  );
}
