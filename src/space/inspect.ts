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
import { isResident } from "../mm/pte.ts";
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
  /** Bytes that the mappings span. */
  readonly mappedBytes: number;
  /** Of these, bytes that have a frame. */
  readonly residentBytes: number;
  /**
   * What has happened in the space since it was made, in all threads: whole numbers below 2^32.
   */
  readonly counters: SpaceCounts;
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

/**
 * Counters of an address space. Faults that another thread overtook count, too.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * const p = space.mmapSync(8192);
 * space.u8.store(p, 1);
 * using child = space.forkSync();
 * child.u8.store(p, 2);
 * const { anonymousFaults, copyFaults } = child.statsSync().counters;
 * console.log(anonymousFaults, copyFaults); // 0 1
 * ```
 */
export interface SpaceCounts {
  /** Faults of private memory: page of zeros; fresh frame; copy of a frame for a store. */
  readonly zeroFaults: number;
  /** A page got a fresh frame. */
  readonly anonymousFaults: number;
  /** A page got a copy of its frame, for a store. */
  readonly copyFaults: number;
  /** A page became writable where it is. */
  readonly writeFaults: number;
  /** Faults of shared memory and of buffers. */
  readonly sharedFaults: number;
  /** Faults of a source: its page was there; it had to be read first. */
  readonly sourceFaults: number;
  /** Of the faults of a source, those whose page had to be read first. */
  readonly sourceReads: number;
  /** A page came back from protection "none". */
  readonly protectionFaults: number;
  /** A page came back from a device's private memory, or from a device that had it exclusively. */
  readonly deviceFaults: number;
  /** A page came back from a device that had it exclusively. */
  readonly exclusiveFaults: number;
  /** A page was under way between RAM and a device. */
  readonly migrationWaits: number;
  /** Invalidations: devices and other threads had to drop translations. */
  readonly invalidations: number;
  /** Faults of huge pages, as a whole; huge pages that were split. */
  readonly hugeFaults: number;
  /** Huge pages that were split. */
  readonly hugeSplits: number;
  /** Pages that moved to memory of devices, and back. */
  readonly pagesToDevice: number;
  /** Pages that moved back from memory of devices. */
  readonly pagesToRam: number;
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
      if (isResident(wordAt(memory.words, pteIndex(leaf, page)))) residentPages++;
    }
    return 0;
  };
  for (const vma of vmasIn(memory, mm, 0, TASK_SIZE_PAGES)) {
    yield* forEachLeaf(memory, mm.pgd, vma.startPage, vma.endPage, countPages);
  }
  const { vmaCount: mappings, mappedPages } = mm;
  const writeViews = Array.from(mm.holds.nodes()).length;
  const counters = mm.counters.read();
  yield* mm.mmapLock.upRead();
  const { totalPages, usedPages, freePages } = ram.usage();
  return {
    users: mm.users.read(),
    mappings,
    mappedBytes: mappedPages * PAGE_BYTES,
    residentBytes: residentPages * PAGE_BYTES,
    counters,
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
