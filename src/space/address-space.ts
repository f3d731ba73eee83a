/**
 * @module space/address-space
 * The public face of an address space. One object is one thread's hold of one space, from `create`,
 * `attach` or `fork` until it is disposed of. space-hold.ts has the rules of its lifetime,
 * operations.ts the operations.
 *
 * Each operation has two forms with one meaning. One returns a promise and never blocks the thread;
 * its `...Sync` twin blocks. Both throw HmmError (the first as a rejection) with `code` (such as
 * "ENOMEM"), `syscall` and `address`.
 */

import { type ThreadPort, aPort } from "../host/section-channel.ts";
import type {
  IntegerAccess,
  PointerAccess,
  StoreSections,
  TypedAccess,
  ValueAccess,
} from "../mmu/access.ts";
import { TypedMemory } from "../mmu/typed-memory.ts";
import { CpuTranslator } from "../mm/fault/cpu-fault.ts";
import { aFunction, checkArgument } from "../sync/argument-rules.ts";
import { mayBlock } from "../sync/atomics.ts";
import { beginStacksAtCalls } from "../sync/call-place.ts";
import { runAsync } from "../sync/runners/run-async.ts";
import { runBlocking } from "../sync/runners/run-blocking.ts";
import type { Task } from "../sync/tasks/task.ts";
import { type Syscall, refusalBy } from "./failures.ts";
import { type AddressSpaceHandle, makeHandle, parseHandle } from "./handle.ts";
import { MachineSeat } from "./machine-seat.ts";
import { requireBlocking, requireSharedMemory } from "./requirements.ts";
import {
  attachTask,
  createTask,
  forkTask,
  madviseTask,
  mmapTask,
  mprotectTask,
  mremapTask,
  msyncTask,
  munmapTask,
} from "./operations.ts";
import {
  type AddressSpaceOptions,
  type Advice,
  type MmapOptions,
  type MremapOptions,
  type Protection,
  adviceNumber,
  mmapRequest,
  mremapRequest,
  protectionBits,
  seatOptions,
} from "./options.ts";
import { type SpaceHold, endedFailure } from "./space-hold.ts";
import { setInside } from "./space-inside.ts";
import { SpaceInspection } from "./space-inspection.ts";
import { checkTransfer, transfer } from "./transfer.ts";
import { type View, type ViewMode, openViewOf } from "./view.ts";

/**
 * A virtual address space, shared by CPU threads and devices. Addresses are JavaScript numbers;
 * pages have 4096 bytes; lengths are in bytes and rounded up to whole pages, as Linux does.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * await using space = await AddressSpace.create({ ramBytes: 16 * 2 ** 20 });
 * const p = await space.mmap(64 * 2 ** 20); // more than RAM: frames come when pages are touched
 * space.u32.store(p + 1024, 42);
 * await using child = await space.fork();
 * child.u32.store(p + 1024, 43); // copy-on-write
 * console.log(space.u32.load(p + 1024), child.u32.load(p + 1024)); // 42 43
 * ```
 */
export class AddressSpace
  extends SpaceInspection
  implements TypedAccess, StoreSections, Disposable, AsyncDisposable
{
  static {
    beginStacksAtCalls(this, ["run", "runSync", "runOnMemory", "retainThread", "machine", "mm"]);
  }

  /**
   * Loads and stores of single values, a few nanoseconds each: `space.u32.load(address)`,
   * `.store(address, value)`, and for integers `atomicLoad`, `atomicStore`, `atomicAdd` and their
   * like, by the same names as in a device's kernel. Addresses are multiples of the width (else
   * HmmError EINVAL). An access that no mapping allows throws SegmentationFault.
   */
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
  /** 64-bit integers, as bigints. */
  readonly u64: IntegerAccess<bigint, BigUint64Array>;
  /** Signed integers of 64 bits, as BigInt, at multiples of 8. */
  readonly i64: IntegerAccess<bigint, BigInt64Array>;
  /** Addresses, 8 bytes each. */
  readonly ptr: PointerAccess;

  readonly #seat: MachineSeat;
  readonly #hold: SpaceHold;
  readonly #translator: CpuTranslator;
  readonly #access: TypedMemory;

  /** Owns the hold, and one use of the seat, from now on. */
  private constructor(seat: MachineSeat, hold: SpaceHold) {
    const translator = new CpuTranslator(seat.machine, hold.mm, hold);
    super(hold, translator);
    this.#seat = seat;
    this.#hold = hold;
    setInside(this, { seat, hold });
    this.#translator = translator;
    this.#access = new TypedMemory(seat.machine, hold.mm.shootdown, this.#translator);
    const { u8, i8, u16, i16, u32, i32, f32, f64, u64, i64, ptr } = this.#access;
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
  }

  /**
   * Makes a machine and an empty address space on it. Throws HmmError EINVAL for bad options,
   * ENOMEM when the host or the heap has no room.
   */
  static async create(options: AddressSpaceOptions = {}): Promise<AddressSpace> {
    requireSharedMemory("create");
    const { sizes, limits } = seatOptions(options);
    const seat = MachineSeat.create(sizes);
    return await AddressSpace.#openAsync(seat, createTask(seat, limits), "create");
  }

  /** As {@link AddressSpace.create}, blocking. */
  static createSync(options: AddressSpaceOptions = {}): AddressSpace {
    requireBlocking("create");
    const { sizes, limits } = seatOptions(options);
    const seat = MachineSeat.create(sizes);
    return AddressSpace.#openSync(seat, createTask(seat, limits), "create");
  }

  /**
   * This thread's object for an address space whose handle another thread has sent. Throws HmmError
   * EINVAL for anything but a handle, ESTALE when the space is gone, EMFILE when the machine has 64
   * threads.
   */
  static async attach(handle: AddressSpaceHandle): Promise<AddressSpace> {
    requireSharedMemory("attach");
    const { machine, machineId, space } = parseHandle(handle);
    const seat = MachineSeat.attach(machine, machineId);
    return await AddressSpace.#openAsync(seat, attachTask(seat, space), "attach");
  }

  /** As {@link AddressSpace.attach}, blocking. */
  static attachSync(handle: AddressSpaceHandle): AddressSpace {
    requireBlocking("attach");
    const { machine, machineId, space } = parseHandle(handle);
    const seat = MachineSeat.attach(machine, machineId);
    return AddressSpace.#openSync(seat, attachTask(seat, space), "attach");
  }

  static async #openAsync(
    seat: MachineSeat,
    task: Task<SpaceHold>,
    syscall: Syscall,
  ): Promise<AddressSpace> {
    seat.use();
    try {
      return new AddressSpace(seat, await runAsync(seat.machine.memory, task, syscall));
    } catch (error) {
      seat.drop();
      throw error;
    }
  }

  static #openSync(seat: MachineSeat, task: Task<SpaceHold>, syscall: Syscall): AddressSpace {
    seat.use();
    try {
      return new AddressSpace(seat, runBlocking(seat.machine.memory, task, syscall));
    } catch (error) {
      seat.drop();
      throw error;
    }
  }

  /**
   * Names this space to other threads. It goes into `workerData` or a message, for {@link
   * AddressSpace.attach} in the other thread. It does not keep the space alive: the sender keeps an
   * object until the others have attached. Take a new handle after a buffer has been mapped.
   */
  get handle(): AddressSpaceHandle {
    this.#hold.requireOpen("attach");
    return makeHandle(this.#seat.machine.handle, this.#seat.machineId, this.#hold.place.number);
  }

  /**
   * Connects this thread with another one on the same machine, by a MessageChannel of which each
   * has one port. A buffer that one thread maps then reaches all threads that are connected,
   * directly or through others, with the next turn of their event loops. Browsers need this where a
   * thread maps buffers after others have attached; in Node threads find each other. The port must
   * not be used for anything else from now on. Throws HmmError EBADF.
   */
  connect(port: ThreadPort): void {
    this.#hold.requireOpen("connect");
    checkArgument(refusalBy("connect"), "the port", port, aPort);
    this.#seat.connect(port);
  }

  /**
   * Stores inside cost a fraction of what they cost outside: see {@link StoreSections}. Throws what
   * `use` throws, HmmError EINVAL if that returns a promise or an iterator, EBADF.
   */
  section<Result>(use: (memory: TypedAccess) => Result): Result {
    this.#hold.requireOpen("section");
    checkArgument(refusalBy("section"), "use", use, aFunction);
    return this.#access.section(use);
  }

  /**
   * Maps memory and returns its address. Fresh memory reads as zeros, that of a `source` as what
   * the source holds. Throws HmmError EINVAL, EACCES (a shared mapping to be written, of a source
   * that cannot be), ENOENT and others of a file that cannot be opened, EEXIST (fixed: "noreplace"
   * where something is mapped), ENOMEM (no room, a limit, or no memory for the bookkeeping; a lack
   * of RAM is noticed only when pages are touched).
   */
  async mmap(lengthBytes: number, options: MmapOptions = {}): Promise<number> {
    const { request, mapped } = mmapRequest(lengthBytes, options);
    return await this.#hold.run("mmap", () => mmapTask(this.#hold, request, mapped));
  }

  /** As {@link AddressSpace.mmap}, blocking. */
  mmapSync(lengthBytes: number, options: MmapOptions = {}): number {
    const { request, mapped } = mmapRequest(lengthBytes, options);
    return this.#hold.runSync("mmap", () => mmapTask(this.#hold, request, mapped));
  }

  /**
   * Unmaps a range. Parts of it may be unmapped already. With the last mapping of a source that
   * this thread has mapped, what was stored is written back; if that fails (EIO), the range is
   * unmapped, and the data are kept for who maps the source again. Throws HmmError EINVAL, or
   * ENOMEM when one mapping would become two and there is no room for the second: then nothing has
   * changed.
   */
  munmap(address: number, lengthBytes: number): Promise<void> {
    return this.#hold.run("munmap", () => munmapTask(this.#hold, address, lengthBytes));
  }

  /** As {@link AddressSpace.munmap}, blocking. */
  munmapSync(address: number, lengthBytes: number): void {
    this.#hold.runSync("munmap", () => munmapTask(this.#hold, address, lengthBytes));
  }

  /**
   * Writes what was stored in shared mappings of sources back to them, and waits until it is
   * written; also what was stored through other mappings of the same pages. Throws HmmError EINVAL,
   * ENOMEM (part of the range is not mapped; the rest has been written), EIO or what the source
   * said (such as ENOSPC): then the data are kept, and the next call tries again. A length of 0
   * does nothing.
   */
  msync(address: number, lengthBytes: number): Promise<void> {
    return this.#hold.runInTurn("msync", () => msyncTask(this.#hold, address, lengthBytes));
  }

  /**
   * As {@link AddressSpace.msync}, blocking. Throws EDEADLK where the source is code of this thread
   * that answers by a promise.
   */
  msyncSync(address: number, lengthBytes: number): void {
    this.#hold.runSync("msync", () => msyncTask(this.#hold, address, lengthBytes));
  }

  /**
   * Changes what a range's pages may be used for; their contents stay. Throws HmmError EINVAL, or
   * ENOMEM (part of the range is not mapped, or no memory): then nothing has changed. A length of 0
   * does nothing.
   */
  async mprotect(address: number, lengthBytes: number, protection: Protection): Promise<void> {
    const bits = protectionBits("mprotect", protection);
    await this.#hold.run("mprotect", () => mprotectTask(this.#hold, address, lengthBytes, bits));
  }

  /** As {@link AddressSpace.mprotect}, blocking. */
  mprotectSync(address: number, lengthBytes: number, protection: Protection): void {
    const bits = protectionBits("mprotect", protection);
    this.#hold.runSync("mprotect", () => mprotectTask(this.#hold, address, lengthBytes, bits));
  }

  /**
   * Resizes or moves a mapping with its contents; returns its address. Shared memory keeps the size
   * that it was mapped with: a mapping may grow beyond it, but an access there is a
   * SegmentationFault with signal "SIGBUS". An old length of 0, with `mayMove`, maps the same
   * shared memory a second time. A move with `to` to the same length moves all mappings of the
   * range, and its holes. Throws HmmError EINVAL, EFAULT (nothing is mapped at its start, or what
   * grows or moves is not inside one mapping), ENOMEM, EBUSY (a write view of it is open); then
   * nothing has changed.
   */
  async mremap(
    address: number,
    oldLengthBytes: number,
    newLengthBytes: number,
    options: MremapOptions = {},
  ): Promise<number> {
    const request = mremapRequest(address, oldLengthBytes, newLengthBytes, options);
    return await this.#hold.run("mremap", () => mremapTask(this.#hold, request));
  }

  /** As {@link AddressSpace.mremap}, blocking. */
  mremapSync(
    address: number,
    oldLengthBytes: number,
    newLengthBytes: number,
    options: MremapOptions = {},
  ): number {
    const request = mremapRequest(address, oldLengthBytes, newLengthBytes, options);
    return this.#hold.runSync("mremap", () => mremapTask(this.#hold, request));
  }

  /**
   * Says how a range will be used: see {@link Advice}. Throws HmmError EINVAL (also of a mapping
   * that cannot take it), ENOMEM (part of the range is not mapped; the rest has been advised, but
   * populating ends there), EAGAIN (no room for a further mapping); of populating also ENOMEM (no
   * RAM) and EFAULT (a page of a source cannot be had). A length of 0 does nothing.
   */
  async madvise(address: number, lengthBytes: number, advice: Advice): Promise<void> {
    const number = adviceNumber(advice);
    await this.#hold.runOnMemory("madvise", address, () =>
      madviseTask(this.#hold, address, lengthBytes, number),
    );
  }

  /** As {@link AddressSpace.madvise}, blocking. */
  madviseSync(address: number, lengthBytes: number, advice: Advice): void {
    const number = adviceNumber(advice);
    this.#hold.runOnMemorySync("madvise", address, () =>
      madviseTask(this.#hold, address, lengthBytes, number),
    );
  }

  /**
   * A copy of this space on the same machine: private memory is copied when either side writes,
   * shared memory stays shared. Throws HmmError ENOMEM.
   */
  fork(): Promise<AddressSpace> {
    return this.#hold.run("fork", () => this.#forkTask());
  }

  /** As {@link AddressSpace.fork}, blocking. */
  forkSync(): AddressSpace {
    return this.#hold.runSync("fork", () => this.#forkTask());
  }

  /**
   * Copies `into.length` bytes at `address` into `into`. Throws SegmentationFault at the first page
   * that may not be read; what lies before it has been copied. HmmError EINVAL if `into` is
   * transferred, or shrinks, before the promise has settled.
   */
  async read(address: number, into: Uint8Array): Promise<void> {
    checkTransfer("read", address, into);
    await this.#hold.runOnMemory("read", address, () =>
      transfer(this.#seat.machine, this.#hold.mm, address, into, false),
    );
  }

  /** As {@link AddressSpace.read}, blocking. */
  readSync(address: number, into: Uint8Array): void {
    checkTransfer("read", address, into);
    this.#hold.runOnMemorySync("read", address, () =>
      transfer(this.#seat.machine, this.#hold.mm, address, into, false),
    );
  }

  /**
   * Copies `from` to `address`. Throws SegmentationFault at the first page that may not be written;
   * what lies before it has been written. HmmError EINVAL if `from` is transferred, or shrinks,
   * before the promise has settled.
   */
  async write(address: number, from: Uint8Array): Promise<void> {
    checkTransfer("write", address, from);
    await this.#hold.runOnMemory("write", address, () =>
      transfer(this.#seat.machine, this.#hold.mm, address, from, true),
    );
  }

  /** As {@link AddressSpace.write}, blocking. */
  writeSync(address: number, from: Uint8Array): void {
    checkTransfer("write", address, from);
    this.#hold.runOnMemorySync("write", address, () =>
      transfer(this.#seat.machine, this.#hold.mm, address, from, true),
    );
  }

  /**
   * Opens a range as typed arrays at full speed, until the view is disposed of. Throws HmmError
   * EINVAL, EFAULT (not mapped, or not with that right), EBUSY (its pages must be gathered and
   * another view or space uses some), ENOMEM (not so many frames in a row).
   *
   * Do not store through a view for "read", though nothing prevents it: such a store bypasses
   * `mprotect`, and leaves a device's copy of the page stale. Debug builds notice it ({@link
   * ViewMode}).
   */
  view(address: number, lengthBytes: number, mode: ViewMode): Promise<View> {
    const open = (): Task<View> =>
      openViewOf(this.#seat, this.#hold.mm, address, lengthBytes, mode);
    return this.#hold.runOnMemory("view", address, open);
  }

  /** As {@link AddressSpace.view}, blocking. */
  viewSync(address: number, lengthBytes: number, mode: ViewMode): View {
    const open = (): Task<View> =>
      openViewOf(this.#seat, this.#hold.mm, address, lengthBytes, mode);
    return this.#hold.runOnMemorySync("view", address, open);
  }

  /**
   * Ends this object's hold; the end of the last hold destroys the address space. Operations that
   * are under way end first. Every use of the object afterwards throws HmmError EBADF, but to
   * dispose of it again does nothing. Open views stay valid until they are disposed of themselves.
   */
  dispose(): Promise<void> {
    this.#closeAccess();
    return this.#hold.end();
  }

  /**
   * As {@link AddressSpace.dispose}, blocking. Where promise forms of operations are under way, the
   * hold ends in the background, after them.
   */
  disposeSync(): void {
    if (this.#hold.isEnding) return;
    requireBlocking("dispose");
    this.#closeAccess();
    this.#hold.endSync();
  }

  /**
   * At the end of a `using` block. Where the thread may not block, the hold ends in the background.
   */
  [Symbol.dispose](): void {
    if (mayBlock()) this.disposeSync();
    else void this.dispose();
  }

  /** At the end of an `await using` block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /**
   * The child's object is made inside the operation, while this object still keeps the thread on
   * the machine.
   */
  *#forkTask(): Task<AddressSpace> {
    const child = yield* forkTask(this.#hold);
    this.#seat.use();
    return new AddressSpace(this.#seat, child);
  }

  /** L5 of space-hold.ts. */
  #closeAccess(): void {
    this.#access.forget();
    this.#translator.close(() => endedFailure("access"));
  }
}
