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
 *   V5  What a pass of a pure program has stored needs no undo: the pass that is committed stores
 *       the same there. That holds while the inputs are the same. So when the pool has lost a page
 *       since, or the chunk ends otherwise, all of it is undone after all.
 *   V6  So a workgroup of a pure program in which no invocation has missed need not run again, as
 *       long as what it has stored stands: a list pass after a list pass runs only the others
 *       (`replay`), and the commit has what all of them have stored.
 *   V7  In a touch pass nothing is stored, so a workgroup that misses nothing in one would do the
 *       same in the next, and its pages are pinned: only those that missed run again, of any
 *       program. If one of its pages was struck meanwhile, the real pass misses.
 *
 * Of the device's Worker. Holding no lock.
 */

import { type Errno, PAGE_BYTES, type Task, monotonicMs } from "../../driver-interface.ts";
import {
  type ChunkCounts,
  type ChunkParts,
  noCounts,
  noteHeld,
  unlockHeld,
} from "./chunk-parts.ts";
import type { RowPages } from "./frame-pool.ts";
import { type GpuFault, type GpuPass, LOST, type Lost, type PassResult } from "./gpu.ts";
import { MissedPages } from "./missed-pages.ts";
import { PurePasses } from "./pure-passes.ts";
import { StoredPages, dirtyFrames } from "./stored-pages.ts";
import { drainLog } from "../webgpu-record/record.ts";

/** More fuel for a pass that ran out of it. */
const FUEL_FACTOR = 8;
/** For one that took long: who waits for the end of it, to stop the dispatch, waits less. */
const LONG_FUEL_FACTOR = 4;
const LONG_MS = 100;
/** If there is not time for so much more, it is not worth another pass. */
const FUEL_FACTOR_MIN = 1.5;
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
  /** Nothing has happened: the address space is gone. */
  | { readonly kind: "space gone" }
  /** Nothing has happened: no more rounds are allowed, or `isSlow`: no more time. */
  | {
      readonly kind: "out of fuel";
      readonly rounds: number;
      readonly passMs: number;
      readonly isSlow: boolean;
    }
  /** Nothing has happened: this thread itself has taken pages away, time and again. */
  | { readonly kind: "disturbed" }
  /** Nothing has happened: something has missed, and the GPU does not say what. */
  | { readonly kind: "unnamed miss" }
  | {
      readonly kind: "fault";
      readonly errno: Errno;
      readonly fault: GpuFault;
      /** A pointer has reached a page of a direct range (W4 of rows.ts). */
      readonly isIntoRange?: boolean;
    };

/** What of a pass the chunk decides, from one to the next. */
type PassKind = "isRecording" | "isUseNoted" | "isTouch" | "fuel" | "replay";

export interface ChunkRequest {
  readonly pass: Omit<GpuPass, PassKind>;
  readonly fuel: number;
  readonly fuelMax: number;
  /** How long a pass may take that runs out of fuel. Default: as long as it takes. */
  readonly passMsMax?: number;
  /** Begin with a fast pass: what it needs is likely to be there. */
  readonly isLikelyResident: boolean;
  /** Commits that may fail before the driver lock is held during the pass (V3). */
  readonly staleMax: number;
  /** Asked between passes: the chunk is to end. */
  readonly isStopped: () => boolean;
}

type Phase = "fast" | "list" | "touch" | "real";
type Passed = ChunkOutcome | "again";
/** Pages that must come before the next pass: those of rows, or what the pass has missed. */
type Wanted =
  | { readonly kind: "rows"; readonly missing: RowPages }
  | { readonly kind: "missed"; readonly faults: readonly GpuFault[]; readonly undone: number };

const DONE: ChunkOutcome = { kind: "done" };
const LOST_GPU: ChunkOutcome = { kind: "lost" };
const AGAIN = "again";

/** One thread's way to run chunks. One at a time. */
export class ChunkRunner {
  readonly counts: ChunkCounts = noCounts();
  readonly stored: StoredPages;
  readonly #parts: ChunkParts;
  readonly #missed: MissedPages;
  readonly #pure: PurePasses;
  #phase: Phase = "fast";
  #fuel = 0;
  /** What the last pass took. */
  #passMs = 0;
  #staleCommits = 0;
  /** Workgroups that the next touch pass runs (V7); undefined: all. */
  #touchAgain: Uint32Array<ArrayBuffer> | undefined;
  /** A pass of the chunk has run. */
  #hasRun = false;
  /** Pages were prefetched, and no chunk has begun since: a list pass tells what it uses. */
  #hasPrefetched = false;

  /** Pages that the last chunk was known to use: all of them where frames were short. */
  pages = 0;

  /** Whether the last chunk was committed without a miss before. */
  wasResident = false;

  constructor(parts: ChunkParts) {
    this.#parts = parts;
    this.stored = new StoredPages(parts, this.counts);
    this.#missed = new MissedPages(parts, this.counts);
    this.#pure = new PurePasses(parts.pool);
  }

  /** What the last chunk needed at most. */
  get fuel(): number {
    return this.#fuel;
  }

  *run(request: ChunkRequest): Task<ChunkOutcome> {
    const { pool } = this.#parts;
    const isWatching = this.#hasPrefetched && pool.hasWatched;
    this.#hasPrefetched = false;
    this.#phase = request.isLikelyResident && !isWatching ? "fast" : "list";
    this.#fuel = request.fuel;
    this.#staleCommits = 0;
    this.#hasRun = false;
    this.#touchAgain = undefined;
    const { failedPasses } = this.counts;
    for (;;) {
      const outcome = request.isStopped()
        ? { kind: "stopped" as const }
        : yield* this.#pass(request);
      if (outcome === AGAIN) continue;
      if (outcome.kind === "done" || outcome.kind === "lost") this.#pure.takeAll();
      else yield* this.#undoStanding();
      this.pages = pool.pinned;
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
    if (passed.kind === "rows") {
      const served = yield* this.#missed.fillRows(passed.missing, request.pass.first);
      return served.kind === "failed" ? { ...served, kind: "fault" } : AGAIN;
    }
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
      if ((yield* privatePages.backUp()) === LOST) return LOST_GPU;
    const isLocked = this.#staleCommits >= request.staleMax && this.#phase !== "touch";
    yield* record.driverLock.lock();
    drainLog(record, pool.strike);
    if (privatePages !== undefined) privatePages.reclaim();
    const isDead = record.isDead !== 0;
    const missing = pool.missingInRows();
    if (!isLocked || isDead || missing !== undefined) yield* record.driverLock.unlock();
    if (isDead) return { kind: "space gone" };
    if (missing !== undefined) return { kind: "rows", missing };
    if (this.#pure.isStale) {
      if (isLocked) yield* record.driverLock.unlock();
      return (yield* this.#undoStanding()) ? AGAIN : LOST_GPU;
    }
    if (isLocked) noteHeld(this.#parts, true);
    const result = yield* this.#runOnGpu(request);
    if (isLocked) this.counts.lockedPasses++;
    if (result === LOST) {
      if (isLocked) yield* unlockHeld(this.#parts);
      return LOST_GPU;
    }
    const isClean = !result.missed && !result.spent;
    if (isClean && this.#phase !== "touch") return yield* this.#commit(result, isLocked);
    if (isLocked) yield* unlockHeld(this.#parts);
    if (!isClean) this.counts.failedPasses++;
    return yield* this.#afterMiss(request, result);
  }

  *#runOnGpu({ pass }: ChunkRequest): Task<PassResult | Lost> {
    const { map, pool } = this.#parts;
    const gpu = this.#parts.gpu();
    const isRecording = this.#phase !== "fast";
    const bindAtMs = monotonicMs();
    pool.watch(isRecording);
    map.flush((firstWord, words) => gpu.writeTable(firstWord, words, map.layout));
    const isUseNoted = isRecording && this.#phase !== "list";
    const isTouch = this.#phase === "touch";
    const replay = isTouch ? this.#touchAgain : this.#pure.replay;
    if (this.#hasRun) this.counts.replays += replay?.length ?? pass.end - pass.first;
    this.#hasRun = true;
    const startMs = monotonicMs();
    this.counts.bindMs += startMs - bindAtMs;
    const kind = { isRecording, isUseNoted, isTouch, fuel: this.#fuel, replay };
    const result = yield* gpu.run({ ...pass, ...kind });
    this.#passMs = monotonicMs() - startMs;
    this.counts.runMs += this.#passMs;
    this.counts.passes++;
    if (result === LOST) return LOST;
    pool.noteUses(result.flags);
    if (isUseNoted) pool.pinUsed(result.flags);
    return result;
  }

  /** Drops the driver lock if it is held. */
  *#commit({ flags }: PassResult, isLocked: boolean): Task<Passed> {
    const dirty = this.#pure.withStanding(dirtyFrames(flags));
    const committed = yield* this.stored.commit(dirty, isLocked);
    if (committed === "done") return DONE;
    if (committed === LOST) return LOST_GPU;
    this.#pure.takeAll(); // undone with what the pass had stored
    this.#staleCommits++;
    const { isOwnersThread = false } = this.#parts;
    if (isOwnersThread && this.#staleCommits >= OWN_STALE_MAX) return { kind: "disturbed" };
    return AGAIN;
  }

  /** The pass has missed, or run out of fuel, or was a touch pass. */
  *#afterMiss(request: ChunkRequest, result: PassResult): Task<Passed | Wanted> {
    const { pass } = request;
    const dirty = dirtyFrames(result.flags); // of a touch pass: of rows
    if (this.#phase === "touch") this.#touchAgain = result.missedGroups;
    const missed = this.#phase === "list" ? result.missedGroups : undefined;
    const undone = pass.program.isPure === true ? this.#pure.keep(dirty, missed) : dirty;
    if (!(yield* this.stored.restore(undone))) return LOST_GPU;
    if (!result.missed) {
      if (this.#phase !== "touch") return this.#refuel(request);
      this.#enter("real"); // what a touch pass says of fuel is said without its stores
      return AGAIN;
    }
    if (this.#phase === "fast") {
      this.#enter("list");
      return AGAIN;
    }
    return { kind: "missed", faults: result.faults, undone: undone.length };
  }

  *#serveMissed({ faults, undone }: Wanted & { readonly kind: "missed" }): Task<Passed> {
    if (faults.length === 0) return { kind: "unnamed miss" };
    const { evictions } = this.#parts.pool;
    const { prefetched } = this.#parts.bringer.counts;
    const served = yield* this.#missed.serve(faults);
    this.#hasPrefetched ||= this.#parts.bringer.counts.prefetched !== prefetched;
    if (served.kind === "too large") return served;
    if (served.kind === "failed" && this.#phase !== "touch") {
      const page = Math.floor(served.fault.address / PAGE_BYTES);
      const isIntoRange = this.#parts.pool.rows.frameFor(page) !== 0;
      return { ...served, kind: "fault", isIntoRange };
    }
    const isShort = this.#parts.pool.evictions !== evictions;
    if (served.kind === "failed") this.#enter("real"); // V4
    else if (this.#phase === "list" && (isShort || undone > UNDONE_MAX)) this.#enter("touch");
    return AGAIN;
  }

  #enter(phase: Phase): void {
    this.#phase = phase;
    this.#touchAgain = undefined;
    this.#pure.runAll();
  }

  /** What passes of a pure program have stored is undone. False: the GPU is lost. */
  *#undoStanding(): Task<boolean> {
    return yield* this.stored.restore(this.#pure.takeAll());
  }

  #refuel({ fuelMax, passMsMax = Infinity }: ChunkRequest): Passed {
    const passMs = this.#passMs;
    const most = passMs < LONG_MS ? FUEL_FACTOR : LONG_FUEL_FACTOR;
    const factor = Math.min(most, passMsMax / passMs);
    const isSlow = factor < FUEL_FACTOR_MIN;
    const rounds = this.#fuel;
    if (isSlow || rounds >= fuelMax) return { kind: "out of fuel", rounds, passMs, isSlow };
    this.#fuel = Math.min(Math.floor(rounds * factor), fuelMax);
    return AGAIN;
  }
}
