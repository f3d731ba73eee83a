/**
 * @module devices/service/span-service
 * Brings the wanted pages of one span (within a 2 MiB block) to the device: the collision-retry
 * rule (R4; hmm/range/valid.ts has its two columns), for a device that also keeps copies. Which
 * spans, and what happens when one cannot be had, is fault-service.ts's business.
 *
 *     1  register a range over the span, wait until it is valid
 *     2  mmap lock for reading: fault the pages in, and write-protect those that will be copied
 *        (mm/fault/track.ts)
 *     3  driver lock: take frames, evicting what nobody uses; without it: copy
 *     4  driver lock: has no invalidation run since 2 began? then, and only then, put the
 *        translations in
 *     5  unregister the range, on every path
 *
 * The copy of 3 may be of a frame that was freed and given to somebody else meanwhile. It is then
 * thrown away at 4, like everything else that was read before the invalidation: so no reference to
 * the frame is needed, and none is held (2019's rule: pages are not touched outside the driver
 * lock; a copy that is not used does not count).
 *
 *   P1  A page is copied only if it was write-protected and tracked first: from then on a store
 *       tells the listeners before it happens, so either 4 finds the range invalid, or the device
 *       is told afterwards and drops the copy.
 *   P2  What 2 asks for is what the device needs: present for a read, writable for a write, nothing
 *       for a prefetch, which takes what is there.
 *
 * As the service owner.
 */

import type { HmmEncoding } from "../../hmm/entry.ts";
import { hmmRangeFault } from "../../hmm/walk/fault.ts";
import type { HmmMirror } from "../../hmm/mirror-record.ts";
import {
  HOLES_MARK,
  type HmmRange,
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
  mmOfRange,
} from "../../hmm/range/range.ts";
import { hmmRangeValid, hmmRangeWaitUntilValid } from "../../hmm/range/valid.ts";
import type { Machine } from "../../memory/machine.ts";
import type { Mm } from "../../mm/mm-struct.ts";
import { PAGE_BYTES, ZERO_PFN } from "../../mm/pte.ts";
import { trackRange } from "../../mm/fault/track.ts";
import { wordAt } from "../../mmu/radix-table.ts";
import { atomicStore } from "../../sync/atomics.ts";
import { EAGAIN, EBUSY, EFAULT, ENOMEM, ESRCH, type Errno } from "../../sync/errno.ts";
import { assert } from "../../sync/errors.ts";
import { EXPLORED } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { BLOCK_PAGES } from "../policy/prefetch.ts";
import {
  type BlockWork,
  WANT_NOTHING,
  WANT_PREFETCH,
  WANT_READ,
  WANT_REMOTE,
  WANT_WRITE,
} from "./block-work.ts";
import { PAGES_TO_DEVICE, PREFETCHED, REMOTE_MAPS, RETRIES, count } from "./device-stats.ts";
import {
  type DeviceTable,
  ENTRY_LOCAL,
  ENTRY_PFN_SHIFT,
  ENTRY_PRESENT,
  ENTRY_WRITE,
  entryFrameNumber,
  makeDeviceEntry,
} from "./device-table.ts";
import { Evictor } from "./eviction.ts";
import { assertServiceOwner } from "./service-owner.ts";
import type { ThrashTable } from "./thrash.ts";

/** Collisions of one span before its caller is told; it then cuts the span in two. */
export const SPAN_TRIES_MAX = 2;
/**
 * How long a span waits for an invalidation that is under way. Short: this is the service owner,
 * and most are over in microseconds.
 */
export const SPAN_WAIT_MS = 1;
/** Before it sleeps, it looks so many times, about 0.1 us each. */
const SPAN_LOOKS = 100;

/**
 * hmm writes entries as the device's table has them. The device has no memory of its own that the
 * CPU could not see.
 */
export const DEVICE_ENCODING: HmmEncoding = {
  flags: { valid: ENTRY_PRESENT, write: ENTRY_WRITE, devicePrivate: 0 },
  values: { none: 0, error: 0x40, special: 0x80 },
  pfnShift: ENTRY_PFN_SHIFT,
};

/** What the span service needs to know of its device. */
export interface SpanDevice {
  readonly machine: Machine;
  readonly mirror: HmmMirror;
  readonly table: DeviceTable;
  readonly thrash: ThrashTable;
}

/** A range for one thread's service, with room for a block. ENOMEM, EMFILE. */
export function allocServiceRange(machine: Machine): Task<HmmRange | Errno> {
  return hmmRangeAlloc(machine, {
    pfns: new Uint32Array(BLOCK_PAGES),
    request: new Uint32Array(BLOCK_PAGES),
    pfnFlagsMask: ENTRY_PRESENT | ENTRY_WRITE,
    encoding: DEVICE_ENCODING,
    holes: HOLES_MARK,
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
 * One thread's service of spans. Three of its steps can be overridden: so tests show that each
 * is needed.
 */
export class SpanService {
  readonly device: SpanDevice;
  readonly work: BlockWork;
  readonly #evictor: Evictor;
  readonly #range: HmmRange;
  readonly #request: Uint32Array;
  readonly #copyable = new Uint8Array(BLOCK_PAGES);
  /** Device frames of this span, as reserved. */
  readonly #frames = new Int32Array(BLOCK_PAGES);
  /** For each page of the span: its device frame, or -1. */
  readonly #frameOf = new Int32Array(BLOCK_PAGES);

  /** `range` is from `allocServiceRange`. */
  constructor(device: SpanDevice, work: BlockWork, range: HmmRange) {
    this.device = device;
    this.work = work;
    this.#evictor = new Evictor(device.table);
    this.#range = range;
    this.#request = range.request ?? new Uint32Array(BLOCK_PAGES);
  }

  /** Gives the range back. */
  free(): Task<void> {
    return hmmRangeFree(this.#range);
  }

  /**
   * Brings the wanted pages of [startPage, endPage). 0: done, as far as it could be done: what
   * failed is in `work`. EBUSY: it collided SPAN_TRIES_MAX times, and nothing was put in. Another
   * errno: all of it failed, and `work` says so.
   */
  *serve(startPage: number, endPage: number): Task<Errno> {
    const range = this.#range;
    const { mirror, table } = this.device;
    assertServiceOwner(table.record, "serving a span");
    const answer = yield* hmmRangeRegister(
      range,
      mirror,
      startPage * PAGE_BYTES,
      endPage * PAGE_BYTES,
    );
    if (answer !== 0) {
      const errno = registerErrno(answer);
      this.#failAll(startPage, endPage, errno);
      return errno;
    }
    try {
      return yield* this.#tryUntilValid(startPage, endPage);
    } finally {
      yield* hmmRangeUnregister(range);
    }
  }

  /**
   * Takes the right to store away from the pages of [startPage, endPage); `copyable[i]` says which
   * may be copied. True: listeners were told, the range is stale. P1.
   */
  protected track(mm: Mm, startPage: number, endPage: number, copyable: Uint8Array): Task<boolean> {
    return trackRange(this.device.machine, mm, startPage, endPage, copyable);
  }

  /**
   * Copies a page to device memory. Holding no lock, and no reference of the frame: whether the
   * range was valid all the time is asked afterwards.
   */
  protected copyFrame(fromPfn: number, toPfn: number): Task<void> {
    return this.device.machine.ram.copyUnheldFrame(fromPfn, toPfn);
  }

  /** R4. Under the driver lock. */
  protected isStillValid(range: HmmRange): Task<boolean> {
    return hmmRangeValid(range);
  }

  *#tryUntilValid(startPage: number, endPage: number): Task<Errno> {
    const { record } = this.device.table;
    let toldOnce = false;
    for (let tries = 0; tries < SPAN_TRIES_MAX;) {
      if (this.work.firstDemanded(startPage, endPage) < 0) return 0;
      if (!(yield* this.#waitUntilValid())) {
        count(record, RETRIES);
        return EBUSY;
      }
      const answer = yield* this.#read(startPage, endPage);
      // The first time it is our own doing: the pages were writable, and are no longer.
      if (answer === EAGAIN && !toldOnce) {
        toldOnce = true;
        continue;
      }
      if (answer < 0 && answer !== EBUSY && answer !== EAGAIN) {
        this.#failPage(startPage, endPage, answer);
        continue;
      }
      if (answer >= 0 && (yield* this.#copyAndProgram(startPage, endPage))) return 0;
      count(record, RETRIES);
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
   * Step 2. EAGAIN: tracking has told the listeners, this range among them; read again. Else as
   * hmmRangeFault.
   */
  *#read(startPage: number, endPage: number): Task<number> {
    const mm = mmOfRange(this.#range);
    for (let page = startPage; page < endPage; page++) {
      const want = this.work.wantOf(page);
      this.#request[page - startPage] =
        want < WANT_READ ? 0 : want === WANT_WRITE ? ENTRY_PRESENT | ENTRY_WRITE : ENTRY_PRESENT;
    }
    yield* mm.mmapLock.downRead();
    try {
      const answer = yield* hmmRangeFault(this.#range);
      if (answer < 0) return answer;
      return (yield* this.#trackWanted(mm, startPage, endPage)) ? EAGAIN : answer;
    } finally {
      yield* mm.mmapLock.upRead();
    }
  }

  /** Tracks what will be copied, run by run: a page that is not copied stays writable. */
  *#trackWanted(mm: Mm, startPage: number, endPage: number): Task<boolean> {
    this.#copyable.fill(0, 0, endPage - startPage);
    let wereTold = false;
    for (let page = startPage; page < endPage; page++) {
      if (!(yield* this.#mayCopy(page, startPage))) continue;
      let end = page + 1;
      while (end < endPage && (yield* this.#mayCopy(end, startPage))) end++;
      const copyable = this.#copyable.subarray(page - startPage, end - startPage);
      if (yield* this.track(mm, page, end, copyable)) wereTold = true;
      page = end;
    }
    return wereTold;
  }

  *#mayCopy(page: number, startPage: number): Task<boolean> {
    const want = this.work.wantOf(page);
    if (want !== WANT_READ && want !== WANT_PREFETCH) return false;
    const entry = this.#range.pfns[page - startPage]!;
    // The page of zeros is never written: a store replaces it, and tells.
    if ((entry & ENTRY_PRESENT) === 0 || entryFrameNumber(entry) === ZERO_PFN) return false;
    return this.device.table.entryOf(page) === 0 && !this.device.thrash.isThrashing(page);
  }

  /** Steps 3 and 4. False: collided. */
  *#copyAndProgram(startPage: number, endPage: number): Task<boolean> {
    const { table } = this.device;
    const { driverLock } = table;
    yield* driverLock.lock();
    const reserved = yield* this.#reserve(startPage, endPage);
    yield* driverLock.unlock();
    yield* this.#copy(startPage, endPage);

    yield* driverLock.lock();
    const isValid = yield* this.isStillValid(this.#range);
    if (isValid) yield* this.#program(startPage, endPage);
    for (let i = 0; i < reserved; i++)
      if (this.#frames[i]! >= 0) table.frames.give(this.#frames[i]!);
    yield* driverLock.unlock();
    return isValid;
  }

  /**
   * Frames for the pages to copy: for who waits first, then for all that were asked for, then, from
   * what is free or cold, for prefetched ones. Returns how many.
   */
  *#reserve(startPage: number, endPage: number): Task<number> {
    const { work } = this;
    const frameOf = this.#frameOf.fill(-1);
    let demanded = 0;
    let prefetched = 0;
    for (let i = 0; i < endPage - startPage; i++) {
      if (this.#copyable[i] === 0) continue;
      if (work.wantOf(startPage + i) === WANT_READ) demanded++;
      else prefetched++;
    }
    const wanted = Math.min(demanded, work.copiesLeft);
    const forDemand = yield* this.#evictor.reserve(wanted, this.#frames);
    const rest = this.#frames.subarray(forDemand);
    const forPrefetch =
      forDemand < demanded || prefetched === 0
        ? 0
        : yield* this.#evictor.reserveCold(prefetched, rest);
    let next = 0;
    let nextPrefetch = forDemand;
    const urgent = work.urgentPage - startPage;
    if (
      forDemand > 0 &&
      urgent >= 0 &&
      urgent < endPage - startPage &&
      this.#copyable[urgent] === 1
    )
      frameOf[urgent] = next++;
    for (let i = 0; i < endPage - startPage; i++) {
      if (this.#copyable[i] === 0 || frameOf[i]! >= 0) continue;
      if (work.wantOf(startPage + i) === WANT_READ) {
        if (next < forDemand) frameOf[i] = next++;
      } else if (nextPrefetch < forDemand + forPrefetch) {
        frameOf[i] = nextPrefetch++;
      }
    }
    return forDemand + forPrefetch;
  }

  *#copy(startPage: number, endPage: number): Task<void> {
    const { table } = this.device;
    for (let i = 0; i < endPage - startPage; i++) {
      const slot = this.#frameOf[i]!;
      if (slot < 0) continue;
      yield* this.copyFrame(
        entryFrameNumber(this.#range.pfns[i]!),
        table.firstPfn + this.#frames[slot]!,
      );
    }
  }

  /**
   * Step 4's second half: the range is valid, and nobody can invalidate it before the driver lock
   * is dropped.
   */
  *#program(startPage: number, endPage: number): Task<void> {
    const { table } = this.device;
    const firstIndex = yield* table.makeIndex(startPage);
    if (firstIndex === 0) {
      this.#failAll(startPage, endPage, ENOMEM);
      return;
    }
    for (let page = startPage; page < endPage; page++) {
      const want = this.work.wantOf(page);
      if (want === WANT_NOTHING) continue;
      this.#programPage(page, firstIndex + page - startPage, want, page - startPage);
    }
  }

  /**
   * Puts one translation in.
   *
   * @stepped device entry
   */
  #programPage(page: number, index: number, want: number, i: number): void {
    const { table, machine } = this.device;
    const { record, frames } = table;
    const { words } = machine.memory;
    const entry = this.#range.pfns[i]!;
    const old = wordAt(words, index);
    const slot = this.#frameOf[i]!;
    if (slot >= 0) {
      if (old !== 0) return; // the frame goes back with those that were not used
      const frame = this.#frames[slot]!;
      this.#frames[slot] = -1;
      frames.bind(frame, page, want !== WANT_PREFETCH);
      atomicStore(words, index, makeDeviceEntry(table.firstPfn + frame, ENTRY_LOCAL));
      count(record, PAGES_TO_DEVICE);
      if (want === WANT_PREFETCH) count(record, PREFETCHED);
      else this.work.copiesLeft--;
      return;
    }
    if ((entry & ENTRY_PRESENT) === 0 || want === WANT_PREFETCH) return;
    if (this.#copyable[i] === 1) return; // no frame was left: it faults again
    if (old !== 0 && want !== WANT_WRITE) return;
    // A page with a copy cannot be written (P1): making it writable tells the device, which drops
    // the copy first.
    assert((old & ENTRY_LOCAL) === 0, "a page that may be written has a copy on the device");
    // A page that is read in RAM for a while only gets no more than that: its entry must go when
    // the while is over.
    atomicStore(words, index, want === WANT_REMOTE ? entry & ~ENTRY_WRITE : entry);
    count(record, REMOTE_MAPS);
  }

  /** hmmRangeFault stopped at a page: the first that was asked for from there on cannot be had. */
  #failPage(startPage: number, endPage: number, errno: Errno): void {
    const { pfns } = this.#range;
    let stop = endPage - startPage - 1;
    // Where it stopped stands a mark, and nothing after it.
    while (stop > 0 && pfns[stop] === DEVICE_ENCODING.values.none) stop--;
    const page = this.work.firstDemanded(startPage + stop, endPage);
    if (page < 0) this.#failAll(startPage, endPage, errno);
    else this.work.fail(page, errno);
  }

  #failAll(startPage: number, endPage: number, errno: Errno): void {
    for (let page = startPage; page < endPage; page++)
      if (this.work.wantOf(page) >= WANT_READ) this.work.fail(page, errno);
  }
}
