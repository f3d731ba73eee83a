/**
 * @module space/inspect
 * The pages and the statistics of an address space, for inspection. The mappings are listed by
 * mm/calls/pagemap.ts.
 */

import type { CacheAccount } from "../memory/heap/heap.ts";
import type { Machine } from "../memory/machine.ts";
import { PAGE_BYTES } from "../memory/ram.ts";
import type { Mm } from "../mm/mm-struct.ts";
import { pagesOf } from "../mm/calls/page-arguments.ts";
import {
  type LeafVisitor,
  TASK_SIZE_PAGES,
  forEachLeaf,
  pteIndex,
  wordAt,
} from "../mmu/radix-table.ts";
import { type PagemapEntry, readPagemap } from "../mm/calls/pagemap.ts";
import { holdsFrame } from "../mm/pte.ts";
import { vmasIn } from "../mm/vma/vma.ts";
import { EINVAL } from "../sync/errno.ts";
import type { Task } from "../sync/tasks/task.ts";
import { customFailure, failure } from "./failures.ts";
import { checkPages } from "./options.ts";

/**
 * Statistics of an address space and its machine: see `AddressSpace.stats`.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * const p = space.mmapSync(2 ** 20);
 * space.u8.store(p, 1);
 * const { mappedBytes, residentBytes } = space.statsSync();
 * console.log(mappedBytes, residentBytes); // 1048576 4096
 * ```
 */
export interface AddressSpaceStats {
  /**
   * Users of the address space: AddressSpace objects of all threads, open views, devices' ranges.
   */
  readonly users: number;
  /** Mappings, and the bytes that they span. */
  readonly mappings: number;
  readonly mappedBytes: number;
  /** Of these, bytes that have a frame. */
  readonly residentBytes: number;
  /** Write views that are open. */
  readonly writeViews: number;
  /** Page faults that single loads and stores, and read() and write(), took through this object. */
  readonly faults: number;
  /** The machine's own RAM, which all its address spaces share. */
  readonly ram: {
    readonly totalBytes: number;
    readonly usedBytes: number;
    readonly freeBytes: number;
  };
  /** The machine's kernel heap. `objects` counts the live objects, by kind. */
  readonly heap: {
    readonly usedBytes: number;
    readonly peakBytes: number;
    readonly budgetBytes: number;
    readonly objects: readonly CacheAccount[];
  };
}

/** Pages that one call of pagemap lists at most (4 GiB). */
const PAGEMAP_PAGES_MAX = 2 ** 20;

/** The pages of a range. Throws HmmError EINVAL. */
export function* pagemapTask(
  machine: Machine,
  mm: Mm,
  address: number,
  lengthBytes: number,
): Task<PagemapEntry[]> {
  checkPages("pagemap", address, lengthBytes, 1);
  const range = pagesOf(address, lengthBytes);
  if (range === undefined) throw failure("pagemap", EINVAL, address);
  if (range.endPage - range.startPage > PAGEMAP_PAGES_MAX) {
    throw customFailure(
      "pagemap",
      EINVAL,
      "the range is longer than 4 GiB; ask for it in parts",
      address,
    );
  }
  return yield* readPagemap(machine, mm, range.startPage, range.endPage);
}

/** Takes the mmap lock for reading. */
export function* statsTask(machine: Machine, mm: Mm, faults: number): Task<AddressSpaceStats> {
  const { memory, heap, ram } = machine;
  let residentPages = 0;
  yield* mm.mmapLock.downRead();
  const countPages: LeafVisitor = function* (leaf, first, end) {
    for (let page = first; page < end; page++) {
      if (holdsFrame(wordAt(memory.words, pteIndex(leaf, page)))) residentPages++;
    }
    return 0;
  };
  for (const vma of vmasIn(memory, mm, 0, TASK_SIZE_PAGES)) {
    yield* forEachLeaf(memory, mm.pgd, vma.startPage, vma.endPage, countPages);
  }
  const { vmaCount: mappings, mappedPages } = mm;
  const writeViews = Array.from(mm.holds.nodes()).length;
  yield* mm.mmapLock.upRead();
  const { totalPages, usedPages, freePages } = ram.usage();
  return {
    users: mm.users.read(),
    mappings,
    mappedBytes: mappedPages * PAGE_BYTES,
    residentBytes: residentPages * PAGE_BYTES,
    writeViews,
    faults,
    ram: {
      totalBytes: totalPages * PAGE_BYTES,
      usedBytes: usedPages * PAGE_BYTES,
      freeBytes: freePages * PAGE_BYTES,
    },
    heap: { ...heap.usage(), objects: heap.accounting() },
  };
}
