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
 *   X9  A thread that dies while it takes a page has taken it, or has not: another one flushes the
 *       page and ends the invalidation. A page that is exclusive to no device is the CPU's with the
 *       next touch.
 */

import type { Machine } from "../../memory/machine.ts";
import { leafAlloc, pteAt, pteIndex } from "../../mmu/radix-table.ts";
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
      const result = yield* makePageExclusive(machine, mm, page, taker, fault);
      if (result !== 0) return result;
      page++;
    }
  }
  return page === range.endPage ? 0 : EFAULT;
}

/** @stepped pte */
function* makePageExclusive(
  machine: Machine,
  mm: Mm,
  page: number,
  taker: Taker,
  fault: () => Task<Errno>,
): Task<Errno> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    yield* splitHuge(machine, mm, page);
    const pte = pteAt(machine.memory, mm.pgd, page);
    if (pteKind(pte) === KIND_DEVICE_EXCLUSIVE) {
      const only = { startPage: page, endPage: page + 1 };
      if ((yield* takeFromDevices(machine, mm, only, taker)) > page) return 0;
    } else if (!isAccessible(pte, true) || pteKind(pte) !== KIND_FRAME) {
      const failed = yield* fault();
      if (failed !== 0) return failed === FAULT_RETRY ? EBUSY : failed;
    } else if (yield* machine.ram.refs.pagePinned(ptePfn(pte))) {
      return EBUSY;
    } else {
      const leaf = yield* leafAlloc(machine, mm.pgd, page);
      if (leaf === 0) return ENOMEM;
      if (yield* takeFromCpu(machine, mm, page, pteIndex(leaf, page), pte, taker)) return 0;
    }
  }
  return EBUSY;
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
 * X1. False: the entry is another by now.
 *
 * @stepped pte
 */
function* takeFromCpu(
  machine: Machine,
  mm: Mm,
  page: number,
  index: number,
  pte: number,
  taker: Taker,
): Task<boolean> {
  const { words } = machine.memory;
  const exclusive = makeNonPresent(KIND_DEVICE_EXCLUSIVE, ptePfn(pte));
  const range = invalidateRange(mm, page, page + 1, EVENT_EXCLUSIVE, as(taker));
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  const operation = yield* beginInvalidation(mm, page, page + 1);
  const isTaken = atomicCompareExchange(words, index, pte, exclusive) === pte;
  // A store that the CPU has begun is over after this.
  if (isTaken) yield* mm.shootdown.flush(page, page + 1);
  endInvalidation(mm, operation);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  return isTaken;
}
