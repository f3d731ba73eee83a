/**
 * @module The errors that leave the core.
 *
 * Three kinds of failure are kept apart: errno results inside the core (errno.ts), {@link HmmError}
 * for what a caller may want to catch, and {@link AssertionFailure} for a programmer's error, which
 * is checked in every mode. Messages have the form "Cannot <verb> <thing>: <state>; <remedy>".
 */

import { beginAtCall } from "./call-place.ts";
import { codeOfErrno } from "./errno.ts";
import type { Errno, HmmErrorCode } from "./errno.ts";

/**
 * An operation failed. The first line of its stack is the program's own: the call that failed, or
 * the `await` of its promise. docs/ERRORS.md has every code, when it comes, and what to do.
 *
 * @example
 * ```ts
 * import { AddressSpace, HmmError } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * try {
 *   space.mprotectSync(2 ** 40, 4096, "read");
 * } catch (error) {
 *   if (!(error instanceof HmmError)) throw error;
 *   console.log(error.code, error.syscall, error.address); // ENOMEM mprotect 1099511627776
 * }
 * ```
 */
export class HmmError extends Error {
  /** The name of Linux's errno for it. */
  readonly code: HmmErrorCode;
  /** The operation as its caller knows it, such as `"mmap"`. */
  readonly syscall: string;
  /** The address that the operation was about, in bytes; undefined if it was about none. */
  readonly address: number | undefined;

  constructor(code: Errno | HmmErrorCode, syscall: string, message: string, address?: number) {
    super(message);
    this.code = typeof code === "number" ? codeOfErrno(code) : code;
    this.syscall = syscall;
    this.address = address;
    beginAtCall(this);
  }

  static {
    nameErrors(this, "HmmError");
  }
}

/** The name on the prototype: there before the constructor takes the stack, whose head it is. */
export function nameErrors(type: { readonly prototype: Error }, name: string): void {
  Object.defineProperty(type.prototype, "name", { value: name, configurable: true });
}

/**
 * A load or store that no mapping allows. `signal` is what Linux would send. "SIGSEGV": nothing is
 * mapped there, or the mapping does not permit the access. "SIGBUS": the mapping permits it, but
 * the mapped source ends before that page.
 *
 * @example
 * ```ts
 * import { AddressSpace, SegmentationFault } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * try {
 *   space.u32.store(64, 1);
 * } catch (error) {
 *   if (!(error instanceof SegmentationFault)) throw error;
 *   const { signal, access, address, reason } = error;
 *   console.log(signal, access, address, reason); // SIGSEGV write 64 nothing is mapped there
 * }
 * ```
 */
export class SegmentationFault extends HmmError {
  /** Which access it was. Atomic operations but loads count as writes. */
  readonly access: "read" | "write";
  /** Why no mapping allows it. The message says what to do, too. */
  readonly reason: string;
  /** What Linux would send. */
  readonly signal: "SIGSEGV" | "SIGBUS";

  constructor(
    address: number,
    access: "read" | "write",
    reason: string,
    signal: "SIGSEGV" | "SIGBUS" = "SIGSEGV",
    remedy: string = "check the address; maps() lists what is mapped",
  ) {
    super(
      "EFAULT",
      access,
      `Cannot ${access} address 0x${address.toString(16)}: ${reason}; ${remedy}`,
      address,
    );
    this.access = access;
    this.reason = reason;
    this.signal = signal;
  }

  static {
    nameErrors(this, "SegmentationFault");
  }
}

/** The calling code broke a rule of the core. It is a bug: do not catch it. */
export class AssertionFailure extends Error {
  constructor(message: string) {
    super(message);
    this.name = "AssertionFailure";
  }
}

/** Throws {@link AssertionFailure}. */
export function bug(message: string): never {
  throw new AssertionFailure(message);
}

/**
 * Active in every mode. On hot paths `message` must be a constant: arguments are evaluated even
 * when the condition holds.
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) bug(message);
}
