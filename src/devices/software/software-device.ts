/**
 * @module devices/software/software-device
 * The software device as its owner uses it: made on an address space, given kernels to run and
 * commands, disposed of. All of it is the public face; what a device is made of stands in
 * device-record.ts.
 */

import { PAGE_BYTES } from "../../mm/pte.ts";
import { TASK_SIZE_PAGES } from "../../mmu/radix-table.ts";
import type { AddressSpace } from "../../space/address-space.ts";
import { EBADF } from "../../sync/errno.ts";
import { HmmError } from "../../sync/errors.ts";
import type { Task } from "../../sync/tasks/task.ts";
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
import { checkBytes, checkWhole, invalid } from "./arguments.ts";
import type { CommandOutcome } from "./command.ts";
import { COMMANDS, type CommandName } from "./commands.ts";
import { snapshotPages } from "./snapshot-command.ts";
import { THREADS_MAX } from "../service/device-record.ts";
import { readStats, statsBetween } from "../service/device-stats.ts";
import { DeviceThreads, lostDevice } from "./device-threads.ts";
import { FRAMES_MAX } from "../service/frames.ts";
import { beginDispatch } from "./dispatch-state.ts";
import { type OwnedDevice, closeOwned, openOwned } from "./owned-device.ts";

/** How a software device is made. */
export interface SoftwareDeviceOptions {
  /** Device memory in bytes, a multiple of 4096 up to 4 GiB: the budget for copies of pages. */
  readonly memoryBytes: number;
  /** Threads (Workers) that run its kernels, 1 to 32. Default 1. */
  readonly threads?: number;
  /** For messages and debuggers. Default "software device". */
  readonly name?: string;
  /**
   * How long a fault may be retried while the mapping goes on changing, until it fails with EBUSY.
   * Default 1000, as in Linux's drivers.
   */
  readonly faultTimeoutMs?: number;
}

/** Which function a kernel is. */
export interface SoftwareKernelOptions {
  /**
   * The ES module that exports it: `new URL("./my-kernel.js", import.meta.url)`. The device's
   * threads import it.
   */
  readonly module: URL;
  /**
   * Its name there. It is called with a TypedAccess, the number of the work item, and the
   * dispatch's arguments.
   */
  readonly exportName: string;
  /**
   * False for a kernel with effects outside of the address space: its work items are never begun
   * twice, and wait for each fault. Default true.
   */
  readonly mayReplay?: boolean;
}

/** Work items of one dispatch at most. */
const ITEMS_MAX: number = 2 ** 31 - 1;

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
  readonly name: string;
  readonly #space: AddressSpace;
  readonly #machine: AddressSpace["machine"];
  readonly #owned: OwnedDevice;
  readonly #threads: DeviceThreads;
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
    name: string,
  ) {
    this.name = name;
    this.#space = space;
    this.#machine = space.machine;
    this.#owned = owned;
    this.#threads = threads;
  }

  /**
   * Makes a device on `space`, with its Workers running. Rejects with HmmError EINVAL, ENOMEM (heap
   * or host), EMFILE. It outlives the AddressSpace object, but not the space.
   */
  static async create(
    space: AddressSpace,
    options: SoftwareDeviceOptions,
  ): Promise<SoftwareDevice> {
    const { memoryBytes, threads = 1, name = "software device", faultTimeoutMs = 1000 } = options;
    checkWhole("memoryBytes", memoryBytes, PAGE_BYTES, FRAMES_MAX * PAGE_BYTES, PAGE_BYTES);
    checkWhole("threads", threads, 1, THREADS_MAX, 1);
    checkWhole("faultTimeoutMs", faultTimeoutMs, 1, 2 ** 31 - 1, 1);
    const owned = await openOwned(space, { memoryBytes, threads, faultTimeoutMs });
    try {
      const started = await DeviceThreads.start(owned.record, space.handle, name);
      return new SoftwareDevice(space, owned, started, name);
    } catch (error) {
      await closeOwned(space.machine, owned);
      throw error;
    }
  }

  /** Names a kernel. Whether it exists, and is one, is found out by the first dispatch. */
  kernel(options: SoftwareKernelOptions): DeviceKernel {
    const { module, exportName, mayReplay = true } = options;
    const url = new URL(module).href;
    return {
      dispatch: async (
        items: number,
        { args = [] }: DispatchOptions = {},
      ): Promise<DispatchResult> => {
        checkWhole("items", items, 0, ITEMS_MAX, 1, "dispatch");
        if (!args.every((argument) => typeof argument === "number"))
          throw invalid("dispatch", "an argument is not a number; give numbers");
        this.#check("dispatch");
        const order = {
          kind: "run",
          module: url,
          exportName,
          items,
          args: [...args],
          mayReplay,
        } as const;
        const dispatch = this.#lastDispatch.then(() => this.#run(order));
        this.#lastDispatch = dispatch.catch(() => {});
        return await dispatch;
      },
    };
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

  async snapshot(address: number, lengthBytes: number): Promise<SnapshotPage[]> {
    checkWhole("address", address, 0, TASK_SIZE_PAGES * PAGE_BYTES, PAGE_BYTES, "snapshot");
    checkWhole(
      "lengthBytes",
      lengthBytes,
      1,
      TASK_SIZE_PAGES * PAGE_BYTES - address,
      1,
      "snapshot",
    );
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
    const running = this.#space.runOnMemory(command.access, address, run);
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

  async #run(
    order: Omit<Parameters<DeviceThreads["run"]>[0], "sections">,
  ): Promise<DispatchResult> {
    this.#check("dispatch");
    if (this.#threads.areLost) throw lostDevice();
    const before = readStats(this.#owned.record.device);
    const startMs = performance.now();
    beginDispatch(this.#owned.record);
    const failure =
      order.items === 0
        ? undefined
        : await this.#threads.run({ ...order, sections: this.#machine.ram.sections.handles });
    if (failure !== undefined) throw failure;
    const seconds = (performance.now() - startMs) / 1000;
    if (this.#disposal !== undefined)
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
    await closeOwned(this.#machine, this.#owned);
  }
}
