/** @module mmu/address: the check of every address, and the limit of an access's retries. */

import { PAGE_BYTES } from "../memory/frames/ram-section.ts";
import { formatValue } from "../sync/argument-rules.ts";
import { accessFrom } from "../sync/call-place.ts";
import { EAGAIN, EINVAL } from "../sync/errno.ts";
import { HmmError } from "../sync/errors.ts";

/**
 * An access is retried when its translation was shot down meanwhile. So many retries mean that
 * another thread invalidates in a loop.
 */
const RETRY_LIMIT = 1_000_000;
/** Pages of safe integers are below this. */
const PAGE_LIMIT: number = 2 ** 41;

/**
 * The page of an address that is a safe integer and a multiple of `widthBytes`. Throws HmmError
 * EINVAL otherwise, at the caller of `accessor`'s method. The page may lie beyond every address
 * space: the translator refuses it then.
 */
export function pageOf(address: number, widthBytes: number, accessor: object): number {
  if (typeof address === "number") {
    const page = Math.floor(address / PAGE_BYTES);
    const distance = address - page * PAGE_BYTES;
    // not `address % widthBytes`, which for large addresses is a call of fmod
    const offset = distance | 0;
    if (page >= 0 && page < PAGE_LIMIT && offset === distance && (offset & (widthBytes - 1)) === 0)
      return page;
  }
  return throwNoAddress(address, widthBytes, accessor);
}

/** Of an access by a method of `accessor`. */
export function throwNoAddress(address: unknown, widthBytes: number, accessor: object): never {
  const isPlace = Number.isInteger(address) && Number(address) >= 0;
  const shown = isPlace ? `0x${Number(address).toString(16)}` : formatValue(address);
  accessFrom(accessor);
  throw new HmmError(
    EINVAL,
    "access",
    `Cannot access ${widthBytes} bytes at ${shown}: not a whole number below 2^53 that is a multiple of ${widthBytes}; align it`,
    typeof address === "number" ? address : undefined,
  );
}

/** A store or an atomic operation, by a method of `accessor`, got something else than `wanted`. */
export function throwNoValue(value: unknown, wanted: string, accessor: object): never {
  accessFrom(accessor);
  const text = `Cannot store ${formatValue(value)}: it is not ${wanted}; convert it first`;
  throw new HmmError(EINVAL, "access", text);
}

/** Checks the number of tries of one access or one fill; throws EAGAIN at the limit. */
export function checkRetry(tries: number, address: number): void {
  if (tries >= RETRY_LIMIT) throwContended(address);
}

function throwContended(address: number): never {
  throw new HmmError(
    EAGAIN,
    "access",
    `Cannot access 0x${address.toString(16)}: its translation was shot down ${RETRY_LIMIT} times in a row; invalidate less often`,
    address,
  );
}

/**
 * Checks that a record of `count` elements fits into a typed array of `length` from `offset` on.
 * Throws HmmError EINVAL otherwise.
 */
export function checkTarget(length: number, offset: number, count: number): void {
  if (offset >>> 0 !== offset || count >>> 0 !== count || offset + count > length)
    throwOutsideTarget(length, offset, count);
}

function throwOutsideTarget(length: number, offset: number, count: number): never {
  throw new HmmError(
    EINVAL,
    "access",
    `Cannot load ${count} elements into a typed array of ${length} from element ${offset} on: pass whole numbers, and an array that is long enough`,
  );
}
