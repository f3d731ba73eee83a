/**
 * @module mm/view/pin-each
 * Pins the pages of a range where they are, one by one. Follows Linux `__get_user_pages` with
 * FOLL_PIN. What must not stay where it is moves first:
 *
 *     page                                        short pin        long pin
 *     of private memory, with a frame alone       stays            stays
 *     that a fork shares, of a file, not there    its own frame    its own frame
 *     in private memory of a device, exclusive    comes to RAM     comes to RAM
 *     in coherent memory of a device              stays            comes to RAM
 *     of shared memory                            the cache's      the cache's
 *     of a shared file, to be written             the cache's      refused
 *     of a user's buffer                          stays            stays
 */

import type { Machine } from "../../memory/machine.ts";
import { pteAt } from "../../mmu/radix-table.ts";
import { EBUSY, EFAULT, type Errno } from "../../sync/errno.ts";
import { type Task, doneNumber } from "../../sync/tasks/task.ts";
import { handleMmFault } from "../fault/fault.ts";
import { FAULT_RETRY } from "../fault/vm-fault.ts";
import { bringToRam } from "../migrate/bring-to-ram.ts";
import { migrateToRun } from "../migrate/migrate-to-run.ts";
import type { Mm } from "../mm-struct.ts";
import { KIND_DEVICE_PRIVATE, KIND_FRAME, isAccessible, pteKind, ptePfn } from "../pte.ts";
import {
  VM_BACKED,
  VM_BUFFER,
  VM_HUGETLB,
  VM_SHARED,
  type Vma,
  offsetOf,
  partsIn,
} from "../vma/vma.ts";
import { VIEW_ABSENT } from "./view-backed.ts";
import { HOLD_LONG_PIN, ViewHold, framesOf } from "./view-hold.ts";

/** What pages are pinned for. */
interface PinRequest {
  readonly isWrite: boolean;
  readonly isLong: boolean;
}

/** Tries for one page, which a device may take away each time. */
const TRIES_MAX = 16;

/**
 * Pins the pages of a pin, and notes their frames in its table, and how many there are (W6 of
 * view-hold.ts). 0, or an errno, or VIEW_ABSENT; then some are pinned. Holding the mmap lock for
 * writing, over a range that is mapped with the right.
 */
export function* pinEach(machine: Machine, mm: Mm, hold: ViewHold): Task<Errno> {
  const request = { isWrite: hold.isWrite !== 0, isLong: hold.kind === HOLD_LONG_PIN };
  const pfns = framesOf(hold);
  const note = hold.at + ViewHold.offset.pinned;
  for (const { vma, startPage, endPage } of partsIn(machine.memory, mm, hold)) {
    for (let page = startPage; page < endPage; page++) {
      const i = page - hold.startPage;
      const pfn = yield* findPage(machine, mm, vma, page, request);
      if (pfn < 0) return pfn;
      pfns[i] = pfn;
      machine.ram.refs.pinRunNoted(pfn, 1, note, i);
    }
  }
  return 0;
}

/** The page's frame. */
function findPage(
  machine: Machine,
  mm: Mm,
  vma: Vma,
  page: number,
  request: PinRequest,
): Task<number> {
  if ((vma.flags & VM_BUFFER) !== 0) return doneNumber(vma.source + offsetOf(vma, page));
  const find = (vma.flags & VM_SHARED) === 0 ? findOwn : findShared;
  return find(machine, mm, vma, page, request);
}

/** Of shared memory: the frame that all its mappings see. */
function* findShared(
  machine: Machine,
  mm: Mm,
  vma: Vma,
  page: number,
  { isWrite, isLong }: PinRequest,
): Task<number> {
  // A write-back would take a copy while the page is being written, and call it clean.
  if (isWrite && isLong && (vma.flags & VM_BACKED) !== 0) return EFAULT;
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const pte = pteAt(machine.memory, mm.pgd, page);
    if (isAccessible(pte, isWrite)) return ptePfn(pte);
    const failed = yield* handleMmFault(machine, mm, vma, page, isWrite);
    if (failed !== 0) return failed === FAULT_RETRY ? VIEW_ABSENT : failed;
  }
  return EBUSY;
}

/** Of private memory: a frame of which this entry is the only user, so that fork copies it. */
function* findOwn(
  machine: Machine,
  mm: Mm,
  vma: Vma,
  page: number,
  { isLong }: PinRequest,
): Task<number> {
  const range = { startPage: page, endPage: page + 1 };
  const isPrivate = pteKind(pteAt(machine.memory, mm.pgd, page)) === KIND_DEVICE_PRIVATE;
  if (isLong || isPrivate || !(yield* isOwn(machine, mm, vma, page))) {
    const failed = yield* bringToRam(machine, mm, range);
    if (failed !== 0) return failed;
  }
  if (yield* isOwn(machine, mm, vma, page)) return ptePfn(pteAt(machine.memory, mm.pgd, page));
  if ((vma.flags & VM_HUGETLB) === 0) return yield* migrateToRun(machine, mm, range);
  const failed = yield* handleMmFault(machine, mm, vma, page, true);
  if (failed !== 0) return failed;
  const isNow = yield* isOwn(machine, mm, vma, page);
  return isNow ? ptePfn(pteAt(machine.memory, mm.pgd, page)) : EBUSY;
}

function* isOwn({ memory, ram }: Machine, mm: Mm, { flags }: Vma, page: number): Task<boolean> {
  const pte = pteAt(memory, mm.pgd, page);
  if (pteKind(pte) !== KIND_FRAME) return false;
  if ((flags & VM_BACKED) !== 0 && ram.refs.mappingOf(ptePfn(pte)) !== 0) return false;
  return yield* ram.refs.pageAnonExclusive(ptePfn(pte));
}
