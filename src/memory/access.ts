/**
 * @module memory/access
 * What all widths of access share: their interface, the check of an address, and the limit of tries. The code is in integer-access.ts and
 * float-access.ts, the protocol in translation.ts.
 */

import { EAGAIN, EINVAL } from "../sync/errno.ts";
import { HmmError } from "../sync/errors.ts";
import { PAGE_BYTES } from "./ram-section.ts";

/**
 * Loads and stores of one width. An address is a number of bytes, a multiple of the width; else HmmError EINVAL.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * const p = space.mmapSync(4096);
 * space.f64.store(p + 8, 0.5);
 * console.log(space.f64.load(p + 8)); // 0.5
 * ```
 */
export interface ValueAccess {
  /** Throws SegmentationFault where no mapping may be read. */
  load(address: number): number;
  /** Throws SegmentationFault where no mapping may be written. Converts as a typed array does. */
  store(address: number, value: number): void;
}

/**
 * Integers also have sequentially consistent read-modify-writes; each returns the value from before.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * const p = space.mmapSync(4096);
 * console.log(space.i32.add(p, 3), space.i32.compareExchange(p, 3, 9), space.i32.load(p)); // 0 3 9
 * ```
 */
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

/** What a cache knows of an entry stands in one array, ENTRY_WORDS words for each: compiled code then checks type and place of the array once. */
export const ENTRY_SHIFT = 2;
export const ENTRY_WORDS: number = 2 ** ENTRY_SHIFT;
/** For the quick look at an address below 2^31: `quickKey` of page and section, or NO_QUICK_KEY. */
export const ENTRY_KEY = 0;
/** Index of the frame's first 32-bit word in its section. */
export const ENTRY_INDEX = 1;
/** Word of the generation of the page's block. */
export const ENTRY_GENERATION_WORD = 2;
/** That generation before the page's table was walked. */
export const ENTRY_GENERATION = 3;

/** Pages of addresses below 2^31 have so many bits. */
const QUICK_PAGE_BITS = 19;
const QUICK_SECTIONS: number = 2 ** (32 - QUICK_PAGE_BITS) - 1;
/** Of no page and section. */
export const NO_QUICK_KEY = -1;

/** One number for a page and the section of its frame, if both are small: a cache numbers its sections from 1 on. */
export function quickKey(page: number, sectionNumber: number): number {
  if (page >= 2 ** QUICK_PAGE_BITS || sectionNumber >= QUICK_SECTIONS) return NO_QUICK_KEY;
  return (sectionNumber << QUICK_PAGE_BITS) | page;
}

/** The key of page 0 and the section of `key`: 0, which is in no entry's key, when that is NO_QUICK_KEY. */
export function quickSection(key: number): number {
  return key === NO_QUICK_KEY ? 0 : key & -(2 ** QUICK_PAGE_BITS);
}

/** What a typed field holds until its constructor is done: V8 then knows for good what kind of array it has, and does not ask each time. */
export const NO_WORDS: Int32Array = new Int32Array(0);

/** Times that one access looks again because its translation was shot down at that very moment. Then somebody invalidates in a tight loop. */
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
  const offset = distance | 0; // not `address % widthBytes`, which for large addresses is a call of fmod
  if (page >= 0 && page < PAGE_LIMIT && offset === distance && (offset & (widthBytes - 1)) === 0) return page;
  const shown = Number.isInteger(address) && address >= 0 ? `0x${address.toString(16)}` : String(address);
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
