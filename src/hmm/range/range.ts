/**
 * @module hmm/range/range
 * Watching a stretch of an address space for one device: the handle that a driver's thread works
 * with, register and unregister. Follows Linux 5.3 `hmm_range_register` and `hmm_range_unregister`
 * after patches 2, 6, 7 and 10. Whether it is valid: valid.ts. Reading the page table through it:
 * snapshot.ts and hmm/walk/fault.ts.
 *
 *   G1  A registered range holds an mm user (patch 7) and a reference of the hmm. So the address
 *       space cannot die under a walk, release never meets a range, and a range that is never
 *       unregistered keeps the address space for ever: the thread's resource list knows it, and a
 *       reaper unregisters what a dead thread left.
 *   G2  A range has one user, a task of one thread. Others only mark its record, under rangesLock.
 *   G3  Between unregister and the next register every use throws: the hmm pointer is poison (patch
 *       10). Start, end and pfns stay readable.
 *
 * `pfns` is output only. Requests for single pages stand in an array of their own, so that a retry
 * asks for what the driver wanted and not for what came back the first time, as it would in Linux,
 * where one array serves for both.
 */

import { Machine } from "../../memory/machine.ts";
import { formatPointer } from "../../memory/layout/poison.ts";
import { Mm } from "../../mm/mm-struct.ts";
import { mmgetNotZero, mmput } from "../../mm/lifetime/mm.ts";
import { TASK_SIZE_PAGES } from "../../mmu/radix-table.ts";
import { PAGE_BYTES, PAGE_SHIFT } from "../../mm/pte.ts";
import { EFAULT, EINVAL, EMFILE, ENODEV, ENOMEM, type Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import { assertNoLockHeld } from "../../sync/lockdep/held-locks.ts";
import { addResource, registerReleaser, removeResource } from "../../sync/death/resources.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { DEFAULT_ENCODING, type HmmEncoding, checkEncoding } from "../entry.ts";
import { Hmm } from "../hmm-struct.ts";
import { hmmPut } from "../mirror/hmm.ts";
import {
  type HmmMirror,
  MIRROR_ORPHANED,
  MIRROR_REGISTERED,
  mirrorStatus,
} from "../mirror-record.ts";
import {
  HmmRangeRecord,
  NOTHING_READ,
  OWNS_HMM,
  OWNS_NOTHING,
  OWNS_REGISTRATION,
  OWNS_USER,
  RANGE_POISON,
  RANGE_RESOURCE,
  readSequence,
  sequenceIsValid,
  startSequence,
} from "../range-record.ts";

/** What a walk does at pages that no readable mapping covers and that no request asks for. */
export type HolesRule = 0 | 1;
/** As in 2019: the call fails there, with EFAULT or EPERM. */
export const HOLES_FAIL: HolesRule = 0;
/** As in Linux since 5.6: the entry becomes `values.error` and the walk goes on. */
export const HOLES_MARK: HolesRule = 1;

/** Largest device page: 2 MiB, the next level of the page table. */
export const PAGE_SHIFT_MAX = 21;

/** What a range is made with. */
export interface HmmRangeOptions {
  /** Results, one entry for each 4 KiB page; its length is the most that the range can span. */
  readonly pfns: Uint32Array;
  /** Requests, as many as `pfns`; read where `pfnFlagsMask` has bits. */
  readonly request?: Uint32Array;
  /** Default: DEFAULT_ENCODING. */
  readonly encoding?: HmmEncoding;
  /** OR-ed into every page's request. Default 0: nothing is asked for. */
  readonly defaultFlags?: number;
  /**
   * AND-ed onto every page's entry in `request`. Default 0: no page asks for anything of its own.
   */
  readonly pfnFlagsMask?: number;
  /** Default HOLES_FAIL. */
  readonly holes?: HolesRule;
}

/**
 * A range as its user sees it. Made by `hmmRangeAlloc`, given back by `hmmRangeFree`, registered as
 * often as wanted in between. The request of page i is `(request[i] & pfnFlagsMask) |
 * defaultFlags`, in the bits of `encoding.flags`; all of them may be changed between two calls.
 */
export class HmmRange {
  readonly machine: Machine;
  readonly record: HmmRangeRecord;
  readonly pfns: Uint32Array;
  readonly encoding: HmmEncoding;
  request: Uint32Array | undefined;
  defaultFlags: number;
  pfnFlagsMask: number;
  holes: HolesRule;
  /** The sequence that the user noted (range-record.ts, S3). */
  notifierSeq: number = NOTHING_READ;
  readonly resourceSlot: number;

  /** Use `hmmRangeAlloc`. */
  constructor(
    machine: Machine,
    record: HmmRangeRecord,
    resourceSlot: number,
    options: HmmRangeOptions,
  ) {
    this.machine = machine;
    this.record = record;
    this.resourceSlot = resourceSlot;
    this.pfns = options.pfns;
    this.request = options.request;
    this.encoding = options.encoding ?? DEFAULT_ENCODING;
    this.defaultFlags = options.defaultFlags ?? 0;
    this.pfnFlagsMask = options.pfnFlagsMask ?? 0;
    this.holes = options.holes ?? HOLES_FAIL;
  }

  /** First page, also after unregister. */
  get startPage(): number {
    return this.record.startPage;
  }

  /** One past the last page, also after unregister. */
  get endPage(): number {
    return this.record.endPage;
  }

  isRegistered(): boolean {
    const { hmm } = this.record;
    return hmm !== 0 && hmm !== RANGE_POISON;
  }

  /** For messages. */
  toString(): string {
    const { at, startPage, endPage } = this.record;
    const pages = `pages 0x${startPage.toString(16)} to 0x${endPage.toString(16)}`;
    return `hmm range at ${formatPointer(at)} over ${pages}`;
  }
}

/**
 * A range in the kernel heap, owned by this thread, not registered. ENOMEM, or EMFILE when the
 * thread owns too much already. Throws AssertionFailure on an encoding that contradicts itself.
 */
export function* hmmRangeAlloc(machine: Machine, options: HmmRangeOptions): Task<HmmRange | Errno> {
  checkEncoding(options.encoding ?? DEFAULT_ENCODING);
  const at = yield* machine.heap.alloc(HmmRangeRecord);
  if (at === 0) return ENOMEM;
  const resourceSlot = addResource(machine.memory, RANGE_RESOURCE, at);
  if (resourceSlot < 0) {
    yield* machine.heap.free(HmmRangeRecord, at);
    return EMFILE;
  }
  return new HmmRange(machine, HmmRangeRecord.at(machine.memory, at), resourceSlot, options);
}

/**
 * Gives the record back. The range is not registered; in the thread that made it. Any later use
 * throws.
 */
export function* hmmRangeFree(range: HmmRange): Task<void> {
  if (range.isRegistered())
    bug(`Cannot free ${String(range)}: it is registered; unregister it first`);
  const { machine, record } = range;
  removeResource(machine.memory, range.resourceSlot);
  yield* machine.heap.free(HmmRangeRecord, record.at);
}

/**
 * Watches [start, end) for `mirror`. The range holds an mm user until `hmmRangeUnregister` (G1). No
 * lock needed; the mirror stays registered during the call and until the range is unregistered.
 *
 * | result | meaning |
 * | --- | --- |
 * | 0 | registered |
 * | EINVAL | `start` or `end` is no multiple of 2^pageShift, or not below 16 TiB; `end` is not above `start`; `pageShift` is not 12 to 21; `pfns` (or `request`) is too short; the mirror lives on another machine |
 * | EFAULT | the address space is dead |
 * | ENODEV | the thread that had registered the mirror has died |
 *
 * After an error the range is not registered, and every use but another register throws.
 * Registering it twice throws. Linux: `hmm_range_register`.
 */
export function* hmmRangeRegister(
  range: HmmRange,
  mirror: HmmMirror,
  start: number,
  end: number,
  pageShift: number = PAGE_SHIFT,
): Task<Errno> {
  const { record, machine } = range;
  if (range.isRegistered())
    bug(`Cannot register ${String(range)}: it is registered; unregister it first`);
  record.hmm = 0;
  range.notifierSeq = NOTHING_READ;
  if (mirror.machine.memory !== machine.memory) return EINVAL;
  const status = mirrorStatus(mirror.record);
  if (status === MIRROR_ORPHANED) return ENODEV;
  if (status !== MIRROR_REGISTERED) {
    bug(
      `Cannot register a range on ${String(mirror)}: the mirror is not registered; register it first`,
    );
  }
  if (!isGoodSpan(range, start, end, pageShift)) return EINVAL;
  // The mirror's reference keeps it (patch 2), also when its thread dies meanwhile (K4 of
  // mirror.ts).
  const hmm = Hmm.at(machine.memory, mirror.record.hmm);
  const mm = Mm.at(machine.memory, hmm.mm);
  record.mirror = mirror.at;
  record.startPage = start / PAGE_BYTES;
  record.endPage = end / PAGE_BYTES;
  record.pageShift = pageShift;

  // All that the range owns is taken in one critical section, so a thread that dies in the middle
  // stops the machine and leaks nothing.
  yield* hmm.rangesLock.lock();
  const hasMirror = mirrorStatus(mirror.record) === MIRROR_REGISTERED; // K4
  // pairs with the mmput in hmmRangeUnregister
  const isAlive = hasMirror && (yield* mmgetNotZero(mm));
  if (isAlive) {
    yield* hmm.refs.get(); // pairs with the hmmPut in hmmRangeUnregister
    record.hmm = hmm.at;
    record.owns = OWNS_REGISTRATION;
    hmm.ranges.addTail(record.node);
    yield* startSequence(hmm, record);
    const sequence = readSequence(record);
    if (sequenceIsValid(sequence)) range.notifierSeq = sequence;
  }
  yield* hmm.rangesLock.unlock();
  if (!hasMirror) return ENODEV;
  return isAlive ? 0 : EFAULT;
}

function isGoodSpan(range: HmmRange, start: number, end: number, pageShift: number): boolean {
  if (!Number.isInteger(pageShift) || pageShift < PAGE_SHIFT || pageShift > PAGE_SHIFT_MAX)
    return false;
  const pageBytes = 2 ** pageShift;
  // NaN fails too
  if (!(start >= 0 && end > start && end <= TASK_SIZE_PAGES * PAGE_BYTES)) return false;
  if (start % pageBytes !== 0 || end % pageBytes !== 0) return false;
  const pages = (end - start) / PAGE_BYTES;
  return (
    pages <= range.pfns.length && (range.request === undefined || pages <= range.request.length)
  );
}

/**
 * Stops watching, drops the mm user and the hmm, poisons the range (patch 10). Exactly once for
 * each register that returned 0. Dropping the mm user may be the last and then runs the whole exit
 * here: so no lock may be held, neither the mmap lock nor the driver's, and no call-back may be
 * running in the caller. Ask `hmmRangeValid` before, under the driver lock. Linux:
 * `hmm_range_unregister`.
 */
export function* hmmRangeUnregister(range: HmmRange): Task<void> {
  checkRegistered(range, "unregister");
  assertNoLockHeld(
    range.machine.memory,
    "hmmRangeUnregister",
    "dropping the last mm user takes the address space down",
  );
  const { record, machine } = range;
  range.notifierSeq = NOTHING_READ;
  yield* leaveRegistration(machine, record);
}

/** What unregister does to the record, from wherever a thread that died has left it. */
function* leaveRegistration(machine: Machine, record: HmmRangeRecord): Task<void> {
  const hmm = Hmm.at(machine.memory, record.hmm); // our reference keeps it until the hmmPut below
  if (record.owns === OWNS_REGISTRATION) {
    yield* hmm.rangesLock.lock();
    record.node.del();
    record.owns = OWNS_USER;
    yield* hmm.rangesLock.unlock();
  }
  if (record.owns === OWNS_USER) {
    record.owns = OWNS_HMM;
    // before the hmm, through which the mm is reached
    yield* mmput(machine, Mm.at(machine.memory, hmm.mm));
  }
  record.owns = OWNS_NOTHING;
  record.hmm = RANGE_POISON;
  yield* hmmPut(machine, hmm);
}

/** G3. Throws AssertionFailure naming the range, or goes on. `verb` is what the caller wanted. */
export function checkRegistered(range: HmmRange, verb: string): void {
  const { hmm } = range.record;
  if (hmm === RANGE_POISON) {
    bug(`Cannot ${verb} ${String(range)}: it was unregistered; register it again before using it`);
  }
  if (hmm === 0) {
    bug(
      `Cannot ${verb} ${String(range)}: it is not registered; register it, and look at what register returns`,
    );
  }
}

/** The range's address space. Alive for as long as the range is registered (G1). */
export function mmOfRange(range: HmmRange): Mm {
  const { memory } = range.machine;
  return Mm.at(memory, Hmm.at(memory, range.record.hmm).mm);
}

/** The range's hmm, which the range keeps. */
export function hmmOfRange(range: HmmRange): Hmm {
  return Hmm.at(range.machine.memory, range.record.hmm);
}

/**
 * Registers `range`, runs `use`, and unregisters whatever happens: the way not to leak a range, and
 * with it the address space, on an early return (Linux 5.3's nouveau did so when its wait timed
 * out). `use` returns holding no lock. The result is that of `use`, or the errno of register.
 */
export function* withHmmRange(
  range: HmmRange,
  mirror: HmmMirror,
  start: number,
  end: number,
  use: () => Task<number>,
): Task<number> {
  const errno = yield* hmmRangeRegister(range, mirror, start, end);
  if (errno !== 0) return errno;
  let result: number;
  try {
    result = yield* use();
  } catch (error) {
    try {
      yield* hmmRangeUnregister(range);
    } catch {
      // `use` threw with a lock held, or the machine has stopped: its own error says more than
      // ours.
    }
    throw error;
  }
  yield* hmmRangeUnregister(range);
  return result;
}

/** A thread died and left a range: G1 must not keep the address space alive for nobody. */
registerReleaser(RANGE_RESOURCE, function* (memory, at) {
  const machine = Machine.of(memory);
  const record = HmmRangeRecord.at(memory, at);
  if (record.owns !== OWNS_NOTHING) yield* leaveRegistration(machine, record);
  yield* machine.heap.free(HmmRangeRecord, at);
});
