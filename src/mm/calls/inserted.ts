/**
 * @module mm/calls/inserted
 * A private mapping whose pages a driver has put there: what the mmap of a driver's file makes.
 * Follows Linux `vm_insert_page`. Each page is a zeroed frame with one count, the entry's. The
 * entries are read-only as in every private mapping; a store makes the page writable, or a copy of
 * it where a fork shares it.
 */

import type { Machine } from "../../memory/machine.ts";
import { leafAlloc, pteIndex } from "../../mmu/radix-table.ts";
import { storeNoted } from "../../sync/atomics.ts";
import { ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { handOf, tablesOf } from "../entries/hand.ts";
import { beginHand, endInvalidation } from "../entries/invalidation.ts";
import type { Mm } from "../mm-struct.ts";
import { PTE_ACCESSED, makePte } from "../pte.ts";
import type { PageRange } from "../vma/vma.ts";
import { munmapLocked } from "./munmap.ts";

/**
 * Gives a new mapping all its pages. 0 or ENOMEM: it is unmapped again. Holding the mmap lock for
 * writing.
 */
export function* insertPages(machine: Machine, mm: Mm, range: PageRange): Task<Errno> {
  const operation = yield* beginHand(mm);
  let isThere = true;
  for (let page = range.startPage; page < range.endPage && isThere; page++)
    isThere = yield* insertPage(machine, mm, page, operation);
  endInvalidation(mm, operation);
  if (isThere) return 0;
  yield* munmapLocked(machine, mm, range);
  return ENOMEM;
}

/** False: there is no memory. */
function* insertPage(machine: Machine, mm: Mm, page: number, operation: number): Task<boolean> {
  const leaf = yield* leafAlloc(machine, mm.pgd, page, tablesOf(operation));
  const hand = handOf(operation);
  const pfn = leaf === 0 ? 0 : yield* machine.ram.allocFrame(true, hand);
  if (pfn === 0) return false;
  const { words } = machine.memory;
  storeNoted(words, pteIndex(leaf, page), makePte(pfn, PTE_ACCESSED), words, hand);
  return true;
}
