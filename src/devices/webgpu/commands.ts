/**
 * @module devices/webgpu/commands
 * READ, WRITE and SNAPSHOT, by way of the device: pages are brought to the GPU's pool, and bytes go
 * from there. Of the device's Worker. Holding no lock.
 */

import {
  DEFAULT_ENCODING,
  EBUSY,
  EFAULT,
  ENODEV,
  type Errno,
  HOLES_MARK,
  type HmmMirror,
  type HmmRange,
  type Machine,
  PAGE_BYTES,
  type Task,
  entryIsValid,
  entryIsWritable,
  entryPfn,
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeSnapshot,
  hmmRangeWaitUntilValid,
  mmOfRange,
  monotonicMs,
  withHmmRange,
  ESRCH,
  ZERO_PFN,
} from "../../driver-interface.ts";
import type { DeviceAccess } from "../device-fault.ts";
import type { SnapshotPage } from "../driver.ts";
import { type PageWant, WANT_READ, WANT_WRITE } from "./bring.ts";
import type { ChunkRunner } from "./chunk.ts";
import type { ChunkParts } from "./chunk-parts.ts";
import { LOST, type Lost } from "./gpu.ts";
import { drainLog, withDriverLock } from "../webgpu-record/record.ts";

/** Pages that are moved at once. */
const PART_PAGES = 256;
const SNAPSHOT_PAGES = 512;

/** How a command ended: `errno` 0, or why `page` could not be had. */
export interface Outcome {
  readonly errno: Errno;
  readonly page: number;
  readonly pages: number;
  readonly faults: number;
}

export interface Transfer {
  readonly parts: ChunkParts;
  readonly runner: ChunkRunner;
  readonly address: number;
  /** Filled by READ, stored by WRITE. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly access: DeviceAccess;
  readonly timeoutMs: number;
}

/** Part by part, each of which is whole. */
export function* transfer(request: Transfer): Task<Outcome> {
  const { parts, address, bytes } = request;
  const startPage = Math.floor(address / PAGE_BYTES);
  const endPage = Math.ceil((address + bytes.length) / PAGE_BYTES);
  const partPages = Math.max(1, Math.min(PART_PAGES, parts.pool.usable));
  let faults = 0;
  for (let page = startPage; page < endPage; page += partPages) {
    const end = Math.min(page + partPages, endPage);
    const failed = yield* transferPart(request, page, end, () => faults++);
    parts.pool.unpinAll();
    if (failed !== undefined) return { ...failed, pages: failed.page - startPage, faults };
  }
  return { errno: 0, page: endPage, pages: endPage - startPage, faults };
}

type Failed = Pick<Outcome, "errno" | "page"> | undefined;

function* transferPart(
  request: Transfer,
  startPage: number,
  endPage: number,
  onFault: () => void,
): Task<Failed> {
  const { parts, runner, access } = request;
  const { record, pool, bringer } = parts;
  const isWrite = access === "write";
  const deadlineMs = monotonicMs() + request.timeoutMs;
  const pages = Array.from({ length: endPage - startPage }, (_, i) => startPage + i);
  for (;;) {
    yield* record.driverLock.lock();
    drainLog(record, pool.strike);
    yield* record.driverLock.unlock();
    if (pages.some((page) => !pool.allows(page, isWrite))) {
      onFault();
      const want = isWrite ? WANT_WRITE : WANT_READ;
      const wants = new Map<number, PageWant>(pages.map((page) => [page, want]));
      bringer.advised.clear();
      const { failures } = yield* bringer.bring(wants);
      const first = failures.toSorted((a, b) => a.page - b.page)[0];
      if (first !== undefined) return first;
    }
    const late = monotonicMs() > deadlineMs;
    const missing = pages.find((page) => !pool.allows(page, isWrite));
    if (missing !== undefined) {
      if (late) return { errno: EBUSY, page: missing };
      continue;
    }
    yield* runner.lockGpu();
    const stored = yield* transferFrames(request, startPage, pages);
    yield* runner.unlockGpu();
    if (stored === "done") return undefined;
    if (stored === LOST) return { errno: ENODEV, page: startPage };
    if (late) return { errno: EBUSY, page: startPage };
  }
}

/**
 * Brings pages before a kernel asks for them, as many as the pool has frames; others are evicted
 * for them.
 */
export function* prefetch(
  { record, pool, bringer }: ChunkParts,
  startPage: number,
  endPage: number,
): Task<Outcome> {
  const end = Math.min(endPage, startPage + pool.usable);
  let [pages, faults] = [0, 0];
  for (let first = startPage; first < end; first += PART_PAGES) {
    const last = Math.min(first + PART_PAGES, end);
    yield* withDriverLock(record, () => drainLog(record, pool.strike));
    const wants = new Map<number, PageWant>();
    for (let page = first; page < last; page++) wants.set(page, WANT_READ);
    if ([...wants.keys()].some((page) => !pool.allows(page, false))) faults++;
    bringer.advised.clear();
    const { failures } = yield* bringer.bring(wants);
    pool.unpinAll();
    const failed = failures.toSorted((a, b) => a.page - b.page)[0];
    if (failed !== undefined) return { ...failed, pages: failed.page - startPage, faults };
    for (const page of wants.keys()) if (pool.allows(page, false)) pages++;
  }
  return { errno: 0, page: end, pages, faults };
}

/** Of pages that are there, on the GPU. */
function* transferFrames(
  request: Transfer,
  startPage: number,
  pages: readonly number[],
): Task<"done" | "again" | Lost> {
  const { parts, runner, access } = request;
  const { pool, gpu, privatePages } = parts;
  // What is stored is undone from backups, if it comes to that.
  if (privatePages !== undefined && access === "write")
    if ((yield* privatePages.backUp()) === LOST) return LOST;
  const frames = pages.map((page) => pool.frameOf(page));
  if (frames.includes(0)) return "again";
  const held = yield* gpu().readFrames(frames);
  if (held === LOST) return LOST;
  if (access === "read") {
    copyOut(request, startPage, held);
    return "done";
  }
  if (!pages.every((page) => pool.allows(page, true))) return "again";
  copyIn(request, startPage, held);
  gpu().writeFrames(frames, held);
  return yield* runner.stored.commit(frames, false);
}

/** Bytes of the request that lie in a part: its place there, and in the request. */
function overlap(
  { address, bytes }: Transfer,
  startPage: number,
  lengthBytes: number,
): { inPart: number; from: number; to: number } {
  const start = startPage * PAGE_BYTES;
  const from = Math.max(0, start - address);
  const to = Math.min(bytes.length, start + lengthBytes - address);
  return { inPart: Math.max(0, address - start), from, to };
}

function copyOut(request: Transfer, startPage: number, held: Uint8Array): void {
  const { inPart, from, to } = overlap(request, startPage, held.length);
  request.bytes.set(held.subarray(inPart, inPart + to - from), from);
}

function copyIn(request: Transfer, startPage: number, held: Uint8Array): void {
  const { inPart, from, to } = overlap(request, startPage, held.length);
  held.set(request.bytes.subarray(from, to), inPart);
}

export interface SnapshotRequest {
  readonly machine: Machine;
  readonly mirror: HmmMirror;
  /** Of the device's private memory; 0: it has none. */
  readonly owner: number;
  readonly startPage: number;
  readonly endPage: number;
  readonly timeoutMs: number;
}

/** What the CPU's page table says, page by page; or why it could not be read. */
export function* snapshot(request: SnapshotRequest): Task<SnapshotPage[] | Outcome> {
  const { machine, mirror, owner, startPage, endPage, timeoutMs } = request;
  const pages: SnapshotPage[] = [];
  const size = Math.min(endPage - startPage, SNAPSHOT_PAGES);
  const pfns = new Uint32Array(size);
  const range = yield* hmmRangeAlloc(machine, { pfns, owner, holes: HOLES_MARK });
  if (typeof range === "number") return { errno: range, page: startPage, pages: 0, faults: 0 };
  let errno: Errno = 0;
  for (let page = startPage; page < endPage && errno === 0; page += size) {
    const end = Math.min(page + size, endPage);
    const [from, to] = [page * PAGE_BYTES, end * PAGE_BYTES];
    errno = yield* withHmmRange(range, mirror, from, to, () => snapshotPart(range, timeoutMs));
    if (errno !== 0) break;
    for (let i = 0; i < end - page; i++) pages.push(snapshotPage(machine, pfns[i] ?? 0, owner));
  }
  yield* hmmRangeFree(range);
  const page = startPage + pages.length;
  if (errno === 0) return pages;
  return { errno: errno === EFAULT ? ESRCH : errno, page, pages: pages.length, faults: 0 };
}

function* snapshotPart(range: HmmRange, timeoutMs: number): Task<Errno> {
  const deadlineMs = monotonicMs() + timeoutMs;
  for (;;) {
    const leftMs = deadlineMs - monotonicMs();
    if (leftMs <= 0 || !(yield* hmmRangeWaitUntilValid(range, leftMs))) return EBUSY;
    const mm = mmOfRange(range);
    yield* mm.mmapLock.downRead();
    const answer = yield* hmmRangeSnapshot(range);
    yield* mm.mmapLock.upRead();
    if (answer !== EBUSY) return answer < 0 ? answer : 0;
  }
}

function snapshotPage(machine: Machine, entry: number, owner: number): SnapshotPage {
  if (!entryIsValid(entry, DEFAULT_ENCODING))
    return entry === DEFAULT_ENCODING.values.none ? "none" : "error";
  const isWritable = entryIsWritable(entry, DEFAULT_ENCODING);
  const pfn = entryPfn(entry, DEFAULT_ENCODING);
  const kind = machine.ram.sections.deviceKindOf(pfn);
  if (kind !== 0 && kind >>> 2 === owner) return isWritable ? "own-write" : "own-read";
  if (kind !== 0) return isWritable ? "other-write" : "other-read";
  if (isWritable) return "write";
  return pfn === ZERO_PFN ? "zero" : "read";
}
