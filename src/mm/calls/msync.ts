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
import { VM_BACKED, VM_SHARED, offsetOf, partsIn } from "../vma/vma.ts";
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
  let result: Errno = wantedEndPage === endPage ? 0 : ENOMEM;
  let failed: Errno = 0;
  for (let page = startPage; page < endPage;) {
    const found = yield* findShared(machine, mm, page, endPage);
    if (!found.isWhole) result = ENOMEM;
    page = found.endPage;
    if (found.io < 0) result = found.io;
    if (found.io <= 0) continue;
    const answer = yield* syncFound(machine, found.io);
    if (answer !== 0) failed = answer;
  }
  return failed === 0 ? result : failed;
}

/** The first shared mapping of a source in a range. */
interface Found {
  /** A record that keeps its cache, and names its pages; 0: there is none; ENOMEM, EMFILE. */
  readonly io: number;
  /** Where it ends, or the range. */
  readonly endPage: number;
  /** All up to there is mapped. */
  readonly isWhole: boolean;
}

/**
 * One mapping at a time, as in Linux: a range may have more of them than a thread may own records.
 * Takes the mmap lock, and looks at what is mapped by then.
 */
function* findShared(machine: Machine, mm: Mm, startPage: number, endPage: number): Task<Found> {
  let found: Found | undefined;
  let isWhole = true;
  let page = startPage;
  yield* mm.mmapLock.downRead();
  for (const part of partsIn(machine.memory, mm, { startPage, endPage })) {
    const { vma, startPage: first, endPage: end } = part;
    if (first > page) isWhole = false;
    page = end;
    if ((vma.flags & VM_SHARED) === 0 || (vma.flags & VM_BACKED) === 0) continue;
    const [from, to] = [offsetOf(vma, first), offsetOf(vma, end)];
    const io = yield* ioBegin(machine, vma.source, IO_WRITE, from, to);
    found = { io, endPage: end, isWhole };
    break;
  }
  yield* mm.mmapLock.upRead();
  return found ?? { io: 0, endPage, isWhole: isWhole && page >= endPage };
}

/** Why its pages could not be written, or 0. Frees the record. */
function syncFound(machine: Machine, at: number): Task<Errno> {
  const { cache, startPage, endPage } = SourceIo.at(machine.memory, at);
  const end = (): Task<void> => ioEnd(machine, at);
  return thenCleanUp(syncPages(machine, cache, startPage, endPage), end);
}
