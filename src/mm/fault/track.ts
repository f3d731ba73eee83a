/**
 * @module mm/fault/track
 * Write-protects pages of which devices have read copies. Linux has no such thing for HMM: its
 * devices read the frame over the bus, or migrate the page. It is the read duplication of NVIDIA's
 * UVM, done as `page_mkclean` does it for file pages.
 *
 * A store by the CPU changes no mapping, so no notifier would be called and the copy would go
 * stale. So before a page is copied, its entry is made read-only and TRACKED. The next CPU write
 * faults, calls the notifiers, and only then makes the entry writable (copy-on-write.ts).
 *
 *     device (service thread)                          CPU thread
 *     hmmRangeFault: notes the sequence number
 *     trackRange: entry read-only, flushed (and again
 *       from the top, if it had been writable)
 *     copies the frame                                 store: faults (entry TRACKED)
 *                                                      start: range's sequence moves on
 *     driver lock: range no longer valid, retry        entry writable, store, end
 *
 * A huge page is split first, for a store is to invalidate the copy of one page; explicit huge
 * mappings are not copied.
 *
 * Only private memory is copied. A shared source may be written through another space's entries,
 * and a user's buffer without any entry; so may the frames of a file that a private mapping shares
 * with its page cache. Devices use those over the bus.
 */

import type { Machine } from "../../memory/machine.ts";
import { EVENT_PROTECTION_PAGE, invalidateRange } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../notifier/mmu-notifier.ts";
import { atomicCompareExchange } from "../../sync/atomics.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { splitHuge } from "../huge.ts";
import { beginInvalidation, endInvalidation } from "../entries/invalidation.ts";
import type { Mm } from "../mm-struct.ts";
import { leafOf, nextLeafPage, pteIndex, wordAt } from "../../mmu/radix-table.ts";
import { PTE_PRESENT, PTE_TRACKED, PTE_WRITE, ptePfn } from "../pte.ts";
import { VM_BACKED, VM_HUGETLB, VM_SHARED, partsIn } from "../vma/vma.ts";

/**
 * Write-protects and tracks the present private pages of [startPage, endPage): all of them, or
 * those with `asked[i]` not 0, page `startPage + i`. `copyable[i]` becomes 1 where that page may be
 * copied now, 0 elsewhere. Holding the mmap lock at least for reading, with a range registered over
 * the pages whose sequence was noted before.
 *
 * True: some entry was writable, so the notifiers were called (P2 of pte.ts), those of the caller,
 * too. Its range is stale. It faults and tracks again, and finds nothing writable then. Without the
 * call, a device that stores to the frame over the bus would go on, and the copy of another device
 * would go stale.
 */
export function* trackRange(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
  copyable: Uint8Array,
  asked: Uint8Array = ALL_ASKED,
): Task<boolean> {
  copyable.fill(0, 0, endPage - startPage);
  mm.mmapLock.assertHeld();
  const { memory } = machine;
  const marks = { asked, fours: foursOf(asked), copyable, startPage };
  let wasInvalidated = false;
  for (const part of partsIn(memory, mm, { startPage, endPage })) {
    if ((part.vma.flags & (VM_SHARED | VM_BACKED | VM_HUGETLB)) !== 0) continue;
    for (let page = part.startPage; page < part.endPage;) {
      const to = Math.min(nextLeafPage(page), part.endPage);
      const first = firstAsked(marks, page, to);
      page = to;
      if (first === to) continue;
      yield* splitHuge(machine, mm, first);
      const leaf = leafOf(memory, mm.pgd, first);
      if (leaf !== 0 && trackLeaf(memory.words, leaf, first, to, marks)) {
        for (const run of writableRuns(memory.words, leaf, first, to, marks))
          yield* takeWrite(machine, mm, leaf, run.startPage, run.endPage);
        wasInvalidated = true;
      }
      if (leaf !== 0 && !mm.pins.isEmpty()) leavePinned(machine, leaf, first, to, marks);
    }
  }
  return wasInvalidated;
}

/** Stands for a 1 for each page. */
const ALL_ASKED: Uint8Array = new Uint8Array(0);

interface PageRun {
  readonly startPage: number;
  readonly endPage: number;
}

/** What is asked for, and found, from `startPage` on. */
interface Marks {
  readonly asked: Uint8Array;
  /** The same, four pages a word. */
  readonly fours: Uint32Array;
  readonly copyable: Uint8Array;
  readonly startPage: number;
}

function isAsked({ asked, startPage }: Marks, page: number): boolean {
  return asked === ALL_ASKED || asked[page - startPage] !== 0;
}

const ALL_FOURS: Uint32Array = new Uint32Array(0);

/** Of an array of its own, which begins at a word. */
function foursOf(asked: Uint8Array): Uint32Array {
  if (asked === ALL_ASKED) return ALL_FOURS; // for a few pages an array costs more than the rest
  return new Uint32Array(asked.buffer, asked.byteOffset, asked.length >> 2);
}

/**
 * The first page of [from, to) that is asked for, or `to`. Where one of a hundred is, most of the
 * time went into those between them, page by page.
 */
function firstAsked({ asked, fours, startPage }: Marks, from: number, to: number): number {
  if (asked === ALL_ASKED) return from;
  const end = to - startPage;
  let i = from - startPage;
  for (; i < end; i++) {
    while ((i & 3) === 0 && i + 4 <= end && fours[i >> 2] === 0) i += 4;
    if (i < end && asked[i] !== 0) break;
  }
  return startPage + Math.min(i, end);
}

/**
 * Runs of pages that are asked for, some of which are writable. What lies between them is not to be
 * invalidated. After trackLeaf has found a writable entry.
 */
function writableRuns(
  words: Int32Array,
  leaf: number,
  from: number,
  to: number,
  marks: Marks,
): PageRun[] {
  if (marks.asked === ALL_ASKED) return [{ startPage: from, endPage: to }];
  const runs: PageRun[] = [];
  for (let page = from; page < to; page = firstAsked(marks, page, to)) {
    const startPage = page;
    while (page < to && isAsked(marks, page)) page++;
    if (isAnyWritable(words, leaf, startPage, page)) runs.push({ startPage, endPage: page });
  }
  return runs;
}

/** @stepped pte */
function isAnyWritable(words: Int32Array, leaf: number, from: number, to: number): boolean {
  for (let page = from; page < to; page++) {
    const pte = wordAt(words, pteIndex(leaf, page));
    if ((pte & (PTE_PRESENT | PTE_WRITE)) === (PTE_PRESENT | PTE_WRITE)) return true;
  }
  return false;
}

/**
 * What is pinned for writing is written without entries, so nobody may copy it (W5 of
 * view/view-hold.ts). Other pins, which only read, are left out as well while there is such a one.
 *
 * @stepped pte
 */
function leavePinned(
  { memory, ram }: Machine,
  leaf: number,
  from: number,
  to: number,
  { copyable, startPage }: Marks,
): void {
  for (let page = from; page < to; page++) {
    const i = page - startPage;
    if (copyable[i] === 0) continue;
    const pfn = ptePfn(wordAt(memory.words, pteIndex(leaf, page)));
    if (ram.refs.pagePinnedFast(pfn)) copyable[i] = 0;
  }
}

/**
 * Tracks the present entries of [from, to) that are asked for and not writable, and marks every
 * present one of them as copyable. `from` is asked for. True: some entry is writable. A plain
 * function, because it runs for each page that a device copies.
 *
 * @stepped pte
 */
function trackLeaf(
  words: Int32Array,
  leaf: number,
  from: number,
  to: number,
  marks: Marks,
): boolean {
  const { copyable, startPage } = marks;
  let isWritable = false;
  for (let page = from; page < to; page = firstAsked(marks, page + 1, to)) {
    const pte = trackEntry(words, pteIndex(leaf, page), PTE_WRITE);
    if ((pte & PTE_PRESENT) !== 0) copyable[page - startPage] = 1;
    if ((pte & PTE_WRITE) !== 0) isWritable = true;
  }
  return isWritable;
}

/**
 * Tracks the other entries inside an invalidation (P2 of pte.ts): no range over the pages is valid
 * from before the first entry loses WRITE until the last store through it is over.
 *
 * @stepped pte
 */
function* takeWrite(machine: Machine, mm: Mm, leaf: number, from: number, to: number): Task<void> {
  const range = invalidateRange(mm, from, to, EVENT_PROTECTION_PAGE);
  const operation = yield* beginInvalidation(mm, from, to);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  for (let page = from; page < to; page++)
    trackEntry(machine.memory.words, pteIndex(leaf, page), 0);
  yield* mm.shootdown.flush(from, to);
  endInvalidation(mm, operation);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
}

/**
 * Tracks a present entry, unless it has one of the bits `unless`. Returns the entry as it was. Only
 * a fault that adds rights, or another tracker, makes it try again, a few times at most.
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
