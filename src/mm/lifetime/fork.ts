/**
 * @module mm/lifetime/fork
 * Copies an address space. Parent and child share every private frame until one of them writes.
 * Follows Linux `dup_mmap` and `copy_page_range`.
 *
 *   - Shared mappings share their source. The child's entries come by faults.
 *   - Private entries are copied. A writable one loses WRITE in the parent first, inside an
 *     invalidation, and the copy has no WRITE (copy-on-write).
 *   - An entry of a device's private memory is copied the same way: the device loses the right to
 *     write the page, and whoever touches it first gets a copy in RAM.
 *   - A device's exclusive access ends (fault/device-exclusive.ts): the entry is an ordinary one
 *     before it is copied.
 *   - No page is being moved: who moves one holds the mmap lock, too.
 *   - A pinned frame may be written through a view, which uses no entries. So the child gets a copy
 *     at once, and the parent's entry stays as it is (Linux: `page_needs_cow_for_dma`).
 *
 *   - A huge page is shared as one, if nothing of it is pinned.
 *
 * No other thread knows the child until this returns, unless a source does. Its lock is held all
 * the same: so what is done to its vmas is undone if this thread dies (V4 of vma/vma-map.ts).
 */

import { EVENT_PROTECTION_PAGE, invalidateRange } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../notifier/mmu-notifier.ts";
import type { Machine } from "../../memory/machine.ts";
import { atomicExchange, atomicStore, storeNoted } from "../../sync/atomics.ts";
import { EMFILE, ENOMEM, type Errno } from "../../sync/errno.ts";
import { findResource, removeResource } from "../../sync/lockdep/resources.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { mmapWriteLock } from "../migration.ts";
import { MM_USER, Mm } from "../mm-struct.ts";
import { type MmLimits, mmCreateListed, mmput } from "./mm.ts";
import {
  TASK_SIZE_PAGES,
  forEachLeaf,
  leafAlloc,
  pteIndex,
  wordAt,
} from "../../mmu/radix-table.ts";
import {
  KIND_DEVICE_EXCLUSIVE,
  KIND_PROT_NONE,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_PRESENT,
  PTE_TRACKED,
  PTE_WRITE,
  endExclusive,
  holdsFrame,
  makeNonPresent,
  makePte,
  pteKind,
  ptePfn,
  withoutWrite,
} from "../pte.ts";
import { joinDeviceSpaces } from "../device-spaces.ts";
import { handOf, tablesOf } from "../entries/hand.ts";
import { beginInvalidation, endInvalidation } from "../entries/invalidation.ts";
import { getRow, giveRow, linkNotesOf, putRow } from "../entries/row.ts";
import { HUGE_LINKED, HUGE_PAGES, clearHuge, linkHuge, rewriteHuge } from "../huge.ts";
import { takeSource, listSpace } from "../vma/vma-source.ts";
import { type SpareVma, allocVma, spareOf } from "../vma/vma-link.ts";
import { insertVma } from "../vma/vma-map.ts";
import { VM_SHARED, type Vma, type VmaKind, kindAt, vmasIn } from "../vma/vma.ts";

/**
 * A child address space with one user: its pointer; ENOMEM; EMFILE (the thread owns too much for it
 * to be noted down). After ENOMEM some pages of the parent may be read-only, which the next write
 * mends. Takes the mmap lock.
 */
export function* doFork(machine: Machine, parent: Mm): Task<number> {
  const at = yield* forkListed(machine, parent);
  if (at > 0) removeResource(machine.memory, findResource(machine.memory, MM_USER, at));
  return at;
}

/** As `doFork`; the child's user is a resource of this thread, of kind MM_USER. */
export function* forkListed(machine: Machine, parent: Mm): Task<number> {
  yield* mmapWriteLock(machine, parent);
  // Made while the lock is held: a thread that dies while it waits for the lock leaves no child.
  const at = yield* mmCreateListed(machine, limitsOf(parent));
  const slot = at === 0 ? -1 : findResource(machine.memory, MM_USER, at);
  let result: Errno = at === 0 ? ENOMEM : slot < 0 ? EMFILE : 0;
  if (result === 0) result = yield* copyInto(machine, parent, Mm.at(machine.memory, at));
  yield* parent.mmapLock.upWrite();
  if (result !== 0 && at !== 0) yield* mmput(machine, Mm.at(machine.memory, at), slot);
  return result === 0 ? at : result;
}

function limitsOf({ limitPages, limitVmas, hugeMode }: Mm): MmLimits {
  return { pages: limitPages, vmas: limitVmas, hugeMode };
}

function* copyInto(machine: Machine, parent: Mm, child: Mm): Task<Errno> {
  const range = invalidateRange(parent, 0, TASK_SIZE_PAGES, EVENT_PROTECTION_PAGE);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  // Under the mmap lock, the parent's entries name a device's frames only if it is listed (J1 of
  // device-spaces.ts).
  if (parent.isDeviceSpace !== 0) yield* joinDeviceSpaces(machine, child);
  const result = yield* copyVmas(machine, parent, child);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  return result;
}

/**
 * A source that the child maps knows the child (B3 of vma/source.ts), and a write-back or a
 * truncation may come to it at once.
 */
function* copyVmas(machine: Machine, parent: Mm, child: Mm): Task<Errno> {
  yield* child.mmapLock.downWrite();
  const result = yield* copyVmasLocked(machine, parent, child);
  yield* child.mmapLock.upWrite();
  return result;
}

function* copyVmasLocked(machine: Machine, parent: Mm, child: Mm): Task<Errno> {
  for (const vma of vmasIn(machine.memory, parent, 0, TASK_SIZE_PAGES)) {
    const kind = kindAt(vma);
    let result = yield* listSpace(machine, child, kind);
    if (result !== 0) return result;
    const spare = kind.source === 0 ? undefined : yield* sourcedVma(machine, kind);
    if (spare?.at === 0) return ENOMEM;
    result = yield* insertVma(machine, child, vma, kind, spare);
    if (result === 0 && (vma.flags & VM_SHARED) === 0)
      result = yield* copyEntries(machine, parent, child, vma);
    if (result !== 0) return result;
  }
  return 0;
}

/** A vma that is not linked and has a reference of the source; `at` 0: there is no memory. */
function* sourcedVma(machine: Machine, kind: VmaKind): Task<SpareVma> {
  const spare = spareOf(machine, yield* allocVma(machine));
  if (spare.at !== 0) yield* takeSource(machine, spare.at, kind);
  return spare;
}

/** @stepped pte */
function copyEntries(machine: Machine, parent: Mm, child: Mm, vma: Vma): Task<number> {
  const { memory } = machine;
  return forEachLeaf(
    memory,
    parent.pgd,
    vma.startPage,
    vma.endPage,
    function* (leaf, first, end, isHuge): Task<number> {
      let childLeaf = 0;
      const operation = yield* beginInvalidation(parent, first, end);
      let result = isHuge
        ? yield* copyHuge(machine, parent, child, operation, leaf, first, end)
        : SMALL;
      const smallEnd = result === SMALL ? end : first;
      if (result === SMALL) result = 0;
      for (let page = first; page < smallEnd && result === 0; page++) {
        if (wordAt(memory.words, pteIndex(leaf, page)) === 0) continue;
        if (childLeaf === 0) {
          childLeaf = yield* leafAlloc(machine, child.pgd, page, tablesOf(operation));
        }
        const [from, to] = [pteIndex(leaf, page), pteIndex(childLeaf, page)];
        if (childLeaf === 0) result = ENOMEM;
        else if (!copyEntry(machine, from, to))
          result = yield* copyPinned(machine, from, to, handOf(operation));
      }
      // After the flush every write of the parent faults. The child runs only after this.
      yield* parent.shootdown.flush(first, end);
      endInvalidation(parent, operation);
      return result;
    },
  );
}

/** Of `copyHuge`: the entries are to be copied one by one. No errno. */
const SMALL = 1;

/**
 * A huge page, as one: the child has one of the same frames. 0, ENOMEM, or SMALL: not all of it
 * lies in the vma, or a frame is pinned; then it is split. Holding the parent's mmap lock for
 * writing. Linux: `copy_huge_pmd`.
 *
 * @stepped pte
 */
function* copyHuge(
  machine: Machine,
  parent: Mm,
  child: Mm,
  operation: number,
  leaf: number,
  first: number,
  end: number,
): Task<Errno> {
  const { memory, ram } = machine;
  const head = wordAt(memory.words, leaf);
  const pfn = ptePfn(head);
  const isWhole = end - first === HUGE_PAGES;
  if (!isWhole || (holdsFrame(head) && (yield* ram.refs.isAnyPinned(pfn, HUGE_PAGES)))) {
    clearHuge(memory, parent, first);
    return SMALL;
  }
  const kept = withoutWrite(head);
  if (holdsFrame(head)) yield* getRow(machine, operation, pfn);
  const linked = yield* linkHuge(machine, child, first, kept, linkNotesOf(operation));
  if (linked !== HUGE_LINKED) {
    yield* putRow(machine, operation);
    return ENOMEM;
  }
  giveRow(memory, operation);
  // The parent's are made read-only as one; it is split where this thread dies in between.
  if (kept !== head) rewriteHuge(memory.words, leaf, kept);
  return 0;
}

/**
 * Holding the parent's mmap lock for writing, so no fault changes `from`. False: the frame is
 * pinned, and nothing has changed. A plain function: as a generator for each page it took two
 * thirds of a fork.
 *
 * @stepped pte
 */
function copyEntry(machine: Machine, from: number, to: number): boolean {
  const { words } = machine.memory;
  const shown = wordAt(words, from);
  const pte = ordinary(shown);
  if (!holdsFrame(pte)) {
    atomicStore(words, to, pte & ~PTE_TRACKED);
    return true;
  }
  const pfn = ptePfn(pte);
  if (machine.ram.refs.pagePinnedFast(pfn)) return false;
  const kept = withoutWrite(pte);
  if (kept !== shown) atomicExchange(words, from, kept);
  // The child's entry comes with its count: who dies leaves both or neither.
  const copied = (pte & PTE_PRESENT) === 0 ? kept : kept & ~PTE_TRACKED;
  machine.ram.refs.pageGetNoted(pfn, to, copied);
  return true;
}

/** The entry after the end of a device's exclusive access. */
function ordinary(pte: number): number {
  return pteKind(pte) === KIND_DEVICE_EXCLUSIVE ? endExclusive(pte) : pte;
}

/** @stepped pte */
function* copyPinned(machine: Machine, from: number, to: number, note: number): Task<Errno> {
  const { words } = machine.memory;
  const pte = ordinary(wordAt(words, from));
  const pfn = ptePfn(pte);
  const copy = yield* machine.ram.allocFrame(false, note);
  if (copy === 0) return ENOMEM;
  yield* machine.ram.copyFrame(pfn, copy);
  const present = makePte(copy, PTE_ACCESSED | PTE_DIRTY | (pte & PTE_WRITE));
  const copied = (pte & PTE_PRESENT) === 0 ? makeNonPresent(KIND_PROT_NONE, copy) : present;
  storeNoted(words, to, copied, words, note);
  return 0;
}
