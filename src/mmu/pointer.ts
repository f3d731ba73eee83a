/**
 * @module mmu/pointer
 * Addresses as 8 bytes in memory. They are loaded and stored as doubles, the one kind of element of
 * 64 bits that costs no allocation; no arithmetic is done on such a double, so its bits stay. The
 * class that does it is made from i32-access.ts (scripts/make-widths.mjs).
 */

import { EINVAL } from "../sync/errno.ts";
import { HmmError } from "../sync/errors.ts";

/** The upper half of an address is below this. */
export const UPPER_LIMIT: number = 2 ** 21;

export function throwNotPointer(value: unknown): never {
  throw new HmmError(
    EINVAL,
    "access",
    `Cannot store ${String(value)} as an address: must be a whole number from 0 to 2^53 - 1; store other 64-bit numbers with u64`,
  );
}

export function throwTooHigh(address: number): never {
  throw new HmmError(
    EINVAL,
    "access",
    `Cannot load an address from 0x${address.toString(16)}: what is there is 2^53 or more, which is no address of this space; load it with u64`,
    address,
  );
}

/** An address as the bigint that atomic operations take. */
export function toWide(value: number): bigint {
  return Number.isSafeInteger(value) && value >= 0 ? BigInt(value) : throwNotPointer(value);
}

/** And back; `address` is where it was. */
export function fromWide(value: bigint, address: number): number {
  return value <= Number.MAX_SAFE_INTEGER ? Number(value) : throwTooHigh(address);
}
