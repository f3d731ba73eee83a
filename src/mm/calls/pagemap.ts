/**
 * @module mm/calls/pagemap
 * Shows an address space: its mappings (Linux `/proc/pid/maps`) and its pages
 * (`/proc/pid/pagemap`). Follows `fs/proc/task_mmu.c`.
 */

import type { Machine } from "../../memory/machine.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { Mm } from "../mm-struct.ts";
import { TASK_SIZE_PAGES, pteAt } from "../../mmu/radix-table.ts";
import {
  KIND_NONE,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_PRESENT,
  PTE_SPECIAL,
  PTE_TRACKED,
  PTE_WRITE,
  pteKind,
  ptePfn,
} from "../pte.ts";
import {
  VM_BACKED,
  VM_BUFFER,
  VM_READ,
  VM_SHARED,
  VM_WRITE,
  type Vma,
  vmasIn,
} from "../vma/vma.ts";

/**
 * One mapping of an address space. Addresses in bytes, `end` exclusive.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * space.mmapSync(8192, { shared: true });
 * for (const { start, end, protection } of space.mapsSync()) {
 *   const place = `${start.toString(16)}-${end.toString(16)}`;
 *   console.log(place, protection); // 10000-12000 read-write
 * }
 * ```
 */
export interface MapsEntry {
  /** Address of the first byte. */
  readonly start: number;
  /** Address after the last byte. */
  readonly end: number;
  /** What loads and stores may do. */
  readonly protection: "none" | "read" | "read-write";
  /** Whether forks share its frames. */
  readonly shared: boolean;
  /** "source": a file, or memory of the program's own. */
  readonly source: "anonymous" | "buffer" | "source";
}

/**
 * What the page table says of one page.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * const p = space.mmapSync(8192);
 * space.u8.store(p, 1);
 * console.log(space.pagemapSync(p, 8192).map(({ dirty }) => dirty)); // [ true, false ]
 * ```
 */
export interface PagemapEntry {
  /** Address of the page. */
  readonly address: number;
  /** Whether the page has an entry that a load can use. */
  readonly present: boolean;
  /** Whether a store can use it, too. */
  readonly writable: boolean;
  /** Whether it was stored to through this entry. */
  readonly dirty: boolean;
  /** Whether it was used through this entry. */
  readonly accessed: boolean;
  /** Write-protected because a device may hold a copy. */
  readonly tracked: boolean;
  /** The page reads as zeros and has no frame of its own yet. */
  readonly zero: boolean;
  /** Frame number, -1 when there is none. */
  readonly pfn: number;
}

/** The mappings in order of address. Takes the mmap lock for reading. */
export function* readMaps(machine: Machine, mm: Mm): Task<MapsEntry[]> {
  const entries: MapsEntry[] = [];
  yield* mm.mmapLock.downRead();
  for (const vma of vmasIn(machine.memory, mm, 0, TASK_SIZE_PAGES)) {
    entries.push(mapsEntry(vma));
  }
  yield* mm.mmapLock.upRead();
  return entries;
}

/** What is shown of a mapping. Holding the mmap lock. */
export function mapsEntry({ startPage, endPage, flags }: Vma): MapsEntry {
  const isReadable = (flags & VM_READ) !== 0;
  return {
    start: startPage * 4096,
    end: endPage * 4096,
    protection: isReadable ? ((flags & VM_WRITE) === 0 ? "read" : "read-write") : "none",
    shared: (flags & VM_SHARED) !== 0,
    source: sourceKindOf(flags),
  };
}

function sourceKindOf(flags: number): MapsEntry["source"] {
  if ((flags & VM_BUFFER) !== 0) return "buffer";
  return (flags & VM_BACKED) === 0 ? "anonymous" : "source";
}

/**
 * One entry for each page of the range, mapped or not. Takes the mmap lock for reading.
 *
 * @stepped pte
 */
export function* readPagemap(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
): Task<PagemapEntry[]> {
  const entries: PagemapEntry[] = [];
  yield* mm.mmapLock.downRead();
  for (let page = startPage; page < endPage; page++) {
    entries.push(entryOf(page, pteAt(machine.memory, mm.pgd, page)));
  }
  yield* mm.mmapLock.upRead();
  return entries;
}

function entryOf(page: number, pte: number): PagemapEntry {
  const present = (pte & PTE_PRESENT) !== 0;
  const has = (bit: number): boolean => present && (pte & bit) !== 0;
  return {
    address: page * 4096,
    present,
    writable: has(PTE_WRITE),
    dirty: has(PTE_DIRTY),
    accessed: has(PTE_ACCESSED),
    tracked: has(PTE_TRACKED),
    zero: has(PTE_SPECIAL),
    pfn: pteKind(pte) === KIND_NONE ? -1 : ptePfn(pte),
  };
}
