/**
 * @module devices/service/fault-batch
 * The faults of one round of service: taken out of the rings, sorted by address, each page once. Of
 * a page that was wanted for reading and for writing, writing remains, since it allows both (UVM
 * keeps the most intrusive access likewise). Used by one thread; no locks.
 */

import { BLOCK_SHIFT } from "../policy/prefetch.ts";
import { THREADS_MAX } from "./device-record.ts";
import { RING_FAULTS } from "./fault-ring.ts";

/** All rings full, and the fault of the thread that serves. */
export const BATCH_FAULTS_MAX: number = THREADS_MAX * RING_FAULTS + 1;

const BLOCK_PAGES: number = 2 ** BLOCK_SHIFT;

/** The faults of one round of service: sorted by page, each page once, a write before a read. */
export class FaultBatch {
  /**
   * Page times 2, plus 1 for a write: in order of page, and of a page's accesses the write last.
   */
  readonly #keys = new Float64Array(BATCH_FAULTS_MAX);
  #count = 0;

  /** Makes the batch empty. */
  clear(): void {
    this.#count = 0;
  }

  /** What does not fit faults again. */
  readonly add = (page: number, isWrite: boolean): void => {
    if (this.#count < BATCH_FAULTS_MAX) this.#keys[this.#count++] = page * 2 + (isWrite ? 1 : 0);
  };

  /** Faults; after `settle`, pages. */
  get count(): number {
    return this.#count;
  }

  /** Sorts, and leaves each page once. Returns how many faults named a page again. */
  settle(): number {
    const keys = this.#keys.subarray(0, this.#count);
    keys.sort(); // in place, which is the point
    let kept = 0;
    for (let i = 0; i < keys.length; i++) {
      const next = keys[i + 1];
      const isLastOfPage = next === undefined || Math.floor(next / 2) !== Math.floor(keys[i]! / 2);
      if (isLastOfPage) keys[kept++] = keys[i]!;
    }
    const duplicates = this.#count - kept;
    this.#count = kept;
    return duplicates;
  }

  /** The page number of entry `index`, which is below `count`. */
  pageAt(index: number): number {
    return Math.floor(this.#keys[index]! / 2);
  }

  /** Whether entry `index` is a write. */
  isWriteAt(index: number): boolean {
    return this.#keys[index]! % 2 === 1;
  }

  /**
   * Index of the first fault, from `index` on, that lies in another 2 MiB block than the one at
   * `index`.
   */
  endOfBlock(index: number): number {
    const page = this.pageAt(index);
    const nextBlock = page - (page % BLOCK_PAGES) + BLOCK_PAGES;
    let end = index + 1;
    while (end < this.#count && this.pageAt(end) < nextBlock) end++;
    return end;
  }
}
