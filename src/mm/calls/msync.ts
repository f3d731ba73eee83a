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
import { IO_WRITE, SourceIo, ioBegin, ioEnd, thenCleanUp } from "../source/io.ts";
import { syncPages } from "../source/write-back.ts";
import { VM_BACKED, VM_SHARED, isFullyMapped, offsetOf, partsIn } from "../vma/vma.ts";
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
  const range = { startPage, endPage };
  const writes: number[] = [];
  yield* mm.mmapLock.downRead();
  const isWhole = wantedEndPage === endPage && isFullyMapped(machine.memory, mm, range);
  let result: Errno = isWhole ? 0 : ENOMEM;
  for (const { vma, startPage: first, endPage: end } of partsIn(machine.memory, mm, range)) {
    if ((vma.flags & VM_SHARED) === 0 || (vma.flags & VM_BACKED) === 0) continue;
    const [from, to] = [offsetOf(vma, first), offsetOf(vma, end)];
    const at = yield* ioBegin(machine, vma.source, IO_WRITE, from, to);
    if (at < 0) result = at;
    else writes.push(at);
  }
  yield* mm.mmapLock.upRead();
  const answer = yield* thenCleanUp(syncAll(machine, writes), function* () {
    for (const at of writes) yield* ioEnd(machine, at);
  });
  return answer === 0 ? result : answer;
}

/** Why one of them could not be written, or 0. */
function* syncAll(machine: Machine, writes: readonly number[]): Task<Errno> {
  let result: Errno = 0;
  for (const at of writes) {
    const { cache, startPage, endPage } = SourceIo.at(machine.memory, at);
    const answer = yield* syncPages(machine, cache, startPage, endPage);
    if (answer !== 0) result = answer;
  }
  return result;
}
