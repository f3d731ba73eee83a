/**
 * @module mm/fault/anonymous
 * The first fault on a page of private memory: a read maps the page of zeros, a write a fresh
 * frame. Follows Linux `do_anonymous_page` in `mm/memory.c`.
 */

import type { Machine } from "../../memory/machine.ts";
import { counterPlace } from "../../memory/space-counters.ts";
import { MID_HUGE, midEntryOf, pteIndex, wordAt } from "../../mmu/radix-table.ts";
import { atomicCompareExchange, compareExchangeNoted } from "../../sync/atomics.ts";
import { ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { handOf, putHand } from "../entries/hand.ts";
import { beginHand, beginHandFast, endInvalidation } from "../entries/invalidation.ts";
import type { Mm } from "../mm-struct.ts";
import { WRITTEN_RIGHTS, ZERO_PTE, makePte } from "../pte.ts";
import { VM_BACKED, VM_HUGETLB, VM_READ, VM_SHARED, VM_WRITE } from "../vma/vma.ts";
import { type VmFault, replacePte, replacePteNoted } from "./vm-fault.ts";

const ZERO_FAULTS = counterPlace("zeroFaults");
const ANONYMOUS_FAULTS = counterPlace("anonymousFaults");

/**
 * The same as a plain function, where nothing has to wait: the leaf is there, and so is a frame in
 * this thread's free list. True: handled. False: nothing has changed, and the fault needs
 * `handleMmFault`. Most faults end here, so it makes no generator and allocates nothing. F1, F2 of
 * vm-fault.ts.
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
  if ((vmaFlags & (VM_SHARED | VM_BACKED | VM_HUGETLB | right)) !== right) return false;
  const leaf = midEntryOf(memory, mm.pgd, page);
  if (leaf === 0 || (leaf & MID_HUGE) !== 0) return false;
  const index = pteIndex(leaf, page);
  if (wordAt(memory.words, index) !== 0) return false;
  if (!isWrite) {
    atomicCompareExchange(memory.words, index, 0, ZERO_PTE);
    mm.counters.add(ZERO_FAULTS);
    return true;
  }
  const hand = beginHandFast(mm);
  if (hand === 0) return false;
  const note = handOf(hand);
  const pfn = ram.allocFrameFast(true, note);
  if (pfn !== 0) {
    mm.counters.add(ANONYMOUS_FAULTS);
    const fresh = makePte(pfn, WRITTEN_RIGHTS);
    const { words } = memory;
    const before = compareExchangeNoted(words, index, 0, fresh, words, note, 0);
    if (before !== 0) ram.refs.pagePutFast(pfn, note);
  }
  endInvalidation(mm, hand);
  return pfn !== 0;
}

/** Of an empty entry. */
export function* anonymousFault(fault: VmFault): Task<Errno> {
  fault.mm.counters.add(fault.isWrite ? ANONYMOUS_FAULTS : ZERO_FAULTS);
  if (!fault.isWrite) {
    replacePte(fault, ZERO_PTE);
    return 0;
  }
  const { machine, mm } = fault;
  const hand = yield* beginHand(mm);
  const pfn = yield* machine.ram.allocFrame(true, handOf(hand));
  const fresh = makePte(pfn, WRITTEN_RIGHTS);
  if (pfn !== 0 && !replacePteNoted(fault, fresh, handOf(hand), 0)) yield* putHand(machine, hand);
  endInvalidation(mm, hand);
  return pfn === 0 ? ENOMEM : 0;
}
