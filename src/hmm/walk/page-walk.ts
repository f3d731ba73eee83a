/**
 * @module hmm/walk/page-walk
 * The way through a range, vma by vma and leaf by leaf: shared by snapshot.ts, which requests
 * nothing, and fault.ts, which makes requested pages present. Reading one leaf is leaf.ts. Follows
 * Linux 5.3 `hmm_range_snapshot` and `hmm_range_fault`.
 *
 *   F1  One pass: read-begin, then walk. A page that needs a fault gets one, and the walk goes on
 *       from it. A fault may itself invalidate the range (copy-on-write, a page that a device had
 *       copied). Then what was read before is stale, and another pass follows, which finds those
 *       pages ready. Passes and faults of one page are bounded.
 *   F2  The mmap lock is held at least for reading, and kept in every case. It keeps vmas and
 *       tables; entries change all the same.
 *   F3  pfns is only written. A retry asks for what the driver asked for.
 */

import { DEVICE_PRIVATE } from "../../memory/frames/device-frames.ts";
import { handleMmFault } from "../../mm/fault/fault.ts";
import { FAULT_SMALL, replaceHugeZero } from "../../mm/fault/huge-fault.ts";
import { FAULT_RETRY } from "../../mm/fault/vm-fault.ts";
import { hugeStart, isHugeAt } from "../../mm/huge.ts";
import type { Mm } from "../../mm/mm-struct.ts";
import { KIND_SPECIAL, ZERO_PFN, pteKind, ptePfn } from "../../mm/pte.ts";
import { beginWait } from "../../mm/source/bring-in.ts";
import { mayBeHuge } from "../../mm/vma/huge-vma.ts";
import {
  VM_MIXEDMAP,
  VM_READ,
  VM_SPECIAL,
  VM_WRITE,
  Vma,
  findVma,
  offsetOf,
} from "../../mm/vma/vma.ts";
import {
  LEAF_WORDS,
  MID_HUGE,
  leafIn,
  midEntryOf,
  midIndexOf,
  nextLeafPage,
  nextMidPage,
  pteAt,
  pteIndex,
  wordAt,
} from "../../mmu/radix-table.ts";
import { EBUSY, EFAULT, EINVAL, ENOMEM, EPERM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { HOLES_FAIL, type HmmRange, checkRegistered, mmOfRange } from "../range/range.ts";
import { isSequenceUnchanged, rangeReadBegin } from "../range/valid.ts";
import {
  NEED_IMPOSSIBLE,
  NEED_NOTHING,
  NEED_WRITE,
  OWNS_NONE,
  type Requests,
  anyRequested,
  needOf,
  nextAsked,
  readAsked,
  readHuge,
  readHugeRow,
  readLeaf,
  requestOf,
} from "./leaf.ts";

/** Faults in a row of one page that others keep taking away. */
export const FAULTS_OF_PAGE_MAX = 16;

/** One call: what it asks for, and where it stands. */
interface Walk {
  readonly range: HmmRange;
  readonly mm: Mm;
  readonly requests: Requests;
  /** Pages of 4 KiB in a page of the device, of which each has an element in pfns. */
  readonly step: number;
  /** Entries of the pages below have been written. */
  page: number;
  /** Faults in a row at `faultedPage`. */
  faultedPage: number;
  faults: number;
  /** The page is present, but no page for a device. */
  isSpecial: boolean;
}

/**
 * Fills `pfns` of a registered range in at most `passesMax` passes (F1). How many pages, or an
 * errno: the table is at hmmRangeFault. `verb` is what the caller wanted.
 */
export function* readRange(
  range: HmmRange,
  verb: string,
  requests: Requests,
  passesMax: number,
): Task<number> {
  checkRegistered(range, verb);
  const mm = mmOfRange(range);
  mm.mmapLock.assertHeld();
  const { startPage: page, pagesPerEntry: step } = range;
  const start = { page, faultedPage: -1, faults: 0, isSpecial: false };
  const walk: Walk = { range, mm, requests, step, ...start };
  const errno = areInvalid(requests, step) ? EINVAL : yield* passes(walk, passesMax);
  if (errno === 0) return pfnIndex(walk);
  clearRest(walk, errno);
  return errno;
}

function areInvalid({ perPage, mask, isSparse }: Requests, step: number): boolean {
  return isSparse ? perPage === undefined || step > 1 : mask !== 0 && perPage === undefined;
}

/**
 * Whether a frame lies in private memory of the range's device. A frame that no section has any
 * more is nobody's: its entry has changed, and the pass will be found out.
 */
export function ownedBy({ machine, owner }: HmmRange): (pfn: number) => boolean {
  if (owner === 0) return OWNS_NONE;
  const kind = owner * 4 + DEVICE_PRIVATE;
  return (pfn) => machine.ram.sections.deviceKindOf(pfn) === kind;
}

/** Index of the walk's page in pfns. */
function pfnIndex({ page, range, step }: Walk): number {
  return (page - range.startPage) / step;
}

function* passes(walk: Walk, passesMax: number): Task<Errno> {
  const { range } = walk;
  for (let pass = 0; pass < passesMax; pass++) {
    walk.page = range.startPage;
    if (walk.requests.isSparse) range.pfns.fill(range.encoding.values.none, 0, range.entries);
    const begun = yield* rangeReadBegin(range);
    if (begun !== 0) return begun;
    const walked = yield* walkRange(walk);
    if (walked !== 0) return walked;
    if (yield* isSequenceUnchanged(range)) return 0;
  }
  walk.page = range.startPage;
  return EBUSY;
}

/**
 * One pass, to the end of the range. At a place that no device may read:
 *
 *     no vma, or VM_IO, VM_PFNMAP                  EFAULT
 *     VM_MIXEDMAP                                  EFAULT; allowed with HOLES_MARK
 *     no VM_READ                                   EPERM; EFAULT with HOLES_MARK, as in later Linux
 *     a page of the device that lies in no huge    EINVAL
 *       page, or in two mappings
 *
 * and with HOLES_MARK, when none of its pages is requested, the entries become `values.error` and
 * the walk goes on.
 */
function* walkRange(walk: Walk): Task<Errno> {
  const { range, mm } = walk;
  const { memory } = range.machine;
  const { endPage } = range;
  while (walk.page < endPage) {
    const at = findVma(memory, mm, walk.page);
    const vma = at === 0 ? undefined : Vma.at(memory, at);
    const isInside = vma !== undefined && vma.startPage <= walk.page;
    const errno = isInside ? judgeVma(range, vma) : EFAULT;
    const edge = vma === undefined ? endPage : isInside ? vma.endPage : vma.startPage;
    const stopPage = Math.min(edge, endPage);
    if ((stopPage - walk.page) % walk.step !== 0) return EINVAL;
    const answer =
      errno === 0 && vma !== undefined
        ? yield* walkVma(walk, vma, stopPage)
        : passHole(walk, stopPage, errno);
    if (answer !== 0) return answer;
  }
  return 0;
}

function judgeVma(range: HmmRange, vma: Vma): Errno {
  const special = range.holes === HOLES_FAIL ? VM_SPECIAL : VM_SPECIAL & ~VM_MIXEDMAP;
  if ((vma.flags & special) !== 0) return EFAULT;
  if ((vma.flags & VM_READ) === 0) return range.holes === HOLES_FAIL ? EPERM : EFAULT;
  return 0;
}

/** Marks a span that cannot be read, or refuses it. */
function passHole(walk: Walk, stopPage: number, errno: Errno): Errno {
  const { holes, pfns, encoding } = walk.range;
  const first = pfnIndex(walk);
  const count = (stopPage - walk.page) / walk.step;
  if (errno === EINVAL || holes === HOLES_FAIL) return errno;
  if (anyRequested(walk.requests, first, count, encoding)) return errno;
  pfns.fill(encoding.values.error, first, first + count);
  walk.page = stopPage;
  return 0;
}

/** What stands for a leaf that does not exist: 512 empty entries. */
const EMPTY_LEAF = new Int32Array(512);

/**
 * As far as it goes without a fault, then one fault, then on from there.
 *
 * @stepped
 */
function* walkVma(walk: Walk, vma: Vma, stopPage: number): Task<Errno> {
  while (walk.page < stopPage) {
    if (!readOn(walk, vma, stopPage)) return EINVAL;
    if (walk.page === stopPage) break;
    const errno = yield* faultPage(walk, vma);
    if (errno !== 0) return errno;
  }
  return 0;
}

/**
 * Leaf by leaf, up to the end or to a page that needs a fault. False: `readNext` answered -1. No
 * generator: of huge pages, which are an entry each, that would be a third of the time.
 *
 * @stepped
 */
function readOn(walk: Walk, vma: Vma, stopPage: number): boolean {
  let { page } = walk;
  let done = 0;
  for (let count = 0; page < stopPage && done === count; page += done) {
    page += passOver(walk, page, stopPage);
    if (page === stopPage) break;
    count = Math.min(nextLeafPage(page), stopPage) - page;
    done = readNext(walk, vma, page, count);
    if (done < 0) break;
  }
  walk.page = page;
  return done >= 0;
}

/** How many pages from `page` on need no look at their leaf. */
function passOver(walk: Walk, page: number, stopPage: number): number {
  const { requests, range } = walk;
  const { perPage, isSparse } = requests;
  if (!isSparse || perPage === undefined) return readHugeOnes(walk, page, stopPage);
  const at = page - range.startPage;
  return nextAsked(perPage, at, stopPage - range.startPage) - at;
}

/**
 * How many pages from `page` on lie in huge pages that need nothing, where a page of the device is
 * one huge page, and all are requested alike. Their elements of pfns are written.
 */
function readHugeOnes(walk: Walk, page: number, stopPage: number): number {
  const { range, mm, requests, step } = walk;
  if (step !== LEAF_WORDS || requests.perPage !== undefined) return 0;
  const { pfns, encoding, startPage, machine } = range;
  const midAt = midIndexOf(machine.memory, mm.pgd, page);
  if (midAt === 0) return 0;
  const count = (Math.min(nextMidPage(page), stopPage) - page) / LEAF_WORDS;
  const at = (page - startPage) / LEAF_WORDS;
  const { words } = machine.memory;
  const { always } = requests;
  return readHugeRow(words, midAt, count, pfns, at, encoding, always) * LEAF_WORDS;
}

/**
 * Of the `count` pages from `page` on, which lie under one leaf: how many needed no fault, and have
 * their elements of pfns; -1: they are mapped by smaller pages than the device's, or will be.
 *
 * @stepped pte
 */
function readNext(
  { range, mm, requests, step }: Walk,
  vma: Vma,
  page: number,
  count: number,
): number {
  const { pfns, encoding, startPage } = range;
  const { memory } = range.machine;
  const at = (page - startPage) / step;
  const midEntry = midEntryOf(memory, mm.pgd, page);
  const leaf = leafIn(midEntry);
  const words = leaf === 0 ? EMPTY_LEAF : memory.words;
  const ptesAt = leaf === 0 ? 0 : pteIndex(leaf, page);
  if (requests.isSparse) {
    const isHuge = (midEntry & MID_HUGE) !== 0;
    return readAsked(words, ptesAt, count, pfns, at, encoding, requests, isHuge);
  }
  if ((midEntry & MID_HUGE) !== 0) {
    const pte = wordAt(words, ptesAt);
    // Zeros have no frames in a row, so a larger page of a device finds nothing there yet.
    const isThere = step === 1 || ptePfn(pte) !== ZERO_PFN;
    return readHuge(isThere ? pte : 0, count, step, pfns, at, encoding, requests);
  }
  if (step === 1) return readLeaf(words, ptesAt, count, pfns, at, encoding, requests);
  if (!mayBeHuge(mm, vma, page)) return -1;
  for (let i = 0; i < count; i++) if (wordAt(words, ptesAt + i) !== 0) return -1;
  return readHuge(0, count, step, pfns, at, encoding, requests);
}

/** Faults the walk's page in; the walk then reads it again. */
function* faultPage(walk: Walk, vma: Vma): Task<Errno> {
  const { range, mm, page } = walk;
  const { machine, encoding } = range;
  const request = requestOf(walk.requests, pfnIndex(walk));
  const pte = pteAt(machine.memory, mm.pgd, page);
  if (walk.step > 1 && pteKind(pte) === KIND_SPECIAL && isHugeAt(machine.memory, mm, page))
    return yield* framesForZeros(walk, vma);
  const need = needOf(pte, request, encoding, walk.requests.owns);
  if (need === NEED_NOTHING) return 0; // another thread has faulted it in meanwhile
  if (need === NEED_IMPOSSIBLE) {
    walk.isSpecial = true;
    return EFAULT;
  }
  const isWrite = need === NEED_WRITE;
  if (isWrite && (vma.flags & VM_WRITE) === 0) return EPERM;
  if (!mayFaultAgain(walk)) return EBUSY;
  const result = yield* handleMmFault(machine, mm, vma, page, isWrite);
  return result === FAULT_RETRY ? yield* awaitSource(range, vma, page) : result;
}

/** A huge page of zeros gets frames in a row, for a device with larger pages. */
function* framesForZeros(walk: Walk, vma: Vma): Task<Errno> {
  const { range, mm, page } = walk;
  if (!mayFaultAgain(walk)) return EBUSY;
  const result = yield* replaceHugeZero(range.machine, mm, vma, hugeStart(page));
  return result === FAULT_SMALL ? ENOMEM : result;
}

/**
 * The page has to be read from its source, without the mmap lock: EBUSY, and the wait until the
 * range is valid includes it. EFAULT, once, if that could not be done.
 */
function* awaitSource(range: HmmRange, vma: Vma, page: number): Task<Errno> {
  if (range.sourceErrno !== 0) {
    range.sourceErrno = 0;
    return EFAULT;
  }
  if (range.awaitedPage !== 0) return EBUSY;
  const at = yield* beginWait(range.machine, vma.source, offsetOf(vma, page), vma.flags);
  if (at < 0) return at;
  range.awaitedPage = at;
  return EBUSY;
}

/** Counts the faults of one page in a row. */
function mayFaultAgain(walk: Walk): boolean {
  if (walk.faultedPage !== walk.page) {
    walk.faultedPage = walk.page;
    walk.faults = 0;
  }
  walk.faults++;
  return walk.faults <= FAULTS_OF_PAGE_MAX;
}

/**
 * Ends a call that failed at the walk's page. The entry there becomes `values.error` (`special` for
 * a special page) if the failure is that page's, everything after it `values.none`. In Linux 5.3
 * the clearing overwrote the mark.
 */
function clearRest(walk: Walk, errno: Errno): void {
  const { pfns, encoding, endPage, entries } = walk.range;
  const { none, error, special } = encoding.values;
  const stop = pfnIndex(walk);
  const isPagesFault = errno === EFAULT || errno === EPERM || errno === ENOMEM;
  const isMarked = isPagesFault && walk.page < endPage;
  if (isMarked) pfns[stop] = walk.isSpecial ? special : error;
  pfns.fill(none, isMarked ? stop + 1 : stop, entries);
}
