/**
 * @module mm/calls/populate
 * Faults the pages of a range in, before anybody touches them. Follows Linux `madvise_populate` in
 * `mm/madvise.c` and `populate_vma_page_range` in `mm/gup.c`. Unlike other advice it ends at the
 * first page that cannot be had.
 */

import type { Machine } from "../../memory/machine.ts";
import { pteAt } from "../../mmu/radix-table.ts";
import { EFAULT, EINVAL, EMFILE, ENOMEM, ENXIO, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { receiveBuffer, waitForSource } from "../fault/cpu-fault.ts";
import { handleMmFault } from "../fault/fault.ts";
import type { Mm } from "../mm-struct.ts";
import { isAccessible } from "../pte.ts";
import { bringIn } from "../source/bring-in.ts";
import {
  type PageRange,
  VM_READ,
  VM_SHARED,
  VM_SPECIAL,
  VM_WRITE,
  type Vma,
  vmaOf,
} from "../vma/vma.ts";

/** As loads would. */
export const POPULATE_READ = 1;
/** As stores would; EINVAL where a mapping is read-only. */
export const POPULATE_WRITE = 2;
/** As stores where memory is private and writable, else as loads. */
export const POPULATE = 3;

/** Pages for which the mmap lock is held at once. */
const HELD_PAGES = 512;

/** How far it went, and what stopped it. */
interface Progress {
  page: number;
  errno: Errno;
  /** A record to wait for without the mmap lock, or 0. */
  wait: number;
}

/**
 * 0, ENOMEM (a hole, or no RAM), EINVAL (a mapping does not allow the access, or no fault fills
 * it), EFAULT (beyond the end of a source, or a page that cannot be read). Takes the mmap lock;
 * the caller holds an mm user.
 */
export function* populateRange(
  machine: Machine,
  mm: Mm,
  { startPage, endPage }: PageRange,
  mode: number,
): Task<Errno> {
  const progress: Progress = { page: startPage, errno: 0, wait: 0 };
  while (progress.page < endPage) {
    const end = Math.min(progress.page + HELD_PAGES, endPage);
    yield* mm.mmapLock.downRead();
    yield* populateHeld(machine, mm, end, mode, progress);
    yield* mm.mmapLock.upRead();
    const { wait } = progress;
    if (wait > 0) progress.errno = asPopulated(yield* bringIn(machine, wait));
    else if (wait < 0) progress.errno = wait;
    // Throws, if the buffer of the page's device has to be waited for.
    else if (progress.errno === ENXIO) yield* receiveBuffer(machine, mm, progress.page);
    if (progress.errno !== 0 && progress.errno !== ENXIO) return progress.errno;
  }
  return 0;
}

/** A page that its source cannot give would be SIGBUS. */
function asPopulated(brought: Errno): Errno {
  return brought === 0 || brought === ENOMEM || brought === EMFILE ? brought : EFAULT;
}

/** Holding the mmap lock. @stepped pte */
function* populateHeld(
  machine: Machine,
  mm: Mm,
  endPage: number,
  mode: number,
  progress: Progress,
): Task<void> {
  progress.errno = 0;
  progress.wait = 0;
  let vma: Vma | undefined;
  while (progress.page < endPage) {
    const { page } = progress;
    if (vma === undefined || page >= vma.endPage) vma = vmaOf(machine.memory, mm, page);
    if (vma === undefined || isRefused(vma, mode)) {
      progress.errno = vma === undefined ? ENOMEM : EINVAL;
      return;
    }
    const isWrite = isForWriting(vma, mode);
    if (isAccessible(pteAt(machine.memory, mm.pgd, page), isWrite)) {
      progress.page++;
      continue;
    }
    const result = yield* handleMmFault(machine, mm, vma, page, isWrite);
    if (result === 0) continue; // a first entry may be read-only still
    progress.errno = result;
    progress.wait = yield* waitForSource(machine, vma, page, result);
    return;
  }
}

function isForWriting({ flags }: Vma, mode: number): boolean {
  return mode === POPULATE
    ? (flags & (VM_WRITE | VM_SHARED)) === VM_WRITE
    : mode === POPULATE_WRITE;
}

function isRefused(vma: Vma, mode: number): boolean {
  const right = isForWriting(vma, mode) ? VM_WRITE : VM_READ;
  return (vma.flags & VM_SPECIAL) !== 0 || (vma.flags & right) === 0;
}
