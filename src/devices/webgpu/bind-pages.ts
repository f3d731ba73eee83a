/**
 * @module devices/webgpu/bind-pages
 * Pages that a range has read get frames of the device, and their bytes are copied there. Under the
 * driver lock, in the section in which the range was found valid (bring.ts).
 */

import {
  DEFAULT_ENCODING,
  EIO,
  ENOMEM,
  type Errno,
  type HmmRange,
  type Machine,
  PAGE_BYTES,
  type Task,
  ZERO_PFN,
  bug,
  entryIsValid,
  entryIsWritable,
  entryPfn,
  readFrames,
} from "../../driver-interface.ts";
import type { AdvisedPages } from "./advised-pages.ts";
import {
  type FramePool,
  HOLD_EXCLUSIVE,
  HOLD_PRIVATE,
  HOLD_PRIVATE_READ,
  HOLD_READ,
  HOLD_SHARED,
  HOLD_SHARED_WRITABLE,
  type Hold,
  type PageUse,
} from "./frame-pool.ts";
import type { PrivatePages } from "./private-pages.ts";

const { devicePrivate } = DEFAULT_ENCODING.flags;

/** How the pages of a piece are had. */
export type Manner = "read" | "private" | "exclusive" | "shared write";

export interface BringFailure {
  readonly page: number;
  readonly errno: Errno;
}

/** Numbers that the Worker keeps for its statistics. */
export interface BringCounts {
  pagesToDevice: number;
  prefetched: number;
  retries: number;
  copyMs: number;
  collectMs: number;
}

/** Pages whose entries the range has, and how they were asked for. */
export interface ReadPages {
  readonly range: HmmRange;
  readonly manner: Manner;
  readonly isPrefetch: boolean;
}

export interface BinderParts {
  readonly machine: Machine;
  readonly pool: FramePool;
  readonly privatePages: PrivatePages | undefined;
  readonly advised: AdvisedPages;
  readonly counts: BringCounts;
  /** Pages that a range spans, at most. */
  readonly reachPages: number;
}

export class PageBinder {
  /** Of the pages of the range: 1, it is write-protected, so it can be copied. */
  readonly copyable: Uint8Array;
  failures: BringFailure[] = [];
  /** Frames did not suffice: all that there are is in use by the chunk under way. */
  isFull = false;
  readonly #machine: Machine;
  readonly #pool: FramePool;
  readonly #privatePages: PrivatePages | undefined;
  readonly #advised: AdvisedPages;
  readonly #counts: BringCounts;

  constructor({ machine, pool, privatePages, advised, counts, reachPages }: BinderParts) {
    this.#machine = machine;
    this.#pool = pool;
    this.#privatePages = privatePages;
    this.#advised = advised;
    this.#counts = counts;
    this.copyable = new Uint8Array(reachPages);
  }

  /** Of another `bring`. */
  begin(): void {
    this.failures = [];
    this.isFull = false;
  }

  /**
   * Gives the pages frames, as far as there are some. Returns those whose bytes are still to be
   * copied.
   */
  bind(pages: readonly number[], how: ReadPages): readonly number[] {
    const bound: number[] = [];
    for (const page of pages) this.#bindPage(page, how, bound);
    return bound;
  }

  /**
   * Gives the page a frame, if there is one; `bound` gets it if its bytes are still to be copied.
   * Holding the driver lock, under which the range was found valid.
   */
  #bindPage(page: number, { range, manner, isPrefetch }: ReadPages, bound: number[]): void {
    const pool = this.#pool;
    const i = page - range.startPage;
    const entry = range.pfns[i] ?? 0;
    if (!entryIsValid(entry, DEFAULT_ENCODING)) return;
    const pfn = entryPfn(entry, DEFAULT_ENCODING);
    const isPrivate = (entry & devicePrivate) !== 0;
    const hold = isPrivate
      ? privateHold(entry)
      : holdFor(manner, this.copyable[i] === 1 || pfn === ZERO_PFN);
    if (isPrefetch && hold === HOLD_SHARED) return;
    const old = pool.frameOf(page);
    if (old !== 0) pool.drop(old); // it allowed less
    if (isPrivate && this.#bindKept(page, pfn, hold, isPrefetch)) return;
    const frame = pool.takeFor(page, !isPrefetch);
    if (frame === 0) {
      this.isFull ||= !isPrefetch;
    } else if (!pool.bind(frame, page, pfn, hold, this.#useOf(page, isPrefetch))) {
      pool.give(frame);
      if (!isPrefetch) this.failures.push({ page, errno: ENOMEM });
    } else {
      if (!isPrefetch) pool.pin(frame);
      bound.push(frame);
    }
  }

  #useOf(page: number, isPrefetched: boolean): PageUse {
    return { isPrefetched, isSequential: this.#advised.isSequential(page) };
  }

  /**
   * Copies what these frames hold, those that lie in a row in RAM at once. Returns the frames whose
   * bytes are there; the others hold nothing any more. Holding the driver lock.
   */
  *copy(
    bound: readonly number[],
    bytes: Uint8Array<ArrayBuffer>,
    isPrefetch: boolean,
  ): Task<readonly number[]> {
    const pool = this.#pool;
    const copied: number[] = [];
    for (let i = 0; i < bound.length;) {
      const frame = bound[i] ?? 0;
      const pfn = pool.pfnOf(frame);
      let end = i + 1;
      while (end < bound.length && pool.pfnOf(bound[end] ?? 0) === pfn + end - i) end++;
      const place = placeIn(bytes, copied.length, end - i);
      const pages = yield* readFrames(this.#machine, pfn, place);
      for (let j = i; j < i + pages; j++) {
        const read = bound[j] ?? 0;
        if (pool.holdOf(read) === HOLD_SHARED_WRITABLE)
          pool.keepOriginal(read, placeIn(bytes, copied.length, 1));
        copied.push(read);
      }
      if (pages < 0) {
        if (!isPrefetch) this.failures.push({ page: pool.pageOf(frame), errno: pages });
        pool.drop(frame);
      }
      i += Math.max(pages, 1);
    }
    this.#counts.pagesToDevice += copied.length;
    if (isPrefetch) this.#counts.prefetched += copied.length;
    return copied;
  }

  /** True: the page has a kept frame, or it is lost. Holding the driver lock. */
  #bindKept(page: number, pfn: number, hold: Hold, isPrefetch: boolean): boolean {
    const privatePages = this.#privatePages;
    const frame = privatePages?.frameWith(pfn) ?? 0;
    const isLost = frame === 0 && privatePages?.isLost(pfn) === true;
    if (frame === 0 && !isLost) return false;
    const isBound = !isLost && this.#pool.bind(frame, page, pfn, hold);
    if (isBound && !isPrefetch) this.#pool.pin(frame);
    if (!isBound && !isPrefetch) this.failures.push({ page, errno: isLost ? EIO : ENOMEM });
    return true;
  }
}

function placeIn(bytes: Uint8Array<ArrayBuffer>, at: number, pages: number): typeof bytes {
  return bytes.subarray(at * PAGE_BYTES, (at + pages) * PAGE_BYTES);
}

function privateHold(entry: number): Hold {
  return entryIsWritable(entry, DEFAULT_ENCODING) ? HOLD_PRIVATE : HOLD_PRIVATE_READ;
}

function holdFor(manner: Manner, isProtected: boolean): Hold {
  switch (manner) {
    case "read":
      return isProtected ? HOLD_READ : HOLD_SHARED;
    case "exclusive":
      return HOLD_EXCLUSIVE;
    case "shared write":
      return HOLD_SHARED_WRITABLE;
    default:
      return bug(`Cannot hold a page: no such manner`);
  }
}
