/**
 * @module mm/calls/madvise
 * Advice about a range. Follows Linux `do_madvise` and `madvise_dontneed_single_vma` in
 * `mm/madvise.c`.
 */

import { EVENT_CLEAR, invalidateRange } from "../../notifier/events.ts";
import type { Machine } from "../../memory/machine.ts";
import { EINVAL, ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { Mm } from "../mm-struct.ts";
import { alignedPageOf, isLengthOrZero } from "./page-arguments.ts";
import { TASK_SIZE_PAGES } from "../../mmu/radix-table.ts";
import { PAGE_BYTES } from "../pte.ts";
import { isFullyMapped, partsIn } from "../vma/vma.ts";
import { zapRange } from "../zap.ts";

/** No special treatment. */
export const MADV_NORMAL = 0;
/**
 * Drop the pages. Private memory reads as zeros afterwards, other memory as what its source holds.
 */
export const MADV_DONTNEED = 4;

/**
 * 0, EINVAL (address, length or advice), or ENOMEM: part of the range is not mapped, or lies past
 * the last address. As in Linux, the advice has effect on what is mapped all the same. A length of
 * 0 is no error, even over a hole.
 */
export function* doMadvise(
  machine: Machine,
  mm: Mm,
  address: number,
  lengthBytes: number,
  advice: number,
): Task<Errno> {
  const startPage = alignedPageOf(address);
  if (startPage < 0 || !isLengthOrZero(lengthBytes)) return EINVAL;
  if (advice !== MADV_NORMAL && advice !== MADV_DONTNEED) return EINVAL;
  if (lengthBytes === 0) return 0;
  const wantedEndPage = startPage + Math.ceil(lengthBytes / PAGE_BYTES);
  const endPage = Math.min(wantedEndPage, TASK_SIZE_PAGES);
  if (startPage >= endPage) return ENOMEM;
  // For reading is enough: mappings stay, and faults of other threads may run at the same time.
  yield* mm.mmapLock.downRead();
  const isWhole =
    wantedEndPage === endPage && isFullyMapped(machine.memory, mm, { startPage, endPage });
  if (advice === MADV_DONTNEED) {
    for (const part of partsIn(machine.memory, mm, { startPage, endPage })) {
      yield* zapRange(machine, mm, invalidateRange(mm, part.startPage, part.endPage, EVENT_CLEAR));
    }
  }
  yield* mm.mmapLock.upRead();
  return isWhole ? 0 : ENOMEM;
}
