/**
 * @module The errors that leave the core.
 *
 * Three kinds of failure are kept apart: errno results inside the core (errno.ts), {@link HmmError}
 * for what a caller may want to catch, and {@link AssertionFailure} for a programmer's error, which
 * is checked in every mode. Messages have the form "Cannot <verb> <thing>: <state>; <remedy>".
 */

import { errnoName } from "./errno.ts";
import type { Errno } from "./errno.ts";

/**
 * An operation failed. `code` is an errno name such as `"ENOMEM"`, `syscall` the operation as the
 * caller knows it.
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
  readonly code: string;
  readonly syscall: string;
  readonly address: number | undefined;

  constructor(code: Errno | string, syscall: string, message: string, address?: number) {
    super(message);
    this.name = "HmmError";
    this.code = typeof code === "number" ? errnoName(code) : code;
    this.syscall = syscall;
    this.address = address;
  }
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
  readonly access: "read" | "write";
  readonly reason: string;
  readonly signal: "SIGSEGV" | "SIGBUS";

  constructor(
    address: number,
    access: "read" | "write",
    reason: string,
    signal: "SIGSEGV" | "SIGBUS" = "SIGSEGV",
  ) {
    super(
      "EFAULT",
      access,
      `Cannot ${access} address 0x${address.toString(16)}: ${reason}`,
      address,
    );
    this.name = "SegmentationFault";
    this.access = access;
    this.reason = reason;
    this.signal = signal;
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
