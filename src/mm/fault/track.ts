/**
 * @module mm/fault/track
 * Write protection for the sake of devices that hold read copies. Linux has no such thing for HMM
 * (its devices read the frame over the bus, or take the page); it is the read duplication of
 * NVIDIA's UVM, made with what page_mkclean does for file pages.
 *
 * A store by the CPU changes no mapping, so no listener would hear of it and a copy would go stale.
 * Hence before a page is copied its entry is made read-only and TRACKED: the next CPU write faults,
 * tells the listeners, and only then makes the entry writable again (fault.ts).
 *
 *     device (service thread)                          CPU thread
 *     hmmRangeFault: notes the sequence number
 *     trackRange: entry read-only, flushed (and again
 *       from the top, if it had been writable)
 *     copies the frame                                 store: faults (entry TRACKED)
 *                                                      start: range's sequence moves on
 *     driver lock: range no longer valid, retry        entry writable, store, end
 *
 * Only private memory can be copied: a shared source may be written through another space's
 * entries, and a user's buffer without any entry. Devices use those over the bus.
 */

import type { Machine } from "../../memory/machine.ts";
import { EVENT_PROTECTION_PAGE, invalidateRange } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../notifier/mmu-notifier.ts";
import { atomicCompareExchange } from "../../sync/atomics.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { Mm } from "../mm-struct.ts";
import { leafOf, nextLeafPage, pteIndex, wordAt } from "../../mmu/radix-table.ts";
import { PTE_PRESENT, PTE_TRACKED, PTE_WRITE } from "../pte.ts";
import { VM_SHARED, partsIn } from "../vma/vma.ts";

/**
 * Write-protects and tracks the present private pages of [startPage, endPage). `copyable[i]`
 * becomes 1 where page `startPage + i` may be copied now, 0 elsewhere. Holding the mmap lock at
 * least for reading, with a range registered over the pages whose sequence was noted before.
 *
 * True: some entry was writable, so the listeners were told (P2 of pte.ts), those of the caller
 * among them: its range is stale, and it has to fault and track again, which then finds nothing
 * writable. Without telling, a device that stores to the frame itself would go on storing, and the
 * copy of another would go stale unheard.
 */
export function* trackRange(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
  copyable: Uint8Array,
): Task<boolean> {
  copyable.fill(0, 0, endPage - startPage);
  mm.mmapLock.assertHeld();
  const { memory } = machine;
  let wereTold = false;
  for (const part of partsIn(memory, mm, startPage, endPage)) {
    if ((part.vma.flags & VM_SHARED) !== 0) continue;
    for (let page = part.startPage; page < part.endPage;) {
      const to = Math.min(nextLeafPage(page), part.endPage);
      const leaf = leafOf(memory, mm.pgd, page);
      if (leaf !== 0 && trackLeaf(memory.words, leaf, page, to, copyable, page - startPage)) {
        yield* takeWrite(machine, mm, leaf, page, to);
        wereTold = true;
      }
      page = to;
    }
  }
  return wereTold;
}

/**
 * Tracks what is present and not writable, from page `from` on; its mark is `copyable[at]`. True:
 * some of the rest is writable. A plain function: it runs for each page that a device copies.
 *
 * @stepped pte
 */
function trackLeaf(
  words: Int32Array,
  leaf: number,
  from: number,
  to: number,
  copyable: Uint8Array,
  at: number,
): boolean {
  let isWritable = false;
  for (let page = from; page < to; page++) {
    const pte = trackEntry(words, pteIndex(leaf, page), PTE_WRITE);
    if ((pte & PTE_PRESENT) !== 0) copyable[at + page - from] = 1;
    if ((pte & PTE_WRITE) !== 0) isWritable = true;
  }
  return isWritable;
}

/**
 * P2 of pte.ts: nobody's range over the pages is valid from before the first right is taken until
 *    the last store made with it is over.
 *
 * @stepped pte
 */
function* takeWrite(machine: Machine, mm: Mm, leaf: number, from: number, to: number): Task<void> {
  const range = invalidateRange(mm, from, to, EVENT_PROTECTION_PAGE);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  for (let page = from; page < to; page++)
    trackEntry(machine.memory.words, pteIndex(leaf, page), 0);
  yield* mm.shootdown.flush(from, to);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
}

/**
 * Tracks a present entry, unless it has one of the bits `unless`. Returns the entry as it was.
 * Loses a race only to a fault that adds rights or to another tracker, each of which can happen a
 * few times at most.
 *
 * @stepped pte
 */
function trackEntry(words: Int32Array, index: number, unless: number): number {
  for (;;) {
    const pte = wordAt(words, index);
    if ((pte & PTE_PRESENT) === 0 || (pte & unless) !== 0) return pte;
    const tracked = (pte | PTE_TRACKED) & ~PTE_WRITE;
    if (tracked === pte || atomicCompareExchange(words, index, pte, tracked) === pte) return pte;
  }
}
