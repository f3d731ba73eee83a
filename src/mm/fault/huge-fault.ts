/**
 * @module mm/fault/huge-fault
 * Faults on huge pages (mm/huge.ts). Follows Linux `do_huge_pmd_anonymous_page`,
 * `do_huge_pmd_wp_page` and, for explicit huge mappings, `hugetlb_no_page` and `hugetlb_wp`.
 *
 *     entry of the 2 MiB     read                      write
 *     no leaf, or empty      512 times the page of     512 fresh frames in a row; none: small pages
 *                            zeros                     (explicit mappings: ENOMEM, also of a read)
 *     page of zeros          (accessible)              512 fresh frames [N]; none: split
 *     read-only              (accessible)              frames exclusive: made writable
 *                                                      shared: split; explicit: all copied [N]
 *     protection none        present again, read-only; a write faults once more
 *     all others             as a small page's (fault.ts)
 *
 *     [N] notifiers are called
 *
 * What is split goes on as a fault of a small page. Every change here is one of all entries, under
 * pageTableLock, after a look at the bit and entry 0 (U4 of mm/huge.ts). In an explicit mapping
 * nobody splits, so its frames stay while the mmap lock is held, and need no reference while they
 * are copied. Whoever dies in between splits one, too (U8 of mm/huge.ts).
 */

import type { Machine } from "../../memory/machine.ts";
import { counterPlace } from "../../memory/space-counters.ts";
import { MID_HUGE, leafIn, midEntryOf, pteIndex, wordAt } from "../../mmu/radix-table.ts";
import { EVENT_CLEAR, invalidateRange } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../notifier/mmu-notifier.ts";
import { ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import {
  HUGE_LINKED,
  HUGE_OVERTAKEN,
  HUGE_PAGES,
  clearHuge,
  headOf,
  hugeLeafAt,
  hugeStart,
  linkHuge,
  rewriteHuge,
  rewriteHugeNoted,
  splitHuge,
  splitIfDead,
} from "../huge.ts";
import { beginHand, beginInvalidation } from "../entries/invalidation.ts";
import { endRow, giveRow, linkNotesOf, setOfRow, takeRow } from "../entries/row.ts";
import type { Mm } from "../mm-struct.ts";
import {
  KIND_FRAME,
  KIND_NONE,
  KIND_PROT_NONE,
  KIND_SPECIAL,
  PTE_ACCESSED,
  PTE_TRACKED,
  WRITTEN_RIGHTS,
  ZERO_PTE,
  isAccessible,
  makePte,
  pteKind,
  ptePfn,
  withWrite,
} from "../pte.ts";
import { mayBeHuge } from "../vma/huge-vma.ts";
import { VM_HUGETLB, VM_WRITE, type Vma } from "../vma/vma.ts";

/** The fault is one of a small page, as of now. No errno; FAULT_RETRY is 1. */
export const FAULT_SMALL = 2;

/** A fault in the 2 MiB from `start` on, which the vma allows. */
interface HugeFault {
  readonly machine: Machine;
  readonly mm: Mm;
  readonly vma: Vma;
  readonly start: number;
  readonly isWrite: boolean;
}

/** Whether `hugeFault` has to do with the page, whose mid entry is given. */
export function concernsHuge(mm: Mm, vma: Vma, page: number, midEntry: number): boolean {
  return midEntry === 0 ? mayBeHuge(mm, vma, page) : (midEntry & MID_HUGE) !== 0;
}

const HUGE_FAULTS = counterPlace("hugeFaults");
const HUGE_SPLITS = counterPlace("hugeSplits");

/** 0, ENOMEM, or FAULT_SMALL. F1 of vm-fault.ts. The vma allows the access. */
export function* hugeFault(
  machine: Machine,
  mm: Mm,
  vma: Vma,
  page: number,
  isWrite: boolean,
): Task<Errno> {
  const fault: HugeFault = { machine, mm, vma, start: hugeStart(page), isWrite };
  const result = yield* faultWhole(fault, page);
  if (result === 0) mm.counters.add(HUGE_FAULTS);
  return result;
}

function* faultWhole(fault: HugeFault, page: number): Task<Errno> {
  const { machine, mm, vma, start, isWrite } = fault;
  const midEntry = midEntryOf(machine.memory, mm.pgd, page);
  if (midEntry === 0) return yield* firstFault(fault, false);
  if ((midEntry & MID_HUGE) === 0) return FAULT_SMALL;
  const pte = entryAt(machine, leafIn(midEntry), page);
  if (isAccessible(pte, isWrite)) return 0;
  const head = headOf(pte, page - start);
  switch (pteKind(pte)) {
    case KIND_NONE:
      if (mayBeHuge(mm, vma, page)) return yield* firstFault(fault, true);
      yield* splitHuge(machine, mm, start);
      return FAULT_SMALL;
    case KIND_PROT_NONE:
      yield* changeIfStill(fault, head, makePte(ptePfn(head), PTE_ACCESSED));
      return 0;
    case KIND_SPECIAL:
      return yield* replaceHugeZero(machine, mm, vma, start);
    case KIND_FRAME:
      return yield* writeProtectedHuge(fault, head);
    default:
      return FAULT_SMALL;
  }
}

/** Whether a fault on a page of a huge page with that entry is one of all its pages. */
export function isForHugeFault(pte: number): boolean {
  const kind = pteKind(pte);
  const isEmpty = kind === KIND_NONE || kind === KIND_SPECIAL;
  return isEmpty || kind === KIND_PROT_NONE || kind === KIND_FRAME;
}

/** @stepped pte */
function entryAt({ memory }: Machine, leaf: number, page: number): number {
  return wordAt(memory.words, pteIndex(leaf, page));
}

const isExplicit = ({ vma }: HugeFault): boolean => (vma.flags & VM_HUGETLB) !== 0;

/** The flags of entries of frames that nobody else has. */
function rightsIn(vma: Vma): number {
  return (vma.flags & VM_WRITE) === 0 ? PTE_ACCESSED : WRITTEN_RIGHTS;
}

/** Where no leaf is, or `isEmpty`: the leaf of a huge page that was cleared. */
function* firstFault(fault: HugeFault, isEmpty: boolean): Task<Errno> {
  const { machine, mm, vma, start, isWrite } = fault;
  const needsFrames = isWrite || isExplicit(fault);
  const operation = yield* beginHand(mm);
  const pfn = needsFrames ? yield* takeRow(machine, operation, true) : 0;
  const isRefused = needsFrames && pfn === 0;
  const head = needsFrames ? makePte(pfn, rightsIn(vma)) : ZERO_PTE;
  const linked = isRefused
    ? ENOMEM
    : yield* (isEmpty ? fillEmpty : linkFirst)(fault, operation, head);
  yield* endRow(machine, operation);
  if (isRefused && !isExplicit(fault)) {
    yield* splitHuge(machine, mm, start);
    return FAULT_SMALL;
  }
  return linked === HUGE_OVERTAKEN ? 0 : linked;
}

function* linkFirst(fault: HugeFault, operation: number, head: number): Task<Errno> {
  const { machine, mm, start } = fault;
  const linked = yield* linkHuge(machine, mm, start, head, linkNotesOf(operation));
  if (linked === HUGE_LINKED) giveRow(machine.memory, operation);
  return linked;
}

function* fillEmpty(fault: HugeFault, operation: number, head: number): Task<Errno> {
  const set = setOfRow(fault.machine.memory, operation, 0);
  return (yield* changeIfStill(fault, 0, head, set)) ? HUGE_LINKED : HUGE_OVERTAKEN;
}

/**
 * Changes all entries if they still are those of `head`. False: another thread has changed them, or
 * split the page. The word `set` counts those that have changed, if there is such a word.
 *
 * @stepped pte
 */
function* changeIfStill(
  { machine, mm, start }: Pick<HugeFault, "machine" | "mm" | "start">,
  head: number,
  fresh: number,
  set: number = 0,
): Task<boolean> {
  const { memory } = machine;
  yield* mm.pageTableLock.lock();
  const leaf = hugeLeafAt(memory, mm, start);
  const isStill = leaf !== 0 && wordAt(memory.words, leaf) === head;
  if (isStill) splitIfDead(memory, mm, start, mm.pageTableLock.at);
  if (isStill && set === 0) rewriteHuge(memory.words, leaf, fresh);
  if (isStill && set !== 0) rewriteHugeNoted(memory.words, leaf, fresh, set);
  yield* mm.pageTableLock.unlock();
  return isStill;
}

/**
 * Gives a huge page of zeros frames of its own, with the rights of the vma. 0, or FAULT_SMALL:
 * there are no 512 in a row, and the page is split. F1 of vm-fault.ts. Linux:
 * `do_huge_zero_wp_pmd`.
 */
export function* replaceHugeZero(machine: Machine, mm: Mm, vma: Vma, start: number): Task<Errno> {
  const operation = yield* beginInvalidation(mm, start, start + HUGE_PAGES);
  const pfn = yield* takeRow(machine, operation, true);
  if (pfn !== 0)
    yield* replaceAll(machine, mm, start, ZERO_PTE, makePte(pfn, rightsIn(vma)), operation);
  yield* endRow(machine, operation);
  if (pfn !== 0) return 0;
  yield* splitHuge(machine, mm, start);
  return FAULT_SMALL;
}

/**
 * Changes entries to the frames of the row in hand, inside an invalidation (P2 of pte.ts). The old
 * frames are in hand then.
 */
function* replaceAll(
  machine: Machine,
  mm: Mm,
  start: number,
  head: number,
  fresh: number,
  operation: number,
): Task<void> {
  const range = invalidateRange(mm, start, start + HUGE_PAGES, EVENT_CLEAR);
  const set = setOfRow(machine.memory, operation, ptePfn(head));
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  const isReplaced = yield* changeIfStill({ machine, mm, start }, head, fresh, set);
  if (isReplaced) yield* mm.shootdown.flush(start, start + HUGE_PAGES);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
}

/** A write where all entries are read-only. Linux: `do_huge_pmd_wp_page`, `hugetlb_wp`. */
function* writeProtectedHuge(fault: HugeFault, head: number): Task<Errno> {
  const { mm } = fault;
  yield* mm.pageTableLock.lock();
  const result = yield* reuseOrSplit(fault, head);
  yield* mm.pageTableLock.unlock();
  return result === COPY ? yield* copyHuge(fault, head) : result;
}

/** All frames are to be copied. No errno. */
const COPY = 3;

/**
 * C2 of copy-on-write.ts, of all frames. Holding pageTableLock.
 *
 * @stepped pte
 */
function* reuseOrSplit(fault: HugeFault, head: number): Task<Errno> {
  const { machine, mm, start } = fault;
  const { memory, ram } = machine;
  const leaf = hugeLeafAt(memory, mm, start);
  if (leaf === 0 || wordAt(memory.words, leaf) !== head) return 0; // overtaken: tried again
  // A tracked page (track.ts) is none of a huge one, for each store is to notify of one page.
  const isReusable =
    (head & PTE_TRACKED) === 0 && (yield* ram.refs.isRunExclusive(ptePfn(head), HUGE_PAGES));
  if (isReusable) {
    splitIfDead(memory, mm, start, mm.pageTableLock.at);
    rewriteHuge(memory.words, leaf, withWrite(head));
    return 0;
  }
  if (isExplicit(fault)) return COPY;
  clearHuge(memory, mm, start);
  mm.counters.add(HUGE_SPLITS);
  return FAULT_SMALL;
}

/** Of an explicit mapping. */
function* copyHuge({ machine, mm, start }: HugeFault, head: number): Task<Errno> {
  const operation = yield* beginInvalidation(mm, start, start + HUGE_PAGES);
  const copy = yield* takeRow(machine, operation, false);
  if (copy !== 0) {
    yield* machine.ram.copyRun(ptePfn(head), copy, HUGE_PAGES);
    const fresh = makePte(copy, WRITTEN_RIGHTS);
    yield* replaceAll(machine, mm, start, head, fresh, operation);
  }
  yield* endRow(machine, operation);
  return copy === 0 ? ENOMEM : 0;
}
