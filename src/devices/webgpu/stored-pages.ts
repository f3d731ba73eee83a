/**
 * @module devices/webgpu/stored-pages
 * What becomes of the pages that a pass has stored to (V1, V2 of chunk.ts): they are committed, all
 * at once, or undone. Of the device's Worker. Holding gpuLock, if there is one, and no lock else
 * but where it says so.
 */

import {
  type Machine,
  PAGE_BYTES,
  type Task,
  monotonicMs,
  readFrame,
  writeFrame,
  writeFrames,
} from "../../driver-interface.ts";
import { type ChunkCounts, type ChunkParts, noteHeld, unlockHeld } from "./chunk-parts.ts";
import { HOLD_PRIVATE, HOLD_SHARED_WRITABLE } from "./frame-pool.ts";
import { LOST, type Lost } from "./gpu.ts";
import { drainLog } from "../webgpu-record/record.ts";
import { DIRTY, FIRST_FRAME } from "./wgsl/layout.ts";

export class StoredPages {
  readonly #parts: ChunkParts;
  readonly #counts: ChunkCounts;
  /** What pages are undone with: scratch. */
  #bytes = new Uint8Array(0);

  constructor(parts: ChunkParts, counts: ChunkCounts) {
    this.#parts = parts;
    this.#counts = counts;
  }

  /**
   * V1 of chunk.ts: brings pages that a pass has stored to from RAM again; those that were struck
   * meanwhile are gone. False: the GPU is lost.
   */
  *restore(stored: readonly number[]): Task<boolean> {
    const { machine, record, pool, privatePages } = this.#parts;
    const dirty = privatePages?.restore(stored) ?? stored;
    if (dirty.length === 0) return true;
    const startMs = monotonicMs();
    const length = dirty.length * PAGE_BYTES;
    if (this.#bytes.length < length) this.#bytes = new Uint8Array(length);
    const bytes = this.#bytes.subarray(0, length);
    const frames: number[] = [];
    yield* record.driverLock.lock();
    drainLog(record, pool.strike);
    for (const frame of dirty) {
      if (pool.pageOf(frame) < 0) continue;
      const place = frames.length * PAGE_BYTES;
      const page = bytes.subarray(place, place + PAGE_BYTES);
      const errno = yield* readFrame(machine, pool.pfnOf(frame), 0, page);
      if (errno !== 0) {
        pool.drop(frame);
        continue;
      }
      if (pool.holdOf(frame) === HOLD_SHARED_WRITABLE) pool.keepOriginal(frame, page);
      frames.push(frame);
    }
    yield* record.driverLock.unlock();
    const gpu = this.#parts.gpu();
    if (frames.length > 0) gpu.writeFrames(frames, bytes);
    this.#counts.restoreMs += monotonicMs() - startMs;
    return !gpu.isLost;
  }

  /**
   * V2 of chunk.ts: what was stored to these frames becomes their pages' content, all of it or
   * nothing. "again": a page was struck meanwhile, and all of them are undone. Drops the driver
   * lock, if it is held.
   */
  *commit(dirty: readonly number[], isLocked: boolean): Task<"done" | "again" | Lost> {
    const { record, pool, privatePages } = this.#parts;
    const { home, stay } = this.#byPlace(dirty);
    const startMs = monotonicMs();
    const bytes = home.length === 0 ? undefined : yield* this.#parts.gpu().readFrames(home);
    if (bytes === LOST) {
      if (isLocked) yield* unlockHeld(this.#parts);
      return LOST;
    }
    if (isLocked) noteHeld(this.#parts, false);
    else yield* record.driverLock.lock();
    drainLog(record, pool.strike);
    const isWhole = this.#holdPages(dirty);
    if (isWhole && bytes !== undefined) yield* this.#writeHome(home, bytes);
    if (isWhole && privatePages !== undefined) yield* privatePages.commit(stay);
    yield* record.driverLock.unlock();
    this.#counts.commitMs += monotonicMs() - startMs;
    if (isWhole) return "done";
    this.#counts.stale++;
    return (yield* this.restore(dirty)) ? "again" : LOST;
  }

  /** Frames whose content goes to RAM, and those that keep it. No generator: they are many. */
  #byPlace(dirty: readonly number[]): { readonly home: number[]; readonly stay: number[] } {
    const { pool } = this.#parts;
    const [home, stay] = [[] as number[], [] as number[]];
    for (const frame of dirty) (pool.holdOf(frame) === HOLD_PRIVATE ? stay : home).push(frame);
    return { home, stay };
  }

  /** Whether each of the frames holds its page: none was struck. */
  #holdPages(dirty: readonly number[]): boolean {
    const { pool } = this.#parts;
    for (const frame of dirty) {
      const page = pool.pageOf(frame);
      if (page < 0 || pool.frameOf(page) !== frame) return false;
    }
    return true;
  }

  /** Holding the driver lock; all frames hold their pages. */
  *#writeHome(dirty: readonly number[], bytes: Uint8Array<ArrayBuffer>): Task<void> {
    const { machine, pool } = this.#parts;
    for (let i = 0; i < dirty.length;) {
      const frame = dirty[i] ?? 0;
      const pfn = pool.pfnOf(frame);
      const original = pool.originalOf(frame);
      const end = original === undefined ? this.#endOfRow(dirty, i) : i + 1;
      const pages = bytes.subarray(i * PAGE_BYTES, end * PAGE_BYTES);
      if (original === undefined) i += Math.max(1, yield* writeFrames(machine, pfn, pages));
      else {
        yield* writeChanged(machine, pfn, pages, original);
        i++;
      }
    }
    this.#counts.pagesToHost += dirty.length;
  }

  /** From index `first` on: the end of those whose frames of RAM follow each other. */
  #endOfRow(dirty: readonly number[], first: number): number {
    const { pool } = this.#parts;
    const pfn = pool.pfnOf(dirty[first] ?? 0);
    let end = first + 1;
    for (; end < dirty.length; end++) {
      const frame = dirty[end] ?? 0;
      const isNext = pool.pfnOf(frame) === pfn + end - first;
      if (!isNext || pool.originalOf(frame) !== undefined) break;
    }
    return end;
  }
}

/** Others may write the frame meanwhile: only the words that the GPU has changed are stored. */
function* writeChanged(
  machine: Machine,
  pfn: number,
  page: Uint8Array<ArrayBuffer>,
  original: Uint8Array<ArrayBuffer>,
): Task<void> {
  for (let at = 0; at < PAGE_BYTES; at += 4) {
    if (isSameWord(page, original, at)) continue;
    let end = at + 4;
    while (end < PAGE_BYTES && !isSameWord(page, original, end)) end += 4;
    yield* writeFrame(machine, pfn, at, page.subarray(at, end));
    original.set(page.subarray(at, end), at);
    at = end - 4;
  }
}

function isSameWord(a: Uint8Array, b: Uint8Array, at: number): boolean {
  return (
    a[at] === b[at] && a[at + 1] === b[at + 1] && a[at + 2] === b[at + 2] && a[at + 3] === b[at + 3]
  );
}

/** Eight at a time: most passes store to few of the frames, and each pass is looked through. */
export function dirtyFrames(flags: Uint32Array): number[] {
  const dirty: number[] = [];
  const end = flags.length | 0; // a heap index: the compiler may count in integers
  for (let frame = FIRST_FRAME; frame < end;) {
    while (frame + 8 <= end && (anyOfEight(flags, frame) & DIRTY) === 0) frame += 8;
    const stop = Math.min(frame + 8, end);
    for (; frame < stop; frame++) if ((flags[frame]! & DIRTY) !== 0) dirty.push(frame);
  }
  return dirty;
}

function anyOfEight(flags: Uint32Array, i: number): number {
  // all eight are there
  const low = flags[i]! | flags[i + 1]! | flags[i + 2]! | flags[i + 3]!;
  return low | flags[i + 4]! | flags[i + 5]! | flags[i + 6]! | flags[i + 7]!;
}
