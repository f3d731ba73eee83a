/**
 * @module mm/migrate/bring-to-ram
 * Brings the pages that devices have of a range back to RAM, for good: for a view, whose typed
 * array must lie in RAM (Linux: FOLL_LONGTERM and `migrate_longterm_unpinnable_folios`,
 * `mm/gup.c`).
 */

import type { Machine } from "../../memory/machine.ts";
import { pteAt } from "../../mmu/radix-table.ts";
import { EBUSY, ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { handleMmFault } from "../fault/fault.ts";
import type { Mm } from "../mm-struct.ts";
import { KIND_DEVICE_PRIVATE, holdsFrame, pteKind, ptePfn } from "../pte.ts";
import { type PageRange, VM_SHARED, type VmaPart, partsIn } from "../vma/vma.ts";
import { SELECT_DEVICE_COHERENT, migrateRange, toRam } from "./migrate-vma.ts";

/**
 * 0, ENOMEM, or EBUSY: a page cannot be had back. After an error some pages may be back. Holding
 * the mmap lock for writing, over a range that is mapped throughout and may be read.
 */
export function* bringToRam(machine: Machine, mm: Mm, range: PageRange): Task<Errno> {
  mm.mmapLock.assertHeldWrite();
  if (mm.isDeviceSpace === 0) return 0;
  for (const part of partsIn(machine.memory, mm, range)) {
    if ((part.vma.flags & VM_SHARED) !== 0) continue;
    for (let page = part.startPage; page < part.endPage; page++) {
      if (!isOfDevice(machine, mm, page)) continue;
      const failed = yield* bringPage(machine, mm, part, page);
      if (failed !== 0) return failed;
      if (isOfDevice(machine, mm, page)) return EBUSY;
    }
  }
  return 0;
}

function isOfDevice({ memory, ram }: Machine, mm: Mm, page: number): boolean {
  const pte = pteAt(memory, mm.pgd, page);
  return holdsFrame(pte) && ptePfn(pte) >= ram.ownEndPfn;
}

/** A private page by its driver, as for any fault; a coherent one needs none. */
function* bringPage(machine: Machine, mm: Mm, { vma }: VmaPart, page: number): Task<Errno> {
  const pte = pteAt(machine.memory, mm.pgd, page);
  if (pteKind(pte) === KIND_DEVICE_PRIVATE)
    return yield* handleMmFault(machine, mm, vma, page, false);
  const owner = machine.ram.sections.deviceKindOf(ptePfn(pte)) >>> 2;
  const args = { machine, mm, vma, startPage: page, endPage: page + 1, owner, isByOwner: false };
  const result = yield* migrateRange({ ...args, select: SELECT_DEVICE_COHERENT }, toRam(machine));
  if (typeof result === "number") return result;
  return result.lacking > 0 ? ENOMEM : 0;
}
