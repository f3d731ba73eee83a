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
import { beginHalfDone, endHalfDone } from "../half-done.ts";
import { splitHuge } from "../huge.ts";
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

/** Faults and tries for one page, which others may take away each time. */
const TRIES_MAX = 16;

/**
 * Makes every page of the range exclusive to the device `owner`. Holding the mmap lock at least for
 * reading, and no lock that a driver's call-back takes. 0, or of the first page that cannot be had:
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
  owner: number,
): Task<Errno> {
  let page = range.startPage;
  for (const { vma, startPage, endPage } of partsIn(machine.memory, mm, range)) {
    if (startPage !== page) return EFAULT;
    if ((vma.flags & VM_READ) === 0 || (vma.flags & VM_SPECIAL) !== 0) return EFAULT;
    if ((vma.flags & VM_WRITE) === 0) return EPERM;
    if ((vma.flags & (VM_SHARED | VM_HUGETLB)) !== 0) return EOPNOTSUPP;
    for (; page < endPage; page++) {
      const fault = (): Task<Errno> => handleMmFault(machine, mm, vma, page, true);
      const result = yield* makePageExclusive(machine, mm, page, owner, fault);
      if (result !== 0) return result;
    }
  }
  return page === range.endPage ? 0 : EFAULT;
}

/** @stepped pte */
function* makePageExclusive(
  machine: Machine,
  mm: Mm,
  page: number,
  owner: number,
  fault: () => Task<Errno>,
): Task<Errno> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    yield* splitHuge(machine, mm, page);
    const pte = pteAt(machine.memory, mm.pgd, page);
    if (pteKind(pte) === KIND_DEVICE_EXCLUSIVE) return 0;
    if (!isAccessible(pte, true) || pteKind(pte) !== KIND_FRAME) {
      const failed = yield* fault();
      if (failed !== 0) return failed === FAULT_RETRY ? EBUSY : failed;
    } else if (yield* machine.ram.refs.pagePinned(ptePfn(pte))) {
      return EBUSY;
    } else {
      const leaf = yield* leafAlloc(machine, mm.pgd, page);
      if (leaf === 0) return ENOMEM;
      if (yield* takeFromCpu(machine, mm, page, pteIndex(leaf, page), pte, owner)) return 0;
    }
  }
  return EBUSY;
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
  owner: number,
): Task<boolean> {
  const { words } = machine.memory;
  const exclusive = makeNonPresent(KIND_DEVICE_EXCLUSIVE, ptePfn(pte));
  const range = invalidateRange(mm, page, page + 1, EVENT_EXCLUSIVE, { owner });
  beginHalfDone(mm);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  const isTaken = atomicCompareExchange(words, index, pte, exclusive) === pte;
  // A store that the CPU has begun is over after this.
  if (isTaken) yield* mm.shootdown.flush(page, page + 1);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  endHalfDone(mm);
  return isTaken;
}
