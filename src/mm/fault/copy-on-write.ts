/**
 * @module mm/fault/copy-on-write
 * A write to private memory whose entry is read-only. Follows Linux `do_wp_page` and `wp_page_copy`
 * in `mm/memory.c`.
 *
 *   C1  A frame is exclusive (`FramePins.pageAnonExclusive`) when the entry is its only user. Only
 *       fork adds an entry, holding the mmap lock for writing; so a frame that is found exclusive
 *       stays so while F1 of vm-fault.ts holds. Other references than entries (C3) come and go.
 *       They may cause a copy that was not necessary, which does no harm.
 *   C2  An exclusive frame is written in place. The check and the exchange of the entry are one
 *       section of `pageTableLock`. A TRACKED entry needs its notifiers called first, which may
 *       wait, so the check is made again after that.
 *   C3  Any other frame is copied. The fault gets a reference of the frame under `pageTableLock`,
 *       rechecks the entry, and keeps the reference until it has exchanged the entry. Zap does not
 *       take this lock, so at the get the frame may be free, or belong to another page. If the
 *       entry is unchanged after the get, the frame is the entry's. From then on the frame cannot
 *       be freed and come back, and every C2 sees two users and leaves the entry read-only. A C2
 *       before the get has exchanged the entry, which the recheck sees.
 *   C4  A TRACKED entry may have lost its right to write a moment ago (track.ts), while the last
 *       stores are under way. It is flushed before its frame is copied.
 *
 * Without C3:
 *
 *     thread 1                                         thread 2
 *     entry is frame 7, shared since a fork
 *                                                      child exits; madvise(DONTNEED):
 *                                                      entry none, frame 7 free
 *                                                      stores: entry is frame 7 again,
 *                                                      fresh, writable
 *     copies frame 7 to frame 8
 *                                                      stores once more, into frame 7
 *                                                      device tracks: entry is frame 7,
 *                                                      read-only, as it was
 *     entry was frame 7: now frame 8                   its second store is lost
 */

import { counterPlace } from "../../memory/space-counters.ts";
import { EVENT_CLEAR, EVENT_PROTECTION_PAGE, invalidateRange } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../notifier/mmu-notifier.ts";
import { ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { PTE_TRACKED, WRITTEN_RIGHTS, ZERO_PFN, makePte, ptePfn, withWrite } from "../pte.ts";
import { handOf, putHand } from "../entries/hand.ts";
import { beginInvalidation, endInvalidation } from "../entries/invalidation.ts";
import { VM_BACKED } from "../vma/vma.ts";
import {
  type VmFault,
  countingFrame,
  getIfNamed,
  isCountable,
  replacePte,
  replacePteNoted,
} from "./vm-fault.ts";

/** Words of the fault's operation (mm/entries/hand.ts): the copy, and the old frame (C3). */
const COPY = 0;
const OLD = 1;
const HANDS = 2;

/** Of a present entry with a frame of its own, which is read-only. */
export function* writeProtectedPrivate(fault: VmFault): Task<Errno> {
  const { machine, mm, page, pte } = fault;
  const isTracked = (pte & PTE_TRACKED) !== 0;
  const operation = yield* beginInvalidation(mm, page, page + 1);
  const old = handOf(operation, OLD);
  const users = yield* countingFrame(machine, ptePfn(pte), () => judgeUsers(fault, isTracked, old));
  if (users === EXCLUSIVE) mm.counters.add(WRITE_FAULTS);
  if (users === EXCLUSIVE && isTracked) yield* notifyAndReuse(fault);
  if (users === HELD && isTracked) yield* mm.shootdown.flush(page, page + 1); // C4
  const result = users === HELD ? yield* copyAndReplace(fault, operation) : 0;
  yield* putHand(machine, operation, HANDS);
  endInvalidation(mm, operation);
  return result;
}

const ANONYMOUS_FAULTS = counterPlace("anonymousFaults");
const COPY_FAULTS = counterPlace("copyFaults");
const WRITE_FAULTS = counterPlace("writeFaults");

/** Another thread has changed the entry: the access is tried again (F2 of vm-fault.ts). */
const OVERTAKEN = 0;
/** The entry is the only user of the frame. */
const EXCLUSIVE = 1;
/** The frame may have other users. The caller has a reference of it. */
const HELD = 2;

/**
 * C2, of an entry that is not tracked, and the first half of C3.
 *
 * @stepped pte
 */
function* judgeUsers(
  fault: VmFault,
  isTracked: boolean,
  note: number,
): Task<typeof OVERTAKEN | typeof EXCLUSIVE | typeof HELD> {
  const { machine, mm, index, pte } = fault;
  const { refs } = machine.ram;
  if (!isCountable(machine, index, pte)) return OVERTAKEN;
  yield* mm.pageTableLock.lock();
  const isExclusive = !isOfCache(fault) && (yield* refs.pageAnonExclusive(ptePfn(pte)));
  if (isExclusive && !isTracked) replacePte(fault, withWrite(pte));
  const isHeld = !isExclusive && (yield* getIfNamed(machine, index, pte, note));
  yield* mm.pageTableLock.unlock();
  if (isExclusive) return EXCLUSIVE;
  return isHeld ? HELD : OVERTAKEN;
}

/**
 * A private mapping of a file maps the frames of its page cache read-only: those are never the
 * entry's alone, even if they are pinned. If the frame has been freed since, and is another cache's
 * now, C3 finds that the entry has changed.
 */
function isOfCache({ machine, vma, pte }: VmFault): boolean {
  return (vma.flags & VM_BACKED) !== 0 && machine.ram.refs.mappingOf(ptePfn(pte)) !== 0;
}

/** C2, of a tracked entry: a device with a read copy drops it before the frame is written. */
function* notifyAndReuse(fault: VmFault): Task<void> {
  const { machine, mm, page, pte } = fault;
  const range = invalidateRange(mm, page, page + 1, EVENT_PROTECTION_PAGE);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  yield* countingFrame(machine, ptePfn(pte), () => reuseIfExclusive(fault));
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
}

/** @stepped pte */
function* reuseIfExclusive(fault: VmFault): Task<void> {
  const { machine, mm, index, pte } = fault;
  if (!isCountable(machine, index, pte)) return;
  yield* mm.pageTableLock.lock();
  if (!isOfCache(fault) && (yield* machine.ram.refs.pageAnonExclusive(ptePfn(pte))))
    replacePte(fault, withWrite(pte));
  yield* mm.pageTableLock.unlock();
}

/** Of the page of zeros, which is constant and never freed: there is nothing to judge. */
export function* replaceByCopy(fault: VmFault): Task<Errno> {
  const { machine, mm, page } = fault;
  const operation = yield* beginInvalidation(mm, page, page + 1);
  const result = yield* copyAndReplace(fault, operation);
  yield* putHand(machine, operation);
  endInvalidation(mm, operation);
  return result;
}

/**
 * Leaves in hand what the fault does not need: the copy, or the entry's count of the old frame. Of
 * a frame the caller has a reference (C3). Linux: `wp_page_copy`.
 */
function* copyAndReplace(fault: VmFault, operation: number): Task<Errno> {
  const { machine, mm, page, pte } = fault;
  const pfn = ptePfn(pte);
  const hand = handOf(operation, COPY);
  const copy = yield* machine.ram.allocFrame(pfn === ZERO_PFN, hand);
  if (copy === 0) return ENOMEM;
  if (pfn !== ZERO_PFN) yield* machine.ram.copyFrame(pfn, copy);
  const range = invalidateRange(mm, page, page + 1, EVENT_CLEAR);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  const fresh = makePte(copy, WRITTEN_RIGHTS);
  const replaced = replacePteNoted(fault, fresh, hand, pfn === ZERO_PFN ? 0 : pte);
  // Readers of this space may still have the old, read-only translation. After the flush nobody
  // has, and everybody sees a store that is made through the new one.
  if (replaced) yield* mm.shootdown.flush(page, page + 1);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  mm.counters.add(pfn === ZERO_PFN ? ANONYMOUS_FAULTS : COPY_FAULTS);
  return 0;
}
