/**
 * @module devices/webgpu/bring
 * Brings pages to the device: the collision-retry rule (R4) for copies that are read, and for pages
 * that the device may store to.
 *
 * | wanted | what is done to the page | held as |
 * | --- | --- | --- |
 * | read | made present, write-protected (mm/fault/track.ts) | HOLD_READ |
 * | write | made exclusive to the device (hmm/walk/exclusive.ts) | HOLD_EXCLUSIVE |
 * | write, if the device has private memory | moved there (hmm/walk/migrate.ts) | HOLD_PRIVATE |
 * | either, of a page that is there already | nothing | HOLD_PRIVATE, HOLD_PRIVATE_READ |
 * | either, of memory that others may write unseen | made present, and writable | HOLD_SHARED |
 *
 * Each piece is one range, of at most READ_PIECE_PAGES pages, or WRITE_PIECE_PAGES. Pages that are
 * read may lie apart, up to REACH_PAGES: to register a range and to walk it costs more than the
 * pages in between, which nothing is done to. What others do to those makes the range stale as
 * well: then smaller pieces are brought, and at last each page alone.
 *
 * Under the driver lock the log is drained, the range is found valid, and the pages are copied from
 * RAM and entered in the same section (bind-pages.ts): so a copy is never of a frame that has got
 * another page (N1 of webgpu-record/record.ts).
 *
 * A page that cannot be had in one of these ways is had in the next one: moved, exclusive, shared.
 *
 * Of the device's Worker. Holding no lock.
 */

import {
  DEFAULT_ENCODING,
  EBUSY,
  EFAULT,
  type Errno,
  HOLES_MARK,
  type HmmMirror,
  type HmmRange,
  type Machine,
  PAGE_BYTES,
  type Task,
  entryIsValid,
  entryPfn,
  hmmRangeAlloc,
  hmmRangeFault,
  hmmRangeFree,
  hmmRangeValid,
  hmmRangeWaitUntilValid,
  mmOfRange,
  monotonicMs,
  withHmmRange,
  EAGAIN,
  EIO,
  EOPNOTSUPP,
  SELECT_SYSTEM,
  ESRCH,
  ZERO_PFN,
  hmmRangeAdvice,
  hmmRangeExclusive,
  hmmRangeMigrate,
  trackRange,
} from "../../driver-interface.ts";
import type { FramePool } from "./frame-pool.ts";
import { type BringCounts, type BringFailure, type Manner, PageBinder } from "./bind-pages.ts";
import { AdvisedPages } from "./advised-pages.ts";
import { type Gpu, STAGED_PAGES } from "./gpu.ts";
import { ownerOf } from "../webgpu-record/private-memory.ts";
import { piecesOf } from "./pieces.ts";
import type { PrivatePages } from "./private-pages.ts";
import { type WebGpuRecord, drainLog } from "../webgpu-record/record.ts";

/** Pages that are copied in one section of the driver lock, at most. */
const PART_PAGES: number = STAGED_PAGES;
/** Pages of a piece, at most: of one that is read, and of one that may be stored to. */
const READ_PIECE_PAGES = 1024;
const WRITE_PIECE_PAGES: number = PART_PAGES;
/** Fewer are not worth memory that the GPU has to give back: they go by way of `writeBuffer`. */
const BULK_PAGES = 512;
/** From the first page of a piece to its end, at most. */
const REACH_PAGES = 8192;
/** Times that a range that is longer than PART_PAGES may be found stale. */
const REACH_TRIES = 4;

/**
 * Prefetched pages are tried this often, and wait so long for an invalidation each time. Not to a
 * deadline: on a busy machine it would pass between their write protection and their copy.
 */
const PREFETCH_TRIES = 3;
const PREFETCH_WAIT_MS = 1;

/** Times that pages are tried to be had exclusively. */
const EXCLUSIVE_TRIES = 3;
/** Times that pages are tried to be moved: one that a fork shares is copied in RAM first. */
const MOVES_MAX = 2;

/** What is wanted of a page. A prefetched one is taken as it is. */
export type PageWant = 1 | 2 | 3;
export const WANT_PREFETCH: PageWant = 1;
export const WANT_READ: PageWant = 2;
export const WANT_WRITE: PageWant = 3;

export interface Brought {
  readonly failures: readonly BringFailure[];
  /** Frames did not suffice: all that there are is in use by the chunk under way. */
  readonly isFull: boolean;
}

const { valid, write, devicePrivate } = DEFAULT_ENCODING.flags;

/**
 * What pages are asked for, at most. Pages that are wanted make a sparse range: those in between
 * are not looked at. One of prefetched pages, which are asked for nothing, is not: where none is to
 * be stored to, the walk takes its pages eight at a time (hmm/walk/leaf.ts).
 */
const READ_MASK: number = valid | devicePrivate;
const WRITE_MASK: number = valid | write | devicePrivate;

export class Bringer {
  readonly counts: BringCounts = {
    pagesToDevice: 0,
    prefetched: 0,
    retries: 0,
    copyMs: 0,
    collectMs: 0,
  };
  readonly #machine: Machine;
  readonly #mirror: HmmMirror;
  readonly #record: WebGpuRecord;
  readonly #pool: FramePool;
  readonly #gpu: () => Gpu;
  readonly #privatePages: PrivatePages | undefined;
  readonly #range: HmmRange;
  readonly #timeoutMs: number;
  readonly #request = new Uint32Array(REACH_PAGES);
  readonly #asked = new Uint8Array(REACH_PAGES);
  readonly #binder: PageBinder;
  /** What is not staged: few pages, and bytes that are read again. */
  readonly #bytes = new Uint8Array(PART_PAGES * PAGE_BYTES);
  /** Of what the last `bring` was asked for. */
  readonly advised: AdvisedPages = new AdvisedPages();
  /** So many are brought that memory of the GPU's own is worth its time. */
  #isBulk = false;

  protected constructor(parts: BringerParts, range: HmmRange) {
    this.#machine = parts.machine;
    this.#mirror = parts.mirror;
    this.#record = parts.record;
    this.#pool = parts.pool;
    this.#gpu = parts.gpu;
    this.#privatePages = parts.privatePages;
    this.#timeoutMs = parts.timeoutMs;
    this.#range = range;
    const { machine, pool, privatePages } = parts;
    const { advised, counts } = this;
    this.#binder = new PageBinder({
      machine,
      pool,
      privatePages,
      advised,
      counts,
      reachPages: REACH_PAGES,
    });
    range.request = this.#request;
  }

  /** ENOMEM, EMFILE. */
  static *open(parts: BringerParts): Task<Bringer | Errno> {
    const range = yield* hmmRangeAlloc(parts.machine, {
      pfns: new Uint32Array(REACH_PAGES),
      pfnFlagsMask: WRITE_MASK,
      owner: parts.privatePages === undefined ? 0 : ownerOf(parts.record),
      holes: HOLES_MARK,
      request: new Uint32Array(REACH_PAGES),
    });
    return typeof range === "number" ? range : new this(parts, range);
  }

  /** Pairs with `open`. */
  close(): Task<void> {
    return hmmRangeFree(this.#range);
  }

  /**
   * Brings the wanted pages, as far as they can be had, and pins them but for prefetched ones. The
   * order does not matter. What a page has already is left.
   */
  bring(wants: ReadonlyMap<number, PageWant>): Task<Brought> {
    return this.bringSorted(sortedByWant(wants));
  }

  /** The same, of pages that are ascending. */
  *bringSorted({ writes, asked, early }: SortedPages): Task<Brought> {
    this.#binder.begin();
    const startMs = monotonicMs();
    const pages = writes.length + asked.length + early.length;
    this.#isBulk = pages >= BULK_PAGES;
    const isInRow = writes.some((page) => this.#pool.rows.frameFor(page) !== 0);
    const manner = this.#privatePages === undefined || isInRow ? "exclusive" : "private";
    if (this.#privatePages !== undefined) {
      yield* this.#privatePages.makeRoom(pages - early.length);
      if (manner === "private") yield* this.#privatePages.frames.makeFree(writes.length);
    }
    for (const piece of piecesOf(writes, 0, WRITE_PIECE_PAGES))
      yield* this.#bringPiece(piece, manner, false);
    // Prefetched pages never take a frame from what was asked for.
    for (const piece of piecesOf(asked, REACH_PAGES, READ_PIECE_PAGES))
      yield* this.#bringPiece(piece, "read", false);
    for (const piece of piecesOf(early, REACH_PAGES, READ_PIECE_PAGES)) {
      if (this.#pool.freeFrames > 0) yield* this.#bringPiece(piece, "read", true);
    }
    this.counts.collectMs += monotonicMs() - startMs;
    return { failures: this.#binder.failures, isFull: this.#binder.isFull };
  }

  /** `pages`: ascending, one piece. */
  *#bringPiece(pages: readonly number[], manner: Manner, isPrefetch: boolean): Task<void> {
    const isWrite = manner !== "read";
    const missing = pages.filter((page) => !this.#isThere(page, isWrite, isPrefetch));
    const first = missing[0];
    const last = missing.at(-1);
    if (first === undefined || last === undefined) return;
    const [start, end] = [first * PAGE_BYTES, (last + 1) * PAGE_BYTES];
    let isOurs = false;
    let errno = yield* withHmmRange(this.#range, this.#mirror, start, end, () => {
      isOurs = true;
      return this.#tryUntilValid(missing, manner, isPrefetch);
    });
    if (errno === 0) return;
    // EFAULT of the registration: the address space is dead.
    if (!isOurs && errno === EFAULT) errno = ESRCH;
    if (missing.length > PART_PAGES) {
      for (const piece of piecesOf(missing, REACH_PAGES, PART_PAGES))
        yield* this.#bringPiece(piece, manner, isPrefetch);
    } else if (isPrefetch) {
      return;
    } else if (missing.length > 1) {
      for (const page of missing) yield* this.#bringPiece([page], manner, isPrefetch);
    } else if (manner === "private" && errno !== EIO) {
      yield* this.#bringPiece(missing, "exclusive", isPrefetch);
    } else if (manner === "exclusive" && (errno === EOPNOTSUPP || errno === EBUSY)) {
      // Shared memory, or a page that a view has pinned: nobody can have it for himself.
      yield* this.#bringPiece(missing, "shared write", isPrefetch);
    } else {
      this.#binder.failures.push({ page: first, errno });
    }
  }

  #isThere(page: number, isWrite: boolean, isPrefetch: boolean): boolean {
    const isThere = this.#pool.allows(page, isWrite);
    const frame = this.#pool.frameOf(page);
    if (frame !== 0 && !isPrefetch) this.#pool.noteUse(frame);
    if (isThere && !isPrefetch) this.#pool.pin(frame);
    return isThere;
  }

  /** Of the registered range. 0: done, as far as there were frames. */
  *#tryUntilValid(pages: readonly number[], manner: Manner, isPrefetch: boolean): Task<Errno> {
    const range = this.#range;
    const mm = mmOfRange(range);
    const deadlineMs = monotonicMs() + this.#timeoutMs;
    const isWide = range.endPage - range.startPage > PART_PAGES;
    let left = pages;
    for (let tries = 0, collisions = 0, rounds = 0; ;) {
      if (isPrefetch && rounds++ === PREFETCH_TRIES) return EBUSY;
      const leftMs = isPrefetch ? PREFETCH_WAIT_MS : deadlineMs - monotonicMs();
      if (leftMs <= 0 || !(yield* hmmRangeWaitUntilValid(range, leftMs))) return EBUSY;
      yield* mm.mmapLock.downRead();
      let answer: number;
      try {
        answer = yield* this.#read(left, manner, isPrefetch);
      } finally {
        yield* mm.mmapLock.upRead();
      }
      if (answer === 0) {
        left = left.slice(yield* this.#copyParts(left, manner, isPrefetch));
        if (left.length === 0) return 0;
        this.counts.retries++;
        if (isWide && ++collisions === REACH_TRIES) return EBUSY;
        continue;
      }
      if (answer === EAGAIN) continue; // write-protecting them has notified, this range too
      if (answer !== EBUSY) return answer;
      // A pinned page answers EBUSY for as long as it is pinned.
      if (manner === "exclusive" && ++tries === EXCLUSIVE_TRIES) return EBUSY;
    }
  }

  /** Holding the mmap lock for reading. 0: `pfns` has them. */
  *#read(pages: readonly number[], manner: Manner, isPrefetch: boolean): Task<Errno> {
    const range = this.#range;
    if (!isPrefetch) hmmRangeAdvice(range, this.advised.note);
    range.pfnFlagsMask = manner === "read" ? READ_MASK : WRITE_MASK;
    if (manner === "exclusive") {
      const answer = yield* this.takeExclusive(range);
      return answer < 0 ? answer : 0;
    }
    if (manner === "private") return yield* this.takePrivate(range);
    this.#request.fill(0, 0, range.endPage - range.startPage);
    range.isSparse = !isPrefetch;
    const rights = isPrefetch ? 0 : manner === "read" ? valid : valid | write;
    for (const page of pages) this.#request[page - range.startPage] = rights | this.#homeFlag(page);
    const answer = yield* hmmRangeFault(range);
    if (answer < 0) return answer;
    this.#binder.copyable.fill(0, 0, range.endPage - range.startPage);
    if (manner !== "read") return 0;
    return (yield* this.#track(pages)) ? EAGAIN : 0;
  }

  /** What is bound as a range lies in a row of its own: it comes from RAM. */
  #homeFlag(page: number): number {
    return this.#pool.rows.frameFor(page) === 0 ? 0 : devicePrivate;
  }

  /** Moves the pages of the range to private memory, and reads them there. 0, or why not. */
  protected *takePrivate(range: HmmRange): Task<Errno> {
    const privatePages = this.#privatePages;
    if (privatePages === undefined) return EOPNOTSUPP;
    const options = { select: SELECT_SYSTEM, owner: range.owner };
    for (let tries = 0; tries < MOVES_MAX; tries++) {
      const moved = yield* hmmRangeMigrate(range, options, privatePages.mover);
      if (typeof moved === "number") return moved;
      this.#request.fill(valid | write, 0, range.endPage - range.startPage);
      const answer = yield* hmmRangeFault(range);
      if (answer < 0) return answer;
      if (range.pfns.subarray(0, answer).every((entry) => (entry & devicePrivate) !== 0)) return 0;
    }
    return EOPNOTSUPP;
  }

  /** Write-protects what will be copied. True: that has notified. */
  *#track(pages: readonly number[]): Task<boolean> {
    const { startPage, endPage, pfns } = this.#range;
    this.#asked.fill(0, 0, endPage - startPage);
    for (const page of pages) {
      const i = page - startPage;
      if (isOfRam(pfns[i])) this.#asked[i] = 1;
    }
    const mm = mmOfRange(this.#range);
    return yield* trackRange(
      this.#machine,
      mm,
      startPage,
      endPage,
      this.#binder.copyable,
      this.#asked,
    );
  }

  /** A test overrides it to show when it has to begin. */
  protected takeExclusive(range: HmmRange): Task<number> {
    return hmmRangeExclusive(range, this.#record.at);
  }

  /** R4. Under the driver lock. A test overrides it to show that it is needed. */
  protected isStillValid(range: HmmRange): Task<boolean> {
    return hmmRangeValid(range);
  }

  /** How many of the first pages were copied: all of them, if the range stays valid. */
  *#copyParts(pages: readonly number[], manner: Manner, isPrefetch: boolean): Task<number> {
    for (let done = 0; done < pages.length; done += PART_PAGES) {
      const part = pages.length <= PART_PAGES ? pages : pages.slice(done, done + PART_PAGES);
      if (!(yield* this.#copyIfValid(part, manner, isPrefetch))) return done;
    }
    return pages.length;
  }

  /** False: an invalidation has run since the pages were read, and nothing was done. */
  *#copyIfValid(pages: readonly number[], manner: Manner, isPrefetch: boolean): Task<boolean> {
    const { driverLock } = this.#record;
    const gpu = this.#gpu();
    const isStaged = this.#isBulk && manner !== "shared write";
    if (isStaged) yield* gpu.haveRoom(pages.length);
    yield* driverLock.lock();
    drainLog(this.#record, this.#pool.strike);
    const isValid = yield* this.isStillValid(this.#range);
    const startMs = monotonicMs();
    if (isValid) {
      const bound = this.#binder.bind(pages, { range: this.#range, manner, isPrefetch });
      if (bound.length > 0) {
        const bytes = isStaged ? gpu.stage(bound.length) : this.#bytes;
        const frames = yield* this.#binder.copy(bound, bytes, isPrefetch);
        if (frames.length > 0) gpu.writeFrames(frames, bytes);
      }
    }
    yield* driverLock.unlock();
    this.counts.copyMs += monotonicMs() - startMs;
    return isValid;
  }
}

export interface BringerParts {
  readonly machine: Machine;
  readonly mirror: HmmMirror;
  readonly record: WebGpuRecord;
  readonly pool: FramePool;
  /** The GPU of the moment: a lost one is replaced. */
  readonly gpu: () => Gpu;
  /** Undefined: it has no private memory. */
  readonly privatePages?: PrivatePages | undefined;
  /** How long a page is tried for. */
  readonly timeoutMs: number;
}

/** Pages to be stored to, to be read, and those that are prefetched. */
export interface SortedPages {
  readonly writes: readonly number[];
  readonly asked: readonly number[];
  readonly early: readonly number[];
}

/** For pages. */
export const ascending = (a: number, b: number): number => a - b;

function sortedByWant(wants: ReadonlyMap<number, PageWant>): SortedPages {
  const [writes, asked, early] = [[] as number[], [] as number[], [] as number[]];
  for (const [page, want] of wants)
    (want === WANT_WRITE ? writes : want === WANT_READ ? asked : early).push(page);
  for (const pages of [writes, asked, early]) pages.sort(ascending);
  return { writes, asked, early };
}

/** A page of RAM other than that of zeros, which nobody writes. */
function isOfRam(entry: number | undefined): boolean {
  return (
    entry !== undefined &&
    entryIsValid(entry, DEFAULT_ENCODING) &&
    (entry & devicePrivate) === 0 &&
    entryPfn(entry, DEFAULT_ENCODING) !== ZERO_PFN
  );
}
