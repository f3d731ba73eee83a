/**
 * @module mm/fault/fault
 * Makes one page accessible, or says why not. Follows Linux `handle_mm_fault`, `do_anonymous_page`,
 * `do_wp_page` and `wp_page_copy` in `mm/memory.c`. CPU threads come here through cpu-fault.ts,
 * devices through hmm's walk: both are the same kind of fault.
 *
 * What one call does depends on the entry and the vma:
 *
 *     entry                   read                 write
 *     none, private           zero page            fresh zeroed frame
 *     none, shared            the source's frame   the source's frame, writable
 *     zero page               (accessible)         fresh frame replaces it    [listeners told]
 *     present, not writable   (accessible)         sole user of the frame:
 *                                                  made writable              [told if TRACKED]
 *                                                  else: copy-on-write        [listeners told]
 *     protection none         entry restored to present, then as above
 *
 *   F1  The caller holds the mmap lock at least for reading, and an mm user; so vmas and tables
 *       stay.
 *   F2  Several threads may fault on one page at once. Every change is a compare-and-swap from the
 *       entry that was judged (P1, P3 of pte.ts); who loses gives its frame back and reports
 *       success, and the access is simply tried again.
 *   F3  "Sole user" is `Ram.pageAnonExclusive`. An entry gets a second user only by fork (mmap lock
 *       for writing), so who is found to be sole stays so while F1 holds. Shared vmas never ask.
 *       References that are no entry's (F4) come and go: they may make somebody copy needlessly,
 *       which is harmless.
 *   F4  Judging and acting on it are one step to each other, under `pageTableLock`: (A) the sole
 *       user's entry is made writable under the lock under which it was judged; where listeners
 *       must be told first, which may wait, it is judged again after that. (B) Who copies gets a
 *       reference of the frame under the lock, looks at the entry again, and keeps the reference
 *       until the entry has been exchanged. Zap takes no such lock, so the frame may be free or
 *       another's at the get; if the entry is unchanged after it, the frame is the entry's. From
 *       the get on the frame cannot leave and come back, and every (A) sees two users and leaves
 *       the entry read-only; an (A) before the get has exchanged the entry, which the look sees. A
 *       tracked entry may have lost its right to write a moment ago (track.ts), with its last
 *       stores under way: it is flushed before its frame is copied.
 *
 * Without F4:
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

import { EVENT_CLEAR, EVENT_PROTECTION_PAGE } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../notifier/mmu-notifier.ts";
import type { Machine } from "../../memory/machine.ts";
import { atomicCompareExchange } from "../../sync/atomics.ts";
import { EFAULT, ENOMEM, type Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import { type Task, doneNumber } from "../../sync/tasks/task.ts";
import type { Mm } from "../mm-struct.ts";
import { leafAlloc, leafOf, pteIndex, wordAt } from "../../mmu/radix-table.ts";
import {
  KIND_PROT_NONE,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_PRESENT,
  PTE_SPECIAL,
  PTE_TRACKED,
  PTE_WRITE,
  ZERO_PFN,
  ZERO_PTE,
  makePte,
  pteKind,
  ptePfn,
} from "../pte.ts";
import { SHMEM_BEYOND_END, shmemFrame } from "../vma/shmem.ts";
import { VM_BUFFER, VM_READ, VM_SHARED, VM_WRITE, type Vma } from "../vma/vma.ts";
import { invalidateRange } from "../zap.ts";

/** What a page gets that is written first. */
const FRESH_RIGHTS: number = PTE_ACCESSED | PTE_WRITE | PTE_DIRTY;

/**
 * The commonest faults without a generator: a private page that has nothing yet, its leaf there and
 * a frame at hand in this thread's free list. True: handled. False: nothing was done,
 * `handleMmFault` must see to it. F1, F2.
 *
 * @stepped pte
 */
export function faultFast(
  machine: Machine,
  mm: Mm,
  vmaFlags: number,
  page: number,
  isWrite: boolean,
): boolean {
  const { memory, ram } = machine;
  const right = isWrite ? VM_WRITE : VM_READ;
  if ((vmaFlags & (VM_SHARED | right)) !== right) return false;
  const leaf = leafOf(memory, mm.pgd, page);
  if (leaf === 0) return false;
  const index = pteIndex(leaf, page);
  if (wordAt(memory.words, index) !== 0) return false;
  if (!isWrite) {
    atomicCompareExchange(memory.words, index, 0, ZERO_PTE);
    return true;
  }
  const pfn = ram.allocFrameFast(true);
  if (pfn === 0) return false;
  if (atomicCompareExchange(memory.words, index, 0, makePte(pfn, FRESH_RIGHTS)) === 0) return true;
  ram.pagePutFast(pfn);
  return true;
}

/**
 * Handles a fault on `page` of `vma`. 0 = handled, or overtaken by another thread: try the access
 * again. EFAULT: the vma does not allow the access, or it lies beyond the end of the source.
 * ENOMEM: no frame or no table. F1.
 *
 * @stepped
 */
export function handleMmFault(
  machine: Machine,
  mm: Mm,
  vma: Vma,
  page: number,
  isWrite: boolean,
): Task<Errno> {
  return faultFast(machine, mm, vma.flags, page, isWrite)
    ? doneNumber(0)
    : faultAsTask(machine, mm, vma, page, isWrite);
}

/** @stepped pte */
function* faultAsTask(
  machine: Machine,
  mm: Mm,
  vma: Vma,
  page: number,
  isWrite: boolean,
): Task<Errno> {
  if ((vma.flags & (isWrite ? VM_WRITE : VM_READ)) === 0) return EFAULT;
  const leaf = yield* leafAlloc(machine, mm.pgd, page);
  if (leaf === 0) return ENOMEM;
  const index = pteIndex(leaf, page);
  const pte = wordAt(machine.memory.words, index);
  if (pte === 0) return yield* faultNone(machine, vma, page, index, isWrite);
  if ((pte & PTE_PRESENT) === 0) return yield* faultNonPresent(machine, index, pte);
  if (!isWrite || (pte & PTE_WRITE) !== 0) return 0;
  if ((vma.flags & VM_SHARED) !== 0) return yield* makeWritable(machine, index, pte);
  return yield* writeProtectedPrivate(machine, mm, page, index, pte);
}

/**
 * Puts `fresh` where `seen` was judged to be. False: somebody was faster (F2).
 *
 * @stepped pte
 */
function* replacePte(machine: Machine, index: number, seen: number, fresh: number): Task<boolean> {
  return atomicCompareExchange(machine.memory.words, index, seen, fresh) === seen;
}

function* faultNone(
  machine: Machine,
  vma: Vma,
  page: number,
  index: number,
  isWrite: boolean,
): Task<Errno> {
  const rights = isWrite ? FRESH_RIGHTS : PTE_ACCESSED;
  if ((vma.flags & VM_SHARED) === 0) {
    if (isWrite) return yield* installFresh(machine, index, 0, rights);
    yield* replacePte(machine, index, 0, ZERO_PTE);
    return 0;
  }
  const offset = vma.offsetPages + (page - vma.startPage);
  const pfn = yield* sharedFrame(machine, vma, offset);
  if (pfn === SHMEM_BEYOND_END) return EFAULT;
  if (pfn === 0) return ENOMEM;
  if (!(yield* replacePte(machine, index, 0, makePte(pfn, rights))))
    yield* machine.ram.pagePut(pfn);
  return 0;
}

/** The frame of a shared source, with a count for the entry. */
function* sharedFrame(machine: Machine, vma: Vma, offset: number): Task<number> {
  if ((vma.flags & VM_BUFFER) === 0) return yield* shmemFrame(machine, vma.source, offset);
  // mremap may have grown the mapping past the buffer's end (Linux: SIGBUS).
  if (offset >= machine.ram.sectionPages(vma.source)) return SHMEM_BEYOND_END;
  const pfn = vma.source + offset;
  yield* machine.ram.pageGet(pfn);
  return pfn;
}

function* installFresh(machine: Machine, index: number, seen: number, rights: number): Task<Errno> {
  const pfn = yield* machine.ram.allocFrame(true);
  if (pfn === 0) return ENOMEM;
  if (!(yield* replacePte(machine, index, seen, makePte(pfn, rights))))
    yield* machine.ram.pagePut(pfn);
  return 0;
}

/**
 * Only "protection none" is made by this layer; the vma's protection has been checked, so the entry
 * may come back.
 */
function* faultNonPresent(machine: Machine, index: number, pte: number): Task<Errno> {
  if (pteKind(pte) !== KIND_PROT_NONE) {
    bug(`page-table entry ${pte >>> 0} is of kind ${pteKind(pte)}, which has no fault handler`);
  }
  yield* replacePte(machine, index, pte, makePte(ptePfn(pte), PTE_ACCESSED));
  return 0;
}

/** What an entry becomes whose frame may simply be written: nobody tracks it any more. */
const asWritable = (pte: number): number =>
  (pte & ~PTE_TRACKED) | PTE_WRITE | PTE_DIRTY | PTE_ACCESSED;

/**
 * A write to a frame of a shared source, which each of its entries may write. None of them is
 * TRACKED (track.ts): nobody need be told.
 */
function* makeWritable(machine: Machine, index: number, pte: number): Task<Errno> {
  yield* replacePte(machine, index, pte, asWritable(pte));
  return 0;
}

/** A device that holds a read copy must drop it before the frame is written (track.ts). */
function* reportAround(
  machine: Machine,
  mm: Mm,
  page: number,
  exchange: Task<unknown>,
): Task<void> {
  const range = invalidateRange(mm, page, page + 1, EVENT_PROTECTION_PAGE);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  yield* exchange;
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
}

function* writeProtectedPrivate(
  machine: Machine,
  mm: Mm,
  page: number,
  index: number,
  pte: number,
): Task<Errno> {
  // Zeros are constant and always there: nothing to judge.
  if ((pte & PTE_SPECIAL) !== 0) return yield* replaceByCopy(machine, mm, page, index, pte);
  const isTracked = (pte & PTE_TRACKED) !== 0;
  const answer = yield* judgeUsers(machine, mm, index, pte, isTracked);
  if (answer === SOLE && isTracked)
    yield* reportAround(machine, mm, page, recheck(machine, mm, index, pte));
  if (answer !== HELD) return 0;
  if (isTracked) yield* mm.shootdown.flush(page, page + 1);
  const result = yield* replaceByCopy(machine, mm, page, index, pte);
  yield* machine.ram.pagePut(ptePfn(pte));
  return result;
}

/** Somebody was faster: the access is simply tried again (F2). */
const OVERTAKEN = 0;
/** The frame has no other user. */
const SOLE = 1;
/** The frame may have others, and the caller has a reference of it. */
const HELD = 2;

/**
 * F4. A sole user's entry is made writable here, unless it is tracked.
 *
 * @stepped pte
 */
function* judgeUsers(
  machine: Machine,
  mm: Mm,
  index: number,
  pte: number,
  isTracked: boolean,
): Task<typeof OVERTAKEN | typeof SOLE | typeof HELD> {
  const { memory, ram } = machine;
  const pfn = ptePfn(pte);
  yield* mm.pageTableLock.lock();
  const isExclusive = yield* ram.pageAnonExclusive(pfn);
  if (isExclusive && !isTracked) yield* replacePte(machine, index, pte, asWritable(pte));
  const isHeld = !isExclusive && (yield* ram.pageGetNotZero(pfn));
  yield* mm.pageTableLock.unlock();
  if (isExclusive) return SOLE;
  if (!isHeld) return OVERTAKEN;
  if (wordAt(memory.words, index) === pte) return HELD;
  yield* ram.pagePut(pfn);
  return OVERTAKEN;
}

/** F4 (A), once the listeners have been told. */
function* recheck(machine: Machine, mm: Mm, index: number, pte: number): Task<void> {
  yield* mm.pageTableLock.lock();
  if (yield* machine.ram.pageAnonExclusive(ptePfn(pte)))
    yield* replacePte(machine, index, pte, asWritable(pte));
  yield* mm.pageTableLock.unlock();
}

/** Of a frame that is held (F4 (B)) or the page of zeros. */
function* replaceByCopy(
  machine: Machine,
  mm: Mm,
  page: number,
  index: number,
  pte: number,
): Task<Errno> {
  const pfn = ptePfn(pte);
  const copy = yield* machine.ram.allocFrame(pfn === ZERO_PFN);
  if (copy === 0) return ENOMEM;
  if (pfn !== ZERO_PFN) yield* machine.ram.copyFrame(pfn, copy);
  const range = invalidateRange(mm, page, page + 1, EVENT_CLEAR);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  const replaced = yield* replacePte(
    machine,
    index,
    pte,
    makePte(copy, PTE_ACCESSED | PTE_DIRTY | PTE_WRITE),
  );
  // Readers of this space may still hold the old, read-only translation; after the flush none does,
  // and a store made with the new one is seen by all.
  if (replaced) yield* mm.shootdown.flush(page, page + 1);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  const surplus = replaced ? pfn : copy;
  if (surplus !== ZERO_PFN) yield* machine.ram.pagePut(surplus);
  return 0;
}
