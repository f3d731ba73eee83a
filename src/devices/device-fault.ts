/**
 * @module devices/device-fault
 * The errors of a device that a program must know of: an access that no mapping allows, and a
 * kernel that threw. For all devices. Errors of the machine are in sync/errors.ts.
 */

import {
  EBUSY,
  EFAULT,
  EINVAL,
  EIO,
  EMFILE,
  ENODEV,
  ENOMEM,
  EOPNOTSUPP,
  EPERM,
  errnoName,
  ESRCH,
  formatValue,
  HmmError,
  nameErrors,
  type Errno,
  type HmmErrorCode,
} from "../driver-interface.ts";

/** How a device accessed an address. All atomics count as writes. */
export type DeviceAccess = "read" | "write";

/** What a {@link DeviceFault} says, as plain data that can go from thread to thread. */
export interface DeviceFaultFields {
  /** Why: a positive number of sync/errno.ts. */
  readonly errno: Errno;
  /** The first address that could not be had. */
  readonly address: number;
  /** The same, where a number cannot hold it: `address` is that of its page then. */
  readonly exactAddress?: bigint;
  /** How the device accessed it. */
  readonly access: DeviceAccess;
  /** The work item that made the access; undefined for a command of the host. */
  readonly item: number | undefined;
  /** Why, in words, where the device knows more than `errno` says. */
  readonly reason?: string;
}

/**
 * A device could not reach an address. `code` is EFAULT (nothing readable is mapped there), EPERM
 * (it may not be written), ENOMEM (RAM or kernel heap is used up), EBUSY (the mapping went on
 * changing until the device's fault timeout, or a write view stayed open), ESRCH (the address space
 * is gone), ENODEV (the device is gone), EINVAL (a hole where pages were to be moved), EOPNOTSUPP
 * (shared memory was to be the device's alone), EIO (another device had the page alone, and has
 * lost it), or EMFILE (the thread owns as many things on the machine as it may). `address` is the
 * first that could not be had.
 */
export class DeviceFault extends HmmError {
  /** The first address that could not be had. */
  declare readonly address: number;
  /** How the device accessed it. */
  readonly access: DeviceAccess;
  /** The work item that made the access; undefined for a command of the host. */
  readonly item: number | undefined;
  /** Why, in words. */
  readonly reason: string;

  constructor(fields: DeviceFaultFields) {
    const { errno, address, exactAddress = address, access, item } = fields;
    const reason = fields.reason ?? reasonOf(errno);
    const where = `${access} address 0x${exactAddress.toString(16)}`;
    const who = item === undefined ? "from the device" : `in work item ${item}`;
    super(errno, `device ${access}`, `Cannot ${where} ${who}: ${reason}`, address);
    this.access = access;
    this.item = item;
    this.reason = reason;
  }

  static {
    nameErrors(this, "DeviceFault");
  }
}

const REASONS: ReadonlyMap<Errno, string> = new Map([
  [
    EFAULT,
    "nothing readable is mapped there, or its source has ended or failed; map it before the device uses it",
  ],
  [EPERM, "the mapping may not be written; map it read-write, or do not store"],
  [ENOMEM, "RAM or kernel heap is used up; unmap something, or create the space with more"],
  [
    EBUSY,
    "its mapping did not come to rest in time, or a view has it; close views over it, and change it less often",
  ],
  [ESRCH, "its address space is gone; keep an AddressSpace object for it until the device is done"],
  [ENODEV, "the device is gone; make a new one"],
  [
    EINVAL,
    "the range has a hole, or memory that no device can have; map it, or leave that part out",
  ],
  [
    EOPNOTSUPP,
    "only private memory can be a device's alone; map it without `shared`, `buffer` and `huge`",
  ],
  [EIO, "a device had the page alone, and has lost it; unmap it, or discard it with madvise"],
  [EMFILE, "the thread owns as many spaces, views and ranges as it may; dispose of some"],
]);

/** The reasons of a DeviceFault, as rows of docs/ERRORS.md. */
export function explainedFaults(): (readonly [code: string, text: string])[] {
  return Array.from(REASONS, ([errno, text]) => [errnoName(errno), text] as const);
}

function reasonOf(errno: Errno): string {
  return (
    REASONS.get(errno) ??
    `the core answered ${errnoName(errno)}; this is a defect, please report it`
  );
}

/** What a {@link KernelFailure} says, as plain data but for its cause. */
export interface KernelFailureFields {
  /** The work item in which it failed; undefined when none had begun. */
  readonly item: number | undefined;
  /** The code of the error. */
  readonly code: HmmErrorCode;
  /** The text of the error. */
  readonly message: string;
  /** What the kernel threw, if it threw. */
  readonly cause: unknown;
}

/**
 * A kernel threw, then `code` is ECANCELED and `cause` is what it threw; or it is refused, with
 * EINVAL, since it is not a plain function that is done when it returns: it is asynchronous or a
 * generator, or returned a promise or an iterator. The device and the address space go on; items
 * that had run keep their effects.
 */
export class KernelFailure extends HmmError {
  /**
   * The work item that threw, or whose answer was refused; undefined when the kernel was refused
   * before any had begun.
   */
  readonly item: number | undefined;

  constructor(fields: KernelFailureFields) {
    const { item, code, message, cause } = fields;
    super(code, "dispatch", message);
    this.item = item;
    this.cause = cause;
  }

  static {
    nameErrors(this, "KernelFailure");
  }
}

/** The failure of a kernel that threw `cause`. */
export function kernelThrew(item: number, cause: unknown): KernelFailure {
  const message = `Cannot finish the dispatch: the kernel threw in work item ${item}: ${textOf(cause)}`;
  return new KernelFailure({ item, code: "ECANCELED", message, cause });
}

/**
 * The failure of a dispatch when a promise was rejected that a kernel or its module had left behind
 * in a thread of the device, during the dispatch or before it.
 */
export function kernelLeftBehind(cause: unknown): KernelFailure {
  const message = `Cannot call the dispatch good: a promise that a kernel or its module had left behind was rejected: ${textOf(cause)}; ${BE_PLAIN}`;
  return new KernelFailure({ item: undefined, code: "ECANCELED", message, cause });
}

/** What a kernel must be instead of what it is. */
const BE_PLAIN =
  "make it a plain function that is done when it returns, and await what it needs before the dispatch";

/** By the tag that the language gives to such functions. */
const REFUSED_KINDS: ReadonlyMap<string, string> = new Map([
  [
    "[object AsyncFunction]",
    "it is an async function, and a work item is over when its call returns",
  ],
  ["[object GeneratorFunction]", "it is a generator function, and calling it runs nothing of it"],
  [
    "[object AsyncGeneratorFunction]",
    "it is an async generator function, and calling it runs nothing of it",
  ],
]);

/**
 * Why `kernel` is refused before any work item runs; undefined when it is not. Its kind of function
 * is one that is not done when it returns.
 */
export function refusedKernel(kernel: unknown): KernelFailure | undefined {
  const state = REFUSED_KINDS.get(Object.prototype.toString.call(kernel));
  if (state === undefined) return undefined;
  const message = `Cannot run the kernel: ${state}; ${BE_PLAIN}`;
  return new KernelFailure({ item: undefined, code: "EINVAL", message, cause: undefined });
}

/**
 * Why a kernel that returned `result` is refused; undefined when it is not. Throws what the
 * result's own getters throw.
 */
export function refusedResult(item: number, result: unknown): KernelFailure | undefined {
  const what = kindOfResult(result);
  if (what === undefined) return undefined;
  const message = `Cannot finish the dispatch: the kernel returned ${what} in work item ${item}, and a work item is over when its call returns; ${BE_PLAIN}`;
  return new KernelFailure({ item, code: "EINVAL", message, cause: undefined });
}

function kindOfResult(result: unknown): string | undefined {
  if ((typeof result !== "object" && typeof result !== "function") || result === null)
    return undefined;
  if ("then" in result && typeof result.then === "function") return "a promise";
  if ("next" in result && typeof result.next === "function") return "an iterator";
  return undefined;
}

/**
 * Code used the device's memory while no work item ran: something that a kernel has left behind, a
 * promise or a timer.
 */
export function outsideItem(): HmmError {
  return new HmmError(
    EINVAL,
    "device access",
    "Cannot use the device's memory: no work item is running; a kernel must be done when it returns, and leave neither promises nor callbacks behind",
  );
}

/** The message of what was thrown, which may be anything. */
export function textOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? thrown.message : formatValue(thrown);
  } catch {
    return "something that cannot be shown";
  }
}
