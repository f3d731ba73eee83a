/** @module mmu/address: the check of every address, and the limit of an access's retries. */

import { PAGE_BYTES } from "../memory/frames/ram-section.ts";
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
 * EINVAL otherwise. The page may lie beyond every address space: the translator refuses it then.
 */
export function pageOf(address: number, widthBytes: number): number {
  const page = Math.floor(address / PAGE_BYTES);
  const distance = address - page * PAGE_BYTES;
  // not `address % widthBytes`, which for large addresses is a call of fmod
  const offset = distance | 0;
  if (page >= 0 && page < PAGE_LIMIT && offset === distance && (offset & (widthBytes - 1)) === 0)
    return page;
  const shown =
    Number.isInteger(address) && address >= 0 ? `0x${address.toString(16)}` : String(address);
  throw new HmmError(
    EINVAL,
    "access",
    `Cannot access ${widthBytes} bytes at ${shown}: not a whole number below 2^53 that is a multiple of ${widthBytes}; align it`,
    address,
  );
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
