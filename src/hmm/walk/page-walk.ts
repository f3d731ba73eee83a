/**
 * @module hmm/walk/page-walk
 * The way through a range: vma by vma, leaf by leaf, from a cursor on. Shared by snapshot.ts, which
 * only looks, and fault.ts, which makes pages present; what is done with one leaf is walk.ts.
 * Follows the loop over vmas in Linux 5.3 `hmm_range_snapshot` and `hmm_range_fault`.
 *
 * Holding the mmap lock at least for reading, which keeps vmas and tables; entries change all the
 * same.
 */

import type { Mm } from "../../mm/mm-struct.ts";
import { leafOf, nextLeafPage, pteIndex } from "../../mmu/radix-table.ts";
import { PAGE_SHIFT } from "../../mm/pte.ts";
import { VM_READ, VM_SPECIAL, Vma, findVma } from "../../mm/vma/vma.ts";
import { EFAULT, EINVAL, ENOMEM, EPERM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { HOLES_FAIL, type HmmRange } from "../range/range.ts";
import { type Requests, anyRequested } from "./walk.ts";

/** Nobody asks for anything: a snapshot. */
export const NO_REQUESTS: Requests = { perPage: undefined, mask: 0, always: 0 };

/** Where a walk stands. Entries below `page` have been written. */
export interface Cursor {
  page: number;
  /** Faults in a row at `faultedPage`, for the limit in fault.ts. */
  faultedPage: number;
  faults: number;
  /** The page is there but no page for a device (walk.ts, NEED_IMPOSSIBLE). */
  isSpecial: boolean;
}

export function startOf(range: HmmRange): Cursor {
  return { page: range.startPage, faultedPage: -1, faults: 0, isSpecial: false };
}

/** Index of the cursor's page in pfns. */
export function cursorIndex(range: HmmRange, cursor: Cursor): number {
  return cursor.page - range.startPage;
}

/** The part of a leaf that a step has before it. */
export interface LeafPart {
  readonly vma: Vma;
  /**
   * Page-table entries: `count` of them from `pteAt` on; of an empty leaf when the space has none
   * there.
   */
  readonly words: Int32Array;
  readonly pteAt: number;
  readonly count: number;
}

/**
 * Writes the entries of the part's pages, which begin at the cursor, and moves the cursor past
 * those that it wrote: all of them, or it has to be called again. Nonzero ends the walk. A plain
 * function that returns a finished task in the usual case: it runs once for each leaf.
 */
export type LeafStep = (
  range: HmmRange,
  mm: Mm,
  cursor: Cursor,
  part: LeafPart,
  requests: Requests,
) => Task<Errno>;

/** What stands for a leaf that does not exist: 512 empty entries. */
const EMPTY_LEAF = new Int32Array(512);

/**
 * Walks from the cursor to the end of the range. At a place that no device may read:
 *
 *     no vma, or VM_IO, VM_PFNMAP, VM_MIXEDMAP     EFAULT
 *     no VM_READ                                   EPERM; EFAULT with HOLES_MARK, as in later Linux
 *     pageShift above the vma's page size          EINVAL
 *
 * and with HOLES_MARK, when none of its pages is requested, the entries become `values.error` and
 * the walk goes on.
 */
export function* walkRange(
  range: HmmRange,
  mm: Mm,
  cursor: Cursor,
  requests: Requests,
  step: LeafStep,
): Task<Errno> {
  const { memory } = range.machine;
  const { endPage } = range;
  while (cursor.page < endPage) {
    const at = findVma(memory, mm, cursor.page);
    const vma = at === 0 ? undefined : Vma.at(memory, at);
    const isInside = vma !== undefined && vma.startPage <= cursor.page;
    const errno = isInside ? judgeVma(range, vma) : EFAULT;
    const edge = vma === undefined ? endPage : isInside ? vma.endPage : vma.startPage;
    const stopPage = Math.min(edge, endPage);
    const answer =
      errno === 0 && vma !== undefined
        ? yield* walkVma(range, mm, vma, cursor, stopPage, requests, step)
        : passHole(range, cursor, stopPage, requests, errno);
    if (answer !== 0) return answer;
  }
  return 0;
}

function judgeVma(range: HmmRange, vma: Vma): Errno {
  if ((vma.flags & VM_SPECIAL) !== 0) return EFAULT;
  if (range.record.pageShift !== PAGE_SHIFT) return EINVAL; // no vma has larger pages than 4 KiB
  if ((vma.flags & VM_READ) === 0) return range.holes === HOLES_FAIL ? EPERM : EFAULT;
  return 0;
}

/** Marks a stretch that cannot be read, or refuses it. */
function passHole(
  range: HmmRange,
  cursor: Cursor,
  stopPage: number,
  requests: Requests,
  errno: Errno,
): Errno {
  const first = cursorIndex(range, cursor);
  const count = stopPage - cursor.page;
  if (errno === EINVAL || range.holes === HOLES_FAIL) return errno;
  if (anyRequested(requests, first, count, range.encoding)) return errno;
  range.pfns.fill(range.encoding.values.error, first, first + count);
  cursor.page = stopPage;
  return 0;
}

/** @stepped */
function* walkVma(
  range: HmmRange,
  mm: Mm,
  vma: Vma,
  cursor: Cursor,
  stopPage: number,
  requests: Requests,
  step: LeafStep,
): Task<Errno> {
  const { memory } = range.machine;
  while (cursor.page < stopPage) {
    const { page } = cursor;
    const count = Math.min(nextLeafPage(page), stopPage) - page;
    const leaf = leafOf(memory, mm.pgd, page);
    const part =
      leaf === 0
        ? { vma, words: EMPTY_LEAF, pteAt: 0, count }
        : { vma, words: memory.words, pteAt: pteIndex(leaf, page), count };
    const answer = yield* step(range, mm, cursor, part, requests);
    if (answer !== 0) return answer;
  }
  return 0;
}

/**
 * Ends a call that failed with the cursor where it is: the entry there says `values.error` when the
 * failure is that page's (and stays `special` when it is that), everything after it `values.none`.
 * In Linux 5.3 the clearing overwrote the mark.
 */
export function clearFromCursor(range: HmmRange, cursor: Cursor, errno: Errno): void {
  const { pfns, encoding } = range;
  const { none, error, special } = encoding.values;
  const stop = cursorIndex(range, cursor);
  const pages = range.endPage - range.startPage;
  const isPagesFault = errno === EFAULT || errno === EPERM || errno === ENOMEM;
  const isMarked = isPagesFault && stop < pages;
  if (isMarked) pfns[stop] = cursor.isSpecial ? special : error;
  pfns.fill(none, isMarked ? stop + 1 : stop, pages);
}
