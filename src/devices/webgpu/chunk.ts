/**
 * @module devices/webgpu/chunk
 * Runs a chunk of a dispatch as a transaction: whatever misses, collides or is lost meanwhile, in
 * the end each workgroup of the chunk has run once, or nothing of it has happened.
 *
 *     fast ---- missed ----> list <----+ undoes, brings what missed
 *      |                      | |  |   |
 *      | none missed          | |  +---+
 *      v                      | | a page was evicted for them, or much had to be undone
 *     commit <- none missed --+ v
 *      | |  ^                 touch <--+ brings what missed
 *      | |  |                 | |      |
 *      | |  |                 | +------+
 *      | |  |                 v none missed, or nothing more can be had
 *      | |  +- none missed - real <----+ undoes, brings what missed
 *      | |                      |      |
 *      | |                      +------+
 *      | | a page that it wrote was struck: undoes, and the same again
 *      v
 *     done
 *
 * | pass | stores | lists what missed | notes what was used |
 * | --- | --- | --- | --- |
 * | fast | yes | no | no |
 * | list | yes | yes | no |
 * | touch | no | yes | yes |
 * | real | yes | yes | yes |
 *
 * A chunk whose pages fit into free frames needs one list pass to find out what is missing, and one
 * that is right. Where frames are short, pages that the chunk uses must be known, or each service
 * evicts what the chunk needs next: so touch passes note them, and they are pinned.
 *
 *   V1  RAM is what counts, or the shared memory of private pages. A pass changes copies alone. To
 *       undo it is to bring the pages that it stored to (DIRTY) from there again; but for what only
 *       the GPU has, of which there are backups (Q7 of private-pages.ts).
 *   V2  A commit checks all dirty pages, and copies them home or makes them the GPU's, in one
 *       section of the driver lock. So either every page that the chunk wrote was the device's,
 *       without a break, from before the pass until then; or nothing was committed.
 *   V3  Progress. Pages of the chunk are pinned in the pool. After `staleMax` commits that failed,
 *       the driver lock is held during the whole pass: who wants to change a mapping waits for it.
 *   V4  A fault that cannot be served counts only if nothing else missed in a pass that stored: in
 *       any other pass its address may come of a load that had missed.
 *
 *   V5  What a pass of a pure program has stored needs no undo: the pass that is committed stores
 *       the same there. That holds while the inputs are the same. So when the pool has lost a page
 *       since, or the chunk ends otherwise, all of it is undone after all.
 *
 * Of the device's Worker. Holding no lock.
 */

import {
  EBUSY,
  EFAULT,
  EINVAL,
  type Errno,
  type Machine,
  PAGE_BYTES,
  type Task,
  monotonicMs,
  readFrame,
  writeFrame,
  ESRCH,
  TASK_SIZE_PAGES,
} from "../../driver-interface.ts";
import { type Bringer, type PageWant, WANT_READ, WANT_WRITE } from "./bring.ts";
import { type FramePool, HOLD_PRIVATE, HOLD_SHARED_WRITABLE } from "./frame-pool.ts";
import { type Gpu, type GpuFault, type GpuPass, LOST, type PassResult } from "./gpu.ts";
import type { PageMap } from "./page-map.ts";
import type { PrivatePages } from "./private-pages.ts";
import { type WebGpuRecord, drainLog, noteHeldHere } from "../webgpu-record/record.ts";
import { addPrefetch } from "./prefetch.ts";
import { DIRTY, FIRST_FRAME, USED } from "./wgsl/layout.ts";

/** More fuel for a pass that ran out of it. */
const FUEL_FACTOR = 8;
/** A list pass that missed, and whose undoing brings more pages than this, is the chunk's last. */
const UNDONE_MAX = 64;

/**
 * Commits of a chunk that may fail where the thread is the program's: it does not wait for the
 * driver lock (own-link.ts), so V3 promises no progress against it.
 */
const OWN_STALE_MAX = 32;

/** What became of a chunk. */
export type ChunkOutcome =
  | { readonly kind: "done" }
  /** Nothing has happened; the GPU is lost, the chunk is to be run on another. */
  | { readonly kind: "lost" }
  /** Nothing has happened; its pages do not fit, or they do not when they are had together. */
  | { readonly kind: "too large"; readonly pages: number }
  | { readonly kind: "stopped" }
  | { readonly kind: "out of fuel" }
  /** Nothing has happened: this thread itself has taken pages away, time and again. */
  | { readonly kind: "disturbed" }
  | { readonly kind: "fault"; readonly errno: Errno; readonly fault: GpuFault };

export interface ChunkRequest {
  readonly pass: Omit<GpuPass, "isRecording" | "isUseNoted" | "isTouch" | "fuel">;
  readonly fuel: number;
  readonly fuelMax: number;
  /** Begin with a fast pass: what it needs is likely to be there. */
  readonly isLikelyResident: boolean;
  /** Commits that may fail before the driver lock is held during the pass (V3). */
  readonly staleMax: number;
  /** Asked between passes: the chunk is to end. */
  readonly isStopped: () => boolean;
}

/** What passes have cost. */
export interface ChunkCounts {
  passes: number;
  failedPasses: number;
  faults: number;
  validFaults: number;
  batches: number;
  stale: number;
  lockedPasses: number;
  pagesToHost: number;
  runMs: number;
  commitMs: number;
  restoreMs: number;
}

export interface ChunkParts {
  readonly machine: Machine;
  readonly record: WebGpuRecord;
  readonly pool: FramePool;
  readonly map: PageMap;
  readonly gpu: () => Gpu;
  readonly bringer: Bringer;
  /** Undefined: it has no private memory. */
  readonly privatePages?: PrivatePages | undefined;
  /** The thread is the program's, which changes mappings too. */
  readonly isOwnersThread?: boolean;
}

type Phase = "fast" | "list" | "touch" | "real";
type Passed = ChunkOutcome | "again";
/** Pages that must come before the next pass: those of rows, or what the pass has missed. */
type Wanted =
  | { readonly kind: "rows"; readonly missing: ReadonlyMap<number, boolean> }
  | { readonly kind: "missed"; readonly faults: readonly GpuFault[]; readonly undone: number };

const DONE: ChunkOutcome = { kind: "done" };
const AGAIN = "again";

/** One thread's way to run chunks. One at a time. */
export class ChunkRunner {
  readonly counts: ChunkCounts = {
    passes: 0,
    failedPasses: 0,
    faults: 0,
    validFaults: 0,
    batches: 0,
    stale: 0,
    lockedPasses: 0,
    pagesToHost: 0,
    runMs: 0,
    commitMs: 0,
    restoreMs: 0,
  };
  readonly #parts: ChunkParts;
  #phase: Phase = "fast";
  #fuel = 0;
  #staleCommits = 0;
  /** V5: frames that were stored to and not undone, and what the pool had lost at the first. */
  readonly #kept = new Set<number>();
  #keptAt = 0;
  /** What the last chunk needed at most. */
  get fuel(): number {
    return this.#fuel;
  }

  /** Whether the last chunk was committed without a miss before. */
  wasResident = false;

  constructor(parts: ChunkParts) {
    this.#parts = parts;
  }

  *run(request: ChunkRequest): Task<ChunkOutcome> {
    const { pool } = this.#parts;
    this.#phase = request.isLikelyResident ? "fast" : "list";
    this.#fuel = request.fuel;
    this.#staleCommits = 0;
    const { failedPasses } = this.counts;
    for (;;) {
      const outcome = request.isStopped()
        ? { kind: "stopped" as const }
        : yield* this.#pass(request);
      if (outcome === AGAIN) continue;
      if (outcome.kind === "done" || outcome.kind === "lost") this.#kept.clear();
      else yield* this.#undoKept();
      pool.unpinAll();
      this.wasResident = outcome.kind === "done" && this.counts.failedPasses === failedPasses;
      return outcome;
    }
  }

  /** A pass, and what it needs after it. The GPU is the pass's until it is committed, or undone. */
  *#pass(request: ChunkRequest): Task<Passed> {
    yield* this.lockGpu();
    const passed = yield* this.#passLocked(request);
    yield* this.unlockGpu();
    if (passed === AGAIN) return AGAIN;
    if (passed.kind === "rows") return yield* this.#fillRows(request, passed.missing);
    return passed.kind === "missed" ? yield* this.#serveMissed(passed) : passed;
  }

  /** Q6 of private-pages.ts. */
  *lockGpu(): Task<void> {
    if (this.#parts.privatePages !== undefined) yield* this.#parts.record.gpuLock.lock();
  }

  *unlockGpu(): Task<void> {
    if (this.#parts.privatePages !== undefined) yield* this.#parts.record.gpuLock.unlock();
  }

  *#passLocked(request: ChunkRequest): Task<Passed | Wanted> {
    const { record, pool, privatePages } = this.#parts;
    if (privatePages !== undefined && this.#phase !== "touch")
      if ((yield* privatePages.backUp()) === LOST) return { kind: "lost" };
    const isLocked = this.#staleCommits >= request.staleMax && this.#phase !== "touch";
    yield* record.driverLock.lock();
    drainLog(record, pool.strike);
    privatePages?.reclaim();
    const isDead = record.isDead !== 0;
    const missing = pool.missingInRows();
    if (!isLocked || isDead || missing.size > 0) yield* record.driverLock.unlock();
    if (isDead) return { kind: "fault", errno: ESRCH, fault: noFault(request) };
    if (missing.size > 0) return { kind: "rows", missing };
    if (this.#kept.size > 0 && pool.lostPages !== this.#keptAt) {
      if (isLocked) yield* record.driverLock.unlock();
      return (yield* this.#undoKept()) ? AGAIN : { kind: "lost" };
    }
    if (isLocked) this.#noteHeld(true);
    const result = yield* this.#runOnGpu(request);
    if (isLocked) this.counts.lockedPasses++;
    if (result === LOST) {
      if (isLocked) yield* this.#unlockHeld();
      return { kind: "lost" };
    }
    const isClean = !result.missed && !result.spent;
    if (isClean && this.#phase !== "touch") return yield* this.#commit(result.flags, isLocked);
    if (isLocked) yield* this.#unlockHeld();
    if (!isClean) this.counts.failedPasses++;
    return yield* this.#afterMiss(request, result);
  }

  /** The driver lock is held while the GPU is waited for, or no more. */
  #noteHeld(isHeld: boolean): void {
    const { record, isOwnersThread = false } = this.#parts;
    if (isOwnersThread) noteHeldHere(record, isHeld);
  }

  #unlockHeld(): Task<void> {
    this.#noteHeld(false);
    return this.#parts.record.driverLock.unlock();
  }

  /** W5 of rows.ts. */
  *#fillRows({ pass }: ChunkRequest, missing: ReadonlyMap<number, boolean>): Task<Passed> {
    const wants = new Map<number, PageWant>();
    for (const [page, isWrite] of missing) wants.set(page, isWrite ? WANT_WRITE : WANT_READ);
    this.counts.batches++;
    const { failures } = yield* this.#parts.bringer.bring(wants);
    const [first] = failures;
    if (first === undefined) return AGAIN;
    const { page, errno } = first;
    const isWrite = missing.get(page) ?? false;
    const fault = { address: page * PAGE_BYTES, isWrite, workgroup: pass.first };
    return { kind: "fault", errno, fault };
  }

  *#runOnGpu({ pass }: ChunkRequest): Task<PassResult | typeof LOST> {
    const { map, pool } = this.#parts;
    const gpu = this.#parts.gpu();
    map.flush((firstWord, words) => gpu.writeTable(firstWord, words, map.layout));
    const isRecording = this.#phase !== "fast";
    const isUseNoted = isRecording && this.#phase !== "list";
    const isTouch = this.#phase === "touch";
    const startMs = monotonicMs();
    const result = yield* gpu.run({ ...pass, isRecording, isUseNoted, isTouch, fuel: this.#fuel });
    this.counts.runMs += monotonicMs() - startMs;
    this.counts.passes++;
    if (result === LOST || !isUseNoted) return result;
    for (let frame = FIRST_FRAME; frame < pool.frames; frame++)
      if (((result.flags[frame] ?? 0) & USED) !== 0) pool.pin(frame);
    return result;
  }

  /** The pass has missed, or run out of fuel, or was a touch pass. */
  *#afterMiss(request: ChunkRequest, result: PassResult): Task<Passed | Wanted> {
    const dirty = this.#toUndo(request, dirtyFrames(result.flags)); // of a touch pass: of rows
    if (!(yield* this.#restore(dirty))) return { kind: "lost" };
    if (!result.missed) {
      if (this.#phase !== "touch") return this.#refuel(request);
      this.#phase = "real"; // what a touch pass says of fuel is said without its stores
      return AGAIN;
    }
    if (this.#phase === "fast") {
      this.#phase = "list";
      return AGAIN;
    }
    return { kind: "missed", faults: result.faults, undone: dirty.length };
  }

  *#serveMissed({ faults, undone }: Wanted & { readonly kind: "missed" }): Task<Passed> {
    const { evictions } = this.#parts.pool;
    const passed = yield* this.#serve(faults);
    const isShort = this.#parts.pool.evictions !== evictions;
    if (this.#phase === "list" && (isShort || undone > UNDONE_MAX)) this.#phase = "touch";
    return passed;
  }

  /** Of the frames that a failed pass has stored to, those that are undone at once. */
  #toUndo({ pass }: ChunkRequest, dirty: readonly number[]): readonly number[] {
    if (pass.program.isPure !== true) return dirty;
    const { pool } = this.#parts;
    if (this.#kept.size === 0) this.#keptAt = pool.lostPages;
    const mayStay = (frame: number): boolean => frame < pool.frames && !pool.isKept(frame); // Q6
    for (const frame of dirty) if (mayStay(frame)) this.#kept.add(frame);
    return dirty.filter((frame) => !mayStay(frame));
  }

  /** False: the GPU is lost. */
  *#undoKept(): Task<boolean> {
    const frames = [...this.#kept];
    this.#kept.clear();
    return yield* this.#restore(frames);
  }

  #refuel({ fuelMax }: ChunkRequest): Passed {
    if (this.#fuel >= fuelMax) return { kind: "out of fuel" };
    this.#fuel = Math.min(this.#fuel * FUEL_FACTOR, fuelMax);
    return AGAIN;
  }

  /** Brings what the pass missed. */
  *#serve(faults: readonly GpuFault[]): Task<Passed> {
    const { pool, bringer } = this.#parts;
    const wants = new Map<number, PageWant>();
    const failed = new FailedPages();
    for (const { address, isWrite } of faults) {
      const page = Math.floor(address / PAGE_BYTES);
      const errno = address % 4 !== 0 ? EINVAL : page >= TASK_SIZE_PAGES ? EFAULT : 0;
      if (errno !== 0) failed.add(page, isWrite, errno);
      else if (pool.rows.frameFor(page) !== 0) failed.add(page, isWrite, EBUSY); // W4 of rows.ts
      else if (pool.allows(page, isWrite) || (isWrite && this.#resume(page)))
        this.counts.validFaults++;
      else if (isWrite || !wants.has(page)) wants.set(page, isWrite ? WANT_WRITE : WANT_READ);
    }
    this.counts.faults += faults.length;
    this.counts.batches++;
    const asked = wants.size;
    if (pool.pinned + asked > pool.usable) return { kind: "too large", pages: pool.pinned + asked };
    addPrefetch(wants, pool);
    const brought = yield* bringer.bring(wants);
    let served = asked - brought.failures.length;
    const readable = new Map<number, PageWant>();
    for (const { page, errno } of brought.failures) {
      const isWrite = wants.get(page) === WANT_WRITE;
      failed.add(page, isWrite, errno);
      // It was read, too: that may be allowed.
      if (isWrite && faults.some((fault) => isReadOf(fault, page))) readable.set(page, WANT_READ);
    }
    const read = yield* bringer.bring(readable);
    for (const { page, errno } of read.failures) failed.add(page, false, errno);
    served += readable.size - read.failures.length;
    if (brought.isFull || read.isFull) return { kind: "too large", pages: pool.pinned + asked };
    if (served > 0 || failed.isEmpty) return AGAIN;
    if (this.#phase === "touch") {
      this.#phase = "real";
      return AGAIN;
    }
    const first = faults.find((fault) => failed.errnoOf(fault) !== 0);
    if (first === undefined) return AGAIN;
    return { kind: "fault", errno: failed.errnoOf(first), fault: first }; // V4
  }

  /** Q7 of private-pages.ts: this chunk does store to it. */
  #resume(page: number): boolean {
    const { privatePages, pool } = this.#parts;
    if (privatePages?.resume(page) !== true) return false;
    pool.pin(pool.frameOf(page));
    return true;
  }

  /**
   * V1: brings pages that a pass has stored to from RAM again; those that were struck meanwhile are
   * gone. False: the GPU is lost.
   */
  *#restore(stored: readonly number[]): Task<boolean> {
    const { machine, record, pool, privatePages } = this.#parts;
    const dirty = privatePages?.restore(stored) ?? stored;
    if (dirty.length === 0) return true;
    const startMs = monotonicMs();
    const bytes = new Uint8Array(dirty.length * PAGE_BYTES);
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
    this.counts.restoreMs += monotonicMs() - startMs;
    return !gpu.isLost;
  }

  /** V2. Drops the driver lock if it is held. Holding gpuLock, if there is one. */
  *#commit(flags: Uint32Array, isLocked: boolean): Task<Passed> {
    const { record, pool, privatePages } = this.#parts;
    const dirty = dirtyFrames(flags);
    const [home, stay] = [[] as number[], [] as number[]];
    for (const frame of dirty) (pool.holdOf(frame) === HOLD_PRIVATE ? stay : home).push(frame);
    const startMs = monotonicMs();
    const bytes = home.length === 0 ? undefined : yield* this.#parts.gpu().readFrames(home);
    if (bytes === LOST) {
      if (isLocked) yield* this.#unlockHeld();
      return { kind: "lost" };
    }
    if (isLocked) this.#noteHeld(false);
    else yield* record.driverLock.lock();
    const pages = dirty.map((frame) => pool.pageOf(frame));
    drainLog(record, pool.strike);
    const isWhole = pages.every((page, i) => pool.frameOf(page) === dirty[i]);
    if (isWhole && bytes !== undefined) yield* this.#writeHome(home, bytes);
    if (isWhole && privatePages !== undefined) yield* privatePages.commit(stay);
    yield* record.driverLock.unlock();
    this.counts.commitMs += monotonicMs() - startMs;
    if (isWhole) return DONE;
    this.counts.stale++;
    this.#staleCommits++;
    for (const frame of this.#kept) if (!dirty.includes(frame)) dirty.push(frame);
    this.#kept.clear();
    if (!(yield* this.#restore(dirty))) return { kind: "lost" };
    const { isOwnersThread = false } = this.#parts;
    if (isOwnersThread && this.#staleCommits >= OWN_STALE_MAX) return { kind: "disturbed" };
    return AGAIN;
  }

  /**
   * What the host has stored into frames becomes the pages' content, as what a pass has stored.
   * "again": a page was struck meanwhile, and nothing has happened.
   */
  *storeHome(frames: readonly number[]): Task<"done" | "again" | typeof LOST> {
    const flags = new Uint32Array(this.#parts.pool.frames);
    for (const frame of frames) flags[frame] = DIRTY;
    const passed = yield* this.#commit(flags, false);
    if (passed === AGAIN) return AGAIN;
    return passed.kind === "done" ? "done" : LOST;
  }

  /** Holding the driver lock; all frames hold their pages. */
  *#writeHome(dirty: readonly number[], bytes: Uint8Array<ArrayBuffer>): Task<void> {
    const { machine, pool } = this.#parts;
    for (const [i, frame] of dirty.entries()) {
      const page = bytes.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES);
      const original = pool.originalOf(frame);
      if (original === undefined) yield* writeFrame(machine, pool.pfnOf(frame), 0, page);
      else yield* writeChanged(machine, pool.pfnOf(frame), page, original);
    }
    this.counts.pagesToHost += dirty.length;
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

function dirtyFrames(flags: Uint32Array): number[] {
  const dirty: number[] = [];
  for (let frame = FIRST_FRAME; frame < flags.length; frame++)
    if (((flags[frame] ?? 0) & DIRTY) !== 0) dirty.push(frame);
  return dirty;
}

function isReadOf({ address, isWrite }: GpuFault, page: number): boolean {
  return !isWrite && Math.floor(address / PAGE_BYTES) === page;
}

/** Pages that cannot be had for reading or for writing, and why. */
class FailedPages {
  readonly #errnos = new Map<number, Errno>();

  get isEmpty(): boolean {
    return this.#errnos.size === 0;
  }

  add(page: number, isWrite: boolean, errno: Errno): void {
    this.#errnos.set(page * 2 + (isWrite ? 1 : 0), errno);
  }

  /** 0: the fault is not one of them. */
  errnoOf({ address, isWrite }: GpuFault): Errno {
    return this.#errnos.get(Math.floor(address / PAGE_BYTES) * 2 + (isWrite ? 1 : 0)) ?? 0;
  }
}

function noFault({ pass }: ChunkRequest): GpuFault {
  return { address: 0, isWrite: false, workgroup: pass.first };
}
