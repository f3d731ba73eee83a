/**
 * @module mm/fault/shared-fault Faults on shared memory, whose frames belong to a source: a page
 * cache without a store, or a user's buffer. Follows Linux `do_shared_fault` and `wp_page_shared`
 * in `mm/memory.c`.
 */

import { notedFrame } from "../../memory/frames/frame-allocator.ts";
import { counterPlace } from "../../memory/space-counters.ts";
import { EFAULT, ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { handOf, putHand } from "../entries/hand.ts";
import { beginHand, endInvalidation } from "../entries/invalidation.ts";
import { PTE_ACCESSED, WRITTEN_RIGHTS, makePte, withWrite } from "../pte.ts";
import { CACHE_BEYOND_END, CACHE_HANDS, cacheFrame } from "../vma/page-cache.ts";
import { VM_BUFFER, offsetOf } from "../vma/vma.ts";
import { type VmFault, replacePte, replacePteNoted } from "./vm-fault.ts";

const SHARED_FAULTS = counterPlace("sharedFaults");
const WRITE_FAULTS = counterPlace("writeFaults");

/** Of an empty entry: maps the frame that the source has there. */
export function* sharedFault(fault: VmFault): Task<Errno> {
  const { mm, machine, isWrite } = fault;
  mm.counters.add(SHARED_FAULTS);
  const operation = yield* beginHand(mm);
  const hand = handOf(operation);
  const pfn = yield* frameOfSource(fault, hand);
  const rights = isWrite ? WRITTEN_RIGHTS : PTE_ACCESSED;
  if (pfn > 0) replacePteNoted(fault, makePte(pfn, rights), hand, 0);
  yield* putHand(machine, operation, CACHE_HANDS);
  endInvalidation(mm, operation);
  return pfn === CACHE_BEYOND_END ? EFAULT : pfn === 0 ? ENOMEM : 0;
}

/** The source's frame, with a count for the entry, in hand; 0 = ENOMEM; CACHE_BEYOND_END. */
function* frameOfSource({ machine, vma, page }: VmFault, hand: number): Task<number> {
  const offset = offsetOf(vma, page);
  if ((vma.flags & VM_BUFFER) === 0) return yield* cacheFrame(machine, vma.source, offset, hand);
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
  replacePte(fault, withWrite(fault.pte));
  return 0;
}
