/**
 * @module mm/migrate/exclusive
 * Makes pages of RAM exclusive to a device: the CPU is kept out while the device works on the frame
 * itself, for atomic operations that its bus cannot make. Follows Linux `make_device_exclusive`. A
 * driver comes here through `hmmRangeExclusive` (hmm/walk/exclusive.ts), which also says when the
 * device may begin.
 *
 *   X1  A page becomes exclusive from a present, writable entry of private memory, whose frame
 *       therefore has no other entry. It keeps frame and count.
 *   X2  It is over with the first access of anybody else, be it the CPU, a fault of a device, a
 *       view, or an eviction; and with fork, mprotect and mremap. Each is an invalidation, in which
 *       the device's driver ends the access before the entry changes.
 *   X3  An entry does not say whose it is. So who wants a page that is exclusive already notifies,
 *       with its own name, as Linux's does, which faults the page in first: the entry stays, and
 *       another device has lost it. A driver that is notified with its own name goes on.
 *   X9  A thread that dies while it takes pages has taken some of them: another one flushes all
 *       and ends the invalidation. A page that is exclusive to no device is the CPU's with the
 *       next touch.
 *
 * Pages of one leaf that are ready are taken together: an invalidation and a flush for each cost as
 * much as ten pages.
 */

import type { Machine } from "../../memory/machine.ts";
import { leafAlloc, nextLeafPage, pteAt, pteIndex, wordAt } from "../../mmu/radix-table.ts";
import { EVENT_EXCLUSIVE, invalidateRange } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../notifier/mmu-notifier.ts";
import { atomicCompareExchange } from "../../sync/atomics.ts";
import { EBUSY, EFAULT, ENOMEM, EOPNOTSUPP, EPERM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { handleMmFault } from "../fault/fault.ts";
import { FAULT_RETRY } from "../fault/vm-fault.ts";
import { splitHuge } from "../huge.ts";
import { beginInvalidation, endInvalidation } from "../entries/invalidation.ts";
import type { Mm } from "../mm-struct.ts";
import {
  KIND_DEVICE_EXCLUSIVE,
  KIND_FRAME,
  isAccessible,
  makeNonPresent,
  pteKind,
  ptePfn,
} from "../pte.ts";
import {
  type PageRange,
  VM_HUGETLB,
  VM_READ,
  VM_SHARED,
  VM_SPECIAL,
  VM_WRITE,
  partsIn,
} from "../vma/vma.ts";

/** Who takes pages. */
export interface Taker {
  /** The device's id. */
  readonly owner: number;
  /** Its range, which goes on after the notification; or 0. */
  readonly range: number;
}

/** Faults and tries for one page, which others may take away each time. */
const TRIES_MAX = 16;
/** Pages that are taken together, at most: others wait no longer for one of them. */
const TAKEN_MAX = 512;

/**
 * Makes every page of the range exclusive to the device of `taker`. Holding the mmap lock at least
 * for reading, and no lock that a driver's call-back takes. 0, or of the first page that cannot be
 * had:
 *
 * | result | meaning |
 * | --- | --- |
 * | EFAULT | not mapped, not readable, or no memory for devices |
 * | EPERM | not writable |
 * | EOPNOTSUPP | shared memory: other entries may write it; or an explicit huge mapping |
 * | EBUSY | pinned; or others took it away each time; or it is to be read from its source: fault it in first |
 * | ENOMEM | no frame or no table |
 *
 * The pages before it are exclusive then.
 */
export function* makeDeviceExclusive(
  machine: Machine,
  mm: Mm,
  range: PageRange,
  taker: Taker,
): Task<Errno> {
  let page = range.startPage;
  for (const { vma, startPage, endPage } of partsIn(machine.memory, mm, range)) {
    if (startPage !== page) return EFAULT;
    if ((vma.flags & VM_READ) === 0 || (vma.flags & VM_SPECIAL) !== 0) return EFAULT;
    if ((vma.flags & VM_WRITE) === 0) return EPERM;
    if ((vma.flags & (VM_SHARED | VM_HUGETLB)) !== 0) return EOPNOTSUPP;
    while (page < endPage) {
      const taken = yield* takeFromDevices(machine, mm, { startPage: page, endPage }, taker);
      if (taken > page) {
        page = taken;
        continue;
      }
      const fault = (): Task<Errno> => handleMmFault(machine, mm, vma, page, true);
      const left = { startPage: page, endPage };
      const result = yield* makeFirstExclusive(machine, mm, left, taker, fault);
      if (result < 0) return result;
      page += result;
    }
  }
  return page === range.endPage ? 0 : EFAULT;
}

/**
 * The first page of the range, and those behind it that are ready. How many are exclusive, or why
 * the first one is not.
 *
 * @stepped pte
 */
function* makeFirstExclusive(
  machine: Machine,
  mm: Mm,
  { startPage, endPage }: PageRange,
  taker: Taker,
  fault: () => Task<Errno>,
): Task<number> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    yield* splitHuge(machine, mm, startPage);
    const pte = pteAt(machine.memory, mm.pgd, startPage);
    if (pteKind(pte) === KIND_DEVICE_EXCLUSIVE) {
      const only = { startPage, endPage: startPage + 1 };
      if ((yield* takeFromDevices(machine, mm, only, taker)) > startPage) return 1;
    } else if (!mayTake(pte)) {
      const failed = yield* fault();
      if (failed !== 0) return failed === FAULT_RETRY ? EBUSY : failed;
    } else if (yield* machine.ram.refs.pagePinned(ptePfn(pte))) {
      return EBUSY;
    } else {
      const leaf = yield* leafAlloc(machine, mm.pgd, startPage);
      if (leaf === 0) return ENOMEM;
      const ready = { startPage, endPage: readyEnd(machine, leaf, startPage, endPage) };
      const taken = yield* takeFromCpu(machine, mm, ready, leaf, taker);
      if (taken > 0) return taken;
    }
  }
  return EBUSY;
}

/** Whether the CPU may store to the page: so it has no other entry (X1). */
function mayTake(pte: number): boolean {
  return isAccessible(pte, true) && pteKind(pte) === KIND_FRAME;
}

/**
 * One past the last page, from `page` on, that may be taken with it, as it seems: of its leaf,
 * which is not huge. Pins come and go with the mmap lock held for writing.
 *
 * @stepped pte
 */
function readyEnd({ memory, ram }: Machine, leaf: number, page: number, endPage: number): number {
  const most = Math.min(endPage, nextLeafPage(page), page + TAKEN_MAX);
  let end = page + 1;
  for (; end < most; end++) {
    const pte = wordAt(memory.words, pteIndex(leaf, end));
    if (!mayTake(pte) || ram.refs.pagePinnedFast(ptePfn(pte))) break;
  }
  return end;
}

/**
 * X3, for the pages from the first of the range on that are exclusive already. Returns the first
 * page that is not exclusive afterwards.
 */
function* takeFromDevices(
  machine: Machine,
  mm: Mm,
  { startPage, endPage }: PageRange,
  taker: Taker,
): Task<number> {
  const end = exclusiveEnd(machine, mm, startPage, endPage);
  if (end === startPage) return startPage;
  const range = invalidateRange(mm, startPage, end, EVENT_EXCLUSIVE, as(taker));
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  return exclusiveEnd(machine, mm, startPage, end);
}

function as({ owner, range }: Taker): { owner: number; exceptRange: number } {
  return { owner, exceptRange: range };
}

/** @stepped pte */
function exclusiveEnd({ memory }: Machine, mm: Mm, startPage: number, endPage: number): number {
  let page = startPage;
  while (page < endPage && pteKind(pteAt(memory, mm.pgd, page)) === KIND_DEVICE_EXCLUSIVE) page++;
  return page;
}

/**
 * X1, of pages that nobody has pinned. How many of the first are taken: the entry of the next one
 * is another by now.
 *
 * @stepped pte
 */
function* takeFromCpu(
  machine: Machine,
  mm: Mm,
  { startPage, endPage }: PageRange,
  leaf: number,
  taker: Taker,
): Task<number> {
  const { words } = machine.memory;
  const range = invalidateRange(mm, startPage, endPage, EVENT_EXCLUSIVE, as(taker));
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  const operation = yield* beginInvalidation(mm, startPage, endPage);
  let page = startPage;
  for (; page < endPage; page++) {
    const index = pteIndex(leaf, page);
    const pte = wordAt(words, index);
    const exclusive = makeNonPresent(KIND_DEVICE_EXCLUSIVE, ptePfn(pte));
    if (!mayTake(pte) || atomicCompareExchange(words, index, pte, exclusive) !== pte) break;
  }
  // A store that the CPU has begun is over after this.
  if (page > startPage) yield* mm.shootdown.flush(startPage, page);
  endInvalidation(mm, operation);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  return page - startPage;
}
