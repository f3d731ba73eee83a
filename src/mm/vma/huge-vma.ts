/**
 * @module mm/vma/huge-vma
 * Which mappings have huge pages (mm/huge.ts). Follows Linux `thp_vma_allowable_order` and the
 * modes of `/sys/kernel/mm/transparent_hugepage/enabled`, which here belong to a space.
 *
 *     mode       a mapping has huge pages
 *     never      none, but for explicit ones
 *     madvise    with VM_HUGEPAGE
 *     always     without VM_NOHUGEPAGE
 *
 * Only private memory without a source has them, where the 2 MiB lie in one mapping. An explicit
 * huge mapping (VM_HUGETLB, Linux: MAP_HUGETLB) consists of them: it gets them when it is made, and
 * they are never split.
 */

import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Mm } from "../mm-struct.ts";
import { HUGE_PAGES, hugeStart } from "../huge.ts";
import {
  type PageRange,
  VM_BACKED,
  VM_BUFFER,
  VM_HUGEPAGE,
  VM_HUGETLB,
  VM_NOHUGEPAGE,
  VM_SHARED,
  VM_SPECIAL,
  type Vma,
  END_PAGE,
  FLAGS,
  START_PAGE,
  findVma,
} from "./vma.ts";

/** A space's mode, by default HUGE_MADVISE. */
export const HUGE_MADVISE = 0;
export const HUGE_ALWAYS = 1;
export const HUGE_NEVER = 2;

/** Mappings whose memory is never huge. */
const NEVER_HUGE: number = VM_SHARED | VM_BACKED | VM_BUFFER | VM_SPECIAL;

/** Whether the 2 MiB around `page` may be a huge page of the mapping. Holding the mmap lock. */
export function mayBeHuge(mm: Mm, vma: Vma, page: number): boolean {
  return wantsHuge(mm, vma.flags) && isBlockInside(vma, page);
}

/** Whether faults make huge pages in a mapping with these flags. */
export function wantsHuge(mm: Mm, flags: number): boolean {
  if ((flags & VM_HUGETLB) !== 0) return true;
  if ((flags & (NEVER_HUGE | VM_NOHUGEPAGE)) !== 0 || mm.hugeMode === HUGE_NEVER) return false;
  return (flags & VM_HUGEPAGE) !== 0 || mm.hugeMode === HUGE_ALWAYS;
}

/** Whether the call to collapse may make huge pages there: the mode does not matter to it. */
export function mayCollapse(flags: number): boolean {
  return (flags & (NEVER_HUGE | VM_NOHUGEPAGE | VM_HUGETLB)) === 0;
}

/**
 * Whether the range begins or ends inside a page of an explicit huge mapping: the call is EINVAL.
 * `first` is what `findVma` finds at its start. Holding the mmap lock. Linux:
 * `hugetlb_vm_op_split`.
 */
export function cutsHuge(
  memory: SharedMemory,
  mm: Mm,
  { startPage, endPage }: PageRange,
  first: number = findVma(memory, mm, startPage),
): boolean {
  if (first === 0) return false;
  const isLast = END_PAGE.load(memory, first) >= endPage;
  const last = isLast ? first : findVma(memory, mm, endPage);
  return isCutAt(memory, first, startPage) || isCutAt(memory, last, endPage);
}

/** Whether the vma, or none for 0, is an explicit huge one, and `page` lies inside a page of it. */
function isCutAt(memory: SharedMemory, vma: number, page: number): boolean {
  if (page % HUGE_PAGES === 0 || vma === 0) return false;
  if (START_PAGE.load(memory, vma) >= page || END_PAGE.load(memory, vma) <= page) return false;
  return (FLAGS.load(memory, vma) & VM_HUGETLB) !== 0;
}

function isBlockInside({ startPage, endPage }: Vma, page: number): boolean {
  const start = hugeStart(page);
  return start >= startPage && start + HUGE_PAGES <= endPage;
}
