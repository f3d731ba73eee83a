/**
 * @module mm/track
 * Write protection for the sake of devices that hold read copies. Linux has no such thing for HMM (its devices read the frame over the bus, or take the page); it
 * is the read duplication of NVIDIA's UVM, made with what page_mkclean does for file pages.
 *
 * A store by the CPU changes no mapping, so no listener would hear of it and a copy would go stale. Hence before a page is copied its entry is made
 * read-only and TRACKED: the next CPU write faults, tells the listeners, and only then makes the entry writable again (fault.ts).
 *
 *     device (service thread)                          CPU thread
 *     hmmRangeFault: notes the sequence number
 *     trackRange: entry read-only, flushed
 *     copies the frame                                 store: faults (entry TRACKED)
 *                                                      start: range's sequence moves on
 *     driver lock: range no longer valid, retry        entry writable, store, end
 *
 * Only private memory can be copied: a shared source may be written through another space's entries, and a user's buffer without any entry. Devices
 * use those over the bus.
 */

import type { Machine } from "../memory/machine.ts";
import { atomicCompareExchange } from "../sync/atomics.ts";
import type { Task } from "../sync/task.ts";
import type { Mm } from "./mm-struct.ts";
import { forEachLeaf, pteIndex, wordAt } from "./page-table.ts";
import { PTE_PRESENT, PTE_TRACKED, PTE_WRITE } from "./pte.ts";
import { VM_SHARED, vmasIn } from "./vma.ts";

/**
 * Write-protects and tracks the present private pages of [startPage, endPage). `copyable[i]` becomes 1 where page `startPage + i` may be copied now, 0 elsewhere. Holding the
 * mmap lock at least for reading, with a range registered over the pages whose sequence was noted before.
 */
export function* trackRange(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
  copyable: Uint8Array,
): Task<void> {
  copyable.fill(0, 0, endPage - startPage);
  mm.mmapLock.assertHeld();
  const { memory } = machine;
  for (const vma of vmasIn(memory, mm, startPage, endPage)) {
    if ((vma.flags & VM_SHARED) !== 0) continue;
    const first = Math.max(vma.startPage, startPage);
    const last = Math.min(vma.endPage, endPage);
    yield* forEachLeaf(memory, mm.pgd, first, last, function* (leaf, from, to): Task<number> {
      let tookWrite = false;
      for (let page = from; page < to; page++) {
        const before = trackEntry(memory.words, pteIndex(leaf, page));
        if ((before & PTE_PRESENT) !== 0) copyable[page - startPage] = 1;
        if ((before & PTE_WRITE) !== 0) tookWrite = true;
      }
      if (tookWrite) yield* mm.shootdown.flush(from, to);
      return 0;
    });
  }
}

/** Returns the entry as it was. Loses a race only to a fault that adds rights or to another tracker, each of which can happen a few times at most. */
function trackEntry(words: Int32Array, index: number): number {
  for (;;) {
    const pte = wordAt(words, index);
    if ((pte & PTE_PRESENT) === 0) return pte;
    const tracked = (pte | PTE_TRACKED) & ~PTE_WRITE;
    if (tracked === pte || atomicCompareExchange(words, index, pte, tracked) === pte) return pte;
  }
}
