/**
 * @module mm/mprotect
 * Changes the protection of mappings. Follows Linux `do_mprotect_pkey` and `change_protection` in `mm/mprotect.c`.
 *
 * Rights are taken from the entries at once, inside an invalidation; rights that are given come later, page by page, by faults (which also
 * know whether a frame must be copied first). Protection "none" keeps the frames: the entry becomes non-present of a kind of its own.
 */

import { EVENT_PROTECTION_VMA } from "../notifier/events.ts";
import { mmuNotifierInvalidateRangeEnd, mmuNotifierInvalidateRangeStart } from "../notifier/mmu-notifier.ts";
import type { Machine } from "../memory/machine.ts";
import { atomicCompareExchange, atomicExchange } from "../sync/atomics.ts";
import { EINVAL, ENOMEM, type Errno } from "../sync/errno.ts";
import type { Task } from "../sync/task.ts";
import type { Mm } from "./mm-struct.ts";
import { pagesOf, splitAtBoth } from "./mmap.ts";
import { forEachLeaf, pteIndex, wordAt } from "./page-table.ts";
import { KIND_PROT_NONE, PTE_PRESENT, PTE_SPECIAL, PTE_WRITE, makeNonPresent, ptePfn } from "./pte.ts";
import { mergeVmas } from "./vma-map.ts";
import { VM_READ, VM_WRITE, isFullyMapped, vmasIn } from "./vma.ts";
import { invalidateRange } from "./zap.ts";

/**
 * Gives [address, address + length) the protection (VM_READ | VM_WRITE bits). 0, EINVAL, or ENOMEM: a hole in the range (then nothing has changed; Linux changes
 * what lies before the hole), or a mapping that cannot be split.
 */
export function* doMprotect(
  machine: Machine,
  mm: Mm,
  address: number,
  lengthBytes: number,
  protection: number,
): Task<Errno> {
  const range = pagesOf(address, lengthBytes);
  if (range === undefined) return EINVAL;
  yield* mm.mmapLock.downWrite();
  const result = yield* mprotectLocked(machine, mm, range.startPage, range.endPage, protection);
  yield* mm.mmapLock.upWrite();
  return result;
}

function* mprotectLocked(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
  protection: number,
): Task<Errno> {
  const { memory } = machine;
  if (!isFullyMapped(memory, mm, startPage, endPage)) return ENOMEM;
  const result = yield* splitAtBoth(machine, mm, startPage, endPage);
  if (result !== 0) return result;
  for (const vma of vmasIn(memory, mm, startPage, endPage)) {
    vma.flags = (vma.flags & ~(VM_READ | VM_WRITE)) | protection;
  }
  yield* takeRights(machine, mm, startPage, endPage, protection);
  yield* mergeVmas(machine, mm, startPage, endPage);
  return 0;
}

/** Reduces the entries to the protection. The vmas have it already, so a fault that comes now gives no more than it allows. */
function* takeRights(machine: Machine, mm: Mm, startPage: number, endPage: number, protection: number): Task<void> {
  const { memory } = machine;
  const range = invalidateRange(mm, startPage, endPage, EVENT_PROTECTION_VMA);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  yield* forEachLeaf(memory, mm.pgd, startPage, endPage, function* (leaf, first, end): Task<number> {
    for (let page = first; page < end; page++) reduceEntry(memory.words, pteIndex(leaf, page), protection);
    yield* mm.shootdown.flush(first, end);
    return 0;
  });
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
}

function reduceEntry(words: Int32Array, index: number, protection: number): void {
  const pte = wordAt(words, index);
  if ((pte & PTE_PRESENT) === 0) return;
  if ((protection & VM_READ) === 0) {
    // The mmap lock is held for writing: no fault changes the entry under us, so what is exchanged is what was read.
    atomicExchange(words, index, (pte & PTE_SPECIAL) === 0 ? makeNonPresent(KIND_PROT_NONE, ptePfn(pte)) : 0);
  } else if ((protection & VM_WRITE) === 0 && (pte & PTE_WRITE) !== 0) {
    atomicCompareExchange(words, index, pte, pte & ~PTE_WRITE);
  }
}
