/**
 * @module devices/software/software-device
 * The software device as its owner uses it: made on an address space, given kernels to run and
 * commands, disposed of. All of it is the public face; what a device is made of stands in
 * device-record.ts.
 */

import {
  DEVICE_COHERENT,
  DEVICE_PRIVATE,
  EBADF,
  EINVAL,
  HmmError,
  PAGE_BYTES,
  anAddressSpace,
  beginStacksAtCalls,
  checkArgument,
  mapInserted,
  type AddressSpace,
  type DriverHandle,
  type DriverThread,
  type Task,
  ENOSPC,
} from "../../driver-interface.ts";
import { DeviceFault } from "../device-fault.ts";
import type {
  CommandResult,
  Device,
  DeviceKernel,
  DeviceStats,
  DispatchOptions,
  DispatchResult,
  SnapshotPage,
} from "../driver.ts";
import {
  type DeviceAdvice,
  type SoftwareDeviceOptions,
  type SoftwareKernelOptions,
  checkBytes,
  checkPages,
  deviceOptions,
  dispatchArguments,
  kernelOptions,
  placementAdvice,
  refusalOf,
} from "./options.ts";
import type { CommandOutcome } from "./command.ts";
import { COMMANDS, type CommandName } from "./commands.ts";
import { snapshotPages } from "./snapshot-command.ts";
import { countExclusive } from "./exclusive-command.ts";
import { takeAdvice } from "../service/device.ts";
import { emptyOwnMemory, failNextAllocation } from "../service/own-memory.ts";
import { readStats, statsBetween } from "../service/device-stats.ts";
import { DeviceThreads, lostDevice } from "./device-threads.ts";
import { beginDispatch } from "./dispatch-state.ts";
import { type OwnedDevice, closeOwned, openOwned } from "./owned-device.ts";

const OWN_TYPES = {
  remote: undefined,
  private: DEVICE_PRIVATE,
  coherent: DEVICE_COHERENT,
} as const;

/** Of a device: what a dispatch of it hands over. */
type RunOrder = Omit<Parameters<DeviceThreads["run"]>[0], "machine">;

class SoftwareKernel implements DeviceKernel {
  readonly #options: ReturnType<typeof kernelOptions>;
  readonly #run: (order: RunOrder) => Promise<DispatchResult>;

  static {
    beginStacksAtCalls(this);
  }

  constructor(
    options: ReturnType<typeof kernelOptions>,
    run: (order: RunOrder) => Promise<DispatchResult>,
  ) {
    this.#options = options;
    this.#run = run;
  }

  async dispatch(items: number, options: DispatchOptions = {}): Promise<DispatchResult> {
    const args = dispatchArguments(items, options);
    return await this.#run({ kind: "run", ...this.#options, items, args });
  }
}

/**
 * A device made of Workers, with a page table and memory of its own, that follows the same pointers
 * as the CPU.
 *
 * @example
 * ```ts
 * import { AddressSpace, SoftwareDevice } from "hmm-ts";
 *
 * await using space = await AddressSpace.create({ ramBytes: 2 ** 24 });
 * const address = await space.mmap(4096);
 * await using device = await SoftwareDevice.create(space, { memoryBytes: 2 ** 20, threads: 2 });
 * const module = new URL("./square-kernel.js", import.meta.url);
 * const kernel = device.kernel({ module, exportName: "square" });
 * await kernel.dispatch(1000, { args: [address] });
 * console.log(space.u32.load(address + 4 * 999)); // 998001
 * ```
 *
 * The kernel's module:
 *
 * ```ts file=square-kernel.ts
 * import type { TypedAccess } from "hmm-ts";
 *
 * type Args = readonly number[];
 *
 * export function square(memory: TypedAccess, item: number, [numbers = 0]: Args): void {
 *   memory.u32.store(numbers + 4 * item, item * item);
 * }
 * ```
 */
export class SoftwareDevice implements Device<SoftwareKernelOptions> {
  static {
    beginStacksAtCalls(this);
  }

  /** The name that it was created with, for reports. */
  readonly name: string;
  readonly #space: AddressSpace;
  readonly #driver: DriverThread;
  #adoptionsSent = -1;
  readonly #owned: OwnedDevice;
  readonly #threads: DeviceThreads;
  /** Whether its Workers are the program's, and may serve kernels. */
  readonly #servesKernels: boolean;
  /** The last dispatch that was asked for: the next one begins when it has ended. */
  #lastDispatch: Promise<unknown> = Promise.resolve();
  /** Commands under way. */
  readonly #commands = new Set<Promise<unknown>>();
  #disposal: Promise<void> | undefined;
  #finalStats: DeviceStats | undefined;

  private constructor(
    space: AddressSpace,
    owned: OwnedDevice,
    threads: DeviceThreads,
    { name, servesKernels }: { readonly name: string; readonly servesKernels: boolean },
  ) {
    this.name = name;
    this.#servesKernels = servesKernels;
    this.#space = space;
    this.#driver = owned.driver;
    this.#owned = owned;
    this.#threads = threads;
  }

  /**
   * Makes a device on `space`, with its Workers running. Rejects with HmmError EINVAL, ENOMEM (heap
   * or host), EMFILE. Its kernels need the space, and its commands also this object: EBADF after
   * its end.
   */
  static async create(
    space: AddressSpace,
    options: SoftwareDeviceOptions,
  ): Promise<SoftwareDevice> {
    checkArgument(refusalOf("device"), "the space", space, anAddressSpace);
    const { memoryBytes, memory, threads, name, faultTimeoutMs, worker } = deviceOptions(options);
    const ownType = OWN_TYPES[memory];
    const owned = await openOwned(space, { memoryBytes, ownType, threads, faultTimeoutMs });
    try {
      const { handle } = owned.driver;
      const started = await DeviceThreads.start(owned.record, handle, { name, worker });
      return new SoftwareDevice(space, owned, started, {
        name,
        servesKernels: worker !== undefined,
      });
    } catch (error) {
      await closeOwned(owned);
      throw error;
    }
  }

  /**
   * The device's number on its machine, from 1 on: `space.smaps()` names it by that.
   */
  get number(): number {
    return this.#owned.record.device.serial;
  }

  /** Names a kernel. Whether it exists, and is one, is found out by the first dispatch. */
  kernel(options: SoftwareKernelOptions): DeviceKernel {
    return new SoftwareKernel(kernelOptions(options, this.#servesKernels), async (order) => {
      this.#check("dispatch");
      const dispatch = this.#lastDispatch.then(() => this.#run(order));
      this.#lastDispatch = dispatch.catch(() => {});
      return await dispatch;
    });
  }

  async stats(): Promise<DeviceStats> {
    return this.statsSync();
  }

  statsSync(): DeviceStats {
    return this.#finalStats ?? readStats(this.#owned.record.device);
  }

  async read(address: number, into: Uint8Array): Promise<CommandResult> {
    checkBytes("read", address, into);
    return await this.#command("read", address, into.length, into);
  }

  async write(address: number, from: Uint8Array): Promise<CommandResult> {
    checkBytes("write", address, from);
    return await this.#command("write", address, from.length, from);
  }

  /**
   * Makes pages of private memory the device's own: moves them to its memory, as far as that can be
   * done, and evicts others when it is full. Pages that are pinned by a view, shared, under way, or
   * some device's alone (`makeExclusive`) stay where they are. `pages` of the result: how many of
   * the range are the device's own then. `address` is a multiple of 4096. Rejects with DeviceFault
   * EINVAL (a hole, or an unreadable or a user's buffer's mapping; what lies before it has been
   * moved), HmmError EINVAL (`memory` is `"remote"`).
   */
  async migrate(address: number, lengthBytes: number): Promise<CommandResult> {
    return await this.#ownCommand("migrate", address, lengthBytes);
  }

  /**
   * Brings pages that are the device's own back to RAM. `pages` of the result: how many. Rejects
   * with DeviceFault ENOMEM (RAM is used up; the rest stays on the device), and as {@link migrate}.
   */
  async migrateBack(address: number, lengthBytes: number): Promise<CommandResult> {
    return await this.#ownCommand("migrateBack", address, lengthBytes);
  }

  /**
   * Brings pages to the device before its kernels touch them: as its own or as copies, as far as
   * there is room, and with translations. `pages` of the result: how many there are in the range.
   * `address` is a multiple of 4096. Rejects with DeviceFault at the first page that cannot be had.
   */
  async prefetch(address: number, lengthBytes: number): Promise<CommandResult> {
    checkPages("prefetch", address, lengthBytes);
    return await this.#command("prefetch", address, lengthBytes, new Uint8Array(0));
  }

  /**
   * Says where the pages of a range are to be when kernels touch them ({@link DeviceAdvice}). It
   * ends with the mapping. `address` is a multiple of 4096. Rejects with HmmError EINVAL, ENOMEM,
   * ENOSPC (341 ranges can be told apart; advise about larger ones).
   */
  async advise(address: number, lengthBytes: number, advice: DeviceAdvice): Promise<void> {
    checkPages("advise", address, lengthBytes);
    const number = placementAdvice(advice);
    this.#check("advise");
    const endPage = Math.ceil((address + lengthBytes) / PAGE_BYTES);
    const { device } = this.#owned.service;
    const errno = await this.#driver.runOnSpace(this.#space, () =>
      takeAdvice(device, address / PAGE_BYTES, endPage, number),
    );
    if (errno !== 0)
      throw new HmmError(
        errno,
        "advise",
        errno === ENOSPC
          ? "Cannot advise the device: there is advice for too many ranges; advise about larger ones"
          : "Cannot advise the device: the kernel heap is used up; create the space with more heapBytes",
        address,
      );
  }

  /**
   * Brings back every page that is the device's own, of whatever space. How many stay, since RAM is
   * used up.
   */
  async evictAll(): Promise<number> {
    this.#check("evict");
    const { machine } = this.#driver;
    return await this.#driver.runOnSpace(this.#space, () =>
      emptyOwnMemory(machine, this.#owned.record.device),
    );
  }

  /**
   * Maps memory of the device's driver into the space, as a mapping of a device file does: private,
   * readable and writable, zeroed pages that are there at once. Returns the address. No device
   * takes such pages as its own. Rejects with HmmError ENOMEM, EINVAL.
   */
  async mmap(lengthBytes: number): Promise<number> {
    this.#check("mmap");
    const { machine } = this.#driver;
    const address = await this.#driver.runOnSpace(this.#space, (mm) =>
      mapInserted(machine, mm, lengthBytes),
    );
    if (address >= 0) return address;
    const why = address === EINVAL ? "give a length above 0" : "unmap something, or map less";
    throw new HmmError(address, "mmap", `Cannot map memory of the device's driver: ${why}`);
  }

  /**
   * For tests: the next allocation of a page, or of a huge page, by `migrate` or `migrateBack`
   * fails. A huge page is then moved as small ones; a small one stays where it is.
   */
  failNextAllocation(): void {
    this.#check("failNextAllocation");
    failNextAllocation(this.#owned.record.device);
  }

  /**
   * Makes pages of private memory in RAM the device's alone, for atomics across its bus: whoever
   * else touches one, takes it away again. Rejects with DeviceFault EPERM, EFAULT, EOPNOTSUPP
   * (shared memory), EBUSY (pinned by a view, or others touch it all the time); the pages before
   * are the device's alone then. `address` is a multiple of 4096.
   */
  async makeExclusive(address: number, lengthBytes: number): Promise<CommandResult> {
    checkPages("makeExclusive", address, lengthBytes);
    return await this.#command("exclusive", address, lengthBytes, new Uint8Array(0));
  }

  /** How many pages of a range are the device's alone now (`makeExclusive`). */
  async exclusivePages(address: number, lengthBytes: number): Promise<number> {
    checkPages("exclusivePages", address, lengthBytes);
    this.#check("exclusivePages");
    const endPage = Math.ceil((address + lengthBytes) / PAGE_BYTES);
    const { device } = this.#owned.service;
    return await this.#driver.runOnSpace(this.#space, () =>
      countExclusive(device, address / PAGE_BYTES, endPage),
    );
  }

  async snapshot(address: number, lengthBytes: number): Promise<SnapshotPage[]> {
    checkPages("snapshot", address, lengthBytes);
    const bytes = new Uint8Array(Math.ceil(lengthBytes / PAGE_BYTES));
    await this.#command("snapshot", address, lengthBytes, bytes);
    return snapshotPages(bytes);
  }

  /**
   * Ends the device: a running dispatch is given up (ECANCELED), commands under way end first, its
   * Workers leave. Doing it again does nothing.
   */
  [Symbol.asyncDispose](): Promise<void> {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  async #ownCommand(
    name: "migrate" | "migrateBack",
    address: number,
    lengthBytes: number,
  ): Promise<CommandResult> {
    checkPages(name, address, lengthBytes);
    if (this.#owned.record.device.ownType === 0)
      throw refusalOf(name)(
        'the device has no pages of its own; create it with memory "private" or "coherent"',
      );
    return await this.#command(name, address, lengthBytes, new Uint8Array(0));
  }

  async #command(
    name: CommandName,
    address: number,
    lengthBytes: number,
    bytes: Uint8Array,
  ): Promise<CommandResult> {
    this.#check(name);
    if (lengthBytes === 0) return { pages: 0, faults: 0 };
    const command = COMMANDS[name];
    const request = { address, lengthBytes, bytes };
    const run = (): Task<CommandOutcome> => command.run(this.#owned.service, request);
    const running = this.#driver.runOnMemory(this.#space, command.access, address, run);
    this.#commands.add(running);
    let outcome: CommandOutcome;
    try {
      outcome = await running;
    } finally {
      this.#commands.delete(running);
    }
    const { errno, page, pages, faults } = outcome;
    if (errno === 0) return { pages, faults };
    throw new DeviceFault({
      errno,
      address: Math.max(address, page * PAGE_BYTES),
      access: command.access,
      item: undefined,
    });
  }

  async #run(order: RunOrder): Promise<DispatchResult> {
    this.#check("dispatch");
    if (this.#threads.areLost) throw lostDevice();
    const before = readStats(this.#owned.record.device);
    const startMs = performance.now();
    beginDispatch(this.#owned.record);
    const failure =
      order.items === 0
        ? undefined
        : await this.#threads.run({ ...order, machine: this.#newHandle() });
    // The end of the device ends a thread where it is, if its kernel does not let go.
    const isEnding = this.#disposal !== undefined;
    if (failure !== undefined && !(isEnding && failure.code === "ENODEV")) throw failure;
    const seconds = (performance.now() - startMs) / 1000;
    if (isEnding)
      throw new HmmError(
        "ECANCELED",
        "dispatch",
        "Cannot finish the dispatch: the device was disposed of; await the dispatch before that",
      );
    const { faults, batches, bytesToDevice, evictions, invalidations, retries, replays } =
      statsBetween(before, readStats(this.#owned.record.device));
    const { items } = order;
    return {
      items,
      seconds,
      faults,
      batches,
      bytesToDevice,
      evictions,
      invalidations,
      retries,
      replays,
    };
  }

  /** The handle, unless the threads have one with the same sections: to pass it on takes 10 us. */
  #newHandle(): DriverHandle | undefined {
    const { adoptions } = this.#driver.machine.ram.sections;
    if (adoptions === this.#adoptionsSent) return undefined;
    this.#adoptionsSent = adoptions;
    return this.#driver.handle;
  }

  #check(syscall: string): void {
    if (this.#disposal === undefined) return;
    throw new HmmError(
      EBADF,
      syscall,
      `Cannot ${syscall} on the device: it has been disposed of; make another`,
    );
  }

  async #dispose(): Promise<void> {
    await this.#threads.leave();
    await Promise.allSettled([this.#lastDispatch, ...this.#commands]);
    this.#finalStats = readStats(this.#owned.record.device);
    await closeOwned(this.#owned);
  }
}
