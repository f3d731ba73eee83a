/**
 * @module devices/webgpu/private-pages
 * Pages that only the GPU has, as the device's Worker sees them: what becomes DIRTY, what of it is
 * backed up before a pass, read back, given up. private-memory.ts has the other threads' half.
 *
 * A page that a chunk wants to store to is moved to a frame of the private memory (bring.ts). From
 * there it is copied to the pool as from RAM. A commit makes the pages that the pass stored to
 * DIRTY, and moves no byte. A frame of the pool with the only bytes of a page is *kept*:
 *
 *     free --- holds a page --- kept, holds a page --- kept, its page struck ---> free
 *                 ^                    |                        read back, or its page was freed
 *                 +--------------------+ read back (flush)
 *
 *   Q6  While gpuLock is free, a kept frame holds what was committed. A pass, with its undoing or
 *       its commit, holds it.
 *   Q7  A pass stores to a kept frame only if its bytes lie in a slot of the backups as well: what
 *       a pass may not overwrite loses the right to be stored to, or is read back before. What is
 *       not kept is undone from the shared memory (V1 of chunk.ts).
 *   Q8  A kept frame is not evicted. When frames are short, some are read back first.
 *
 * Of the device's Worker; where it says so, holding gpuLock, and no lock else.
 */

import {
  type Machine,
  PAGE_BYTES,
  type PageMover,
  type Task,
  pageCopiers,
  writeFrames,
} from "../../driver-interface.ts";
import { Backups, sortAscending } from "./backups.ts";
import { type FramePool, HOLD_PRIVATE } from "./frame-pool.ts";
import { PrivateFrames } from "./private-frames.ts";
import { type Gpu, LOST, type Lost } from "./gpu.ts";
import {
  CURRENT,
  DIRTY,
  chunksOf,
  freedOf,
  loseDirty,
  setState,
  stateOf,
} from "../webgpu-record/private-memory.ts";
import { WANTED_MAX, type WebGpuRecord, drainLog } from "../webgpu-record/record.ts";

/**
 * Frames of private memory beside one that is wanted, on each side, that are read back with it. For
 * a thread that goes on where those that were read back end, twice as many each time: it waits for
 * the GPU each time.
 */
const BESIDE_FRAMES = 64;
const BESIDE_FRAMES_MAX = 1024;
/** Pages that are read back at once, at least, when frames are short. */
const FLUSH_MIN = 64;

export interface PrivateParts {
  readonly machine: Machine;
  readonly record: WebGpuRecord;
  readonly pool: FramePool;
  /** The GPU of the moment. */
  readonly gpu: () => Gpu;
  /** Slots of the backups. */
  readonly slots: number;
}

export class PrivatePages {
  readonly counts: { backedUp: number; readBack: number; requests: number } = {
    backedUp: 0,
    readBack: 0,
    requests: 0,
  };
  /** Of the private memory. */
  readonly frames: PrivateFrames;
  readonly #machine: Machine;
  readonly #record: WebGpuRecord;
  readonly #pool: FramePool;
  readonly #gpu: () => Gpu;
  /** The frame of the pool with the bytes of each DIRTY frame. */
  readonly #kept = new Map<number, number>();
  readonly #backups: Backups;
  /** Commits so far; and by frame: that in which it was stored to last. */
  #commits = 0;
  readonly #storedAt: Uint32Array;
  #freedSeen = 0;
  /** The frame that was wanted last, and how many were read back on each side of it. */
  #lastWanted = 0;
  #beside = 0;
  #isLeaving = false;

  constructor({ machine, record, pool, gpu, slots }: PrivateParts) {
    this.#machine = machine;
    this.#record = record;
    this.#pool = pool;
    this.#gpu = gpu;
    this.frames = new PrivateFrames(machine, record, pool);
    this.#backups = new Backups(pool.allFrames, slots);
    this.#storedAt = new Uint32Array(pool.allFrames);
  }

  /** Of a frame of the private memory: the kept frame with its bytes, or 0. */
  frameWith(pfn: number): number {
    return this.#kept.get(pfn) ?? 0;
  }

  /** Whether the bytes of a frame of the private memory are nowhere any more. */
  isLost(pfn: number): boolean {
    const state = stateOf(this.frames.deviceOf(pfn), pfn);
    return state !== CURRENT && !(state === DIRTY && this.#kept.has(pfn));
  }

  /** Makes frames for pages that are moved to the device, and fills them. */
  get mover(): PageMover {
    return {
      alloc: () => this.#allocOne(),
      allocPages: (frames) => this.#alloc(frames),
      ...pageCopiers(this.#machine),
    };
  }

  *#allocOne(): Task<number> {
    const frames = new Uint32Array(1);
    yield* this.#alloc(frames);
    return frames[0] ?? 0;
  }

  /** As many of `frames` as there are. */
  *#alloc(frames: Uint32Array): Task<void> {
    const taken = yield* this.frames.take(frames);
    for (const pfn of frames.subarray(0, taken)) this.#forget(pfn); // of the page before, perhaps
  }

  /** The bytes of a frame of the private memory are not needed any more, or elsewhere as well. */
  #forget(pfn: number): void {
    const frame = this.#kept.get(pfn);
    if (frame === undefined) return;
    this.#kept.delete(pfn);
    this.#backups.release(frame);
    this.#pool.release(frame);
  }

  /** In which commit the frame was stored to last. */
  #ageOf(frame: number): number {
    return this.#storedAt[frame] ?? 0;
  }

  /**
   * Forgets pages that were freed. Holding the driver lock.
   *
   * @stepped state of a private frame
   */
  reclaim(): void {
    let freed = 0;
    for (const chunk of chunksOf(this.#record)) freed += freedOf(chunk);
    if (freed === this.#freedSeen) return;
    this.#freedSeen = freed;
    for (const pfn of this.#kept.keys())
      if (stateOf(this.frames.deviceOf(pfn), pfn) !== DIRTY) this.#forget(pfn);
  }

  /**
   * A pass that has stored to these frames is committed: their pages are DIRTY. Holding the driver
   * lock, under which all frames hold their pages (Q2 of private-memory.ts), and gpuLock.
   */
  *commit(frames: readonly number[]): Task<void> {
    for (const frame of this.#noteStored(frames)) {
      const pfn = this.#pool.pfnOf(frame);
      this.#kept.set(pfn, frame);
      this.#pool.keep(frame);
      yield* setState(this.frames.deviceOf(pfn), pfn, DIRTY);
    }
  }

  /** Returns those that are not kept yet. */
  #noteStored(frames: readonly number[]): number[] {
    this.#commits++;
    const fresh: number[] = [];
    for (const frame of frames) {
      this.#backups.spoil(frame);
      this.#storedAt[frame] = this.#commits;
      if (!this.#pool.isKept(frame)) fresh.push(frame);
    }
    return fresh;
  }

  /** The page may be stored to by the next pass again, if only Q7 has forbidden it. */
  resume(page: number): boolean {
    const frame = this.#pool.frameOf(page);
    if (frame === 0 || this.#pool.holdOf(frame) !== HOLD_PRIVATE) return false;
    this.#pool.allowStores(frame, true);
    return true;
  }

  /**
   * Q7: backs up what the next pass may store to. What was stored to in the last commit is read
   * back if there is no room for it, what is older may not be stored to. Holding gpuLock.
   */
  *backUp(): Task<Lost | undefined> {
    const storable = this.#storable();
    let missing = this.#backups.missingOf(storable);
    const excess = this.#backups.lackingFor(missing);
    if (excess > 0) {
      storable.sort((a, b) => this.#ageOf(a) - this.#ageOf(b));
      if ((yield* this.#giveUp(storable.slice(0, excess))) === LOST) return LOST;
      missing = this.#backups.missingOf(storable.slice(excess));
    }
    sortAscending(missing);
    if (missing.length > 0) this.#gpu().backUp(missing, this.#backups.take(missing));
    this.counts.backedUp += missing.length;
    return undefined;
  }

  /** Kept frames that the next pass may store to. The others need no backup. */
  #storable(): number[] {
    const storable: number[] = [];
    for (const frame of this.#kept.values())
      if (this.#pool.mayBeStoredTo(frame)) storable.push(frame);
      else this.#backups.release(frame);
    return storable;
  }

  /** There is no room to back these frames up. */
  *#giveUp(frames: readonly number[]): Task<Lost | undefined> {
    const pool = this.#pool;
    const flushed: number[] = [];
    for (const frame of frames) {
      if (this.#ageOf(frame) === this.#commits || pool.isPinned(frame)) flushed.push(frame);
      else pool.allowStores(frame, false);
      this.#backups.release(frame);
    }
    return yield* this.flush(flushed);
  }

  /**
   * Undoes what a pass has stored to kept frames among these. The others are returned. Holding
   * gpuLock.
   */
  restore(frames: readonly number[]): number[] {
    const backed = frames.filter((frame) => this.#backups.isGood(frame));
    const slots = backed.map((frame) => this.#backups.slotOf(frame));
    if (backed.length > 0) this.#gpu().restore(backed, slots);
    return frames.filter((frame) => !this.#backups.isGood(frame));
  }

  /** Reads kept frames back: their pages are CURRENT. Holding gpuLock. */
  *flush(frames: readonly number[]): Task<Lost | undefined> {
    if (frames.length === 0) return undefined;
    const { driverLock } = this.#record;
    const pfns = frames.map((frame) => this.#pool.pfnOf(frame));
    const bytes = yield* this.#gpu().readFrames(frames);
    if (bytes === LOST) {
      yield* this.lose();
      return LOST;
    }
    yield* driverLock.lock();
    for (let i = 0; i < pfns.length;) {
      const end = this.#endOfDirtyRow(pfns, i);
      if (end > i) i = yield* this.#writeBack(pfns, i, bytes.subarray(0, end * PAGE_BYTES));
      else this.#forget(pfns[i++] ?? 0);
    }
    yield* driverLock.unlock();
    this.counts.readBack += frames.length;
    yield* this.#record.served.wakeAll();
    return undefined;
  }

  /**
   * From index `first` on: the end of those that are DIRTY and follow each other. One that is not
   * was freed meanwhile: it may be another page's frame soon, but only this thread makes it so.
   *
   * @stepped state of a private frame
   */
  #endOfDirtyRow(pfns: readonly number[], first: number): number {
    const base = (pfns[first] ?? 0) - first;
    let end = first;
    for (; end < pfns.length; end++) {
      const pfn = base + end;
      if (pfns[end] !== pfn || stateOf(this.frames.deviceOf(pfn), pfn) !== DIRTY) break;
    }
    return end;
  }

  /** The row of frames from index `first` to the end of `bytes`. The first that is left to do. */
  *#writeBack(pfns: readonly number[], first: number, bytes: Uint8Array): Task<number> {
    const row = bytes.subarray(first * PAGE_BYTES);
    const pages = yield* writeFrames(this.#machine, pfns[first] ?? 0, row);
    const end = first + Math.max(1, pages);
    for (const pfn of pfns.slice(first, end)) {
      yield* setState(this.frames.deviceOf(pfn), pfn, CURRENT);
      this.#forget(pfn);
    }
    return end;
  }

  /** The GPU is lost, and what only it had. Holding gpuLock. */
  *lose(): Task<void> {
    const { driverLock } = this.#record;
    yield* driverLock.lock();
    for (const pfn of this.#kept.keys()) this.#forget(pfn);
    yield* loseDirty(this.#record);
    yield* driverLock.unlock();
  }

  /** As `lose`, holding no lock. */
  *loseAll(): Task<void> {
    const { gpuLock } = this.#record;
    yield* gpuLock.lock();
    yield* this.lose();
    yield* gpuLock.unlock();
  }

  /** Makes frames of the pool free that may be evicted then: `wanted`, as far as there are. */
  *makeRoom(wanted: number): Task<void> {
    const pool = this.#pool;
    const lacking = wanted - pool.freeFrames - pool.evictable;
    if (lacking <= 0) return;
    const { gpuLock } = this.#record;
    yield* gpuLock.lock();
    // What is kept may have changed until then.
    const frames = [...this.#kept.values()].filter((frame) => !pool.isPinned(frame));
    frames.sort((a, b) => this.#ageOf(a) - this.#ageOf(b));
    yield* this.flush(frames.slice(0, Math.max(lacking, FLUSH_MIN)));
    yield* gpuLock.unlock();
  }

  /** All that only the GPU has is read back, as far as it is there. */
  *flushAll(): Task<void> {
    const { gpuLock } = this.#record;
    yield* gpuLock.lock();
    yield* this.flush([...this.#kept.values()]);
    yield* gpuLock.unlock();
  }

  /** Serves other threads until `leave`: a task of its own (Q4 of private-memory.ts). */
  *serve(onServed: () => void = () => {}): Task<void> {
    const { requested } = this.#record;
    for (;;) {
      yield* requested.wait();
      if (this.#isLeaving) return;
      yield* this.#serveWanted();
      onServed();
    }
  }

  *leave(): Task<void> {
    this.#isLeaving = true;
    yield* this.#record.requested.complete();
  }

  *#serveWanted(): Task<void> {
    const { driverLock } = this.#record;
    yield* this.lockToServe();
    yield* driverLock.lock();
    drainLog(this.#record, this.#pool.strike);
    this.reclaim();
    const frames = this.#takeWanted();
    yield* driverLock.unlock();
    yield* this.flush(frames);
    yield* this.unlockToServe();
  }

  /** Q6. A test overrides it to show that it is needed. */
  protected lockToServe(): Task<void> {
    return this.#record.gpuLock.lock();
  }

  protected unlockToServe(): Task<void> {
    return this.#record.gpuLock.unlock();
  }

  /**
   * Kept frames with what is wanted, and with what lies beside it in private memory: what was moved
   * there together. Holding the driver lock.
   */
  #takeWanted(): number[] {
    const { wanted, wantedCount } = this.#record;
    this.#record.wantedCount = 0;
    if (wantedCount > WANTED_MAX) return [...this.#kept.values()];
    const frames = new Set<number>();
    for (let i = 0; i < wantedCount; i++) {
      const pfn = wanted.get(i) >>> 0;
      if (!this.#kept.has(pfn)) continue;
      this.counts.requests++;
      const beside = this.#framesBeside(pfn);
      for (let at = pfn - beside; at <= pfn + beside; at++) {
        const frame = this.#kept.get(at);
        if (frame !== undefined) frames.add(frame);
      }
    }
    return [...frames].toSorted((a, b) => a - b);
  }

  /** How many frames on each side of `pfn` are read back with it. */
  #framesBeside(pfn: number): number {
    const away = Math.abs(pfn - this.#lastWanted) - this.#beside;
    const goesOn = away > 0 && away <= BESIDE_FRAMES;
    this.#beside = goesOn ? Math.min(this.#beside * 2, BESIDE_FRAMES_MAX) : BESIDE_FRAMES;
    this.#lastWanted = pfn;
    return this.#beside;
  }
}
