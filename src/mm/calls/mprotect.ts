/**
 * @module mm/calls/mprotect
 * Changes the protection of mappings. Follows Linux `do_mprotect_pkey` and `change_protection` in
 * `mm/mprotect.c`.
 *
 * Rights that go are removed from the entries at once, inside an invalidation. Rights that come are
 * added later by faults, page by page, because a fault may have to copy the frame first. Protection
 * "none" keeps the frames: the entry becomes non-present, of kind KIND_PROT_NONE. A page in a
 * device's private memory stays there; its entry loses the right to write. A device's exclusive
 * access ends (fault/device-exclusive.ts).
 */

import { EVENT_PROTECTION_VMA, invalidateRange } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../notifier/mmu-notifier.ts";
import type { Machine } from "../../memory/machine.ts";
import { atomicExchange } from "../../sync/atomics.ts";
import { EACCES, EINVAL, ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { HUGE_PAGES, clearHuge } from "../huge.ts";
import { beginInvalidation, endInvalidation } from "../entries/invalidation.ts";
import { mmapWriteLock } from "../migration.ts";
import type { Mm } from "../mm-struct.ts";
import { alignedPageOf, isLengthOrZero } from "./page-arguments.ts";
import { TASK_SIZE_PAGES, forEachLeaf, pteIndex, wordAt } from "../../mmu/radix-table.ts";
import {
  KIND_DEVICE_EXCLUSIVE,
  KIND_PROT_NONE,
  KIND_SPECIAL,
  PAGE_BYTES,
  PTE_PRESENT,
  PTE_SPECIAL,
  endExclusive,
  makeNonPresent,
  pteKind,
  ptePfn,
  withoutWrite,
} from "../pte.ts";
import { cutsHuge } from "../vma/huge-vma.ts";
import { changeFlags } from "../vma/vma-flags.ts";
import { isReadOnlySource } from "../vma/vma-source.ts";
import { mergeVmas } from "../vma/vma-map.ts";
import {
  type PageRange,
  VM_BACKED,
  VM_READ,
  VM_SHARED,
  VM_WRITE,
  isFullyMapped,
  vmasIn,
} from "../vma/vma.ts";

/**
 * Gives [address, address + length) the protection (VM_READ | VM_WRITE bits). 0, EINVAL (also of a
 * part of a page of an explicit huge mapping), EACCES (a
 * shared mapping of a source that cannot be written), or ENOMEM:
 * a hole in the range, or its end past the last address (then nothing has changed; Linux changes
 * what lies before the hole), or a mapping that cannot be split. A length of 0 is no error, even
 * over a hole.
 */
export function* doMprotect(
  machine: Machine,
  mm: Mm,
  address: number,
  lengthBytes: number,
  protection: number,
): Task<Errno> {
  const startPage = alignedPageOf(address);
  if (startPage < 0 || !isLengthOrZero(lengthBytes)) return EINVAL;
  if (lengthBytes === 0) return 0;
  const endPage = startPage + Math.ceil(lengthBytes / PAGE_BYTES);
  if (endPage > TASK_SIZE_PAGES) return ENOMEM;
  yield* mmapWriteLock(machine, mm);
  const result = yield* mprotectLocked(machine, mm, { startPage, endPage }, protection);
  yield* mm.mmapLock.upWrite();
  return result;
}

function* mprotectLocked(
  machine: Machine,
  mm: Mm,
  range: PageRange,
  protection: number,
): Task<Errno> {
  if (!isFullyMapped(machine.memory, mm, range)) return ENOMEM;
  if (cutsHuge(machine.memory, mm, range)) return EINVAL;
  if ((protection & VM_WRITE) !== 0 && hasReadOnlySource(machine, mm, range)) return EACCES;
  const result = yield* changeFlags(machine, mm, range, (flags) =>
    withProtection(flags, protection),
  );
  if (result !== 0) return result;
  yield* takeRights(machine, mm, range, protection);
  yield* mergeVmas(machine, mm, range);
  return 0;
}

/** Whether a shared mapping of the range has a source that cannot be written. */
function hasReadOnlySource(machine: Machine, mm: Mm, { startPage, endPage }: PageRange): boolean {
  const shared = VM_SHARED | VM_BACKED;
  for (const { flags, source } of vmasIn(machine.memory, mm, startPage, endPage))
    if ((flags & shared) === shared && isReadOnlySource(machine, source)) return true;
  return false;
}

const withProtection = (flags: number, protection: number): number =>
  (flags & ~(VM_READ | VM_WRITE)) | protection;

/**
 * Removes what the protection does not allow from the entries. The vmas have it already, so a later
 * fault adds no more than it allows. A thread that dies after some leaves leaves the vmas as they
 * were (changeFlags): faults add again what the protection had taken.
 */
function* takeRights(machine: Machine, mm: Mm, pages: PageRange, protection: number): Task<void> {
  const { startPage, endPage } = pages;
  const { memory } = machine;
  const range = invalidateRange(mm, startPage, endPage, EVENT_PROTECTION_VMA);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  yield* forEachLeaf(
    memory,
    mm.pgd,
    startPage,
    endPage,
    function* (leaf, first, end, isHuge): Task<number> {
      if (isHuge && !staysHuge(memory.words, leaf, end - first)) clearHuge(memory, mm, first);
      const index = pteIndex(leaf, first);
      const operation = yield* beginInvalidation(mm, first, end);
      reduceEntries(memory.words, index, index + (end - first), protection);
      yield* mm.shootdown.flush(first, end);
      endInvalidation(mm, operation);
      return 0;
    },
  );
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
}

/**
 * A huge page whose 512 entries change alike stays one; but not one of zeros, of which protection
 * none leaves nothing.
 */
function staysHuge(words: Int32Array, leaf: number, pages: number): boolean {
  return pages === HUGE_PAGES && pteKind(wordAt(words, leaf)) !== KIND_SPECIAL;
}

/**
 * The entries from `start` up to `end`. The mmap lock is held for writing, so no fault changes an
 * entry meanwhile.
 *
 * @stepped pte
 */
function reduceEntries(words: Int32Array, start: number, end: number, protection: number): void {
  for (let index = start; index < end; index++) {
    const shown = wordAt(words, index);
    const reduced = reducedEntry(shown, protection);
    if (reduced !== shown) atomicExchange(words, index, reduced);
  }
}

function reducedEntry(shown: number, protection: number): number {
  const pte = pteKind(shown) === KIND_DEVICE_EXCLUSIVE ? endExclusive(shown) : shown;
  if ((protection & VM_READ) === 0 && (pte & PTE_PRESENT) !== 0)
    return (pte & PTE_SPECIAL) === 0 ? makeNonPresent(KIND_PROT_NONE, ptePfn(pte)) : 0;
  return (protection & VM_WRITE) === 0 ? withoutWrite(pte) : pte;
}
