/**
 * @module memory/access
 * What all widths of access share: their interface, the check of an address, and the limit of tries. The code is in integer-access.ts and
 * float-access.ts, the protocol in translation.ts.
 */

import { EAGAIN, EINVAL } from "../sync/errno.ts";
import { HmmError } from "../sync/errors.ts";
import { PAGE_BYTES } from "./ram-section.ts";

/** Loads and stores of one width. An address is a number of bytes, a multiple of the width; else HmmError EINVAL. */
export interface ValueAccess {
  /** Throws SegmentationFault where no mapping may be read. */
  load(address: number): number;
  /** Throws SegmentationFault where no mapping may be written. Converts as a typed array does. */
  store(address: number, value: number): void;
}

/** Integers also have sequentially consistent read-modify-writes; each returns the value from before. */
export interface IntegerAccess extends ValueAccess {
  add(address: number, value: number): number;
  sub(address: number, value: number): number;
  and(address: number, value: number): number;
  or(address: number, value: number): number;
  xor(address: number, value: number): number;
  exchange(address: number, value: number): number;
  compareExchange(address: number, expected: number, replacement: number): number;
}

/**
 * Stands for a generation word where no translation is remembered yet: the heap's first word, which is never 0, while the generation
 * that is remembered is. So the first access fails the check of the generation and takes the slow path.
 */
export const NOT_A_GENERATION = 0;

/** Translations that all widths share. A power of two. */
export const CACHE_ENTRIES = 256;
/** The entry of a page is `page & CACHE_ENTRY_MASK`. */
export const CACHE_ENTRY_MASK: number = CACHE_ENTRIES - 1;

/** Times that one access looks again because its translation was shot down at that very moment. Then somebody invalidates in a tight loop. */
const RETRY_LIMIT = 1_000_000;
/** Pages are below this. */
const PAGE_LIMIT: number = 2 ** 32;

/** The page of an address that is a whole multiple of `widthBytes` below 2^44. Throws HmmError EINVAL otherwise. */
export function pageOf(address: number, widthBytes: number): number {
  const page = Math.floor(address / PAGE_BYTES);
  if (page >= 0 && page < PAGE_LIMIT && address % widthBytes === 0) return page;
  const shown = Number.isInteger(address) && address >= 0 ? `0x${address.toString(16)}` : String(address);
  throw new HmmError(
    EINVAL,
    "access",
    `Cannot access ${widthBytes} bytes at ${shown}: not an address that is a multiple of ${widthBytes}; align it`,
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
