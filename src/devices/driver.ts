/**
 * @module devices/driver
 * The contract between a device's driver and the rest. One half is call-backs: `HmmMirrorOps`
 * (hmm/mirror/mirror-ops.ts), called by the thread that changes a mapping. The other half is in
 * this module: what a program calls, and the rules of both. service/ and policy/ are parts that any
 * driver may use; software/ is the reference.
 *
 * A driver is code plus state in shared memory:
 *
 *   1  Its state lies in the kernel heap, for `invalidate` runs in any thread that changes a
 *      mapping. That thread has loaded the driver's module, and has nothing else of the driver.
 *   2  `invalidate` takes the driver's own lock and no other, and returns when the device cannot
 *      reach the range any more. If it would have to wait and may not, it answers EAGAIN and has
 *      changed nothing (R3).
 *   3  While the driver's lock is held, nothing is called that may change a mapping or fault: that
 *      could call `invalidate`, which takes the lock.
 *   4  A translation is used, or installed in the device's table, only under the driver's lock,
 *      after `hmmRangeValid` has said there that no invalidation has run since it was read (R4).
 *   5  Every range is unregistered on every path. A registered range keeps the address space alive.
 *   6  The driver holds no references of frames. `invalidate` clears what the device has of a page;
 *      what was copied before it, and not installed yet, is thrown away.
 *   7  A device that keeps copies has the pages write-protected before it makes them
 *      (mm/fault/track.ts), for stores change no mapping.
 *   8  `release` ends everything, once; the driver unregisters its mirror all the same.
 *   9  An access that no mapping allows ends in an error that names it (DeviceFault), and leaves
 *      the address space and the device usable. Nothing reads as zeros instead.
 */

/** What a command did, in numbers. */
export interface CommandResult {
  /** Pages that the command moved, or looked at. */
  readonly pages: number;
  /**
   * Rounds in which pages had to be faulted in: 1 when nothing had been on the device, 0 when
   * everything was.
   */
  readonly faults: number;
}

/** What one dispatch of a kernel did, in numbers. */
export interface DispatchResult {
  /** Work items that ran. */
  readonly items: number;
  /** From handing the kernel to the device's threads until the last of them was done. */
  readonly seconds: number;
  /**
   * Accesses that found no translation. This number and those below count what the device did while
   * the dispatch ran, commands of the host included.
   */
  readonly faults: number;
  /** Batches of faults that were served. */
  readonly batches: number;
  /** Bytes that were copied to device memory. */
  readonly bytesToDevice: number;
  /** Pages that had to leave device memory. */
  readonly evictions: number;
  /** Calls of the device's `invalidate`. */
  readonly invalidations: number;
  /** Faults that were tried again because a mapping was changing. */
  readonly retries: number;
  /** Work items that were given up at a fault and run again. */
  readonly replays: number;
}

/**
 * What a device has done since it was made. Whole numbers below 2^32; bytes are pages times 4096.
 * The numbers of a running device belong to slightly different moments.
 */
export interface DeviceStats {
  /** Accesses that found no translation and were served, duplicates included. */
  readonly faults: number;
  /** Batches of faults; each has all faults that waited. */
  readonly batches: number;
  /** Faults of a batch that named a page a second time. */
  readonly duplicates: number;
  /** Pages brought to the device that nobody had asked for. */
  readonly prefetched: number;
  /** Pages copied to device memory. */
  readonly pagesToDevice: number;
  /** The same in bytes. */
  readonly bytesToDevice: number;
  /** Pages that were evicted from device memory. */
  readonly evictions: number;
  /** Calls of the device's `invalidate`. */
  readonly invalidations: number;
  /** Translations that these calls cleared. */
  readonly dropped: number;
  /**
   * Collisions: a range was invalidated while its pages were being brought in, and had to be read
   * again.
   */
  readonly retries: number;
  /** Translations to frames in RAM: for stores and atomics, and for pages that cannot be copied. */
  readonly remoteMaps: number;
  /**
   * Times that a page was found to thrash (the CPU's stores and the device's copies took turns),
   * and was left in RAM for a while.
   */
  readonly thrashing: number;
  /** Work items that were run, to their end. */
  readonly items: number;
  /** Work items given up at a fault and run again later. */
  readonly replays: number;
  /** Faults that were waited for in the middle of a work item. */
  readonly stalls: number;
  /** Frames of device memory that hold a page now. */
  readonly residentPages: number;
  /** Frames of device memory: the budget. */
  readonly memoryPages: number;
}

/** What a dispatch hands to its kernel. */
export interface DispatchOptions {
  /** The third argument of every call of the kernel; numbers, such as addresses. */
  readonly args?: readonly number[];
}

/** A function that a device runs for many work items. Made by `Device.kernel`. */
export interface DeviceKernel {
  /**
   * Runs the kernel for work items 0 to `items` - 1 on the device's threads. Dispatches of one
   * device run one after the other. Rejects with
   * - DeviceFault (address, access, item, reason) when an item touches what no mapping allows; with
   *   `code` ESRCH when the address space is gone,
   * - KernelFailure (item, cause) when the kernel throws, or is no plain function that is done when
   *   it returns (async, a generator),
   * - HmmError ENODEV when a thread of the device is gone, EBADF when the device is disposed of,
   *   ENOENT when there is no such module, EINVAL for bad arguments, no such kernel or a module
   *   that cannot be loaded.
   *
   * Items that had begun before may have run to their end; none ran twice. The device and the
   * address space stay usable, but for ENODEV.
   */
  dispatch(items: number, options?: DispatchOptions): Promise<DispatchResult>;
}

/**
 * What a device's snapshot says of one page.
 *
 * - `"none"`: nothing is present there, or nothing that could be used without a fault.
 * - `"read"`: present, and may not be stored to as it is. So is a page of which a device holds a
 *   copy.
 * - `"zero"`: the same, and it is the page of zeros.
 * - `"write"`: present, and may be stored to as it is.
 * - `"own-read"`, `"own-write"`: in memory of the device itself, and may be stored to or not.
 * - `"other-read"`, `"other-write"`: in coherent memory of another device. What is in the private
 *   memory of another one is `"none"`: it comes back to RAM at the first touch.
 * - `"error"`: not mapped, not readable, or no page for a device.
 *
 * With `-huge` behind it, as in `"write-huge"`, the page lies in a huge page of 2 MiB.
 */
export type SnapshotPage = "none" | "error" | PresentPage | `${PresentPage}-huge`;

type PresentPage =
  | "read"
  | "zero"
  | "write"
  | "own-read"
  | "own-write"
  | "other-read"
  | "other-write";

/**
 * What every device offers to the program that owns it. `KernelOptions`: how a kernel is named,
 * which differs from device to device.
 *
 * @example
 * ```ts
 * import { type Device, type DeviceKernel } from "hmm-ts";
 *
 * async function runOn(device: Device, kernel: DeviceKernel, address: number): Promise<void> {
 *   const { items } = await kernel.dispatch(1000, { args: [address] });
 *   const { faults } = await device.stats();
 *   console.log(`${device.name}: ${items} items, ${faults} faults so far`);
 * }
 * console.log(typeof runOn); // function
 * ```
 */
export interface Device<KernelOptions = never> extends AsyncDisposable {
  /** The name that it was created with, for reports. */
  readonly name: string;
  /** Names a kernel. Whether it exists, and is one, is found out by the first dispatch. */
  kernel(options: KernelOptions): DeviceKernel;
  /**
   * Copies what the device sees at `address` into `into`: all of it or, when it fails, nothing.
   * Rejects with DeviceFault at the first page that cannot be read. Addresses and lengths are
   * bytes, aligned or not.
   */
  read(address: number, into: Uint8Array): Promise<CommandResult>;
  /**
   * Has the device store `from` at `address`. Rejects with DeviceFault at the first page that
   * cannot be written; what lies before it may have been written.
   */
  write(address: number, from: Uint8Array): Promise<CommandResult>;
  /**
   * What the CPU's page table says of a range, page by page, without bringing anything in.
   * `address` is a multiple of 4096.
   */
  snapshot(address: number, lengthBytes: number): Promise<SnapshotPage[]>;
  /** What the device has done so far; after its end, what it had done. */
  stats(): Promise<DeviceStats>;
  /** As {@link Device.stats}, at once. */
  statsSync(): DeviceStats;
}
