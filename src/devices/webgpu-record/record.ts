/**
 * @module devices/webgpu-record/record
 * A WebGPU device as it lies in the kernel heap: all that the threads which change mappings must
 * know of it. Everything else belongs to the device's Worker alone (frame-pool.ts, page-map.ts).
 *
 * The log. A thread that changes a mapping cannot reach the GPU, and need not: the GPU works on
 * copies. It leaves a note under the driver lock, and the Worker strikes the pages before it uses
 * RAM for them, or begins a pass:
 *
 *     thread that changes a mapping              the device's Worker
 *     invalidate:                                pass runs on the GPU, which reads and writes
 *       driver lock                              copies in its own memory
 *       log += [startPage, endPage)
 *       driver unlock                            pass is over
 *     changes the entry, frees the frame         driver lock
 *                                                  drains the log: pages are struck
 *                                                  a page that the pass wrote was struck:
 *                                                  nothing is committed
 *                                                  else: copies what it wrote into the frames
 *                                                driver unlock
 *
 *   N1  RAM is read and written for the device by its Worker alone, under the driver lock, after
 *       the log was drained there; a page that is then on the device still has the frame that it
 *       had when it was brought (R4). So what `invalidate` has to reach is this moment only.
 *   N2  A page is counted in `filter` from before the driver lock is dropped under which it was
 *       brought, until it is struck or evicted. An invalidation of pages that are not counted needs
 *       no note.
 *   N3  A full log grows its last entry over the new range: it then names pages that did not
 *       change, never fewer. So it does when a thread has died with the driver lock
 *       (repair-record.ts).
 *   N4  When the address space goes, its frames are freed without one invalidation more. So the
 *       last word of it, `release`, notes every page: what a pass has stored is not written home,
 *       into frames that may be another space's by then.
 */

import {
  HmmMirrorRecord,
  Mutex,
  type Struct,
  type StructView,
  Completion,
  List,
  type Task,
  type WordArray,
  array,
  embed,
  embedStruct,
  struct,
  u32,
  plainLoad,
  RefCount,
  TASK_SIZE_PAGES,
  WaitQueue,
} from "../../driver-interface.ts";

/** The classes of its locks. If the holder dies, they are repaired (repair-record.ts). */
export const DRIVER_LOCK = "webgpuDriverLock";
export const GPU_LOCK = "gpuLock";

/** Entries of the log. */
export const LOG_MAX = 64;
/** Words of the filter: one for the 2 MiB blocks whose number is the same modulo this. */
export const FILTER_WORDS = 256;
const BLOCK_SHIFT = 9;
const COUNTERS = 32;
/** Frames of private memory that may be wanted home by name. */
export const WANTED_MAX = 32;
/** Parts of the private memory. */
export const CHUNKS_MAX = 64;

export interface WebGpuRecord extends StructView {
  readonly mirror: HmmMirrorRecord;
  readonly driverLock: Mutex;
  readonly refs: RefCount;
  readonly node: List;
  serial: number;
  readonly answered: Completion;
  readonly staged: Completion;
  readonly gpuLock: Mutex;
  readonly requested: Completion;
  readonly served: WaitQueue;
  worker: number;
  wantedCount: number;
  readonly wanted: WordArray;
  chunkCount: number;
  readonly chunks: WordArray;
  logged: number;
  isDead: number;
  invalidations: number;
  readonly log: WordArray;
  readonly filter: WordArray;
  readonly counters: WordArray;
}

export const WebGpuRecord: Struct<WebGpuRecord> = struct<WebGpuRecord>("webgpuDevice", {
  mirror: embedStruct(HmmMirrorRecord, "hmm", "its place among the address space's listeners"),
  driverLock: embed(Mutex, "log, filter; RAM while it is copied for the device", DRIVER_LOCK),
  refs: embed(RefCount, "1 for the mirror's registration, 1 for its Worker; at 0 it is freed"),
  node: embed(List, "in the machine's list of such devices; guarded by devicesLock"),
  serial: u32("const", "number of the device on its machine"),
  answered: embed(Completion, "the GPU has answered what its Worker waits for"),
  staged: embed(Completion, "the GPU is through with memory that pages go through"),
  gpuLock: embed(Mutex, "DIRTY pages: held during a pass, and while they are read", GPU_LOCK),
  requested: embed(Completion, "its Worker is to bring pages home"),
  served: embed(WaitQueue, "waits for the state of a private frame"),
  worker: u32("atomic", "the thread that serves (liveAgent)"),
  wantedCount: u32("driverLock", "frames in `wanted`; WANTED_MAX + 1: and others"),
  wanted: array(WANTED_MAX, "driverLock", "frames whose bytes are wanted home"),
  chunkCount: u32("const", "parts of the private memory; 0: it has none"),
  chunks: array(CHUNKS_MAX, "const", "webgpuPrivateChunk (private-memory.ts), or 0"),
  logged: u32("driverLock", "entries of the log"),
  isDead: u32("driverLock", "1: the address space is gone, or the thread that opened the device"),
  invalidations: u32("driverLock", "calls of invalidate: statistics"),
  log: array(LOG_MAX * 2, "driverLock", "ranges that have changed: first page, end page"),
  filter: array(FILTER_WORDS, "driverLock", "pages on the device, by their 2 MiB block"),
  counters: array(COUNTERS, "of the Worker: others read without a lock", "statistics (stats.ts)"),
});

function filterIndex(page: number): number {
  return (page >>> BLOCK_SHIFT) % FILTER_WORDS;
}

/** A page comes to the device, or leaves it (N2). Holding the driver lock. */
export function countPage({ filter }: WebGpuRecord, page: number, by: 1 | -1): void {
  const i = filterIndex(page);
  filter.set(i, filter.get(i) + by);
}

function mayHold({ filter }: WebGpuRecord, startPage: number, endPage: number): boolean {
  const firstBlock = startPage >>> BLOCK_SHIFT;
  const lastBlock = (endPage - 1) >>> BLOCK_SHIFT;
  if (lastBlock - firstBlock >= FILTER_WORDS) return true;
  for (let block = firstBlock; block <= lastBlock; block++)
    if (filter.get(block % FILTER_WORDS) !== 0) return true;
  return false;
}

/** Notes that pages have changed. Holding the driver lock. */
export function logRange(record: WebGpuRecord, startPage: number, endPage: number): void {
  record.invalidations++;
  if (!mayHold(record, startPage, endPage)) return;
  const { log, logged } = record;
  if (logged < LOG_MAX) {
    log.set(logged * 2, startPage);
    log.set(logged * 2 + 1, endPage);
    record.logged = logged + 1;
    return;
  }
  const last = (LOG_MAX - 1) * 2;
  log.set(last, Math.min(log.get(last) >>> 0, startPage)); // N3
  log.set(last + 1, Math.max(log.get(last + 1) >>> 0, endPage));
}

/** Notes that any page may have changed: more than is true. Holding the driver lock. */
export function noteAll(record: WebGpuRecord): void {
  const { log } = record;
  log.set(0, 0);
  log.set(1, TASK_SIZE_PAGES);
  record.logged = 1;
}

/**
 * Calls `strike` with each range that has changed since the last time, and empties the log. Holding
 * the driver lock, as the device's Worker.
 */
export function drainLog(
  record: WebGpuRecord,
  strike: (startPage: number, endPage: number) => void,
): void {
  const { log, logged } = record;
  for (let i = 0; i < logged; i++) strike(log.get(i * 2) >>> 0, log.get(i * 2 + 1) >>> 0);
  record.logged = 0;
}

/** Makes a zeroed record ready, with one reference. */
export function initRecord(record: WebGpuRecord): void {
  record.driverLock.init();
  record.answered.init();
  record.staged.init();
  record.gpuLock.init();
  record.requested.init();
  record.served.init();
  record.refs.init(1);
}

/** How often `invalidate` was called. A hint, read without the lock. */
export function invalidationsOf({ memory, at }: WebGpuRecord): number {
  return plainLoad(memory.words, at + WebGpuRecord.offset.invalidations) >>> 0;
}

/** Runs `work` under the driver lock. It must not throw: that would stop the machine. */
export function* withDriverLock<T>({ driverLock }: WebGpuRecord, work: () => T): Task<T> {
  yield* driverLock.lock();
  const result = work();
  yield* driverLock.unlock();
  return result;
}

/** Records whose driver lock a task of this thread holds while it waits for the GPU. */
const heldHere: { readonly memory: unknown; readonly at: number }[] = [];

/** Notes that, or that it has dropped the lock. */
export function noteHeldHere({ memory, at }: WebGpuRecord, isHeld: boolean): void {
  if (isHeld) heldHere.push({ memory, at });
  else
    heldHere.splice(
      heldHere.findIndex((one) => one.memory === memory && one.at === at),
      1,
    );
}

export function isHeldHere({ memory, at }: WebGpuRecord): boolean {
  return heldHere.some((one) => one.memory === memory && one.at === at);
}
