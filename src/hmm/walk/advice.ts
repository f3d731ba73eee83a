/**
 * @module hmm/walk/advice
 * What the program has advised about the pages of a range (madvise): Linux's VM_SEQ_READ and
 * VM_RAND_READ of their mappings. A driver may go by it when it chooses what to bring and what to
 * evict.
 */

import { VM_RANDOM, VM_SEQUENTIAL, vmasIn } from "../../mm/vma/vma.ts";
import { type HmmRange, checkRegistered, mmOfRange } from "../range/range.ts";

/** Nothing is known of the order in which the pages will be used. */
export const ADVICE_NORMAL = 0;
/** They will be used in the order of their addresses. */
export const ADVICE_SEQUENTIAL = 1;
/** They will be used at random. */
export const ADVICE_RANDOM = 2;

/**
 * Calls `visit` for each mapping of which the registered range has a page, with the whole of the
 * mapping, in the order of their addresses. Holding the mmap lock at least for reading.
 */
export function hmmRangeAdvice(
  range: HmmRange,
  visit: (startPage: number, endPage: number, advice: number) => void,
): void {
  checkRegistered(range, "read the advice of");
  const mm = mmOfRange(range);
  mm.mmapLock.assertHeld();
  const vmas = vmasIn(range.machine.memory, mm, range.startPage, range.endPage);
  for (const { startPage, endPage, flags } of vmas) {
    const advice =
      (flags & VM_SEQUENTIAL) !== 0
        ? ADVICE_SEQUENTIAL
        : (flags & VM_RANDOM) !== 0
          ? ADVICE_RANDOM
          : ADVICE_NORMAL;
    visit(startPage, endPage, advice);
  }
}
