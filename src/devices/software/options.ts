/**
 * @module devices/software/options
 * What a program gives a software device: its options and arguments, checked.
 */

import {
  EINVAL,
  HmmError,
  PAGE_BYTES,
  TASK_SIZE_PAGES,
  aBoolean,
  aFunction,
  aText,
  checkArgument,
  oneOf,
  required,
  ruleOf,
  someBytes,
  takeOptions,
  wholeNumber,
  type HostWorker,
  type OptionRules,
  type Refuse,
} from "../../driver-interface.ts";
import type { DispatchOptions } from "../driver.ts";
import {
  ADVICE_ACCESSED_BY,
  ADVICE_NORMAL,
  ADVICE_PREFERRED,
  type PlacementAdvice,
} from "../policy/placement.ts";
import { THREADS_MAX } from "../service/device-record.ts";
import { FRAMES_MAX } from "../service/frames.ts";
import { OWN_BYTES_MAX } from "../service/own-memory.ts";

/** How a software device is made. */
export interface SoftwareDeviceOptions {
  /** Device memory in bytes, a multiple of 4096 up to 4 GiB: the budget for copies of pages. */
  readonly memoryBytes: number;
  /**
   * What its memory is for. `"remote"` (default): read copies of pages, whose home is RAM; stores
   * go to RAM as over a bus. `"private"`: pages of its own, which the CPU does not reach; a CPU
   * touch brings a page back. `"coherent"`: pages of its own, which the CPU reaches in place. Of
   * the last two the device takes pages when its kernels store to them, as it is advised (`advise`)
   * and when it is told to (`migrate`), uses all others in RAM, and has 1 GiB at most.
   */
  readonly memory?: "remote" | "private" | "coherent";
  /** Threads (Workers) that run its kernels, 1 to 32. Default 1. */
  readonly threads?: number;
  /**
   * Starts one of its threads: a Worker of yours, whose module calls `serveDevice` of
   * `hmm-ts/worker`. Called once for each thread; the device ends the Workers. Wanted where the
   * program is bundled, since a bundler finds a Worker's module only in your own source:
   *
   * ```ts fragment
   * worker: () => new Worker(new URL("./device.js", import.meta.url), { type: "module" });
   * ```
   *
   * Default: the library starts Workers of its own, which import a kernel's `module`.
   */
  readonly worker?: () => HostWorker;
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
   * threads import it. Without: the device's own Workers (option `worker`) serve the kernel.
   */
  readonly module?: URL;
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

const END_BYTES: number = TASK_SIZE_PAGES * PAGE_BYTES;
/** Work items of one dispatch at most. */
const ITEMS_MAX: number = 2 ** 31 - 1;

/** Makes EINVAL: what is wrong, and what to do. */
export function refusalOf(syscall: string): Refuse {
  const what = syscall === "device" ? "make the device" : syscall;
  return (text) => new HmmError(EINVAL, syscall, `Cannot ${what}: ${text}`);
}

const DEVICE_RULES: OptionRules<SoftwareDeviceOptions> = {
  memoryBytes: required(wholeNumber(PAGE_BYTES, FRAMES_MAX * PAGE_BYTES, PAGE_BYTES)),
  memory: oneOf("remote", "private", "coherent"),
  threads: wholeNumber(1, THREADS_MAX),
  worker: aFunction,
  name: aText,
  faultTimeoutMs: wholeNumber(1, 2 ** 31 - 1),
};

/** The options with their defaults. Throws EINVAL. */
export function deviceOptions(given: SoftwareDeviceOptions): Required<
  Omit<SoftwareDeviceOptions, "worker">
> & {
  readonly worker: (() => HostWorker) | undefined;
} {
  const refuse = refusalOf("device");
  const options = takeOptions<SoftwareDeviceOptions>(refuse, given, DEVICE_RULES);
  const { memory = "remote", memoryBytes } = options;
  if (memory !== "remote")
    checkArgument(refuse, "memoryBytes", memoryBytes, wholeNumber(PAGE_BYTES, OWN_BYTES_MAX));
  const { threads = 1, name = "software device", faultTimeoutMs = 1000, worker } = options;
  return { memoryBytes, memory, threads, name, faultTimeoutMs, worker };
}

const KERNEL_RULES: OptionRules<SoftwareKernelOptions> = {
  module: ruleOf('a URL, such as new URL("./my-kernel.js", import.meta.url)', (value) => {
    return value instanceof URL || (typeof value === "string" && URL.canParse(value));
  }),
  exportName: required(aText),
  mayReplay: aBoolean,
};

/**
 * A kernel as the device's threads look it up. `isServed`: its Workers serve kernels, so a module
 * is not needed. Throws EINVAL.
 */
export function kernelOptions(
  given: SoftwareKernelOptions,
  isServed: boolean,
): {
  readonly module: string | undefined;
  readonly exportName: string;
  readonly mayReplay: boolean;
} {
  const refuse = refusalOf("name the kernel");
  const options = takeOptions<SoftwareKernelOptions>(refuse, given, KERNEL_RULES);
  const { module, exportName, mayReplay = true } = options;
  if (module === undefined && !isServed) {
    throw refuse(
      "`module` is missing; give its URL, or make the device with `worker` and have that serve it",
    );
  }
  return { module: module === undefined ? undefined : new URL(module).href, exportName, mayReplay };
}

const DISPATCH_RULES: OptionRules<DispatchOptions> = {
  args: ruleOf("an array of numbers", (value) => {
    return Array.isArray(value) && value.every((one) => typeof one === "number");
  }),
};

/** The arguments of the kernel. Throws EINVAL. */
export function dispatchArguments(items: number, given: DispatchOptions): number[] {
  const refuse = refusalOf("dispatch");
  checkArgument(refuse, "items", items, wholeNumber(0, ITEMS_MAX));
  const { args = [] } = takeOptions<DispatchOptions>(refuse, given, DISPATCH_RULES);
  return [...args];
}

/** Throws EINVAL unless `bytes` are bytes, and have room in an address space from `address` on. */
export function checkBytes(syscall: string, address: number, bytes: Uint8Array): void {
  const refuse = refusalOf(syscall);
  checkArgument(refuse, "what holds the bytes", bytes, someBytes);
  checkArgument(refuse, "address", address, wholeNumber(0, END_BYTES - bytes.length));
}

/** Throws EINVAL unless this is a range that begins with a page and has at least a byte. */
export function checkPages(syscall: string, address: number, lengthBytes: number): void {
  const refuse = refusalOf(syscall);
  checkArgument(refuse, "address", address, wholeNumber(0, END_BYTES, PAGE_BYTES));
  checkArgument(refuse, "lengthBytes", lengthBytes, wholeNumber(1, END_BYTES - address));
}

/**
 * Where a device's kernels want pages: advice for `SoftwareDevice.advise`, in the terms of CUDA.
 *
 * - `"normal"`: a page is taken when a kernel stores to it, and else used where it is (or copied).
 * - `"preferred-location"`: it is taken when a kernel touches it.
 * - `"accessed-by"`: it stays where it is, and kernels reach it there.
 *
 * A page is taken only by a device with pages of its own (`memory` is `"private"` or `"coherent"`).
 * One that the CPU and the device touch by turns is left in RAM for a while, whatever the advice.
 *
 * @example
 * ```ts
 * import { AddressSpace, SoftwareDevice } from "hmm-ts";
 *
 * await using space = await AddressSpace.create({ ramBytes: 2 ** 24 });
 * const p = await space.mmap(2 ** 20);
 * const options = { memory: "private", memoryBytes: 2 ** 20 } as const;
 * await using device = await SoftwareDevice.create(space, options);
 * await device.advise(p, 2 ** 20, "preferred-location"); // what kernels touch moves to the device
 * ```
 */
export type DeviceAdvice = "normal" | "preferred-location" | "accessed-by";

const PLACEMENTS: Readonly<Record<DeviceAdvice, PlacementAdvice>> = {
  normal: ADVICE_NORMAL,
  "preferred-location": ADVICE_PREFERRED,
  "accessed-by": ADVICE_ACCESSED_BY,
};

/** Throws EINVAL for anything but advice. */
export function placementAdvice(advice: DeviceAdvice): PlacementAdvice {
  const words = oneOf("normal", "preferred-location", "accessed-by");
  checkArgument(refusalOf("advise"), "the advice", advice, words);
  return PLACEMENTS[advice];
}
