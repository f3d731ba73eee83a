/**
 * @module hmm/entry
 * The format of one element of a range's `pfns`. Follows the `flags`, `values` and `pfn_shift` of
 * Linux 5.3's `struct hmm_range`. The driver chooses the bits, so an entry can go into the device's
 * page table as it is. The CPU's page-table entry is mm/pte.ts. No locks: numbers only.
 *
 *     entry = (pfn << pfnShift) | flag bits        a page that is there
 *     entry = values.none                          nothing there, or nothing known
 *     entry = values.error                         the page at which a call failed; with
 *                                                  HOLES_MARK, no readable mapping
 *     entry = values.special                       there, but no page that a device may use
 */

import { bug } from "../sync/errors.ts";

/**
 * The driver's bits, in entries and in requests. `devicePrivate` 0: the driver does not distinguish
 * device memory. `huge`, in entries only: the page lies in a huge page of 2 MiB, whose frames are
 * in a row; 0 or left out: the driver does not ask (Linux: `hmm_pfn_to_map_order`).
 */
export interface HmmFlags {
  /** The page may be read. In a request: it is wanted. */
  readonly valid: number;
  /** The page may be written. In a request: it is to be. */
  readonly write: number;
  /** The frame is in device-private memory. */
  readonly devicePrivate: number;
  /** The page lies in a huge page. */
  readonly huge?: number;
}

/**
 * The driver's entries for a page that it cannot use. `error` and `special` may be equal; `none`
 * differs from both.
 */
export interface HmmValues {
  /** No page, and none was asked for. */
  readonly none: number;
  /** There is no page to be had: no mapping, or not with these rights. */
  readonly error: number;
  /** A page that devices cannot map. */
  readonly special: number;
}

/** The format of the entries that hmm writes into `pfns`. */
export interface HmmEncoding {
  /** The bits of an entry for a page that can be used. */
  readonly flags: HmmFlags;
  /** The entries for a page that cannot. */
  readonly values: HmmValues;
  /** Lowest bit of the frame number, 0 to 8: an entry has 32 bits, a frame number 24. */
  readonly pfnShift: number;
}

/** Most bits that a frame number has. */
export const PFN_BITS = 24;

/** A power in a function is a call, 0.1 us: V8 does not know that an imported name is constant. */
const PFN_MASK: number = 2 ** PFN_BITS - 1;
const PFN_SHIFT_MAX = 32 - PFN_BITS;

/** For a driver without a page-table format of its own: flags in bits 0 to 5, frame from bit 8. */
export const DEFAULT_ENCODING: HmmEncoding = {
  flags: { valid: 0x01, write: 0x02, devicePrivate: 0x04, huge: 0x20 },
  values: { none: 0, error: 0x08, special: 0x10 },
  pfnShift: PFN_SHIFT_MAX,
};

/**
 * Throws AssertionFailure on an ambiguous encoding: a flag inside the frame number, a value that
 * reads as a valid page, or `none` equal to another value.
 */
export function checkEncoding({ flags, values, pfnShift }: HmmEncoding): void {
  if (!Number.isInteger(pfnShift) || pfnShift < 0 || pfnShift > PFN_SHIFT_MAX) {
    bug(`Cannot use pfnShift ${pfnShift}: must be 0 to ${PFN_SHIFT_MAX}; an entry has 32 bits`);
  }
  const pfnMask = PFN_MASK << pfnShift;
  const { valid, write, devicePrivate, huge = 0 } = flags;
  if (((valid | write | devicePrivate | huge) & pfnMask) !== 0) {
    bug("Cannot use these flags: one lies inside the frame number; move it or change pfnShift");
  }
  if (
    valid === 0 ||
    write === 0 ||
    (valid & write) !== 0 ||
    ((valid | write) & devicePrivate) !== 0 ||
    ((valid | write | devicePrivate) & huge) !== 0
  ) {
    bug("Cannot use these flags: valid and write must be bits of their own; choose others");
  }
  const { none, error, special } = values;
  if (((none | error | special) & valid) !== 0) {
    bug("Cannot use these values: one has the valid bit and would read as a page; choose others");
  }
  if (none >>> 0 === error >>> 0 || none >>> 0 === special >>> 0) {
    bug("Cannot use these values: none must differ from error and special; choose others");
  }
}

/** Whether `entry` names a page. */
export function entryIsValid(entry: number, { flags }: HmmEncoding): boolean {
  return (entry & flags.valid) !== 0;
}

/** Whether `entry` names a page that the device may write. */
export function entryIsWritable(entry: number, { flags }: HmmEncoding): boolean {
  return (entry & flags.valid) !== 0 && (entry & flags.write) !== 0;
}

/** The frame number of a valid entry. Linux: `hmm_device_entry_to_pfn`. */
export function entryPfn(entry: number, { pfnShift }: HmmEncoding): number {
  return (entry >>> pfnShift) & PFN_MASK;
}

/** Linux: `hmm_device_entry_from_pfn`, with the flags that the caller adds. */
export function makeEntry(pfn: number, flagBits: number, { flags, pfnShift }: HmmEncoding): number {
  return ((pfn << pfnShift) | flags.valid | flagBits) >>> 0;
}
