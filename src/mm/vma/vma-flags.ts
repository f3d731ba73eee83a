/**
 * @module mm/vma/vma-flags
 * Gives the mappings of a range other flags: splits those that reach past its ends, and merges what
 * is of one kind afterwards. Follows Linux `vma_modify_flags` in `mm/vma.c`. Holding the mmap lock
 * for writing.
 */

import type { Machine } from "../../memory/machine.ts";
import { ENOMEM, type Errno } from "../../sync/errno.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { Mm } from "../mm-struct.ts";
import { isSameSource } from "./vma-source.ts";
import { splitAtBoth } from "./vma-map.ts";
import { beginVmaChange } from "./vma-tree.ts";
import { FLAGS, type PageRange, type Vma, vmasIn } from "./vma.ts";

/** The flags that a mapping of the range will have, by those that it has. */
export type FlagsChange = (flags: number) => number;

/**
 * Changes the flags of what is mapped in the range. The caller changes the entries, and calls
 * `mergeVmas`. If its thread dies before that, the flags are as before. ENOMEM at the limit of
 * mappings or without memory; then nothing has changed.
 */
export function* changeFlags(
  machine: Machine,
  mm: Mm,
  range: PageRange,
  change: FlagsChange,
): Task<Errno> {
  const { memory } = machine;
  if (countAfter(memory, mm, range, change) > mm.limitVmas) return ENOMEM;
  const result = yield* splitAtBoth(machine, mm, range, "unlimited");
  if (result !== 0) return result;
  for (const { at, flags } of vmasIn(memory, mm, range.startPage, range.endPage)) {
    beginVmaChange(memory, mm);
    FLAGS.store(memory, at, change(flags));
  }
  return 0;
}

/**
 * How many vmas the space will have. A part that is split off may merge with a neighbour, so a
 * border can be moved at the limit, too.
 */
function countAfter(memory: SharedMemory, mm: Mm, range: PageRange, change: FlagsChange): number {
  const { startPage, endPage } = range;
  let count = mm.vmaCount;
  let before: { readonly flags: number; readonly vma: Vma; readonly endPage: number } | undefined;
  const meet = (vma: Vma, first: number, end: number): void => {
    if (first >= end) return;
    const isInside = first >= startPage && end <= endPage;
    const flags = isInside ? change(vma.flags) : vma.flags;
    if (vma.startPage < first) count++;
    if (before?.flags === flags && before.endPage === first && isSameSource(before.vma, vma))
      count--;
    before = { flags, vma, endPage: end };
  };
  for (const vma of vmasIn(memory, mm, Math.max(startPage - 1, 0), endPage + 1)) {
    meet(vma, vma.startPage, Math.min(vma.endPage, startPage));
    meet(vma, Math.max(vma.startPage, startPage), Math.min(vma.endPage, endPage));
    meet(vma, Math.max(vma.startPage, endPage), vma.endPage);
  }
  return count;
}
