/**
 * @module devices/service/fault-service
 * Serves a device's faults: takes what waits in all rings as one batch, sorts it, and has
 * block-service.ts bring it, 2 MiB block by block. It runs in whichever thread needs it: a thread
 * of the device whose work has faulted, or a thread of the host with a command. UVM is the model,
 * as is the rule that a batch answers nobody: what was served is found by trying again.
 *
 *   B2  The service owner does not wait for long: a batch leaves out what cannot be had at once.
 *       Only a single fault is waited for (`resolve`), not as the service owner; it ends with EBUSY
 *       after the device's fault timeout.
 *   B4  One batch copies no more than half of device memory, so that what it brings is not evicted
 *       by itself before anybody has used it.
 *
 * The rules B1 and B3 are in block-service.ts.
 */

import {
  EBUSY,
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeWaitUntilValid,
  monotonicMs,
  PAGE_BYTES,
  sharedMs,
  withHmmRange,
  type Errno,
  type Task,
} from "../../driver-interface.ts";
import { ADVICE_ACCESSED_BY, ADVICE_NORMAL, isTaken } from "../policy/placement.ts";
import { BLOCK_PAGES, streamEnd } from "../policy/prefetch.ts";
import { BlockService, blockOf } from "./block-service.ts";
import { type ServedDevice, adviceTable } from "./device.ts";
import type { DeviceRecord } from "./device-record.ts";
import { count } from "./device-stats.ts";
import { ENTRY_YOUNG, entryAllows, entryFrameNumber } from "./device-table.ts";
import { FaultBatch } from "./fault-batch.ts";
import { FaultRing } from "./fault-ring.ts";
import { ownFrames, ownRoomAhead, ownerOf } from "./own-memory.ts";
import { moveOwnPages } from "./own-pages.ts";
import {
  SERVED_BY_ANOTHER,
  becomeServiceOwner,
  beginBatch,
  resignServiceOwner,
} from "./service-owner.ts";
import { SpanService, allocServiceRange, registerErrno } from "./span-service.ts";
import {
  type Brought,
  type PageFailure,
  WANT_PREFETCH,
  WANT_READ,
  WANT_REMOTE,
  WANT_WRITE,
} from "./wants.ts";

/** Makes the service of spans; tests pass broken ones. */
export type SpanServiceClass = new (
  ...args: ConstructorParameters<typeof SpanService>
) => SpanService;

/** What became of faults before they are served. */
interface Placement {
  /** Pages that are not to be copied. */
  readonly staying: ReadonlySet<number>;
  /** Pages that the device wanted, and that could not be moved now. */
  readonly fixed: ReadonlySet<number>;
}

/**
 * One thread's fault service for one device. Its scratch is used by the service owner, one task at
 * a time.
 */
export class FaultService {
  /** The device whose faults it serves. */
  readonly device: ServedDevice;
  readonly #record: DeviceRecord;
  readonly #spans: SpanService;
  readonly #block: BlockService;
  readonly #batch = new FaultBatch();
  readonly #rings: readonly FaultRing[];
  /** Pages that the batch may still take into the device's own memory. */
  #takesLeft = 0;

  private constructor(device: ServedDevice, spans: SpanService) {
    const { record } = device;
    this.device = device;
    this.#record = record;
    this.#spans = spans;
    this.#block = new BlockService(device, spans);
    this.#rings = Array.from(
      { length: record.threads },
      (_, i) => new FaultRing(record.memory, record.rings.get(i)),
    );
  }

  /** A service for this thread; ENOMEM or EMFILE. */
  static *open(
    device: ServedDevice,
    Spans: SpanServiceClass = SpanService,
  ): Task<FaultService | Errno> {
    const range = yield* allocServiceRange(device.machine, ownerOf(device.record));
    if (typeof range === "number") return range;
    return new FaultService(device, new Spans(device, range));
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
      yield* this.#serveBatch(-1, false, false);
    } finally {
      yield* resignServiceOwner(this.#record);
    }
  }

  /**
   * Serves one fault, and with it what waits in the rings. 0: the page can be accessed, unless its
   * entry is cleared again; `isRemote`: in RAM, where that does not happen for lack of frames.
   * EFAULT, EPERM, ENOMEM, ESRCH (the address space is gone), ENODEV: it cannot be had. EBUSY: not
   * within the device's fault timeout (B2). Holding no lock.
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
      const errno = yield* this.#serveBatch(page, isWrite, isRemote);
      if (errno !== 0) return errno;
      return entryAllows(table.entryOf(page), isWrite) ? 0 : EBUSY;
    } finally {
      yield* resignServiceOwner(this.#record);
    }
  }

  /**
   * Serves every page of [startPage, endPage) that has no entry for the access, as one batch:
   * copies while frames are free, the rest in RAM. Returns the first page that failed, if one did;
   * those before it have been served, but for those that collided, which have no entry.
   * Holding no lock.
   */
  *serveRange(startPage: number, endPage: number, isWrite: boolean): Task<PageFailure | undefined> {
    yield* becomeServiceOwner(this.#record);
    try {
      count(this.#record, "batches");
      let copiesLeft = isWrite ? 0 : this.#record.freeFrames;
      let copiesToPlan = copiesLeft;
      for (let page = startPage; page < endPage;) {
        const end = Math.min(blockOf(page) + BLOCK_PAGES, endPage);
        this.#block.start(page);
        copiesToPlan -= this.#wantMissing(page, end, isWrite, copiesToPlan);
        const { failures, copies } = yield* this.#block.serve(copiesLeft);
        if (failures.length > 0) return failures.reduce((a, b) => (b.page < a.page ? b : a));
        copiesLeft -= copies;
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
      this.#block.want(page, isWrite ? WANT_WRITE : isCopy ? WANT_READ : WANT_REMOTE);
      if (isCopy) planned++;
      missing++;
    }
    count(this.#record, "faults", missing);
    return planned;
  }

  /**
   * One batch. `urgentPage` (or -1) is served with it, and first; returns the errno for it. As the
   * service owner.
   */
  *#serveBatch(urgentPage: number, isWrite: boolean, isRemote: boolean): Task<Errno> {
    const batch = this.#batch;
    yield* beginBatch(this.#record);
    batch.clear();
    for (const ring of this.#rings) ring.drain(batch.add);
    if (urgentPage >= 0) batch.add(urgentPage, isWrite);
    if (batch.count === 0) return 0;
    count(this.#record, "batches");
    count(this.#record, "faults", batch.count);
    count(this.#record, "duplicates", batch.settle());
    yield* this.#retryThrashing();
    const urgentBlock = urgentPage < 0 ? -1 : blockOf(urgentPage);
    let copiesLeft = Math.max(1, Math.floor(this.#record.frames / 2));
    this.#takesLeft = Math.max(1, Math.floor(ownFrames(this.#record) / 2));
    let answer: Errno = 0;
    // Twice through: the block that somebody waits for, then the others.
    for (const isUrgentPass of urgentPage >= 0 ? [true, false] : [false]) {
      for (let i = 0; i < batch.count;) {
        const end = batch.endOfBlock(i);
        const isUrgent = blockOf(batch.pageAt(i)) === urgentBlock;
        if (isUrgent === isUrgentPass) {
          const page = isUrgent ? urgentPage : -1;
          const { failures, copies } = yield* this.#serveBlock(i, end, page, isRemote, copiesLeft);
          copiesLeft -= copies;
          if (isUrgent) answer = failures.find((failure) => failure.page === page)?.errno ?? 0;
        }
        i = end;
      }
    }
    return answer;
  }

  /** The batch's faults from index `first` to `end`, all of one block. */
  *#serveBlock(
    first: number,
    end: number,
    urgentPage: number,
    isRemote: boolean,
    copiesMax: number,
  ): Task<Brought> {
    const { table, thrash } = this.device;
    const { frames, ownType } = this.#record;
    this.#block.start(this.#batch.pageAt(first), urgentPage);
    const { staying, fixed } = yield* this.#placePages(first, end, isRemote ? urgentPage : -1);
    let reads = 0;
    for (let i = first; i < end; i++) {
      const page = this.#batch.pageAt(i);
      const isWrite = this.#batch.isWriteAt(i);
      if (entryAllows(table.entryOf(page), isWrite)) continue;
      // A device that makes no copies reads each page where it is.
      const isStaying = frames > 0 && staying.has(page);
      const isInRam = (isRemote && page === urgentPage) || thrash.isThrashing(page) || isStaying;
      this.#block.want(page, isWrite ? WANT_WRITE : isInRam ? WANT_REMOTE : WANT_READ);
      if (isWrite) {
        // What could move is not mapped before its use, which is why it moves.
        if (ownType === 0 || fixed.has(page)) this.#wantBehind(page);
      } else if (frames === 0) {
        this.#block.wantBeside(page, this.#streamEnd(page, false));
      } else if (!isInRam) {
        reads++;
      }
    }
    if (reads > 0) yield* this.#block.wantPrefetched(reads);
    return yield* this.#block.serve(copiesMax);
  }

  /**
   * Of the batch's faults from index `first` to `end` those pages move to the device's own memory
   * that its policy wants there, but for `stayPage`, and what is behind them (`#pagesAhead`). What
   * cannot be moved is served where it is. A batch takes half of the memory at most, as B4 says of
   * copies.
   */
  *#placePages(first: number, end: number, stayPage: number): Task<Placement> {
    const { record, table, thrash } = this.device;
    const staying = new Set<number>();
    const fixed = new Set<number>();
    const taken: number[] = [];
    const known = adviceTable(this.device);
    // Without advice only stores take pages.
    if (known === undefined && (record.ownType === 0 || !this.#hasWrites(first, end)))
      return { staying, fixed };
    const { driverLock } = table;
    const room = record.ownType === 0 ? 0 : yield* ownRoomAhead(record);
    yield* driverLock.lock();
    for (let i = first; i < end; i++) {
      const page = this.#batch.pageAt(i);
      const isWrite = this.#batch.isWriteAt(i);
      const advice = known?.of(page) ?? ADVICE_NORMAL;
      if (advice === ADVICE_ACCESSED_BY) staying.add(page);
      const isWanted = record.ownType !== 0 && taken.length < this.#takesLeft && page !== stayPage;
      if (isWanted && isTaken(advice, isWrite, thrash.isThrashing(page))) taken.push(page);
    }
    this.#takesLeft -= taken.length;
    const isNear = (page: number): boolean => known?.of(page) !== ADVICE_ACCESSED_BY;
    const ahead = this.#pagesAhead(taken, Math.min(room, this.#takesLeft), isNear);
    yield* driverLock.unlock();
    this.#takesLeft -= ahead.size;
    for (let i = 0; i < taken.length;) {
      const page = taken[i]!;
      let [last, endPage] = [i + 1, page + 1];
      for (; ahead.has(endPage) || taken[last] === endPage; endPage++)
        if (taken[last] === endPage) last++;
      const { pages } = yield* moveOwnPages(this.device, page, endPage, true);
      for (; i < last; i++) if (pages === 0) fixed.add(taken[i]!);
      for (let next = page; next < endPage; next++)
        if (pages > 0 && ahead.has(next)) this.#block.want(next, WANT_PREFETCH);
    }
    return { staying, fixed };
  }

  #hasWrites(first: number, end: number): boolean {
    for (let i = first; i < end; i++) if (this.#batch.isWriteAt(i)) return true;
    return false;
  }

  /**
   * Pages that move together with those that are `taken`, which ascend, at most `room`: where the
   * device goes on behind pages that it uses, as many as `streamEnd` says. Not those around a page
   * that it takes at random: what it does not use would come back one by one, as the CPU touches
   * it. Holding the driver lock.
   */
  #pagesAhead(
    taken: readonly number[],
    room: number,
    mayMove: (page: number) => boolean,
  ): ReadonlySet<number> {
    const { table, thrash } = this.device;
    const ahead = new Set<number>();
    for (const [i, page] of taken.entries()) {
      if (taken[i - 1] !== page - 1 && !this.#isUsed(page - 1)) continue;
      const end = streamEnd(page, (before) => this.#isUsed(before));
      for (let next = page + 1; next < end && ahead.size < room; next++) {
        if (next === taken[i + 1]) break;
        if (table.entryOf(next) === 0 && !thrash.isThrashing(next) && mayMove(next))
          ahead.add(next);
        else break;
      }
    }
    return ahead;
  }

  /** Behind a page that is to be written in RAM, if the page before it is written there. */
  #wantBehind(page: number): void {
    if (this.#isMapped(page - 1, true)) this.#block.wantAround(page, this.#streamEnd(page, true));
  }

  #streamEnd(page: number, isWrite: boolean): number {
    return streamEnd(page, (before) => this.#isMapped(before, isWrite));
  }

  /** Whether the device may use the page; a hint, without the driver lock. */
  #isMapped(page: number, isWrite: boolean): boolean {
    return page >= 0 && entryAllows(this.device.table.entryOf(page), isWrite);
  }

  /** Whether the page is in the device's own memory, and in use there (own-pages.ts). */
  #isUsed(page: number): boolean {
    const { machine, table } = this.device;
    const entry = page < 0 ? 0 : table.entryOf(page);
    return (entry & ENTRY_YOUNG) !== 0 && entryFrameNumber(entry) >= machine.ram.ownEndPfn;
  }

  /**
   * Pages that have been left in RAM for long enough lose their entries. The next read of such a
   * page may get a copy again.
   */
  *#retryThrashing(): Task<void> {
    const { thrash, table, record } = this.device;
    const nowMs = sharedMs();
    if (!thrash.hasExpired(nowMs)) return;
    const { driverLock, unit } = table;
    const dropped: number[] = [];
    yield* driverLock.lock();
    thrash.expire(nowMs, (page) => {
      const index = table.indexOf(page);
      // Of a device with pages of its own the next store is to be seen as well.
      if (index === 0 || (record.ownType === 0 && entryAllows(table.entryOf(page), true))) return;
      table.drop(index);
      dropped.push(page);
    });
    for (const page of dropped) yield* unit.flush(page, page + 1);
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
    const [start, end] = [page * PAGE_BYTES, (page + 1) * PAGE_BYTES];
    try {
      const waiting = function* (): Task<Errno> {
        yield* hmmRangeWaitUntilValid(range, timeoutMs);
        return 0;
      };
      return registerErrno(yield* withHmmRange(range, mirror, start, end, waiting));
    } finally {
      yield* hmmRangeFree(range);
    }
  }
}
