/**
 * @module mm/calls/madvise
 * Advice about a range. Follows Linux `do_madvise` in `mm/madvise.c`. A table says what each advice
 * does, and holding which lock:
 *
 *     advice                          mmap lock      what
 *     normal, sequential, random      for writing    flags of the mappings (vma/vma-flags.ts)
 *     hugepage, nohugepage            for writing    the same
 *     dontneed, free                  for reading    entries of the pages (advise-pages.ts)
 *     collapse                        none           huge pages of small ones (collapse.ts)
 *     willneed, cold, pageout         none           pages of sources (advise-source.ts)
 *     populate, -read, -write         none           faults, page by page (populate.ts)
 *
 * What takes no lock takes the mmap lock itself, and drops it to read or write a source.
 */

import type { Machine } from "../../memory/machine.ts";
import { TASK_SIZE_PAGES } from "../../mmu/radix-table.ts";
import { EAGAIN, EINVAL, ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { Mm } from "../mm-struct.ts";
import { PAGE_BYTES } from "../pte.ts";
import { cutsHuge } from "../vma/huge-vma.ts";
import { type FlagsChange, changeFlags } from "../vma/vma-flags.ts";
import { mergeVmas } from "../vma/vma-map.ts";
import {
  type PageRange,
  VM_HUGEPAGE,
  VM_HUGETLB,
  VM_NOHUGEPAGE,
  VM_RANDOM,
  VM_SEQUENTIAL,
  type VmaPart,
  isFullyMapped,
  partsIn,
} from "../vma/vma.ts";
import { dropPages, freePages } from "./advise-pages.ts";
import { deactivate, pageOut, readAhead } from "./advise-source.ts";
import { collapseRange } from "./collapse.ts";
import { alignedPageOf, isLengthOrZero } from "./page-arguments.ts";
import { POPULATE, POPULATE_READ, POPULATE_WRITE, populateRange } from "./populate.ts";

/** No special treatment; ends "sequential" and "random". */
export const MADV_NORMAL = 0;
/** The pages will be read at random: what lies beside them is not read ahead. */
export const MADV_RANDOM = 1;
/** The pages will be read in order: much is read ahead. */
export const MADV_SEQUENTIAL = 2;
/** The pages will be needed soon: those of a source are read now. */
export const MADV_WILLNEED = 3;
/**
 * Drop the pages. Private memory reads as zeros afterwards, other memory as what its source holds.
 */
export const MADV_DONTNEED = 4;
/** The contents of private anonymous memory are not needed any more. */
export const MADV_FREE = 8;
/** Huge pages are wanted there (vma/huge-vma.ts). */
export const MADV_HUGEPAGE = 14;
/** Huge pages are not wanted there. */
export const MADV_NOHUGEPAGE = 15;
/** Make huge pages of small ones, now. */
export const MADV_COLLAPSE = 25;
/** The pages are to leave RAM before others. */
export const MADV_COLD = 20;
/** The pages are to leave RAM now. */
export const MADV_PAGEOUT = 21;
/** Fault the pages in, as loads would. */
export const MADV_POPULATE_READ = 22;
/** Fault the pages in, as stores would, but change nothing in them. */
export const MADV_POPULATE_WRITE = 23;
/** As mmap with MAP_POPULATE: as stores where memory is private and writable, else as loads. */
export const MADV_POPULATE = 0x1000;

type Pages = (machine: Machine, mm: Mm, range: PageRange) => Task<Errno>;

/** What an advice does. One of the three. */
interface AdviceRow {
  /** Flags of the mappings. */
  readonly flags?: FlagsChange;
  /**
   * What one mapping has of the range. An errno ends the call, and the parts before have been
   * advised.
   */
  readonly part?: (machine: Machine, mm: Mm, part: VmaPart) => Task<Errno>;
  /** The mapped part of the range, without a lock. */
  readonly pages?: Pages;
}

const withoutOrder: FlagsChange = (flags) => flags & ~(VM_SEQUENTIAL | VM_RANDOM);

const ADVICE: ReadonlyMap<number, AdviceRow> = new Map<number, AdviceRow>([
  [MADV_NORMAL, { flags: withoutOrder }],
  [MADV_RANDOM, { flags: (flags) => withoutOrder(flags) | VM_RANDOM }],
  [MADV_SEQUENTIAL, { flags: (flags) => withoutOrder(flags) | VM_SEQUENTIAL }],
  [MADV_WILLNEED, { pages: readAhead }],
  [MADV_DONTNEED, { part: dropPages }],
  [MADV_FREE, { part: freePages }],
  [MADV_COLD, { pages: deactivate }],
  [MADV_HUGEPAGE, { flags: withHuge(VM_HUGEPAGE) }],
  [MADV_NOHUGEPAGE, { flags: withHuge(VM_NOHUGEPAGE) }],
  [MADV_COLLAPSE, { pages: collapseRange }],
  [MADV_PAGEOUT, { pages: pageOut }],
  [MADV_POPULATE, { pages: populateAs(POPULATE) }],
  [MADV_POPULATE_READ, { pages: populateAs(POPULATE_READ) }],
  [MADV_POPULATE_WRITE, { pages: populateAs(POPULATE_WRITE) }],
]);

/** The wish of a mapping; an explicit huge one has none. */
function withHuge(wish: number): FlagsChange {
  return (flags) =>
    (flags & VM_HUGETLB) === 0 ? (flags & ~(VM_HUGEPAGE | VM_NOHUGEPAGE)) | wish : flags;
}

function populateAs(mode: number): Pages {
  return (machine, mm, range) => populateRange(machine, mm, range, mode);
}

/**
 * 0, EINVAL (address, length or advice, or a mapping that cannot take it), or ENOMEM: part of the
 * range is not mapped, or lies past the last address. As in Linux, the advice has effect on what is
 * mapped all the same; only populating ends at the first hole. EAGAIN: no memory for a mapping that
 * is to be split. Of populating also EFAULT (a page of a source cannot be had) and ENOMEM (no RAM).
 * A length of 0 is no error, even over a hole. Takes the mmap lock; the caller holds an mm user.
 */
export function* doMadvise(
  machine: Machine,
  mm: Mm,
  address: number,
  lengthBytes: number,
  advice: number,
): Task<Errno> {
  const row = ADVICE.get(advice);
  const startPage = alignedPageOf(address);
  if (row === undefined || startPage < 0 || !isLengthOrZero(lengthBytes)) return EINVAL;
  if (lengthBytes === 0) return 0;
  const wantedEndPage = startPage + Math.ceil(lengthBytes / PAGE_BYTES);
  const endPage = Math.min(wantedEndPage, TASK_SIZE_PAGES);
  if (startPage >= endPage) return ENOMEM;
  const range = { startPage, endPage };
  const result = yield* advise(machine, mm, range, row);
  return result === 0 && wantedEndPage > endPage ? ENOMEM : result;
}

function* advise(machine: Machine, mm: Mm, range: PageRange, row: AdviceRow): Task<Errno> {
  const { flags, part, pages } = row;
  if (pages !== undefined) return yield* pages(machine, mm, range);
  if (flags !== undefined) {
    yield* mm.mmapLock.downWrite();
    const result = yield* adviseFlags(machine, mm, range, flags);
    yield* mm.mmapLock.upWrite();
    return result;
  }
  // For reading is enough: mappings stay, and faults of other threads may run at the same time.
  yield* mm.mmapLock.downRead();
  const isWhole = isFullyMapped(machine.memory, mm, range);
  let result: Errno = cutsHuge(machine.memory, mm, range) ? EINVAL : 0;
  for (const found of partsIn(machine.memory, mm, range)) {
    if (result === 0 && part !== undefined) result = yield* part(machine, mm, found);
  }
  yield* mm.mmapLock.upRead();
  return result !== 0 || isWhole ? result : ENOMEM;
}

function* adviseFlags(
  machine: Machine,
  mm: Mm,
  range: PageRange,
  change: FlagsChange,
): Task<Errno> {
  const result = yield* changeFlags(machine, mm, range, change);
  if (result !== 0) return result === ENOMEM ? EAGAIN : result;
  yield* mergeVmas(machine, mm, range);
  return isFullyMapped(machine.memory, mm, range) ? 0 : ENOMEM;
}
