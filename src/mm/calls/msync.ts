/**
 * @module mm/calls/msync
 * Writes the pages of shared mappings back to their sources. Follows Linux `mm/msync.c` with
 * MS_SYNC. Where nothing has to be written it only checks the range, as there.
 */

import type { Machine } from "../../memory/machine.ts";
import { TASK_SIZE_PAGES } from "../../mmu/radix-table.ts";
import { EINVAL, ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { Mm } from "../mm-struct.ts";
import { PAGE_BYTES } from "../pte.ts";
import { answerOf, forEachBacked } from "../source/backed-parts.ts";
import { IO_WRITE } from "../source/io.ts";
import { syncPages } from "../source/write-back.ts";
import { VM_SHARED } from "../vma/vma.ts";
import { alignedPageOf, isLengthOrZero } from "./page-arguments.ts";

/**
 * 0, EINVAL (address or length), ENOMEM: part of the range is not mapped (the rest has been written
 * back), or no memory; EMFILE; or why a source could not be written: then its pages are dirty
 * still. Takes the mmap lock; the caller holds an mm user, and no lock.
 */
export function* doMsync(
  machine: Machine,
  mm: Mm,
  address: number,
  lengthBytes: number,
): Task<Errno> {
  const startPage = alignedPageOf(address);
  if (startPage < 0 || !isLengthOrZero(lengthBytes)) return EINVAL;
  if (lengthBytes === 0) return 0;
  const wantedEndPage = startPage + Math.ceil(lengthBytes / PAGE_BYTES);
  const endPage = Math.min(wantedEndPage, TASK_SIZE_PAGES);
  if (startPage >= endPage) return ENOMEM;
  let failed: Errno = 0;
  const wanted = { kind: IO_WRITE, flags: VM_SHARED } as const;
  const walk = yield* forEachBacked(machine, mm, { startPage, endPage }, wanted, function* (io) {
    const answer = yield* syncPages(machine, io.cache, io.startPage, io.endPage);
    if (answer !== 0) failed = answer;
    return true;
  });
  if (failed !== 0) return failed;
  return wantedEndPage === endPage ? answerOf(walk) : ENOMEM;
}
