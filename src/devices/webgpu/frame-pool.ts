/**
 * @module devices/webgpu/frame-pool
 * The frames of the GPU's pool: which page each holds, by which right, and which may leave. Of the
 * device's Worker alone; where it says so, under the driver lock, for the record's filter is
 * changed (N2 of webgpu-record/record.ts). A frame is a copy, and what a pass wrote goes home when
 * it is committed. So a frame that leaves is forgotten, and nothing is moved. But for *kept*
 * frames, which have the only bytes of a page (private-pages.ts): they are not evicted, and a page
 * that is struck leaves its kept frame to nobody.
 *
 *     free ---> held ---> free        brought; struck or evicted
 *                |  ^
 *                v  |
 *              pinned                 a chunk under way uses it: it is not evicted
 */

import { type ClockFrames, evictUnused } from "../policy/eviction.ts";
import { EvictedPages } from "./evicted-pages.ts";
import type { PageMap } from "./page-map.ts";
import { type WebGpuRecord, countPage } from "../webgpu-record/record.ts";
import { Rows, type WantedRow } from "./rows.ts";
import {
  FIRST_FRAME,
  GPU_FRAME_SHIFT,
  GPU_READ,
  GPU_WATCHED,
  GPU_WRITE,
  USED,
} from "./wgsl/layout.ts";

/** How a page is held. */
export type Hold = 1 | 2 | 3 | 4 | 5 | 6;
/** A read copy; a CPU store notifies before it happens (mm/fault/track.ts). */
export const HOLD_READ: Hold = 1;
/** The page is exclusive to the device: a CPU load or store notifies before it happens. */
export const HOLD_EXCLUSIVE: Hold = 2;
/** Others may write the frame unseen: a copy for one dispatch. It may be stored to if WRITABLE. */
export const HOLD_SHARED: Hold = 3;
export const HOLD_SHARED_WRITABLE: Hold = 4;
/** In private memory of the device; others take it away before they use it. */
export const HOLD_PRIVATE: Hold = 5;
/** The same, and it may not be stored to: a fork has it as well, or it is mapped read-only. */
export const HOLD_PRIVATE_READ: Hold = 6;

function isShared(hold: number): boolean {
  return hold === HOLD_SHARED || hold === HOLD_SHARED_WRITABLE;
}

function isWritable(hold: number): boolean {
  return hold === HOLD_EXCLUSIVE || hold === HOLD_SHARED_WRITABLE || hold === HOLD_PRIVATE;
}

/** What else is known of a page when it gets a frame. */
export interface PageUse {
  /** Nobody has asked for it: whether it is used is to be found out. */
  readonly isPrefetched: boolean;
  /** It will be used once, in the order of addresses. */
  readonly isSequential: boolean;
}

/** Pages of direct ranges: those that a kernel only reads, and those that it may store to. */
export interface RowPages {
  readonly reads: number[];
  readonly writes: number[];
}

const ASKED: PageUse = { isPrefetched: false, isSequential: false };

export class FramePool implements ClockFrames {
  readonly frames: number;
  hand: number = FIRST_FRAME;
  readonly #record: WebGpuRecord;
  readonly #map: PageMap;
  readonly #pages: Float64Array;
  readonly #pfns: Uint32Array;
  readonly #holds: Uint8Array;
  readonly #pins: Uint8Array;
  readonly #accessed: Uint8Array;
  /** 1: its page is not in use because it was used. */
  readonly #sequential: Uint8Array;
  /** Frames of prefetched pages that are not known to have been used. */
  readonly #watched = new Set<number>();
  #isWatching = false;
  /** 1: it has the only bytes of a page. */
  readonly #kept: Uint8Array;
  /** Free frames; the lowest is taken first, so that what is brought together lies together. */
  #free: number[] = [];
  #isSorted = true;
  #claimed: number[] = [];
  /** What the frames of HOLD_SHARED_WRITABLE held when they were brought. */
  readonly #originals = new Map<number, Uint8Array<ArrayBuffer>>();
  readonly #scratch = new Int32Array(1);
  /** Prefetched pages that were used. */
  prefetchedUsed = 0;
  evictions = 0;
  readonly evictedPages: EvictedPages;
  pinned = 0;
  struck = 0;
  /** Frames with a copy for one dispatch. */
  #shared = 0;

  /** Frames beside the pool's, for direct ranges. */
  readonly rows: Rows;
  /** Pages in rows. */
  #rowPages = 0;
  /** A page of a row may be missing. */
  #isRowOpen = false;

  /** `frames`: frames of the pool, the first two included, which hold no page. */
  constructor(frames: number, record: WebGpuRecord, map: PageMap, rowFrames: number = 0) {
    this.frames = frames;
    this.rows = new Rows(frames, rowFrames);
    const all = frames + rowFrames;
    this.#record = record;
    this.#map = map;
    this.#pages = new Float64Array(all).fill(-1);
    this.#pfns = new Uint32Array(all);
    this.#holds = new Uint8Array(all);
    this.#pins = new Uint8Array(all);
    this.#accessed = new Uint8Array(all);
    this.#sequential = new Uint8Array(all);
    this.evictedPages = new EvictedPages(frames);
    this.#kept = new Uint8Array(all);
    for (let frame = frames - 1; frame >= FIRST_FRAME; frame--) this.#free.push(frame);
  }

  get freeFrames(): number {
    return this.#free.length;
  }

  get usedFrames(): number {
    return this.frames - FIRST_FRAME - this.#free.length + this.#rowPages;
  }

  /** Frames that a chunk could have. */
  get usable(): number {
    return this.frames - FIRST_FRAME;
  }

  /** Frames of the pool, and of rows behind them. */
  get allFrames(): number {
    return this.frames + this.rows.frames;
  }

  /** The rows of a dispatch, and no others, are active from now on. Driver lock. */
  activateRows(wanted: readonly WantedRow[]): void {
    this.rows.activate(wanted, (frame) => this.drop(frame));
    this.#isRowOpen = wanted.length > 0;
  }

  /** Pages that active rows lack (W5 of rows.ts), row by row. Undefined: none. */
  missingInRows(): RowPages | undefined {
    if (!this.#isRowOpen) return undefined;
    const missing: RowPages = { reads: [], writes: [] };
    for (const { startPage, pages, first, isWrite } of this.rows.active) {
      const into = isWrite ? missing.writes : missing.reads;
      for (let i = 0; i < pages; i++) {
        const hold = this.holdOf(first + i);
        if (hold === 0 || (isWrite && !isWritable(hold))) into.push(startPage + i);
      }
    }
    this.#isRowOpen = missing.reads.length + missing.writes.length > 0;
    return this.#isRowOpen ? missing : undefined;
  }

  pageOf(frame: number): number {
    return this.#pages[frame] ?? -1;
  }

  pfnOf(frame: number): number {
    return this.#pfns[frame] ?? 0;
  }

  holdOf(frame: number): number {
    return this.#holds[frame] ?? 0;
  }

  isMapped(frame: number): boolean {
    return this.#holds[frame] !== 0 && this.#pins[frame] === 0 && this.#kept[frame] === 0;
  }

  /** Frames of the pool that could be evicted. */
  get evictable(): number {
    let frames = 0;
    for (let frame = FIRST_FRAME; frame < this.frames; frame++) if (this.isMapped(frame)) frames++;
    return frames;
  }

  isPinned(frame: number): boolean {
    return this.#pins[frame] === 1;
  }

  isKept(frame: number): boolean {
    return this.#kept[frame] === 1;
  }

  /** The frame, which holds a page, is nobody else's until it is released. */
  keep(frame: number): void {
    this.#kept[frame] = 1;
  }

  /** Pairs with `keep`. If its page has been struck, the frame is free now. */
  release(frame: number): void {
    this.#kept[frame] = 0;
    if (this.pageOf(frame) < 0) this.give(frame);
  }

  /** Whether a pass may store to the frame. */
  mayBeStoredTo(frame: number): boolean {
    const page = this.pageOf(frame);
    return page >= 0 && this.allows(page, true);
  }

  /** Of a frame of HOLD_PRIVATE: its page may be stored to, or for a while not. */
  allowStores(frame: number, isAllowed: boolean): void {
    const rights = isAllowed ? GPU_READ | GPU_WRITE : GPU_READ;
    this.#map.set(this.pageOf(frame), (frame << GPU_FRAME_SHIFT) | rights);
  }

  isAccessed(frame: number): boolean {
    return this.#accessed[frame] === 1 && this.#sequential[frame] === 0;
  }

  /** Prefetched pages that are not known to have been used. */
  get hasWatched(): boolean {
    return this.#watched.size > 0;
  }

  /** The next pass is to tell which of them it uses, or cannot. */
  watch(isWatching: boolean): void {
    if (isWatching === this.#isWatching) return;
    this.#isWatching = isWatching;
    for (const frame of this.#watched) this.#mark(frame, isWatching);
  }

  #mark(frame: number, isWatched: boolean): void {
    const page = this.pageOf(frame);
    const entry = this.#map.entryOf(page);
    this.#map.set(page, isWatched ? entry | GPU_WATCHED : entry & ~GPU_WATCHED);
  }

  /** What a pass says of frames: those of them that it has used were prefetched for good. */
  noteUses(flags: Uint32Array): void {
    for (const frame of this.#watched) if ((flags[frame] ?? 0) !== 0) this.noteUse(frame);
  }

  /** The page of the frame was used, or asked for. */
  noteUse(frame: number): void {
    if (!this.#watched.delete(frame)) return;
    this.prefetchedUsed++;
    this.#accessed[frame] = 1;
    this.#mark(frame, false);
  }

  spare(frame: number): void {
    this.#accessed[frame] = 0;
  }

  claim(frame: number): void {
    this.evictions++;
    this.#claimed.push(frame);
  }

  /** Pages that others took from the device, or that made room, so far. */
  get lostPages(): number {
    return this.struck + this.evictions;
  }

  /** The frame of a page, or 0. */
  frameOf(page: number): number {
    return this.#map.entryOf(page) >>> GPU_FRAME_SHIFT;
  }

  /** Whether the GPU may access the page as it is held: one of an active row, in its row. */
  allows(page: number, isWrite: boolean): boolean {
    const frame = this.frameOf(page);
    const frameInRow = this.rows.frameFor(page);
    if (frameInRow !== 0)
      return frame === frameInRow && (!isWrite || isWritable(this.holdOf(frame)));
    if (frame >= this.frames) return false;
    const needed = isWrite ? GPU_WRITE : GPU_READ;
    return (this.#map.entryOf(page) & needed) !== 0;
  }

  /**
   * A frame without a page, for `page`: in its row, if it has an active one; one is evicted if need
   * be. 0: all are pinned. Driver lock.
   */
  takeFor(page: number, mayEvict: boolean): number {
    const frame = this.rows.frameFor(page);
    return frame === 0 ? this.take(mayEvict) : frame;
  }

  /** A frame of the pool without a page. 0: all are pinned. Driver lock. */
  take(mayEvict: boolean): number {
    if (this.#free.length === 0 && mayEvict) {
      evictUnused(this, this.#scratch, 0, 1);
      for (const frame of this.#claimed) {
        this.evictedPages.add(this.pageOf(frame));
        this.drop(frame);
      }
      this.#claimed = [];
    }
    if (!this.#isSorted) {
      this.#free.sort((a, b) => b - a);
      this.#isSorted = true;
    }
    return this.#free.pop() ?? 0;
  }

  /** Gives back a frame that holds nothing. */
  give(frame: number): void {
    if (frame >= this.frames) return;
    if (frame > (this.#free.at(-1) ?? frame)) this.#isSorted = false;
    this.#free.push(frame);
  }

  /** A taken frame holds `page` from now on. False: the table is full. Driver lock. */
  bind(frame: number, page: number, pfn: number, hold: Hold, use: PageUse = ASKED): boolean {
    const isInRow = frame >= this.frames; // W4 of rows.ts
    const rights = isInRow ? 0 : isWritable(hold) ? GPU_READ | GPU_WRITE : GPU_READ;
    const watched = use.isPrefetched && this.#isWatching ? GPU_WATCHED : 0;
    if (!this.#map.set(page, (frame << GPU_FRAME_SHIFT) | rights | watched)) return false;
    if (use.isPrefetched) this.#watched.add(frame);
    this.#sequential[frame] = use.isSequential ? 1 : 0;
    this.#pages[frame] = page;
    this.#pfns[frame] = pfn;
    this.#holds[frame] = hold;
    this.#accessed[frame] = use.isPrefetched ? 0 : 1;
    if (isShared(hold)) this.#shared++;
    if (isInRow) this.#rowPages++;
    countPage(this.#record, page, 1);
    return true;
  }

  keepOriginal(frame: number, bytes: Uint8Array): void {
    this.#originals.set(frame, Uint8Array.from(bytes));
  }

  originalOf(frame: number): Uint8Array<ArrayBuffer> | undefined {
    return this.#originals.get(frame);
  }

  /** The frame holds its page no more. Driver lock. */
  drop(frame: number): void {
    const page = this.pageOf(frame);
    if (page < 0) return;
    this.#map.set(page, 0);
    countPage(this.#record, page, -1);
    if (this.#pins[frame] === 1) this.pinned--;
    if (isShared(this.holdOf(frame))) this.#shared--;
    this.#pages[frame] = -1;
    this.#holds[frame] = 0;
    this.#pins[frame] = 0;
    this.#originals.delete(frame);
    this.#watched.delete(frame);
    if (frame >= this.frames) {
      this.#rowPages--;
      this.#isRowOpen = true;
    } else if (this.#kept[frame] === 0) this.give(frame);
  }

  /** Pages have changed: their copies are dropped. Driver lock. */
  readonly strike = (startPage: number, endPage: number): void => {
    if (endPage - startPage > this.allFrames) {
      for (let frame = FIRST_FRAME; frame < this.allFrames; frame++) {
        const page = this.pageOf(frame);
        if (page >= startPage && page < endPage) this.#strikeFrame(frame);
      }
      return;
    }
    for (let page = startPage; page < endPage; page++) {
      const frame = this.frameOf(page);
      if (frame !== 0) this.#strikeFrame(frame);
    }
  };

  #strikeFrame(frame: number): void {
    this.struck++;
    this.drop(frame);
  }

  /** Copies for one dispatch are dropped. Driver lock. */
  dropShared(): void {
    for (let frame = FIRST_FRAME; frame < this.allFrames && this.#shared > 0; frame++)
      if (isShared(this.holdOf(frame))) this.drop(frame);
  }

  /** Everything is dropped: the GPU is another one, or none. Driver lock. */
  dropAll(): void {
    for (let frame = FIRST_FRAME; frame < this.allFrames; frame++) this.drop(frame);
  }

  /** The chunk under way uses the frame. */
  pin(frame: number): void {
    if (frame >= this.frames || this.#holds[frame] === 0 || this.#pins[frame] === 1) return;
    this.#pins[frame] = 1;
    this.#accessed[frame] = 1;
    this.pinned++;
  }

  /** As `pin`, of all frames that a pass says are in use. No generator: they are many. */
  pinUsed(flags: Uint32Array): void {
    for (let frame = FIRST_FRAME; frame < this.frames; frame++)
      if (((flags[frame] ?? 0) & USED) !== 0) this.pin(frame);
  }

  unpinAll(): void {
    this.#pins.fill(0);
    this.pinned = 0;
  }
}
