/**
 * @module devices/webgpu/webgpu-device
 * The WebGPU device as its owner uses it. The GPUDevice and all of the driver's work are in a
 * Worker of the device (serve.ts); docs/WEBGPU.md is the guide.
 */

import {
  anAddressSpace,
  beginStacksAtCalls,
  checkArgument,
  DriverThread,
  HmmError,
  errnoName,
  type AddressSpace,
  type DriverHandle,
} from "../../driver-interface.ts";
import { checkBytes, checkPages, refusalOf } from "../software/options.ts";
import type {
  CommandResult,
  Device,
  DeviceKernel,
  DispatchResult,
  SnapshotPage,
} from "../driver.ts";
import {
  type ResourceDesk,
  type WebGpuBuffer,
  type WebGpuBufferOptions,
  type WebGpuTexture,
  type WebGpuTextureOptions,
  bindingOrders,
  makeBuffer,
  makeTexture,
} from "./bindings.ts";
import type { AdapterReport, Answers, DispatchOrder } from "./messages.ts";
import { framesFor } from "./memory-plan.ts";
import { WEBGPU_DEVICE_OPS } from "../webgpu-record/mirror-ops.ts";
import {
  type WebGpuDeviceOptions,
  type WebGpuDispatchOptions,
  type WebGpuKernelOptions,
  deviceOptions,
  dispatchOptions,
  kernelOptions,
} from "./options.ts";
import { PRIVATE_PAGES_MAX } from "../webgpu-record/private-memory.ts";
import {
  endRecord,
  makeRecord,
  placeOfRecord,
  unregisterRecord,
} from "../webgpu-record/record-life.ts";
import type { WebGpuRecord } from "../webgpu-record/record.ts";
import { type WebGpuStats, readStats } from "./stats.ts";
import { OwnLink } from "./own-link.ts";
import { FIRST_FRAME } from "./wgsl/layout.ts";
import { type DeviceLink, WorkerLink } from "./worker-link.ts";

/** What one dispatch of a kernel did, in numbers. */
export interface WebGpuDispatchResult extends DispatchResult {
  /** Runs of a chunk on the GPU. */
  readonly passes: number;
  /** Bytes that were read back from device memory. */
  readonly bytesToHost: number;
}

/** A kernel of a WebGPU device. Made by `WebGpuDevice.kernel`. */
export interface WebGpuKernel extends DeviceKernel {
  /** Compiles it now. Rejects with KernelCompileError, which names lines and columns. */
  compile(): Promise<void>;
  /**
   * Runs `workgroups` workgroups: a number, or up to three. Dispatches of one device run one after
   * the other. Rejects with
   * - KernelCompileError when the text does not compile,
   * - WebGpuFault when a workgroup touches what no mapping allows (EFAULT, EPERM), a misaligned
   *   address (EINVAL), or a page that cannot be had (ENOMEM, EBUSY, ESRCH),
   * - HmmError ENOMEM when one workgroup uses more pages than the device has, ETIMEDOUT when an
   *   invocation makes more than `loopRoundsMax` rounds or its workgroup takes longer than
   *   `loopMsMax`, ECANCELED when `signal` is raised (its reason is the `cause`) or the device is
   *   disposed of, ESRCH when the address space is gone, ENODEV when the GPU is gone for good,
   *   EBADF when the device is disposed of, EINVAL for bad arguments, and for bindings that are not
   *   what the kernel needs.
   *
   * Whatever it rejects with, a workgroup has run once or not at all.
   */
  dispatch(
    workgroups: number | readonly number[],
    options?: WebGpuDispatchOptions,
  ): Promise<WebGpuDispatchResult>;
}

class OwnedKernel implements WebGpuKernel {
  readonly #calls: WebGpuKernel;

  static {
    beginStacksAtCalls(this);
  }

  constructor(calls: WebGpuKernel) {
    this.#calls = calls;
  }

  compile(): Promise<void> {
    return this.#calls.compile();
  }

  dispatch(
    workgroups: number | readonly number[],
    options?: WebGpuDispatchOptions,
  ): Promise<WebGpuDispatchResult> {
    return this.#calls.dispatch(workgroups, options);
  }
}

/**
 * A GPU behind WebGPU that follows the same pointers as the CPU: pages come to it on demand, within
 * a budget, and exactly.
 *
 * @example
 * ```ts fragment
 * import { AddressSpace } from "hmm-ts";
 * import { WebGpuDevice } from "hmm-ts/webgpu";
 *
 * await using space = await AddressSpace.create({ ramBytes: 2 ** 24 });
 * const address = await space.mmap(4096);
 * await using device = await WebGpuDevice.create(space, { memoryBytes: 2 ** 20 });
 * const code = `
 *   @compute @workgroup_size(64)
 *   fn square(@builtin(global_invocation_id) id: vec3u) {
 *     store_u32(ptr_at(arg_ptr(0), id.x, 4), id.x * id.x);
 *   }`;
 * await device.kernel({ code, entryPoint: "square" }).dispatch(16, { args: [address] });
 * console.log(space.u32.load(address + 4 * 999)); // 998001
 * ```
 */
export class WebGpuDevice implements Device<WebGpuKernelOptions> {
  static {
    beginStacksAtCalls(this);
  }

  /** The name that it was created with, for reports. */
  readonly name: string;
  /** What the adapter says of itself. */
  readonly adapter: AdapterReport;
  readonly #owned: OwnedRecord;
  readonly #link: DeviceLink;
  readonly #desk: ResourceDesk;
  /** On a GPUDevice of the program's own. */
  readonly #isOwn: boolean;
  #disposal: Promise<void> | undefined;
  #finalStats: WebGpuStats | undefined;

  private constructor(name: string, owned: OwnedRecord, link: DeviceLink, adapter: AdapterReport) {
    this.name = name;
    this.adapter = adapter;
    this.#owned = owned;
    this.#link = link;
    this.#isOwn = link instanceof OwnLink;
    this.#desk = {
      ask: link.ask.bind(link),
      check: (syscall) => this.#check(syscall),
    };
  }

  /**
   * Makes a device on `space`. Rejects with HmmError ENODEV (no WebGPU, no adapter), EINVAL (the
   * adapter has not what `memoryBytes` needs), ENOMEM (GPU or kernel heap), EMFILE. It outlives the
   * AddressSpace object, but not the space.
   */
  static async create(space: AddressSpace, options: WebGpuDeviceOptions): Promise<WebGpuDevice> {
    checkArgument(refusalOf("device"), "space", space, anAddressSpace);
    const { name, worker, gpuDevice, ...given } = deviceOptions(options);
    const owned = await openRecord(space, privatePagesOf(given));
    const { driver, record } = owned;
    const start = { ...given, machine: driver.handle, place: placeOfRecord(record) };
    const machine = (): DriverHandle => driver.handle;
    let link: DeviceLink | undefined;
    try {
      link =
        gpuDevice === undefined
          ? new WorkerLink(start, name, worker, machine)
          : new OwnLink(start, gpuDevice as GPUDevice, machine); // checked with the options
      const { adapter } = await link.ready;
      link.unref();
      return new WebGpuDevice(name, owned, link, adapter);
    } catch (error) {
      await link?.end();
      await closeRecord(owned);
      throw error;
    }
  }

  kernel(options: WebGpuKernelOptions): WebGpuKernel {
    const kernel = kernelOptions(options);
    return new OwnedKernel({
      compile: async () => {
        this.#check("compile");
        await this.#link.ask({ kind: "compile", ...kernel });
      },
      dispatch: async (workgroups, given = {}) => {
        const { signal, bindings: bound, ranges, ...rest } = dispatchOptions(workgroups, given);
        this.#check("dispatch");
        const bindings = { ...bindingOrders(this.#desk, bound, this.#isOwn), ...ranges };
        return await this.#dispatch({ ...kernel, ...rest, bindings }, signal);
      },
    });
  }

  async #dispatch(
    order: DispatchOrder,
    signal: AbortSignal | undefined,
  ): Promise<WebGpuDispatchResult> {
    if (signal?.aborted === true) {
      const text = "Cannot dispatch: its signal was raised before";
      throw nameCause(new HmmError("ECANCELED", "dispatch", text), signal);
    }
    const before = this.statsSync();
    const { passes, seconds } = await this.#asked({ kind: "dispatch", ...order }, signal);
    const after = this.statsSync();
    return {
      items: order.groups[0] * order.groups[1] * order.groups[2],
      seconds,
      passes,
      faults: after.faults - before.faults,
      batches: after.batches - before.batches,
      bytesToDevice: after.bytesToDevice - before.bytesToDevice,
      bytesToHost: after.bytesToHost - before.bytesToHost,
      evictions: after.evictions - before.evictions,
      invalidations: after.invalidations - before.invalidations,
      retries: after.retries - before.retries,
      replays: after.replays - before.replays,
    };
  }

  async #asked(
    order: DispatchOrder & { kind: "dispatch" },
    signal: AbortSignal | undefined,
  ): Promise<Answers["dispatch"]> {
    try {
      return await this.#link.ask(order, signal);
    } catch (error) {
      if (signal !== undefined && error instanceof HmmError) nameCause(error, signal);
      throw error;
    }
  }

  /**
   * Makes a buffer for `var<uniform>` and `var<storage>` of kernels. Rejects with HmmError EINVAL
   * (the adapter makes none so long), ENOMEM, EBADF.
   */
  buffer(options: WebGpuBufferOptions): Promise<WebGpuBuffer> {
    return makeBuffer(this.#desk, options);
  }

  /**
   * Makes a texture for variables of kernels, which only read it. Rejects with HmmError EINVAL (the
   * adapter knows no such format, or the bytes do not fit it), ENOMEM, EBADF.
   */
  texture(options: WebGpuTextureOptions): Promise<WebGpuTexture> {
    return makeTexture(this.#desk, options);
  }

  async read(address: number, into: Uint8Array): Promise<CommandResult> {
    checkBytes("read", address, into);
    this.#check("read");
    if (into.length === 0) return { pages: 0, faults: 0 };
    const lengthBytes = into.length;
    const { bytes, pages, faults } = await this.#link.ask({ kind: "read", address, lengthBytes });
    into.set(bytes);
    return { pages, faults };
  }

  async write(address: number, from: Uint8Array): Promise<CommandResult> {
    checkBytes("write", address, from);
    this.#check("write");
    if (from.length === 0) return { pages: 0, faults: 0 };
    const bytes = Uint8Array.from(from);
    return await this.#link.ask({ kind: "write", address, bytes });
  }

  /**
   * Brings pages to the device before a kernel asks for them, in place of others: as many as there
   * are frames. It is what `"willneed"` of madvise cannot say, which knows of no device. `pages` of
   * the result: how many are there. `address` is a multiple of 4096. Rejects with DeviceFault at
   * the first page that cannot be had.
   */
  async prefetch(address: number, lengthBytes: number): Promise<CommandResult> {
    checkPages("prefetch", address, lengthBytes);
    this.#check("prefetch");
    return await this.#link.ask({ kind: "prefetch", address, lengthBytes });
  }

  async snapshot(address: number, lengthBytes: number): Promise<SnapshotPage[]> {
    checkPages("snapshot", address, lengthBytes);
    this.#check("snapshot");
    return [...(await this.#link.ask({ kind: "snapshot", address, lengthBytes }))];
  }

  async stats(): Promise<WebGpuStats> {
    return this.statsSync();
  }

  statsSync(): WebGpuStats {
    return this.#finalStats ?? readStats(this.#owned.record);
  }

  /**
   * Destroys the GPUDevice under this device, as a reset of the GPU would: for tests of a program
   * that must live through that. The device goes on with another GPU, if there is one (else
   * HmmError ENODEV), and counts the loss in `losses` of its statistics. Rejects with EBADF when
   * the device is disposed of.
   */
  async loseGpu(): Promise<void> {
    this.#check("lose the GPU");
    await this.#link.ask({ kind: "lose" });
  }

  /**
   * Ends the device: a dispatch under way is given up between two passes (ECANCELED), and its
   * Worker leaves. Doing it again does nothing.
   */
  [Symbol.asyncDispose](): Promise<void> {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  async #dispose(): Promise<void> {
    try {
      await this.#link.ask({ kind: "stop" });
      this.#finalStats = readStats(this.#owned.record);
      await this.#link.ask({ kind: "leave" });
    } catch (error) {
      // Its Worker has died: what it had is given back by others.
      if (!(error instanceof HmmError && error.code === "ENODEV")) throw error;
      this.#finalStats ??= readStats(this.#owned.record);
    } finally {
      await this.#link.end();
      await closeRecord(this.#owned);
    }
  }

  #check(syscall: string): void {
    if (this.#disposal === undefined) return;
    const text = `Cannot ${syscall} on the device: it has been disposed of; make another`;
    throw new HmmError("EBADF", syscall, text);
  }
}

/** Of an end that a signal asked for its reason is the cause. */
function nameCause(error: HmmError, signal: AbortSignal): HmmError {
  if (signal.aborted && error.code === "ECANCELED") error.cause = signal.reason;
  return error;
}

/** What the owner's thread has of a device: the mirror is registered by it. */
interface OwnedRecord {
  readonly driver: DriverThread;
  readonly record: WebGpuRecord;
}

/** Pages of a device's private memory: as many as the pool may hold. */
function privatePagesOf(options: Parameters<typeof framesFor>[0]): number {
  if (!options.isPrivate) return 0;
  return Math.min(framesFor(options).poolFrames - FIRST_FRAME, PRIVATE_PAGES_MAX);
}

async function openRecord(space: AddressSpace, privatePages: number): Promise<OwnedRecord> {
  const driver = DriverThread.open(space);
  try {
    const record = await driver.runOnSpace(space, (mm) =>
      makeRecord(driver.machine, mm, privatePages, WEBGPU_DEVICE_OPS),
    );
    if (typeof record !== "number") return { driver, record };
    const remedy = "create the space with more heapBytes, or dispose of other devices";
    const why = `the core answered ${errnoName(record)}`;
    throw new HmmError(record, "device", `Cannot make the device: ${why}; ${remedy}`);
  } catch (error) {
    driver.close();
    throw error;
  }
}

/** Pairs with `openRecord`, in its thread. The Worker has ended, or never began. */
async function closeRecord({ driver, record }: OwnedRecord): Promise<void> {
  const { machine } = driver;
  await driver.run(unregisterRecord(machine, record));
  await driver.run(endRecord(machine, record));
  driver.close();
}
