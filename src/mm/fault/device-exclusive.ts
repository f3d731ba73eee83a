/**
 * @module mm/fault/device-exclusive
 * A touch of a page that a device has for itself (migrate/exclusive.ts): the device loses it.
 * Follows Linux `remove_device_exclusive_entry`.
 */

import { EVENT_CLEAR, invalidateRange } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../notifier/mmu-notifier.ts";
import { nextLeafPage, pteAt, wordAt } from "../../mmu/radix-table.ts";
import { atomicCompareExchange } from "../../sync/atomics.ts";
import type { Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { KIND_DEVICE_EXCLUSIVE, endExclusive, isAccessible, pteKind } from "../pte.ts";
import { type VmFault, replacePte } from "./vm-fault.ts";

/** Pages that come back together, at most: others wait no longer for one of them. */
const ROW_MAX = 512;

/**
 * Of a device-exclusive entry. The device's driver is notified, and has ended the access, before
 * the entry lets the CPU in. The frame stays, and the entry keeps its count of it. Where the CPU
 * goes on from one page to the next, as many come behind the page as it may use before it: a
 * notification costs as much as ten pages.
 */
export function* deviceExclusiveFault(fault: VmFault): Task<Errno> {
  const { machine, mm, page } = fault;
  const past = pastRow(fault);
  const range = invalidateRange(mm, page, past, EVENT_CLEAR);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  endRow(fault, past);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  return 0;
}

/**
 * One past the last page that comes back with that of the fault, of the same leaf.
 *
 * @stepped pte
 */
function pastRow(fault: VmFault): number {
  const { machine, vma, page, index } = fault;
  const { words } = machine.memory;
  let pages = 1;
  while (pages < ROW_MAX && isUsable(fault, page - pages)) pages *= 2;
  const most = Math.min(page + pages, vma.endPage, nextLeafPage(page));
  let past = page + 1;
  while (past < most && pteKind(wordAt(words, index + past - page)) === KIND_DEVICE_EXCLUSIVE)
    past++;
  return past;
}

/** Whether the page is one of the mapping that the CPU may use; it may be old. @stepped pte */
function isUsable({ machine, mm, vma }: VmFault, page: number): boolean {
  return page >= vma.startPage && isAccessible(pteAt(machine.memory, mm.pgd, page), false);
}

/**
 * The CPU may use the pages up to `past` that are exclusive still.
 *
 * @stepped pte
 */
function endRow(fault: VmFault, past: number): void {
  const { machine, page, index, pte } = fault;
  const { words } = machine.memory;
  replacePte(fault, endExclusive(pte));
  for (let at = index + 1; at < index + past - page; at++) {
    const beside = wordAt(words, at);
    if (pteKind(beside) === KIND_DEVICE_EXCLUSIVE)
      atomicCompareExchange(words, at, beside, endExclusive(beside));
  }
}
