/**
 * @module hmm/walk/leaf
 * Reads the page-table entries of one leaf (up to 512 pages) into a range's pfns, and decides which
 * pages need a fault. Follows Linux `hmm_pte_need_fault` and `hmm_vma_handle_pte`. Plain functions
 * on typed arrays: no locks, no allocation, nothing that waits. A gigabyte is 262,144 of these
 * entries. The way from leaf to leaf, and the faults: page-walk.ts.
 *
 * Entries are read without atomics, each once. The caller has done read-begin before (S3 of
 * range-record.ts). So the recheck under the driver lock notices an entry that changed under the
 * walk, whichever of its values was read.
 */

import {
  KIND_DEVICE_PRIVATE,
  NON_PRESENT_WRITE,
  PFN_SHIFT,
  PTE_PRESENT,
  PTE_SPECIAL,
  PTE_WRITE,
  ZERO_PFN,
  pteKind,
  ptePfn,
} from "../../mm/pte.ts";
import { MID_HUGE } from "../../mmu/radix-table.ts";
import { type HmmEncoding, makeEntry } from "../entry.ts";

/** What a page needs before a device may have it as requested. */
export type Need = 0 | 1 | 2 | 3;
export const NEED_NOTHING: Need = 0;
export const NEED_READ: Need = 1;
export const NEED_WRITE: Need = 2;
/** It is there, but it is no page for a device: no fault will help. */
export const NEED_IMPOSSIBLE: Need = 3;

/** Requests for the pages of a walk: `(perPage[i] & mask) | always`. */
export interface Requests {
  readonly perPage: Uint32Array | undefined;
  readonly mask: number;
  readonly always: number;
  /** Pages with 0 in `perPage` are not looked at. Pages of 4 KiB only. */
  readonly isSparse: boolean;
  /** Whether a frame is in private memory of the device that walks. */
  readonly owns: (pfn: number) => boolean;
}

/** Of a device without memory of its own. */
export const OWNS_NONE = (): boolean => false;

/** No page is requested: a snapshot. */
export const NO_REQUESTS: Requests = {
  perPage: undefined,
  mask: 0,
  always: 0,
  isSparse: false,
  owns: OWNS_NONE,
};

export function requestOf({ perPage, mask, always }: Requests, index: number): number {
  return perPage === undefined ? always : (perPage[index]! & mask) | always;
}

/** Whether any of `count` pages from `index` on is requested at all. */
export function anyRequested(
  requests: Requests,
  index: number,
  count: number,
  { flags }: HmmEncoding,
): boolean {
  const { perPage, isSparse } = requests;
  for (let i = index; i < index + count; i++) {
    const isPassed = isSparse && perPage?.[i] === 0;
    if (!isPassed && (requestOf(requests, i) & flags.valid) !== 0) return true;
  }
  return false;
}

/** Whether the page is in private memory of the device itself, which knows what that is. */
function isOwnPrivate(pte: number, { flags }: HmmEncoding, owns: Requests["owns"]): boolean {
  return pteKind(pte) === KIND_DEVICE_PRIVATE && flags.devicePrivate !== 0 && owns(ptePfn(pte));
}

/**
 * What the page behind `pte` needs, given its request. Linux 5.3 tested the need of a swapped or
 * migrating page before it had computed it, so such pages were never faulted in. Linux:
 * `hmm_pte_need_fault`.
 */
export function needOf(
  pte: number,
  request: number,
  encoding: HmmEncoding,
  owns: Requests["owns"] = OWNS_NONE,
): Need {
  const { flags } = encoding;
  if ((request & flags.valid) === 0) return NEED_NOTHING;
  const wantsWrite = (request & flags.write) !== 0;
  if ((pte & PTE_PRESENT) === 0) {
    // A page in the device's own memory stays there unless the request asks for it back, or for a
    // right that the entry has lost to a fork or mprotect. A page of another device comes back.
    const mayStay = isOwnPrivate(pte, encoding, owns) && (request & flags.devicePrivate) === 0;
    if (mayStay && (!wantsWrite || (pte & NON_PRESENT_WRITE) !== 0)) return NEED_NOTHING;
    return wantsWrite ? NEED_WRITE : NEED_READ;
  }
  if (isNoDevicePage(pte)) return NEED_IMPOSSIBLE;
  return wantsWrite && (pte & PTE_WRITE) === 0 ? NEED_WRITE : NEED_NOTHING;
}

/** A present page without a frame of its own. Any device may read the zero page. */
function isNoDevicePage(pte: number): boolean {
  return (pte & PTE_SPECIAL) !== 0 && ptePfn(pte) !== ZERO_PFN;
}

/** What goes into pfns for `pte` when nothing is faulted in. */
export function entryOf(
  pte: number,
  encoding: HmmEncoding,
  owns: Requests["owns"] = OWNS_NONE,
): number {
  const { flags, values } = encoding;
  if ((pte & PTE_PRESENT) !== 0) {
    if (isNoDevicePage(pte)) return values.special;
    return makeEntry(ptePfn(pte), (pte & PTE_WRITE) === 0 ? 0 : flags.write, encoding);
  }
  if (!isOwnPrivate(pte, encoding, owns)) return values.none;
  const write = (pte & NON_PRESENT_WRITE) === 0 ? 0 : flags.write;
  return makeEntry(ptePfn(pte), flags.devicePrivate | write, encoding);
}

/**
 * As `readLeaf`, of `count` pages of one huge page (mm/huge.ts) from the one with entry `pte` on,
 * of which every `step`th has an entry in pfns. One decision for all of them, unless requests
 * differ.
 */
export function readHuge(
  pte: number,
  count: number,
  step: number,
  pfns: Uint32Array,
  pfnAt: number,
  encoding: HmmEncoding,
  requests: Requests,
): number {
  const entries = count === step ? 1 : count / step;
  const ready = readyEntries(pte, entries, pfnAt, encoding, requests);
  const first = entryOf(pte, encoding, requests.owns);
  const { flags, pfnShift } = encoding;
  if (entries === 1) {
    const huge = (first & flags.valid) === 0 ? 0 : (flags.huge ?? 0);
    if (ready === 1) pfns[pfnAt] = first | huge;
    return ready * step;
  }
  if ((first & flags.valid) === 0) {
    pfns.fill(first, pfnAt, pfnAt + ready);
    return ready * step;
  }
  const isZero = ptePfn(pte) === ZERO_PFN;
  const stride = isZero ? 0 : step << pfnShift;
  const end = (pfnAt + ready) | 0;
  let entry = first | (flags.huge ?? 0) | 0;
  for (let to = pfnAt | 0; to < end; to++, entry = (entry + stride) | 0) pfns[to] = entry;
  return ready * step;
}

/**
 * As {@link readHuge}, of whole huge pages in a row, each of which has one entry in pfns: of the
 * `count` mid entries from `words[midAt]` on. Stops before what is no huge page with frames and the
 * rights that all pages are asked for (`always`). Returns how many entries it wrote. Of one page
 * after the other, 26 ns of 40 were the way from table to table and the questions asked anew.
 *
 * @stepped pte
 */
export function readHugeRow(
  words: Int32Array,
  midAt: number,
  count: number,
  pfns: Uint32Array,
  pfnAt: number,
  { flags, pfnShift }: HmmEncoding,
  always: number,
): number {
  const asksToWrite = (always & flags.valid) !== 0 && (always & flags.write) !== 0;
  const wanted = asksToWrite ? PTE_PRESENT | PTE_WRITE : PTE_PRESENT;
  const readable = flags.valid | (flags.huge ?? 0);
  const writable = readable | flags.write;
  const end = (midAt + count) | 0; // a heap index: the compiler may count in integers
  let to = pfnAt | 0;
  for (let from = midAt | 0; from < end; from++, to++) {
    const midEntry = words[from]!;
    const leaf = midEntry & ~MID_HUGE;
    if (leaf === midEntry || leaf >= words.length) break;
    const pte = words[leaf]!;
    if ((pte & (wanted | PTE_SPECIAL)) !== wanted) break;
    const rights = (pte & PTE_WRITE) === 0 ? readable : writable;
    pfns[to] = ((pte >>> PFN_SHIFT) << pfnShift) | rights;
  }
  return to - pfnAt;
}

/** How many entries from `pfnAt` on need no fault. */
function readyEntries(
  pte: number,
  entries: number,
  pfnAt: number,
  encoding: HmmEncoding,
  requests: Requests,
): number {
  const { perPage, always, owns } = requests;
  if (perPage === undefined)
    return needOf(pte, always, encoding, owns) === NEED_NOTHING ? entries : 0;
  for (let i = 0; i < entries; i++)
    if (needOf(pte, requestOf(requests, pfnAt + i), encoding, owns) !== NEED_NOTHING) return i;
  return entries;
}

/** Bits that the pages of one eight have in common. */
const KIND_MASK: number = PTE_PRESENT | PTE_WRITE | PTE_SPECIAL;

/**
 * Writes entries from `words[at]` to `pfns[pfnAt]` and on, eight at a time, while all eight are
 * ordinary pages with the rights of the first. Returns how many: 0 or a multiple of 8. V8 of Node
 * 20 loads length and place of both arrays anew for each single access: 2.9 ns an entry one by one,
 * 1.0 in eights, 0.8 in C.
 *
 * @stepped pte
 */
function writeAlike(
  words: Int32Array,
  at: number,
  count: number,
  pfns: Uint32Array,
  pfnAt: number,
  encoding: HmmEncoding,
): number {
  const kind = words[at]! & KIND_MASK;
  if ((kind & (PTE_PRESENT | PTE_SPECIAL)) !== PTE_PRESENT) return 0;
  const { flags, pfnShift } = encoding;
  const rights = (kind & PTE_WRITE) === 0 ? flags.valid : flags.valid | flags.write;
  const end = (at + count) | 0; // a heap index: the compiler may count in integers
  let from = at | 0;
  for (let to = pfnAt | 0; from + 8 <= end; from += 8, to += 8) {
    const a = words[from]!;
    const b = words[from + 1]!;
    const c = words[from + 2]!;
    const d = words[from + 3]!;
    const e = words[from + 4]!;
    const f = words[from + 5]!;
    const g = words[from + 6]!;
    const h = words[from + 7]!;
    const inAll = a & b & c & d & e & f & g & h;
    const inAny = a | b | c | d | e | f | g | h;
    if ((inAll & KIND_MASK) !== kind || (inAny & KIND_MASK) !== kind) break;
    pfns[to] = ((a >>> PFN_SHIFT) << pfnShift) | rights;
    pfns[to + 1] = ((b >>> PFN_SHIFT) << pfnShift) | rights;
    pfns[to + 2] = ((c >>> PFN_SHIFT) << pfnShift) | rights;
    pfns[to + 3] = ((d >>> PFN_SHIFT) << pfnShift) | rights;
    pfns[to + 4] = ((e >>> PFN_SHIFT) << pfnShift) | rights;
    pfns[to + 5] = ((f >>> PFN_SHIFT) << pfnShift) | rights;
    pfns[to + 6] = ((g >>> PFN_SHIFT) << pfnShift) | rights;
    pfns[to + 7] = ((h >>> PFN_SHIFT) << pfnShift) | rights;
  }
  return from - at;
}

/**
 * Writes the entries of `count` pages, whose page-table entries start at `words[pteAt]`, to
 * `pfns[pfnAt]` and on. Stops before the first page that needs a fault, or that no fault will help.
 * Returns how many entries were written: `count`, or the index of that page.
 *
 * @stepped pte
 */
export function readLeaf(
  words: Int32Array,
  pteAt: number,
  count: number,
  pfns: Uint32Array,
  pfnAt: number,
  encoding: HmmEncoding,
  requests: Requests,
): number {
  const { perPage, mask, always, owns } = requests;
  const mayRequest = perPage === undefined ? always : mask | always;
  const asksToWrite = (mayRequest & encoding.flags.write) !== 0;
  for (let i = 0; i < count;) {
    // A present page needs nothing if it may be written, or if nobody asks to write.
    if (!asksToWrite || (words[pteAt + i]! & PTE_WRITE) !== 0)
      i += writeAlike(words, pteAt + i, count - i, pfns, pfnAt + i, encoding);
    for (const stop = Math.min(i + 8, count); i < stop; i++) {
      const pte = words[pteAt + i]!;
      if (needOf(pte, requestOf(requests, pfnAt + i), encoding, owns) !== NEED_NOTHING) return i;
      pfns[pfnAt + i] = entryOf(pte, encoding, owns);
    }
  }
  return count;
}

/**
 * Of a sparse range: the index of the first page in [from, to) that is asked for, or `to`. Eight at
 * a time: where one of a hundred is, the way over those between them is most of the walk.
 */
export function nextAsked(perPage: Uint32Array, from: number, to: number): number {
  const end = to | 0; // a heap index: the compiler may count in integers
  let i = from | 0;
  for (; i < end; i++) {
    while (i + 8 <= end && !isAnyOfEight(perPage, i)) i += 8;
    if (i >= end || perPage[i]! !== 0) break;
  }
  return i;
}

function isAnyOfEight(perPage: Uint32Array, i: number): boolean {
  const low = perPage[i]! | perPage[i + 1]! | perPage[i + 2]! | perPage[i + 3]!;
  const high = perPage[i + 4]! | perPage[i + 5]! | perPage[i + 6]! | perPage[i + 7]!;
  return (low | high) !== 0;
}

/**
 * As {@link readLeaf}, of a sparse range: the pages that are asked for alone. `isHuge`: the leaf is
 * that of a huge page.
 *
 * @stepped pte
 */
export function readAsked(
  words: Int32Array,
  pteAt: number,
  count: number,
  pfns: Uint32Array,
  pfnAt: number,
  encoding: HmmEncoding,
  requests: Requests,
  isHuge: boolean,
): number {
  const { perPage, owns } = requests;
  if (perPage === undefined) return 0; // a sparse range has requests
  const { valid, huge = 0 } = encoding.flags;
  const end = pfnAt + count;
  for (let at = nextAsked(perPage, pfnAt, end); at < end; at = nextAsked(perPage, at + 1, end)) {
    const pte = words[pteAt + at - pfnAt]!;
    if (needOf(pte, requestOf(requests, at), encoding, owns) !== NEED_NOTHING) return at - pfnAt;
    const entry = entryOf(pte, encoding, owns);
    pfns[at] = isHuge && (entry & valid) !== 0 ? entry | huge : entry;
  }
  return count;
}
