/**
 * @module devices/service/fault-service
 * Serves a device's faults: takes what waits in all rings as one batch, sorts it, goes through it
 * block by block (2 MiB), prefetches around what is read, and has span-service.ts bring each
 * span. It runs in whichever thread needs it: a device thread whose work items have faulted, or
 * a thread of the host with a command. How UVM does it is the model, as is the rule that a batch
 * answers nobody: what was served is found by trying again.
 *
 *   B1  Progress. A span that collides is cut in two, down to single pages; a single page that
 *       collides is read in RAM, which needs no write protection and so does not collide with
 *       stores any more. What still collides (its mapping is being changed all the time, or a write
 *       view is open) ends with EBUSY after the device's fault timeout.
 *   B2  The service owner does not wait for long: a batch leaves out what cannot be had at once.
 *       Only a single fault is waited for (`resolve`), not as the service owner.
 *   B3  Prefetch takes frames that are free. When none is, device memory is under pressure: then a
 *       fault is grown to its 64 KiB and no further, only cold pages make room, few at a time, and
 *       only while enough of what was prefetched lately has been used; every PROBE_BATCHES-th batch
 *       tries again. Pages that thrash are left alone.
 *   B4  One batch copies no more than half of device memory, so that what it brings is not pushed
 *       out by itself before anybody has used it.
 */

import {
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
} from "../../hmm/range/range.ts";
import { hmmRangeWaitUntilValid } from "../../hmm/range/valid.ts";
import { PAGE_BYTES } from "../../mm/pte.ts";
import { wordAt } from "../../mmu/radix-table.ts";
import { monotonicMs, sharedMs } from "../../sync/tasks/clock.ts";
import { EBUSY, type Errno } from "../../sync/errno.ts";
import { access } from "../../sync/tasks/task.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { BLOCK_PAGES, GROWN_PAGES, growBlock } from "../policy/prefetch.ts";
import {
  BlockWork,
  type PageFailure,
  WANT_PREFETCH,
  WANT_READ,
  WANT_REMOTE,
  WANT_WRITE,
} from "./block-work.ts";
import { DeviceRecord } from "./device-record.ts";
import { BATCHES, DUPLICATES, FAULTS, count } from "./device-stats.ts";
import { ENTRY_PRESENT, ENTRY_WRITE } from "./device-table.ts";
import { FaultBatch } from "./fault-batch.ts";
import { FaultRing } from "./fault-ring.ts";
import {
  beginBatch,
  resignServiceOwner,
  SERVED_BY_ANOTHER,
  becomeServiceOwner,
} from "./service-owner.ts";
import { allocServiceRange, registerErrno, type SpanDevice, SpanService } from "./span-service.ts";

/** Under pressure, every so many batches prefetch although it has not paid lately. */
const PROBE_BATCHES = 64;
/**
 * Under pressure, one block's prefetch takes no more than this part of device memory: one frame in
 * so many.
 */
const COLD_SHARE = 16;

/** Makes the service of spans; tests put in broken ones. */
export type SpanServiceClass = new (
  ...args: ConstructorParameters<typeof SpanService>
) => SpanService;

/** Whether an entry allows the access. */
export function entryAllows(entry: number, isWrite: boolean): boolean {
  const wanted = isWrite ? ENTRY_PRESENT | ENTRY_WRITE : ENTRY_PRESENT;
  return (entry & wanted) === wanted;
}

/**
 * One thread's fault service for one device. Its scratch is used by the service owner, one task at
 * a time.
 */
export class FaultService {
  readonly device: SpanDevice;
  readonly #record: DeviceRecord;
  readonly #work: BlockWork;
  readonly #spans: SpanService;
  readonly #batch = new FaultBatch();
  readonly #rings: readonly FaultRing[];
  readonly #growing = new Uint8Array(BLOCK_PAGES);
  readonly #resident = new Uint8Array(BLOCK_PAGES);
  readonly #grown = new Uint8Array(BLOCK_PAGES);

  private constructor(device: SpanDevice, work: BlockWork, spans: SpanService) {
    this.device = device;
    const { record } = device.table;
    this.#record = record;
    this.#work = work;
    this.#spans = spans;
    this.#rings = Array.from(
      { length: record.threads },
      (_, i) => new FaultRing(record.memory, record.rings.get(i)),
    );
  }

  /** A service for this thread; ENOMEM or EMFILE. */
  static *open(
    device: SpanDevice,
    Spans: SpanServiceClass = SpanService,
  ): Task<FaultService | Errno> {
    const range = yield* allocServiceRange(device.machine);
    if (typeof range === "number") return range;
    const work = new BlockWork();
    return new FaultService(device, work, new Spans(device, work, range));
  }

  /** In the thread that opened it, when none of its tasks is the service owner. */
  close(): Task<void> {
    return this.#spans.free();
  }

  /**
   * Serves the faults that wait in all rings, and returns when those of `ring`, this thread's own,
   * have been tried. Holding no lock.
   */
  *serveWaiting(ring: FaultRing): Task<void> {
    if ((yield* becomeServiceOwner(this.#record, ring)) === SERVED_BY_ANOTHER) return;
    try {
      yield* this.#round(-1, false, false);
    } finally {
      yield* resignServiceOwner(this.#record);
    }
  }

  /**
   * Serves one fault, and with it what waits in the rings. 0: the page can be accessed, unless it
   * is taken away again; `isRemote`: in RAM, where that does not happen for lack of frames. EFAULT,
   * EPERM, ENOMEM, ESRCH (the address space is gone), ENODEV: it cannot be had. EBUSY: not within
   * the device's fault timeout (B1). Holding no lock.
   */
  *resolve(page: number, isWrite: boolean, isRemote: boolean): Task<Errno> {
    const deadlineMs = monotonicMs() + this.#record.faultTimeoutMs;
    for (;;) {
      const errno = yield* this.#resolveOnce(page, isWrite, isRemote);
      if (errno !== EBUSY) return errno;
      const leftMs = deadlineMs - monotonicMs();
      if (leftMs <= 0) return EBUSY;
      const waited = yield* this.waitUntilQuiet(page, leftMs);
      if (waited !== 0) return waited;
    }
  }

  *#resolveOnce(page: number, isWrite: boolean, isRemote: boolean): Task<Errno> {
    yield* becomeServiceOwner(this.#record);
    try {
      const { table } = this.device;
      if (entryAllows(table.entryOf(page), isWrite)) return 0;
      const errno = yield* this.#round(page, isWrite, isRemote);
      if (errno !== 0) return errno;
      return entryAllows(table.entryOf(page), isWrite) ? 0 : EBUSY;
    } finally {
      yield* resignServiceOwner(this.#record);
    }
  }

  /**
   * Serves every page of [startPage, endPage) that has no entry for the access, in one round:
   * copies while frames are free, the rest in RAM. Returns the first page that failed, if one did;
   * those before it have been served, but for such as collided, which stay without an entry.
   * Holding no lock.
   */
  *serveRange(startPage: number, endPage: number, isWrite: boolean): Task<PageFailure | undefined> {
    yield* becomeServiceOwner(this.#record);
    try {
      count(this.#record, BATCHES);
      this.#work.copiesLeft = isWrite ? 0 : this.#record.freeFrames;
      let copies = this.#work.copiesLeft;
      for (let page = startPage; page < endPage;) {
        const end = Math.min(page - (page % BLOCK_PAGES) + BLOCK_PAGES, endPage);
        this.#work.start(page - (page % BLOCK_PAGES), -1);
        copies -= this.#wantMissing(page, end, isWrite, copies);
        yield* this.#serveWanted();
        const failure = this.#work.firstFailure();
        if (failure !== undefined) return failure;
        page = end;
      }
      return undefined;
    } finally {
      yield* resignServiceOwner(this.#record);
    }
  }

  /** Returns how many copies will be made. */
  #wantMissing(startPage: number, endPage: number, isWrite: boolean, copies: number): number {
    let planned = 0;
    let missing = 0;
    for (let page = startPage; page < endPage; page++) {
      if (entryAllows(this.device.table.entryOf(page), isWrite)) continue;
      const isCopy = !isWrite && planned < copies;
      this.#work.setWant(page, isWrite ? WANT_WRITE : isCopy ? WANT_READ : WANT_REMOTE);
      if (isCopy) planned++;
      missing++;
    }
    count(this.#record, FAULTS, missing);
    return planned;
  }

  /** Serves what is wanted in the block. What failed stands in `#work`. */
  *#serveWanted(): Task<void> {
    const { firstPage, endPage } = this.#work;
    if (firstPage < endPage) yield* this.#serveSpan(firstPage, endPage);
  }

  /**
   * One batch. `urgentPage` (or -1) is served with it, and first; returns the errno for it. As
   * the service owner.
   */
  *#round(urgentPage: number, isWrite: boolean, isRemote: boolean): Task<Errno> {
    const batch = this.#batch;
    const urgentBlock = Math.floor(urgentPage / BLOCK_PAGES);
    yield* beginBatch(this.#record);
    batch.clear();
    for (const ring of this.#rings) ring.drain(batch.add);
    if (urgentPage >= 0) batch.add(urgentPage, isWrite);
    if (batch.count === 0) return 0;
    count(this.#record, BATCHES);
    count(this.#record, FAULTS, batch.count);
    count(this.#record, DUPLICATES, batch.settle());
    yield* this.#retryThrashing();
    this.#work.copiesLeft = Math.max(1, Math.floor(this.#record.frames / 2));
    let answer: Errno = 0;
    // Twice through: the block that somebody waits for, then the others.
    for (const isUrgentPass of urgentPage >= 0 ? [true, false] : [false]) {
      for (let i = 0; i < batch.count;) {
        const end = batch.endOfBlock(i);
        const isUrgent = Math.floor(batch.pageAt(i) / BLOCK_PAGES) === urgentBlock;
        if (isUrgent === isUrgentPass) {
          yield* this.#serveBlock(i, end, isUrgent ? urgentPage : -1, isRemote);
          if (isUrgent) answer = this.#work.failureOf(urgentPage);
        }
        i = end;
      }
    }
    return answer;
  }

  /** The batch's faults from index `first` to `end`, all of one block. */
  *#serveBlock(first: number, end: number, urgentPage: number, isRemote: boolean): Task<void> {
    const { table, thrash } = this.device;
    const work = this.#work;
    const page = this.#batch.pageAt(first);
    work.start(page - (page % BLOCK_PAGES), urgentPage);
    let reads = 0;
    for (let i = first; i < end; i++) {
      const faulted = this.#batch.pageAt(i);
      const isWrite = this.#batch.isWriteAt(i);
      if (entryAllows(table.entryOf(faulted), isWrite)) continue;
      const isInRam = (isRemote && faulted === urgentPage) || thrash.isThrashing(faulted);
      work.setWant(faulted, isWrite ? WANT_WRITE : isInRam ? WANT_REMOTE : WANT_READ);
      if (!isWrite && !isInRam) reads++;
    }
    if (reads > 0) yield* this.#wantPrefetched(reads);
    yield* this.#serveWanted();
  }

  /**
   * B3. The free frames are counted without the driver lock: whoever takes them (span-service.ts)
   *     takes what there is.
   */
  *#wantPrefetched(reads: number): Task<void> {
    const { at, memory } = this.#record;
    yield* access(memory, "read", at + DeviceRecord.offset.freeFrames, 1, "free frames");
    const free = this.#record.freeFrames - reads;
    let room = free > 0 ? free : this.#coldRoom(reads);
    if (room <= 0) return;
    const work = this.#work;
    const { table } = this.device;
    const { words } = table.machine.memory;
    const index = table.indexOf(work.basePage);
    // Hints, read without the driver lock, also out of a leaf that has just been freed: one step
    // for all of them.
    if (index !== 0) yield* access(memory, "peek", index, BLOCK_PAGES, "device entries");
    for (let i = 0; i < BLOCK_PAGES; i++) {
      this.#growing[i] = work.wanted[i] === WANT_READ ? 1 : 0;
      this.#resident[i] = index !== 0 && (wordAt(words, index + i) & ENTRY_PRESENT) !== 0 ? 1 : 0;
    }
    growBlock(this.#growing, this.#resident, this.#grown, free > 0);
    for (let i = 0; i < BLOCK_PAGES && room > 0; i++) {
      if (this.#grown[i] === 0 || work.wanted[i] !== 0) continue;
      work.setWant(work.basePage + i, WANT_PREFETCH);
      room--;
    }
  }

  /** How many cold pages may make room for prefetched ones. */
  #coldRoom(reads: number): number {
    const { prefetchPays } = this.device.table.frames;
    const isProbe = this.#record.batchesBegun % PROBE_BATCHES === 0;
    if (!prefetchPays && !isProbe) return 0;
    return Math.min(reads * GROWN_PAGES, Math.floor(this.#record.frames / COLD_SHARE));
  }

  /** B1. */
  *#serveSpan(startPage: number, endPage: number): Task<void> {
    const work = this.#work;
    if ((yield* this.#spans.serve(startPage, endPage)) !== EBUSY) return;
    const demanded = work.demanded(startPage, endPage);
    const first = work.firstDemanded(startPage, endPage);
    if (demanded > 1) {
      const middle = this.#middleOf(startPage, endPage, demanded);
      yield* this.#serveSpan(first, middle);
      yield* this.#serveSpan(work.firstDemanded(middle, endPage), endPage);
      return;
    }
    if (demanded === 0 || work.wantOf(first) !== WANT_READ) return;
    const { driverLock } = this.device.table;
    yield* driverLock.lock();
    this.device.thrash.noteLoss(first, sharedMs());
    yield* driverLock.unlock();
    work.setWant(first, WANT_REMOTE);
    yield* this.#spans.serve(first, first + 1);
  }

  /** The page before which half of the demanded ones lie. */
  #middleOf(startPage: number, endPage: number, demanded: number): number {
    let seen = 0;
    for (let page = startPage; page < endPage; page++) {
      if (this.#work.wantOf(page) >= WANT_READ && ++seen > demanded / 2) return page;
    }
    return endPage;
  }

  /**
   * Pages that have been left in RAM for long enough lose their entries: whoever reads them next
   * may get a copy again.
   */
  *#retryThrashing(): Task<void> {
    const { thrash, table } = this.device;
    const nowMs = sharedMs();
    if (!thrash.hasExpired(nowMs)) return;
    const { driverLock, shootdown } = table;
    const dropped: number[] = [];
    yield* driverLock.lock();
    thrash.expire(nowMs, (page) => {
      const index = table.indexOf(page);
      if (index === 0 || entryAllows(table.entryOf(page), true)) return;
      table.drop(index);
      dropped.push(page);
    });
    for (const page of dropped) yield* shootdown.flush(page, page + 1);
    yield* driverLock.unlock();
  }

  /**
   * Waits until no invalidation of `page` is in flight, or `timeoutMs` went by: 0 in either case.
   * ESRCH, ENOMEM, EMFILE: it cannot be waited for.
   */
  *waitUntilQuiet(page: number, timeoutMs: number): Task<Errno> {
    const { machine, mirror } = this.device;
    const range = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(1) });
    if (typeof range === "number") return range;
    try {
      const errno = yield* hmmRangeRegister(
        range,
        mirror,
        page * PAGE_BYTES,
        (page + 1) * PAGE_BYTES,
      );
      if (errno !== 0) return registerErrno(errno);
      try {
        yield* hmmRangeWaitUntilValid(range, timeoutMs);
      } finally {
        yield* hmmRangeUnregister(range);
      }
    } finally {
      yield* hmmRangeFree(range);
    }
    return 0;
  }
}
