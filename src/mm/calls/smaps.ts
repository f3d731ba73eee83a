/**
 * @module mm/calls/smaps
 * What a space's mappings have in memory, page by page: Linux's `/proc/pid/smaps`.
 * Follows `smaps_pte_entry` in `fs/proc/task_mmu.c`. Differs in that a frame is "shared" by its
 * references (Linux: by its mappings), without those of the page cache and of views.
 */

import type { Machine } from "../../memory/machine.ts";
import {
  type LeafVisitor,
  TASK_SIZE_PAGES,
  forEachLeaf,
  pteIndex,
  wordAt,
} from "../../mmu/radix-table.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { isHugeAt } from "../huge.ts";
import type { Mm } from "../mm-struct.ts";
import { PAGE_BYTES, PTE_DIRTY, PTE_PRESENT, isResident, ptePfn } from "../pte.ts";
import { CACHE_DIRTY, CACHE_WRITEBACK, PageCache, cacheEntryAt } from "../vma/page-cache.ts";
import { VM_BACKED, VM_BUFFER, VM_SHARED, type Vma, offsetOf, vmasIn } from "../vma/vma.ts";
import { type MapsEntry, mapsEntry } from "./pagemap.ts";

/** Bytes that are in memory of one device. */
export interface DeviceUse {
  /** The number of the device, as its `number` says. */
  readonly device: number;
  /** Bytes that are in its memory. */
  readonly bytes: number;
}

/**
 * What is in memory of one mapping, or of a whole space, in bytes: see `AddressSpace.smaps`. All
 * but `sizeBytes` are parts of `residentBytes`.
 */
export interface MemoryUse {
  /** What is mapped. */
  readonly sizeBytes: number;
  /** Pages that have a frame, in RAM or on a device. The page of zeros is none. */
  readonly residentBytes: number;
  /** In frames that others have, too: other spaces, other mappings; and all of a user's buffer. */
  readonly sharedBytes: number;
  /** In frames that only this mapping has. */
  readonly privateBytes: number;
  /** Contents that are nowhere else: what was stored, and of a source what is not written back. */
  readonly dirtyBytes: number;
  /** In huge pages. */
  readonly hugeBytes: number;
  /** In memory of devices, all together, and of each. */
  readonly deviceBytes: number;
  /** Bytes in memory of each device that has some. */
  readonly devices: readonly DeviceUse[];
}

/** One mapping, and what is in memory of it. */
export type SmapsEntry = MapsEntry & MemoryUse;

/**
 * The mappings of a space with what is in memory of each, and the sum.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 *
 * using space = AddressSpace.createSync();
 * const p = space.mmapSync(2 ** 20);
 * space.u8.store(p, 1);
 * using child = space.forkSync();
 * space.u8.store(p + 4096, 1);
 * const { total } = space.smapsSync();
 * console.log(total.residentBytes, total.sharedBytes, total.privateBytes); // 8192 4096 4096
 * ```
 */
export interface Smaps {
  /** The mappings, in order of address. */
  readonly mappings: readonly SmapsEntry[];
  /** The sums over all mappings. */
  readonly total: MemoryUse;
}

/** Pages, while they are counted. */
class PageCount {
  resident = 0;
  huge = 0;
  shared = 0;
  dirty = 0;
  device = 0;
  readonly byDevice: Map<number, number> = new Map();

  add(part: PageCount): void {
    this.resident += part.resident;
    this.huge += part.huge;
    this.shared += part.shared;
    this.dirty += part.dirty;
    this.device += part.device;
    for (const [device, pages] of part.byDevice) this.addDevice(device, pages);
  }

  addDevice(device: number, pages: number): void {
    this.byDevice.set(device, (this.byDevice.get(device) ?? 0) + pages);
  }

  asBytes(sizeBytes: number): MemoryUse {
    return {
      sizeBytes,
      residentBytes: this.resident * PAGE_BYTES,
      sharedBytes: this.shared * PAGE_BYTES,
      privateBytes: (this.resident - this.shared) * PAGE_BYTES,
      dirtyBytes: this.dirty * PAGE_BYTES,
      hugeBytes: this.huge * PAGE_BYTES,
      deviceBytes: this.device * PAGE_BYTES,
      devices: Array.from(this.byDevice, ([device, pages]) => ({
        device,
        bytes: pages * PAGE_BYTES,
      })).toSorted((a, b) => a.device - b.device),
    };
  }
}

/** Takes the mmap lock for reading; the caller holds an mm user. */
export function* readSmaps(machine: Machine, mm: Mm): Task<Smaps> {
  const mappings: SmapsEntry[] = [];
  const total = new PageCount();
  yield* mm.mmapLock.downRead();
  for (const vma of vmasIn(machine.memory, mm, 0, TASK_SIZE_PAGES)) {
    const count = yield* countVma(machine, mm, vma);
    total.add(count);
    const entry = mapsEntry(vma);
    mappings.push({ ...entry, ...count.asBytes(entry.end - entry.start) });
  }
  const sizeBytes = mm.mappedPages * PAGE_BYTES;
  yield* mm.mmapLock.upRead();
  return { mappings, total: total.asBytes(sizeBytes) };
}

/** Holding the mmap lock. */
function* countVma(machine: Machine, mm: Mm, vma: Vma): Task<PageCount> {
  const count = new PageCount();
  const { memory } = machine;
  const visit: LeafVisitor = function* (leaf, first, end) {
    const before = count.resident;
    for (let page = first; page < end; page++) {
      const pte = wordAt(memory.words, pteIndex(leaf, page));
      if (isResident(pte)) countPage(machine, vma, page, pte, count);
    }
    if (isHugeAt(memory, mm, first)) count.huge += count.resident - before;
    return 0;
  };
  yield* forEachLeaf(memory, mm.pgd, vma.startPage, vma.endPage, visit);
  return count;
}

/** A page with an entry that has a frame. The entry may change meanwhile. */
function countPage(machine: Machine, vma: Vma, page: number, pte: number, count: PageCount): void {
  const pfn = ptePfn(pte);
  count.resident++;
  if (pfn >= machine.ram.ownEndPfn && (vma.flags & VM_BUFFER) === 0) {
    count.device++;
    count.dirty++;
    count.addDevice(machine.ram.sections.deviceKindOf(pfn) >>> 2, 1);
    return;
  }
  const isCached = isOfCache(machine, vma, pfn);
  if (isShared(machine, vma, pfn, isCached)) count.shared++;
  if (isDirty(machine, vma, page, pte, isCached)) count.dirty++;
}

/** Whether a page cache has a reference of the frame. */
function isOfCache({ ram }: Machine, { flags }: Vma, pfn: number): boolean {
  if ((flags & VM_BUFFER) !== 0) return false;
  return (flags & VM_SHARED) !== 0 || ((flags & VM_BACKED) !== 0 && ram.refs.mappingOf(pfn) !== 0);
}

function isShared({ ram }: Machine, vma: Vma, pfn: number, isCached: boolean): boolean {
  if ((vma.flags & VM_BUFFER) !== 0) return true;
  return ram.refs.pageCount(pfn) - ram.refs.pagePins(pfn) - (isCached ? 1 : 0) > 1;
}

function isDirty(
  { memory }: Machine,
  vma: Vma,
  page: number,
  pte: number,
  isCached: boolean,
): boolean {
  if (isCached && (vma.flags & VM_BACKED) !== 0) {
    const entry = cacheEntryAt(memory, PageCache.at(memory, vma.source), offsetOf(vma, page));
    return (entry & (CACHE_DIRTY | CACHE_WRITEBACK)) !== 0;
  }
  // A frame of private memory has been written, or there would be the page of zeros.
  return (vma.flags & VM_SHARED) === 0 || (pte & (PTE_PRESENT | PTE_DIRTY)) > PTE_PRESENT;
}
