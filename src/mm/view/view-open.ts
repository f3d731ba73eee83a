/**
 * @module mm/view/view-open
 * Opens and closes views (view-hold.ts has what they are). Follows Linux `pin_user_pages`; the
 * gathering follows `migrate_pages` in that entries are emptied and flushed before anything is
 * copied, so that no store is lost.
 */

import { EVENT_CLEAR, invalidateRange } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../notifier/mmu-notifier.ts";
import { Machine } from "../../memory/machine.ts";
import { atomicExchange, atomicStore } from "../../sync/atomics.ts";
import { EBUSY, EFAULT, EINVAL, EMFILE, ENOMEM, type Errno } from "../../sync/errno.ts";
import {
  addResource,
  registerReleaser,
  removeResource,
  resourceKind,
} from "../../sync/death/resources.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { Mm } from "../mm-struct.ts";
import { mmget, mmput } from "../lifetime/mm.ts";
import { LEAF_WORDS, leafAlloc, leafOf, pteIndex, wordAt } from "../../mmu/radix-table.ts";
import {
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_PRESENT,
  PTE_SPECIAL,
  PTE_TRACKED,
  PTE_WRITE,
  ZERO_PFN,
  holdsFrame,
  makePte,
  ptePfn,
} from "../pte.ts";
import { SHMEM_BUSY, shmemMove } from "../vma/shmem.ts";
import { ViewHold, beginHold, endHold } from "./view-hold.ts";
import { closeWatch } from "./view-watch.ts";
import {
  VM_BUFFER,
  VM_READ,
  VM_SHARED,
  VM_WRITE,
  type Vma,
  isFullyMapped,
  vmaOf,
  vmasIn,
} from "../vma/vma.ts";
import { isBeyondSource } from "../vma/vma-map.ts";

const VIEW_RESOURCE: number = resourceKind("view");

/**
 * Opens a view of [startPage, endPage): the hold's pointer, or EFAULT (a page is not mapped, or not
 * with that right), EBUSY (frames must move to become contiguous and one of them is pinned or
 * shared with another space), EINVAL (a user's buffer and other memory in one view), EMFILE (the
 * thread owns too much already), ENOMEM. Takes the mmap lock; the caller holds an mm user.
 */
export function* viewOpen(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
  isWrite: boolean,
): Task<number> {
  const { heap, memory } = machine;
  const at = yield* heap.alloc(ViewHold);
  if (at === 0) return ENOMEM;
  const hold = ViewHold.at(memory, at);
  hold.mm = mm.at;
  hold.startPage = startPage;
  hold.endPage = endPage;
  hold.isWrite = isWrite ? 1 : 0;
  yield* mm.mmapLock.downWrite();
  const result = yield* openLocked(machine, mm, hold);
  yield* mm.mmapLock.upWrite();
  if (result === 0) return at;
  yield* heap.free(ViewHold, at);
  return result;
}

/**
 * Closes a view of this thread's; its frames may be given away from here on. Takes the mmap lock;
 * may be the last to use the address space.
 */
export function viewClose(machine: Machine, at: number): Task<void> {
  const { slot } = ViewHold.at(machine.memory, at);
  return closeHold(machine, at, () => removeResource(machine.memory, slot));
}

/** `disown` takes the view off its thread's list, directly before anything is given back. */
function* closeHold(machine: Machine, at: number, disown: () => void): Task<void> {
  const { heap, memory, ram } = machine;
  const hold = ViewHold.at(memory, at);
  const mm = Mm.at(memory, hold.mm);
  yield* closeWatch(machine, hold);
  if (hold.isWrite !== 0) {
    yield* mm.mmapLock.downWrite();
    disown();
    yield* endHold(machine, mm, hold);
    yield* mm.mmapLock.upWrite();
  } else {
    disown();
  }
  const pages = hold.endPage - hold.startPage;
  for (let i = 0; i < pages; i++) yield* ram.refs.pageUnpin(hold.pfn + i);
  yield* heap.free(ViewHold, at);
  yield* mmput(machine, mm);
}

/** The thread that had opened the view has died. */
registerReleaser(VIEW_RESOURCE, (memory, at) => closeHold(Machine.of(memory), at, () => {}));

/**
 * Listed first and while the lock is held: a thread that dies anywhere in here stops the machine,
 * and one that dies later is found to own the view. Holding the mmap lock for writing.
 */
function* openLocked(machine: Machine, mm: Mm, hold: ViewHold): Task<Errno> {
  const { startPage, endPage } = hold;
  hold.slot = addResource(machine.memory, VIEW_RESOURCE, hold.at);
  if (hold.slot < 0) return EMFILE;
  const result = yield* findRun(machine, mm, hold);
  if (result !== 0) {
    removeResource(machine.memory, hold.slot);
    return result;
  }
  // the caller's user keeps it from 0 (R2); this one is the view's own (W1 of view-hold.ts)
  yield* mmget(mm);
  for (let i = 0; i < endPage - startPage; i++) yield* machine.ram.refs.pagePin(hold.pfn + i);
  if (hold.isWrite !== 0) {
    yield* beginHold(machine, mm, hold);
    allowWrites(machine, mm, startPage, endPage);
  }
  return 0;
}

/** Sets `hold.pfn` to the first of the range's frames, which are in a row when this returns 0. */
function* findRun(machine: Machine, mm: Mm, hold: ViewHold): Task<Errno> {
  const { startPage, endPage } = hold;
  const { memory } = machine;
  const right = hold.isWrite === 0 ? VM_READ : VM_READ | VM_WRITE;
  if (!isFullyMapped(memory, mm, startPage, endPage)) return EFAULT;
  for (const vma of vmasIn(memory, mm, startPage, endPage)) {
    if (
      (vma.flags & right) !== right ||
      isBeyondSource(machine, vma, Math.min(vma.endPage, endPage) - 1)
    )
      return EFAULT;
  }
  const first = vmaOf(memory, mm, startPage);
  if (first === undefined) return EFAULT;
  if ((first.flags & VM_BUFFER) !== 0) {
    if (first.endPage < endPage) return EINVAL;
    const offset = first.offsetPages + (startPage - first.startPage);
    hold.pfn = first.source + offset;
    return 0;
  }
  for (const vma of vmasIn(memory, mm, startPage, endPage))
    if ((vma.flags & VM_BUFFER) !== 0) return EINVAL;
  const pfn = yield* runAlready(machine, mm, startPage, endPage);
  if (pfn !== 0) {
    hold.pfn = pfn;
    return 0;
  }
  return yield* gather(machine, mm, hold);
}

/** @stepped pte */
function pteOf(machine: Machine, mm: Mm, page: number): number {
  const leaf = leafOf(machine.memory, mm.pgd, page);
  return leaf === 0 ? 0 : wordAt(machine.memory.words, pteIndex(leaf, page));
}

/**
 * First frame when the range's frames exist, are in a row in one section, and are this space's own;
 * else 0. Holding the mmap lock for writing: entries stay, so they hold the frames that are judged,
 * and who is found to be sole stays so.
 */
function* runAlready(machine: Machine, mm: Mm, startPage: number, endPage: number): Task<number> {
  const pfn = ptePfn(pteOf(machine, mm, startPage));
  if (pfn === ZERO_PFN) return 0;
  const section = machine.ram.sections.of(pfn);
  if (pfn + (endPage - startPage) > section.basePfn + section.pages) return 0;
  for (const vma of vmasIn(machine.memory, mm, startPage, endPage)) {
    const isPrivate = (vma.flags & VM_SHARED) === 0;
    const end = Math.min(vma.endPage, endPage);
    for (let page = Math.max(vma.startPage, startPage); page < end; page++) {
      const pte = pteOf(machine, mm, page);
      const expected = pfn + (page - startPage);
      if ((pte & (PTE_PRESENT | PTE_SPECIAL)) !== PTE_PRESENT || ptePfn(pte) !== expected) return 0;
      if (isPrivate && !(yield* machine.ram.refs.pageAnonExclusive(expected))) return 0;
    }
  }
  return pfn;
}

/**
 * Gives the range frames in a row, with the contents that it has. Holding the mmap lock for
 * writing: no fault fills what we empty.
 *
 * @stepped pte
 */
function* gather(machine: Machine, mm: Mm, hold: ViewHold): Task<Errno> {
  const { startPage, endPage } = hold;
  const { memory, ram } = machine;
  // Said before the range is walked, which may be the whole address space.
  if (endPage - startPage > ram.usage().totalPages) return ENOMEM;
  if (!(yield* canMove(machine, mm, startPage, endPage))) return EBUSY;
  for (let page = startPage; page < endPage; page += LEAF_WORDS - (page % LEAF_WORDS)) {
    if ((yield* leafAlloc(machine, mm.pgd, page)) === 0) return ENOMEM;
  }
  const run = yield* ram.allocRun(endPage - startPage, true);
  if (run === 0) return ENOMEM;
  const range = invalidateRange(mm, startPage, endPage, EVENT_CLEAR);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  const old = new Int32Array(endPage - startPage);
  for (let page = startPage; page < endPage; page++) {
    const index = pteIndex(leafOf(memory, mm.pgd, page), page);
    old[page - startPage] = atomicExchange(memory.words, index, 0);
  }
  yield* mm.shootdown.flush(startPage, endPage);
  let result: Errno = 0;
  for (const vma of vmasIn(memory, mm, startPage, endPage)) {
    if (result === 0) result = yield* refill(machine, mm, hold, vma, old, run);
  }
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  hold.pfn = run;
  return result;
}

/**
 * Copies one vma's part of the range into the run and puts the entries back, now of the run's
 * frames. EBUSY, ENOMEM: a shared page could not be moved. What was moved before it stays moved,
 * which nobody notices; it and all behind it is as it was.
 *
 * @stepped pte
 */
function* refill(
  machine: Machine,
  mm: Mm,
  hold: ViewHold,
  vma: Vma,
  old: Int32Array,
  run: number,
): Task<Errno> {
  const { memory, ram } = machine;
  const isShared = (vma.flags & VM_SHARED) !== 0;
  const end = Math.min(vma.endPage, hold.endPage);
  for (let page = Math.max(vma.startPage, hold.startPage); page < end; page++) {
    const i = page - hold.startPage;
    const pte = wordAt(old, i);
    if (isShared) {
      const offset = vma.offsetPages + (page - vma.startPage);
      const from = yield* shmemMove(machine, vma.source, offset, run + i, holdsFrame(pte) ? 1 : 0);
      if (from < 0) {
        yield* putBack(machine, mm, hold, page, old, run);
        return from === SHMEM_BUSY ? EBUSY : from;
      }
      if (from !== ZERO_PFN) yield* ram.refs.pagePut(from);
    } else if (holdsFrame(pte)) yield* ram.copyFrame(ptePfn(pte), run + i);
    const index = pteIndex(leafOf(memory, mm.pgd, page), page);
    const rights =
      (vma.flags & VM_WRITE) === 0 ? PTE_ACCESSED : PTE_ACCESSED | PTE_WRITE | PTE_DIRTY;
    atomicStore(memory.words, index, makePte(run + i, rights));
    if (holdsFrame(pte)) yield* ram.refs.pagePut(ptePfn(pte));
  }
  return 0;
}

/**
 * From `startPage` on the entries are as they were, and the run's frames are free.
 *
 * @stepped pte
 */
function* putBack(
  machine: Machine,
  mm: Mm,
  hold: ViewHold,
  startPage: number,
  old: Int32Array,
  run: number,
): Task<void> {
  const { memory, ram } = machine;
  for (let page = startPage; page < hold.endPage; page++) {
    const i = page - hold.startPage;
    atomicStore(memory.words, pteIndex(leafOf(memory, mm.pgd, page), page), wordAt(old, i));
    yield* ram.refs.pagePut(run + i);
  }
}

/**
 * A private frame that others look at directly (pins) cannot be moved under them. Of shared ones
 * `shmemMove` decides.
 */
function* canMove(machine: Machine, mm: Mm, startPage: number, endPage: number): Task<boolean> {
  const { memory, ram } = machine;
  for (const vma of vmasIn(memory, mm, startPage, endPage)) {
    if ((vma.flags & VM_SHARED) !== 0) continue;
    const end = Math.min(vma.endPage, endPage);
    for (let page = Math.max(vma.startPage, startPage); page < end; page++) {
      const pte = pteOf(machine, mm, page);
      if (!holdsFrame(pte)) continue;
      // One that a fork shares is copied out of, not moved; it has no pins (pageAnonExclusive).
      if (yield* ram.refs.pagePinned(ptePfn(pte))) return false;
    }
  }
  return true;
}

/**
 * The view's frames are about to be written: what tracks or forbids writes through the entries has
 * no meaning any more.
 *
 * @stepped pte
 */
function allowWrites(machine: Machine, mm: Mm, startPage: number, endPage: number): void {
  const { memory } = machine;
  for (let page = startPage; page < endPage; page++) {
    const leaf = leafOf(memory, mm.pgd, page);
    if (leaf === 0) continue;
    const index = pteIndex(leaf, page);
    const pte = wordAt(memory.words, index);
    if ((pte & PTE_PRESENT) === 0) continue;
    atomicStore(memory.words, index, (pte & ~PTE_TRACKED) | PTE_WRITE | PTE_DIRTY | PTE_ACCESSED);
  }
}
