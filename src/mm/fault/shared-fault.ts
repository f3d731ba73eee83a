/**
 * @module mm/fault/shared-fault Faults on shared memory, whose frames belong to a source: a page
 * cache without a store, or a user's buffer. Follows Linux `do_shared_fault` and `wp_page_shared`
 * in `mm/memory.c`.
 */

import { notedFrame } from "../../memory/frames/frame-allocator.ts";
import { counterPlace } from "../../memory/space-counters.ts";
import { EFAULT, ENOMEM, type Errno } from "../../sync/errno.ts";
import { atomicCompareExchange, compareExchangeNoted } from "../../sync/atomics.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { wordAt } from "../../mmu/radix-table.ts";
import { handOf, putHand, tablesOf } from "../entries/hand.ts";
import { beginHand, endInvalidation } from "../entries/invalidation.ts";
import { PTE_ACCESSED, WRITTEN_RIGHTS, isAccessible, makePte, withWrite } from "../pte.ts";
import { CACHE_BEYOND_END, CACHE_HANDS, cacheFrame, cachePages } from "../vma/page-cache.ts";
import { type PageRange, VM_BUFFER, offsetOf } from "../vma/vma.ts";
import { mapCached, pagesAround } from "./fault-around.ts";
import { type VmFault, replacePte, replacePteNoted } from "./vm-fault.ts";

const SHARED_FAULTS = counterPlace("sharedFaults");
const WRITE_FAULTS = counterPlace("writeFaults");

/** Of an empty entry: maps the frame that the source has there. */
export function* sharedFault(fault: VmFault): Task<Errno> {
  const { mm, machine, isWrite } = fault;
  mm.counters.add(SHARED_FAULTS);
  const operation = yield* beginHand(mm);
  const hand = handOf(operation);
  const pfn = yield* frameOfSource(fault, hand, tablesOf(operation).leaf);
  const rights = isWrite ? WRITTEN_RIGHTS : PTE_ACCESSED;
  if (pfn > 0 && replacePteNoted(fault, makePte(pfn, rights), hand, 0)) {
    if (isOfBuffer(fault)) mapAround(fault, pfn, rights, hand);
    else yield* mapCached(fault, rights, hand);
  }
  yield* putHand(machine, operation, CACHE_HANDS);
  endInvalidation(mm, operation);
  return pfn === CACHE_BEYOND_END ? EFAULT : pfn === 0 ? ENOMEM : 0;
}

function isOfBuffer({ vma }: VmFault): boolean {
  return (vma.flags & VM_BUFFER) !== 0;
}

/** The pages of the source that one fault maps. */
function pagesOfSource(fault: VmFault): PageRange {
  const { machine, vma } = fault;
  const pages = isOfBuffer(fault)
    ? machine.ram.sections.pagesAt(vma.source)
    : cachePages(machine, vma.source);
  return pagesAround(fault, pages);
}

/**
 * Maps the pages of the buffer beside `fault.page`, which has the frame `pfn`, as it was mapped:
 * they are there, and a fault is what costs. So a store makes DIRTY what lies beside its page, too.
 *
 * @stepped pte
 */
function mapAround(fault: VmFault, pfn: number, rights: number, hand: number): void {
  const { machine, page, index } = fault;
  const { words } = machine.memory;
  const { startPage, endPage } = pagesOfSource(fault);
  for (let beside = startPage; beside < endPage; beside++) {
    const at = index + (beside - page);
    if (wordAt(words, at) !== 0) continue;
    const frame = pfn + (beside - page);
    machine.ram.refs.pageGetNoted(frame, hand, notedFrame(frame));
    // Else another thread has mapped it: the count stays in hand, and the caller puts it.
    if (compareExchangeNoted(words, at, 0, makePte(frame, rights), words, hand, 0) !== 0) return;
  }
}

/**
 * Lets the pages of the source beside `fault.page` be stored to, too, where they are mapped.
 *
 * @stepped pte
 */
function allowStoresAround(fault: VmFault): void {
  const { machine, page, index } = fault;
  const { words } = machine.memory;
  const { startPage, endPage } = pagesOfSource(fault);
  for (let beside = startPage; beside < endPage; beside++) {
    const at = index + (beside - page);
    const pte = wordAt(words, at);
    // One that changes meanwhile is another thread's matter.
    if (isAccessible(pte, false) && !isAccessible(pte, true))
      atomicCompareExchange(words, at, pte, withWrite(pte));
  }
}

/** The source's frame, with a count for the entry, in hand; 0 = ENOMEM; CACHE_BEYOND_END. */
function* frameOfSource(
  { machine, vma, page }: VmFault,
  hand: number,
  table: number,
): Task<number> {
  const offset = offsetOf(vma, page);
  if ((vma.flags & VM_BUFFER) === 0)
    return yield* cacheFrame(machine, vma.source, offset, hand, table);
  // mremap may have grown the mapping past the buffer's end (Linux: SIGBUS).
  if (offset >= machine.ram.sections.pagesAt(vma.source)) return CACHE_BEYOND_END;
  const pfn = vma.source + offset;
  machine.ram.refs.pageGetNoted(pfn, hand, notedFrame(pfn));
  return pfn;
}

/**
 * Of a present entry that is read-only: every entry may write a frame of the source. No notifier is
 * called, because no shared entry is TRACKED (track.ts).
 */
export function* sharedWriteFault(fault: VmFault): Task<Errno> {
  fault.mm.counters.add(WRITE_FAULTS);
  if (replacePte(fault, withWrite(fault.pte))) allowStoresAround(fault);
  return 0;
}
