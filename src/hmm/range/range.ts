/**
 * @module hmm/range/range
 * The handle of a range, and registering and unregistering it. Follows Linux 5.3
 * `hmm_range_register` and `hmm_range_unregister` after patches 2, 6, 7 and 10. Whether a range is
 * valid is valid.ts; reading the page table through it is hmm/walk/.
 *
 *   G1  A registered range holds an mm user (patch 7) and a reference of the hmm. So the address
 *       space does not die during a walk, and release finds no range. A range that is never
 *       unregistered keeps the address space alive for ever; if its thread dies, a reaper
 *       unregisters it.
 *   G2  A range has one user, a task of one thread. Others only mark its record, under rangesLock.
 *   G3  Between unregister and the next register every use throws: the hmm pointer is poison (patch
 *       10). Start, end and pfns stay readable.
 *
 * `pfns` is output only. Requests for single pages are in an array of their own, so a retry
 * requests what the driver wanted. In Linux one array serves for both, and a retry would request
 * what came back the first time.
 */

import { Machine } from "../../memory/machine.ts";
import { formatPointer } from "../../memory/layout/poison.ts";
import { MM_USER, Mm } from "../../mm/mm-struct.ts";
import { mmgetNotZero, mmput } from "../../mm/lifetime/mm.ts";
import { endWait } from "../../mm/source/requests.ts";
import { TASK_SIZE_PAGES } from "../../mmu/radix-table.ts";
import { PAGE_BYTES, PAGE_SHIFT } from "../../mm/pte.ts";
import { EFAULT, EINVAL, EMFILE, ENODEV, ENOMEM, type Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import { assertNoLockHeld } from "../../sync/lockdep/held-locks.ts";
import { findResource, registerHeir, takeNoted } from "../../sync/lockdep/resources.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { undoStore } from "../../sync/words/undo-log.ts";
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
  OWNS_HMM_ENDING,
  OWNS_NOTHING,
  OWNS_REGISTRATION,
  OWNS_USER,
  RANGE_POISON,
  RANGE_RESOURCE,
  readSequence,
  startSequence,
} from "../range-record.ts";
import { addRange, removeRange } from "../range-tree.ts";

/** What a walk does at a page that is neither mapped readable nor requested. */
export type HolesRule = 0 | 1;
/** As in 2019: the call fails there, with EFAULT or EPERM. */
export const HOLES_FAIL: HolesRule = 0;
/** As in Linux since 5.6: the entry becomes `values.error` and the walk goes on. */
export const HOLES_MARK: HolesRule = 1;

/** Largest device page: 2 MiB. */
export const PAGE_SHIFT_MAX = 21;

/** The arrays and requests of a range. */
export interface HmmRangeOptions {
  /** Results, one entry for each page of the device. The range spans at most so many pages. */
  readonly pfns: Uint32Array;
  /** Requests, one for each page of the device; read if `pfnFlagsMask` is not 0. */
  readonly request?: Uint32Array;
  /** Default: DEFAULT_ENCODING. */
  readonly encoding?: HmmEncoding;
  /** OR-ed into every page's request, in the bits of `encoding.flags`. Default 0: no request. */
  readonly defaultFlags?: number;
  /** AND-ed with every page's entry in `request`. Default 0: `request` is not read. */
  readonly pfnFlagsMask?: number;
  /**
   * A fault does not look at pages whose element of `request` is 0, whatever `defaultFlags` is:
   * their entries are `values.none`, or those of a hole where no device may read (`holes`). For a
   * driver that wants few pages of a long range. Default false: they are read as they are. Needs
   * `request`, a mask, and pages of 4 KiB.
   */
  readonly isSparse?: boolean;
  /** Default HOLES_FAIL. */
  readonly holes?: HolesRule;
  /**
   * Number of the device whose private memory the range may name (`encoding.flags.devicePrivate`).
   * Default 0: none, so every page of a device's private memory comes back to RAM. Linux:
   * `dev_private_owner`.
   */
  readonly owner?: number;
}

/**
 * A range as its user has it: made by `hmmRangeAlloc`, freed by `hmmRangeFree`, registered any
 * number of times in between. The request of page i is `(request[i] & pfnFlagsMask) |
 * defaultFlags`, in the bits of `encoding.flags`. These may be changed between two calls.
 */
export class HmmRange {
  /** The machine that the record lies on. */
  readonly machine: Machine;
  /** The range in shared memory. */
  readonly record: HmmRangeRecord;
  /** The entries, one for each page: what fault and snapshot write. */
  readonly pfns: Uint32Array;
  /** The format of the entries. */
  readonly encoding: HmmEncoding;
  /** What is wanted of each page; undefined: of all, what `defaultFlags` says. */
  request: Uint32Array | undefined;
  /** Bits that are wanted of every page. */
  defaultFlags: number;
  /** The bits of `request` that count. */
  pfnFlagsMask: number;
  /** Pages whose element of `request` is 0 are not looked at. */
  isSparse: boolean;
  /** What a fault does at a page that no mapping has. */
  holes: HolesRule;
  /** Number of the device whose private memory it may name; 0: none. */
  readonly owner: number;
  /** The sequence of the last read-begin (S3 of range-record.ts). */
  notifierSeq: number = NOTHING_READ;
  /** Its slot in the list of what the thread owns. */
  readonly resourceSlot: number;
  /**
   * A page of a source that the last fault found absent: the record of the wait for it
   * (mm/source/bring-in.ts), or 0. `hmmRangeWaitUntilValid` waits for it.
   */
  awaitedPage: number = 0;
  /** Why the page that was awaited could not be had, until the next fault of one; else 0. */
  sourceErrno: Errno = 0;

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
    this.isSparse = options.isSparse ?? false;
    this.holes = options.holes ?? HOLES_FAIL;
    this.owner = options.owner ?? 0;
  }

  /** First page, also after unregister. */
  get startPage(): number {
    return this.record.startPage;
  }

  /** One past the last page, also after unregister. */
  get endPage(): number {
    return this.record.endPage;
  }

  /** Pages of 4 KiB in a page of the device. Of a registered range. */
  get pagesPerEntry(): number {
    return 1 << (this.record.pageShift - PAGE_SHIFT);
  }

  /** Pages of the device in a registered range: so many elements of `pfns` are used. */
  get entries(): number {
    return (this.endPage - this.startPage) / this.pagesPerEntry;
  }

  /** Whether it is between a register that returned 0 and its unregister. */
  isRegistered(): boolean {
    const { hmm } = this.record;
    return hmm !== 0 && hmm !== RANGE_POISON;
  }

  /** The range in messages. */
  toString(): string {
    const { at, startPage, endPage } = this.record;
    const pages = `pages 0x${startPage.toString(16)} to 0x${endPage.toString(16)}`;
    return `hmm range at ${formatPointer(at)} over ${pages}`;
  }
}

/**
 * A new range, owned by this thread, not registered. ENOMEM: the kernel heap is full. EMFILE: the
 * thread owns as many things as it may. Throws AssertionFailure on an ambiguous encoding.
 */
export function* hmmRangeAlloc(machine: Machine, options: HmmRangeOptions): Task<HmmRange | Errno> {
  checkEncoding(options.encoding ?? DEFAULT_ENCODING);
  const at = yield* machine.heap.alloc(HmmRangeRecord, RANGE_RESOURCE);
  if (at === 0) return ENOMEM;
  const resourceSlot = findResource(machine.memory, RANGE_RESOURCE, at);
  if (resourceSlot < 0) {
    yield* machine.heap.free(HmmRangeRecord, at);
    return EMFILE;
  }
  return new HmmRange(machine, HmmRangeRecord.at(machine.memory, at), resourceSlot, options);
}

/** Frees a range that is not registered, in the thread that made it. Do not use it afterwards. */
export function* hmmRangeFree(range: HmmRange): Task<void> {
  if (range.isRegistered())
    bug(`Cannot free ${String(range)}: it is registered; unregister it first`);
  const { machine, record } = range;
  yield* machine.heap.free(HmmRangeRecord, record.at, range.resourceSlot);
}

/**
 * Registers `range` over the bytes [start, end) for `mirror`. The range holds an mm user until
 * `hmmRangeUnregister` (G1). No lock is needed. The mirror stays registered until the range is
 * unregistered. `pageShift` is log2 of the device's page size.
 *
 * | result | meaning |
 * | --- | --- |
 * | 0 | registered |
 * | EINVAL | `start` or `end` is no multiple of 2^pageShift, or not below 16 TiB; `end` is not above `start`; `pageShift` is not 12 to 21; `pfns` (or `request`) is too short; the mirror lives on another machine |
 * | EFAULT | the address space is dead |
 * | ENODEV | the thread that had registered the mirror has died |
 *
 * After an error the range is not registered. To register a registered range throws
 * AssertionFailure. Linux: `hmm_range_register`.
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
  // The mirror's reference keeps it (patch 2), even if the mirror's thread dies now (K4 of
  // mirror.ts).
  const hmm = Hmm.at(machine.memory, mirror.record.hmm);
  const mm = Mm.at(machine.memory, hmm.mm);
  record.mirror = mirror.at;
  record.startPage = start / PAGE_BYTES;
  record.endPage = end / PAGE_BYTES;
  record.pageShift = pageShift;

  record.hmm = hmm.at;
  const errno = yield* joinRegistration(range, mirror, hmm, mm);
  if (errno === 0) return 0;
  if (record.owns !== OWNS_NOTHING) yield* leaveRegistration(machine, record);
  record.hmm = 0;
  return errno;
}

/**
 * Gets what a registered range owns (G1). Each is noted in the step in which it is got, and the
 * place in the tree is undone if this thread dies with the lock: so a reaper drops what there is.
 */
function* joinRegistration(range: HmmRange, mirror: HmmMirror, hmm: Hmm, mm: Mm): Task<Errno> {
  const { record } = range;
  const note = record.at + HmmRangeRecord.offset.owns;
  yield* hmm.rangesLock.lock();
  const hasMirror = mirrorStatus(mirror.record) === MIRROR_REGISTERED; // K4
  if (hasMirror) yield* hmm.refs.get(note, OWNS_HMM); // pairs with the hmmPut of leaveRegistration
  // pairs with the mmput of leaveRegistration
  const isAlive = hasMirror && (yield* mmgetNotZero(mm, note, OWNS_USER));
  if (isAlive) {
    storeOwns(hmm, record, OWNS_REGISTRATION);
    addRange(hmm, record);
    yield* startSequence(hmm, record);
    range.notifierSeq = readSequence(record); // an invalid one equals none that is valid
  }
  yield* hmm.rangesLock.unlock();
  if (!hasMirror) return ENODEV;
  return isAlive ? 0 : EFAULT;
}

/**
 * Undone if this thread dies with the lock. The log stores past the field's accessor, so the watch
 * for races is told here. What `refs.get`, `mmgetNotZero` and `hmmPut` note is in their own steps.
 */
function storeOwns({ memory, rangesLock }: Hmm, record: HmmRangeRecord, owns: number): void {
  const at = record.at + HmmRangeRecord.offset.owns;
  memory.plainWatch?.note(at, true, "hmmRange.owns");
  undoStore(memory, rangesLock.at, at, owns);
}

function isGoodSpan(range: HmmRange, start: number, end: number, pageShift: number): boolean {
  if (!Number.isInteger(pageShift) || pageShift < PAGE_SHIFT || pageShift > PAGE_SHIFT_MAX)
    return false;
  const pageBytes = 2 ** pageShift;
  // NaN fails too
  if (!(start >= 0 && end > start && end <= TASK_SIZE_PAGES * PAGE_BYTES)) return false;
  if (start % pageBytes !== 0 || end % pageBytes !== 0) return false;
  const pages = (end - start) / pageBytes;
  return (
    pages <= range.pfns.length && (range.request === undefined || pages <= range.request.length)
  );
}

/**
 * Unregisters `range`: drops its mm user and its hmm, and poisons it (patch 10). Once for each
 * register that returned 0; a second time throws AssertionFailure. The mm user may be the last, and
 * then the whole exit runs here. So hold no lock, neither the mmap lock nor the driver's, and do
 * not call it from a call-back. Call `hmmRangeValid` before, under the driver lock. Linux:
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
  if (range.awaitedPage !== 0) yield* endWait(machine, range.awaitedPage);
  range.awaitedPage = 0;
  range.sourceErrno = 0;
  yield* leaveRegistration(machine, record);
}

/**
 * Unregisters the record; for a thread that died in here, goes on where it ended. `owns` is lowered
 * in the step in which something is dropped, or in which it becomes a resource of its own.
 */
function* leaveRegistration(machine: Machine, record: HmmRangeRecord): Task<void> {
  const hmm = Hmm.at(machine.memory, record.hmm); // our reference keeps it until the hmmPut below
  const note = record.at + HmmRangeRecord.offset.owns;
  if (record.owns === OWNS_REGISTRATION) {
    yield* hmm.rangesLock.lock();
    removeRange(hmm, record);
    storeOwns(hmm, record, OWNS_USER);
    yield* hmm.rangesLock.unlock();
  }
  // before the hmm, through which the mm is reached
  if (record.owns === OWNS_USER) yield* dropUser(machine, Mm.at(machine.memory, hmm.mm), note);
  yield* hmmPut(machine, hmm, note, OWNS_HMM_ENDING);
  record.hmm = RANGE_POISON;
}

function* dropUser(machine: Machine, mm: Mm, note: number): Task<void> {
  const { memory } = machine;
  memory.plainWatch?.note(note, true, "hmmRange.owns");
  yield* mmput(machine, mm, takeNoted(memory, MM_USER, mm.at, note, OWNS_HMM));
}

/** G3. Throws AssertionFailure that names the range and `verb`, what the caller wanted. */
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

/** The range's address space, which is alive as long as the range is registered (G1). */
export function mmOfRange(range: HmmRange): Mm {
  const { memory } = range.machine;
  return Mm.at(memory, Hmm.at(memory, range.record.hmm).mm);
}

/** The range's hmm, of which the registered range holds a reference. */
export function hmmOfRange(range: HmmRange): Hmm {
  return Hmm.at(range.machine.memory, range.record.hmm);
}

/**
 * Registers `range`, runs `use`, and unregisters the range in every case, so that an early return
 * does not leak it, and with it the address space (Linux 5.3's nouveau did that when its wait timed
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
      // `use` threw holding a lock, or the machine has stopped: the error of `use` says more.
    }
    throw error;
  }
  yield* hmmRangeUnregister(range);
  return result;
}

/** A thread died and left a range, which would keep the address space alive for ever (G1). */
registerHeir(RANGE_RESOURCE, function* (memory, at, slot) {
  const machine = Machine.of(memory);
  const record = HmmRangeRecord.at(memory, at);
  if (record.owns !== OWNS_NOTHING) yield* leaveRegistration(machine, record);
  yield* machine.heap.free(HmmRangeRecord, at, slot);
});
