/** @module mmu/address: what is checked of every address, and how often an access looks again. */

import { PAGE_BYTES } from "../memory/frames/ram-section.ts";
import { EAGAIN, EINVAL } from "../sync/errno.ts";
import { HmmError } from "../sync/errors.ts";

/**
 * An access looks again when its translation was shot down at that very moment. So often means that
 * somebody invalidates in a loop.
 */
const RETRY_LIMIT = 1_000_000;
/** Pages of safe integers are below this. */
const PAGE_LIMIT: number = 2 ** 41;

/**
 * The page of an address that is a safe integer and a multiple of `widthBytes`. Throws HmmError
 * EINVAL otherwise. It may lie beyond every address space: the translator says so, as of any place
 * where nothing can be.
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

/** Counts a try of one access or one fill; throws EAGAIN when there were absurdly many. */
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
