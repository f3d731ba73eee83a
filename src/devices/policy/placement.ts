/**
 * @module devices/policy/placement
 * Where a device wants the pages that its work touches, and what the program has advised. After
 * `cudaMemAdvise` (preferred location, accessed by) and the attributes of Linux's SVM drivers:
 *
 *     advice               a store by a kernel       a load by a kernel
 *     normal               the page is taken         used where it is (a copy, for such a device)
 *     preferred-location   the page is taken         the page is taken
 *     accessed-by          used where it is          used where it is
 *
 * "Taken": it moves to memory of the device's own, if it has such memory. A page that thrashes
 * (thrash.ts) is used where it is, whatever the advice: it has gone to and fro.
 *
 * Advice is kept for addresses, as disjoint ranges in order: ADVICE_RANGES_MAX of them, for it is
 * a hint. It ends with the mapping. The table is in the kernel heap, under the driver lock:
 *
 *     0  how many ranges    then for each  START_PAGE, END_PAGE, ADVICE
 */

import { plainLoad, type SharedMemory } from "../../driver-interface.ts";

export const ADVICE_NORMAL = 0;
export const ADVICE_PREFERRED = 1;
export const ADVICE_ACCESSED_BY = 2;
export type PlacementAdvice =
  | typeof ADVICE_NORMAL
  | typeof ADVICE_PREFERRED
  | typeof ADVICE_ACCESSED_BY;

/** Words of the table: a size that the heap has. */
export const ADVICE_WORDS = 1024;
const RANGE_WORDS = 3;
export const ADVICE_RANGES_MAX: number = Math.floor((ADVICE_WORDS - 1) / RANGE_WORDS);

/** Whether a page moves to the device's own memory at an access by a kernel. */
export function isTaken(advice: PlacementAdvice, isWrite: boolean, isThrashing: boolean): boolean {
  if (isThrashing || advice === ADVICE_ACCESSED_BY) return false;
  return isWrite || advice === ADVICE_PREFERRED;
}

interface AdvisedRange {
  readonly startPage: number;
  readonly endPage: number;
  readonly advice: PlacementAdvice;
}

/** What has been advised, in shared memory. All of it holding the driver lock. */
export class AdviceTable {
  readonly #memory: SharedMemory;
  readonly #at: number;

  constructor(memory: SharedMemory, at: number) {
    this.#memory = memory;
    this.#at = at;
    memory.ensure(at + ADVICE_WORDS);
  }

  of(page: number): PlacementAdvice {
    this.#memory.plainWatch?.note(this.#at, false, "advice");
    let low = 0;
    let high = plainLoad(this.#memory.words, this.#at);
    while (low < high) {
      const middle = (low + high) >>> 1;
      const range = this.#rangeAt(middle);
      if (page < range.startPage) high = middle;
      else if (page >= range.endPage) low = middle + 1;
      else return range.advice;
    }
    return ADVICE_NORMAL;
  }

  /**
   * Advises about [startPage, endPage) in place of what was advised before. False: that needs more
   * ranges than there may be, and nothing has changed.
   */
  set(startPage: number, endPage: number, advice: PlacementAdvice): boolean {
    const before: AdvisedRange[] = [];
    const after: AdvisedRange[] = [];
    for (const range of this.#ranges()) {
      if (range.startPage < startPage)
        before.push({ ...range, endPage: Math.min(range.endPage, startPage) });
      if (range.endPage > endPage)
        after.push({ ...range, startPage: Math.max(range.startPage, endPage) });
    }
    const own = advice === ADVICE_NORMAL ? [] : [{ startPage, endPage, advice }];
    const ranges = merged([...before, ...own, ...after]);
    if (ranges.length > ADVICE_RANGES_MAX) return false;
    this.#store(ranges);
    return true;
  }

  /** The mapping of the range has ended. Where that needs one range too many, more is forgotten. */
  forget(startPage: number, endPage: number): void {
    if (plainLoad(this.#memory.words, this.#at) === 0) return;
    if (this.set(startPage, endPage, ADVICE_NORMAL)) return;
    const around = this.#ranges().find((range) => range.endPage > startPage);
    this.set(startPage, Math.max(endPage, around?.endPage ?? endPage), ADVICE_NORMAL);
  }

  #ranges(): AdvisedRange[] {
    const count = plainLoad(this.#memory.words, this.#at);
    return Array.from({ length: count }, (_, i) => this.#rangeAt(i));
  }

  #rangeAt(i: number): AdvisedRange {
    const { words } = this.#memory;
    const at = this.#at + 1 + i * RANGE_WORDS;
    return {
      startPage: plainLoad(words, at) >>> 0,
      endPage: plainLoad(words, at + 1) >>> 0,
      advice: plainLoad(words, at + 2) as PlacementAdvice, // only #store writes it
    };
  }

  #store(ranges: readonly AdvisedRange[]): void {
    const { words } = this.#memory;
    this.#memory.plainWatch?.note(this.#at, true, "advice");
    words[this.#at] = 0; // what a thread leaves that dies in here
    let at = this.#at + 1;
    for (const { startPage, endPage, advice } of ranges) {
      words[at++] = startPage;
      words[at++] = endPage;
      words[at++] = advice;
    }
    words[this.#at] = ranges.length;
  }
}

/** Ranges in order, those that meet with one advice as one. */
function merged(ranges: readonly AdvisedRange[]): AdvisedRange[] {
  const kept: AdvisedRange[] = [];
  for (const range of ranges) {
    const last = kept.at(-1);
    if (last?.endPage === range.startPage && last.advice === range.advice)
      kept[kept.length - 1] = { ...last, endPage: range.endPage };
    else kept.push(range);
  }
  return kept;
}
