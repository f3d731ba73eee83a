/**
 * @module mmu/pointer
 * Addresses as 8 bytes in memory. They are loaded and stored as doubles, the one kind of element of
 * 64 bits that costs no allocation; no arithmetic is done on such a double, so its bits stay. The
 * class that does it is made from i32-access.ts (scripts/make-widths.mjs).
 */

import { formatValue } from "../sync/argument-rules.ts";
import { accessFrom } from "../sync/call-place.ts";
import { EINVAL } from "../sync/errno.ts";
import { HmmError } from "../sync/errors.ts";

/** The upper half of an address is below this. */
export const UPPER_LIMIT: number = 2 ** 21;

/** By a method of `accessor`. */
export function throwNotPointer(value: unknown, accessor: object): never {
  accessFrom(accessor);
  throw new HmmError(
    EINVAL,
    "access",
    `Cannot store ${formatValue(value)} as an address: must be a whole number from 0 to 2^53 - 1; store other 64-bit numbers with u64`,
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

/** An address as the bigint that atomic operations, methods of `accessor`, take. */
export function toWide(value: number, accessor: object): bigint {
  const isAddress = Number.isSafeInteger(value) && value >= 0;
  return isAddress ? BigInt(value) : throwNotPointer(value, accessor);
}

/** And back; `address` is where it was. */
export function fromWide(value: bigint, address: number): number {
  return value <= Number.MAX_SAFE_INTEGER ? Number(value) : throwTooHigh(address);
}
