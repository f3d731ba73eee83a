/**
 * @module devices/service/span-service
 * Brings the wanted pages of one span (within a 2 MiB block) to the device: the collision-retry
 * rule (R4; hmm/range/valid.ts has its two columns), for a device that also keeps copies. Which
 * spans, and what is done about one that cannot be had, is decided in block-service.ts.
 *
 *     1  register a range over the span, wait until it is valid
 *     2  mmap lock for reading: fault the pages in, and write-protect those that will be copied
 *        (mm/fault/track.ts)
 *     3  driver lock: take frames, evicting what nobody uses; without it: the copy engine copies
 *     4  driver lock: has no invalidation run since 2 began? Then, and only then, install the
 *        translations
 *     5  unregister the range, on every path
 *
 * The copy of 3 may be of a frame that was freed and given to somebody else meanwhile. It is then
 * thrown away at 4, like everything else that was read before the invalidation. So no reference to
 * the frame is needed, and none is held (2019's rule: pages are not touched outside the driver
 * lock; a copy that is not used does not count).
 *
 *   P1  A page is copied only if it was write-protected and tracked first. From then on a store
 *       notifies before it happens: so either 4 finds the range invalid, or the device is notified
 *       afterwards and drops the copy.
 *   P2  What 2 asks for is what the device needs: present for a read, writable for a write, nothing
 *       for a prefetch, which takes what is there: a page that cannot be copied gets a translation
 *       of its frame in RAM, unless the device is to hear of its use.
 *
 * As the service owner.
 */

import {
  assert,
  EAGAIN,
  EBUSY,
  EFAULT,
  ENOMEM,
  ENTRY_PFN_SHIFT,
  ESRCH,
  EXPLORED,
  hmmRangeAlloc,
  hmmRangeFault,
  hmmRangeFree,
  hmmRangeValid,
  hmmRangeWaitUntilValid,
  HOLES_MARK,
  mmOfRange,
  PAGE_BYTES,
  touchAhead,
  trackRange,
  withHmmRange,
  wordAt,
  ZERO_PFN,
  type Errno,
  type HmmEncoding,
  type HmmRange,
  type Machine,
  type Mm,
  type Task,
} from "../../driver-interface.ts";
import { ADVICE_PREFERRED } from "../policy/placement.ts";
import { BLOCK_PAGES } from "../policy/prefetch.ts";
import { type ServedDevice, adviceTable } from "./device.ts";
import type { CopyBatch } from "./device-hardware.ts";
import { count } from "./device-stats.ts";
import {
  ENTRY_LOCAL,
  ENTRY_OWN,
  ENTRY_PRESENT,
  ENTRY_WRITE,
  ENTRY_YOUNG,
  entryFrameNumber,
  makeDeviceEntry,
} from "./device-table.ts";
import { ownerOf } from "./own-memory.ts";
import { assertServiceOwner } from "./service-owner.ts";
import { SpanFrames } from "./span-frames.ts";
import {
  type Brought,
  type PageFailure,
  WANT_AROUND,
  WANT_NOTHING,
  WANT_PREFETCH,
  WANT_READ,
  WANT_REMOTE,
  WANT_WRITE,
} from "./wants.ts";

/** Collisions of one span before the caller is answered so; it then cuts the span in two. */
export const SPAN_TRIES_MAX = 2;
/**
 * How long a span waits for an invalidation that is under way. Short: other threads wait to become
 * the service owner, and most invalidations are over in microseconds.
 */
export const SPAN_WAIT_MS = 1;
/** Before it sleeps, it looks so many times, about 0.1 us each. */
const SPAN_LOOKS = 100;

/** hmm writes entries as the device's table has them. */
export const DEVICE_ENCODING: HmmEncoding = {
  flags: { valid: ENTRY_PRESENT, write: ENTRY_WRITE, devicePrivate: ENTRY_OWN },
  values: { none: 0, error: 0x40, special: 0x80 },
  pfnShift: ENTRY_PFN_SHIFT,
};

/** A span, and what is wanted of it. */
export interface SpanRequest {
  /** The first page number. */
  readonly startPage: number;
  /** The page number after the last. */
  readonly endPage: number;
  /** A Want for each page of the span. */
  readonly wants: Uint8Array;
  /** The page that somebody waits for, or -1: it gets a frame first. */
  readonly urgentPage: number;
  /** Pages that somebody asked for that may be copied at most. */
  readonly copiesMax: number;
}

/** What came of bringing the wanted pages of a span. */
export interface SpanResult extends Brought {
  /** It collided SPAN_TRIES_MAX times. What has not failed may be tried again. */
  readonly hasCollided: boolean;
}

/** A range for one thread's service, with room for a block. ENOMEM, EMFILE. */
export function allocServiceRange(machine: Machine, owner: number): Task<HmmRange | Errno> {
  return hmmRangeAlloc(machine, {
    pfns: new Uint32Array(BLOCK_PAGES),
    request: new Uint32Array(BLOCK_PAGES),
    pfnFlagsMask: ENTRY_PRESENT | ENTRY_WRITE,
    encoding: DEVICE_ENCODING,
    holes: HOLES_MARK,
    owner,
  });
}

/**
 * Why no range could be registered, in the words of a device: EFAULT is "the address space is dead"
 * there, "nothing is mapped" here.
 */
export function registerErrno(errno: Errno): Errno {
  return errno === EFAULT ? ESRCH : errno;
}

/**
 * One thread's service of spans, one at a time. Pages are counted from the span's start here. Some
 * of its steps can be overridden: so tests show that each is needed.
 */
export class SpanService {
  /** The device that the spans are brought to. */
  readonly device: ServedDevice;
  readonly #frames: SpanFrames;
  readonly #range: HmmRange;
  readonly #request: Uint32Array;
  readonly #trying: () => Task<Errno>;
  /** The span that is being served. */
  #startPage = 0;
  #pages = 0;
  #urgent = -1;
  #copiesLeft = 0;
  #failures: PageFailure[] = [];
  readonly #wants = new Uint8Array(BLOCK_PAGES);
  readonly #copyable = new Uint8Array(BLOCK_PAGES);

  /** `range` is from `allocServiceRange`. */
  constructor(device: ServedDevice, range: HmmRange) {
    this.device = device;
    this.#frames = new SpanFrames(device.table);
    this.#range = range;
    this.#request = range.request ?? new Uint32Array(BLOCK_PAGES);
    this.#trying = () => this.#tryUntilValid();
  }

  /** Gives the range back. */
  free(): Task<void> {
    return hmmRangeFree(this.#range);
  }

  /** Brings the wanted pages, as far as they can be had. */
  *serve(request: SpanRequest): Task<SpanResult> {
    const { startPage, endPage, wants, urgentPage, copiesMax } = request;
    const { mirror, record } = this.device;
    assertServiceOwner(record, "serving a span");
    this.#startPage = startPage;
    this.#pages = endPage - startPage;
    this.#urgent = urgentPage - startPage;
    this.#copiesLeft = copiesMax;
    this.#failures = [];
    this.#wants.set(wants);
    const [start, end] = [startPage * PAGE_BYTES, endPage * PAGE_BYTES];
    const errno = yield* withHmmRange(this.#range, mirror, start, end, this.#trying);
    // EBUSY is ours, all else is register's.
    if (errno !== 0 && errno !== EBUSY) this.#failAll(registerErrno(errno));
    return {
      hasCollided: errno === EBUSY,
      failures: this.#failures,
      copies: copiesMax - this.#copiesLeft,
    };
  }

  /**
   * Write-protects the pages of [startPage, endPage); `copyable[i]` says which may be copied. True:
   * that has notified, so the range is stale. P1.
   */
  protected track(mm: Mm, startPage: number, endPage: number, copyable: Uint8Array): Task<boolean> {
    return trackRange(this.device.machine, mm, startPage, endPage, copyable);
  }

  /**
   * Copies pages to device memory. Holding no lock, and no reference of the frames: whether the
   * range was valid all the time is asked afterwards.
   */
  protected copy(batch: CopyBatch): Task<void> {
    return this.device.engine.copyToDevice(batch);
  }

  /** R4. Under the driver lock. */
  protected isStillValid(range: HmmRange): Task<boolean> {
    return hmmRangeValid(range);
  }

  /** 0: done. EBUSY: it collided SPAN_TRIES_MAX times, and nothing was installed. */
  *#tryUntilValid(): Task<Errno> {
    const { record } = this.device;
    let hasNotified = false;
    for (let tries = 0; tries < SPAN_TRIES_MAX;) {
      if (this.#firstDemanded(0) < 0) return 0;
      if (!(yield* this.#waitUntilValid())) {
        count(record, "retries");
        return EBUSY;
      }
      const answer = yield* this.#read();
      // The first time it is our own doing: the pages were writable, and are no longer.
      if (answer === EAGAIN && !hasNotified) {
        hasNotified = true;
        continue;
      }
      // No collision: the page is being read from its source, which the next wait includes.
      if (answer === EBUSY && this.#range.awaitedPage !== 0) continue;
      if (answer < 0 && answer !== EBUSY && answer !== EAGAIN) {
        this.#failPage(answer);
        continue;
      }
      if (answer >= 0 && (yield* this.#copyAndInstall())) return 0;
      count(record, "retries");
      tries++;
    }
    return EBUSY;
  }

  /** Most invalidations are over in less time than going to sleep and waking up takes. */
  *#waitUntilValid(): Task<boolean> {
    // Explored, looking again is waiting: nothing changes but by a step of somebody else.
    const most = this.device.machine.memory.mode === EXPLORED ? 0 : SPAN_LOOKS;
    for (let looks = 0; looks < most; looks++)
      if (yield* hmmRangeWaitUntilValid(this.#range, 0)) return true;
    return yield* hmmRangeWaitUntilValid(this.#range, SPAN_WAIT_MS);
  }

  /**
   * Step 2. EAGAIN: tracking has notified, this range as well; read again. Else as hmmRangeFault.
   */
  *#read(): Task<number> {
    const mm = mmOfRange(this.#range);
    for (let i = 0; i < this.#pages; i++) {
      const want = this.#wants[i]!;
      this.#request[i] =
        want < WANT_READ ? 0 : want === WANT_WRITE ? ENTRY_PRESENT | ENTRY_WRITE : ENTRY_PRESENT;
    }
    yield* mm.mmapLock.downRead();
    try {
      this.#touchAround(mm);
      const answer = yield* hmmRangeFault(this.#range);
      if (answer < 0) return answer;
      return (yield* this.#trackWanted(mm)) ? EAGAIN : answer;
    } finally {
      yield* mm.mmapLock.upRead();
    }
  }

  /**
   * Pages behind one that is stored to get their first frames, as many as this thread has at hand:
   * a stream of stores to memory that nobody has touched would fault at each.
   */
  #touchAround(mm: Mm): void {
    const { machine } = this.device;
    for (let i = 0; i < this.#pages; i++) {
      if (this.#wants[i] !== WANT_AROUND) continue;
      if (!touchAhead(machine, mm, this.#startPage + i)) return;
    }
  }

  /** Tracks what will be copied, run by run: a page that is not copied stays writable. */
  *#trackWanted(mm: Mm): Task<boolean> {
    this.#copyable.fill(0, 0, this.#pages);
    let hasNotified = false;
    for (let i = 0; i < this.#pages; i++) {
      if (!(yield* this.#mayCopy(i))) continue;
      let end = i + 1;
      while (end < this.#pages && (yield* this.#mayCopy(end))) end++;
      const [startPage, endPage] = [this.#startPage + i, this.#startPage + end];
      if (yield* this.track(mm, startPage, endPage, this.#copyable.subarray(i, end)))
        hasNotified = true;
      i = end;
    }
    return hasNotified;
  }

  *#mayCopy(i: number): Task<boolean> {
    const want = this.#wants[i]!;
    if (want !== WANT_READ && want !== WANT_PREFETCH) return false;
    if (this.device.record.frames === 0) return false; // it has pages of its own, and no copies
    const entry = this.#range.pfns[i]!;
    // The page of zeros is never written: a store replaces it, and notifies.
    if ((entry & ENTRY_PRESENT) === 0 || entryFrameNumber(entry) === ZERO_PFN) return false;
    const page = this.#startPage + i;
    return this.device.table.entryOf(page) === 0 && !this.device.thrash.isThrashing(page);
  }

  /** Steps 3 and 4. False: collided. */
  *#copyAndInstall(): Task<boolean> {
    const { driverLock } = this.device.table;
    yield* driverLock.lock();
    yield* this.#frames.reserve({
      pages: this.#pages,
      wants: this.#wants,
      copyable: this.#copyable,
      urgent: this.#urgent,
      copiesMax: this.#copiesLeft,
    });
    yield* driverLock.unlock();
    const copies = this.#frames.collectCopies(this.#pages, this.#range.pfns);
    if (copies.count > 0) yield* this.copy(copies);

    yield* driverLock.lock();
    const isValid = yield* this.isStillValid(this.#range);
    if (isValid) yield* this.#install();
    this.#frames.giveBack();
    yield* driverLock.unlock();
    return isValid;
  }

  /**
   * Step 4's second half: the range is valid, and nobody can invalidate it before the driver lock
   * is dropped.
   */
  *#install(): Task<void> {
    const { table } = this.device;
    const startPage = this.#startPage;
    const firstIndex = yield* table.makeIndex(startPage);
    if (firstIndex === 0) {
      this.#failAll(ENOMEM);
      return;
    }
    if (this.#hasLentFrames()) yield* table.unit.flush(startPage, startPage + this.#pages);
    for (let i = 0; i < this.#pages; i++)
      if (this.#wants[i] !== WANT_NOTHING) this.#installPage(i, firstIndex + i);
    yield* table.unit.install(table, startPage, startPage + this.#pages);
  }

  /**
   * Whether some entry names a frame of a user's buffer: such a number may have stood for another
   * frame before (X6 of mmu/soft-tlb.ts).
   */
  #hasLentFrames(): boolean {
    const { ownEndPfn } = this.device.machine.ram;
    for (let i = 0; i < this.#pages; i++)
      if (entryFrameNumber(this.#range.pfns[i]!) >= ownEndPfn) return true;
    return false;
  }

  /**
   * Adds one translation.
   *
   * @stepped device entry
   */
  #installPage(i: number, index: number): void {
    const { table, machine, record } = this.device;
    const want = this.#wants[i]!;
    const entry = this.#range.pfns[i]!;
    const old = wordAt(machine.memory.words, index);
    if (this.#frames.has(i)) {
      if (old !== 0) return; // the frame goes back with those that were not used
      const frame = this.#frames.take(i);
      table.frames.bind(frame, this.#startPage + i, want !== WANT_PREFETCH);
      table.setEntry(index, makeDeviceEntry(table.firstPfn + frame, ENTRY_LOCAL));
      count(record, "pagesToDevice");
      if (want === WANT_PREFETCH) count(record, "prefetched");
      else this.#copiesLeft--;
      return;
    }
    if ((entry & ENTRY_PRESENT) === 0) return;
    if (this.#copyable[i] === 1) return; // no frame was left: it faults again
    if (want === WANT_AROUND && (entry & ENTRY_WRITE) === 0) return;
    if (want < WANT_READ && !this.#isOwn(entry) && !this.#mayStay(i)) return;
    if (old !== 0 && want !== WANT_WRITE) return;
    if (want < WANT_READ) count(record, "prefetched");
    // A page with a copy cannot be written (P1): making it writable notifies the device, which
    // drops the copy first.
    assert((old & ENTRY_LOCAL) === 0, "a page that may be written has a copy on the device");
    // A page that is read in RAM for a while only gets no more than that: its entry must go when
    // the while is over.
    const isOwn = this.#isOwn(entry);
    // The use of a page of its own is to be seen (own-pages.ts); of one in RAM a store is, by which
    // the device takes it (policy/placement.ts).
    const isForLoads = want === WANT_READ || want === WANT_PREFETCH;
    const isReadOnly = want === WANT_REMOTE || (isForLoads && record.ownType !== 0 && !isOwn);
    const found = isOwn ? entry & ~ENTRY_YOUNG : entry | ENTRY_YOUNG;
    table.setEntry(index, isReadOnly ? found & ~ENTRY_WRITE : found);
    count(record, "remoteMaps");
  }

  /**
   * Whether a page in RAM may be read there before its first use faults: that would show that a
   * page which has gone to and fro is wanted again, or is to move as soon as it is used. Holding
   * the driver lock.
   */
  #mayStay(i: number): boolean {
    const page = this.#startPage + i;
    if (this.device.thrash.isThrashing(page)) return false;
    return adviceTable(this.device)?.of(page) !== ADVICE_PREFERRED;
  }

  /** Whether an entry is of a page in memory of the device itself. */
  #isOwn(entry: number): boolean {
    const { machine, record } = this.device;
    const pfn = entryFrameNumber(entry);
    if (record.ownType === 0 || pfn < machine.ram.ownEndPfn) return false;
    return machine.ram.sections.deviceKindOf(pfn) >>> 2 === ownerOf(record);
  }

  /** The first page from `i` on that somebody asked for, or -1. */
  #firstDemanded(i: number): number {
    for (; i < this.#pages; i++) if (this.#wants[i]! >= WANT_READ) return i;
    return -1;
  }

  /** hmmRangeFault stopped at a page: the first that was asked for from there on cannot be had. */
  #failPage(errno: Errno): void {
    const { pfns } = this.#range;
    let stop = this.#pages - 1;
    // Where it stopped stands a mark, and nothing after it.
    while (stop > 0 && pfns[stop] === DEVICE_ENCODING.values.none) stop--;
    const i = this.#firstDemanded(stop);
    if (i < 0) this.#failAll(errno);
    else this.#fail(i, errno);
  }

  #failAll(errno: Errno): void {
    for (let i = 0; i < this.#pages; i++) if (this.#wants[i]! >= WANT_READ) this.#fail(i, errno);
  }

  /** Nothing more is tried for the page. */
  #fail(i: number, errno: Errno): void {
    this.#wants[i] = WANT_NOTHING;
    this.#failures.push({ page: this.#startPage + i, errno });
  }
}
