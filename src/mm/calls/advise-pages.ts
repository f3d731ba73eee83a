/**
 * @module mm/calls/advise-pages
 * Advice by which contents go. Follows `madvise_dontneed_free` in `mm/madvise.c`. Holding the mmap
 * lock at least for reading.
 */

import type { Machine } from "../../memory/machine.ts";
import { EVENT_CLEAR, invalidateRange } from "../../notifier/events.ts";
import { EINVAL, type Errno } from "../../sync/errno.ts";
import { type Task, doneNumber } from "../../sync/tasks/task.ts";
import type { Mm } from "../mm-struct.ts";
import { VM_BACKED, VM_BUFFER, VM_HUGETLB, VM_SHARED, type VmaPart } from "../vma/vma.ts";
import { zapRange } from "../entries/zap.ts";

/** MADV_DONTNEED. */
export function* dropPages(machine: Machine, mm: Mm, part: VmaPart): Task<Errno> {
  const range = invalidateRange(mm, part.startPage, part.endPage, EVENT_CLEAR);
  return yield* zapRange(machine, mm, range);
}

/**
 * MADV_FREE, at once: there is no swap, and Linux without swap frees the pages at once, too. EINVAL
 * where memory is not private and anonymous.
 */
export function freePages(machine: Machine, mm: Mm, part: VmaPart): Task<Errno> {
  const others = VM_SHARED | VM_BACKED | VM_BUFFER | VM_HUGETLB;
  const isAnonymous = (part.vma.flags & others) === 0;
  return isAnonymous ? dropPages(machine, mm, part) : doneNumber(EINVAL);
}
