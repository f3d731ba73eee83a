/**
 * @module mm/calls/mmap
 * mmap and munmap. Follows Linux `do_mmap`, `mmap_region` and `do_munmap` in `mm/calls/mmap.c` with
 * their errno values. Addresses are bytes, results are a page-aligned address or a negative errno.
 * The caller holds an mm user (R2); the tasks take the mmap lock themselves.
 */

import { EVENT_UNMAP, invalidateRange } from "../../notifier/events.ts";
import type { Machine } from "../../memory/machine.ts";
import { EEXIST, EINVAL, ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { Mm } from "../mm-struct.ts";
import { TASK_SIZE_PAGES } from "../../mmu/radix-table.ts";
import { PAGE_BYTES } from "../pte.ts";
import { shmemCreate } from "../vma/shmem.ts";
import {
  type SplitLimit,
  countWith,
  dropSource,
  insertSpareVma,
  insertVma,
  mergeVmas,
  removeVmas,
  splitAround,
  splitVmaAt,
} from "../vma/vma-map.ts";
import { FIRST_PAGE, findFreeArea } from "../vma/vma-tree.ts";
import {
  VM_BUFFER,
  VM_READ,
  VM_SHARED,
  VM_WRITE,
  type VmaKind,
  findVma,
  vmaAt,
  Vma,
  mappedPagesIn,
} from "../vma/vma.ts";
import { zapRange } from "../zap.ts";

/** Place the mapping anywhere; `address` is a hint. */
export const MAP_ANYWHERE = 0;
/** Exactly at `address`, unmapping what is there (MAP_FIXED). */
export const MAP_FIXED_REPLACE = 1;
/** Exactly at `address`, EEXIST if anything is there (MAP_FIXED_NOREPLACE). */
export const MAP_FIXED_NOREPLACE = 2;

/** What is to be mapped, and where. */
export interface MmapRequest {
  readonly lengthBytes: number;
  /** A hint, or the place; 0 = none. */
  readonly address: number;
  readonly placement: number;
  /** VM_READ | VM_WRITE bits. */
  readonly protection: number;
  readonly shared: boolean;
  /** First frame of a user's buffer to map in place, or 0. */
  readonly bufferPfn: number;
  /** Where in the buffer the mapping starts. */
  readonly offsetPages: number;
}

/**
 * Bytes to whole pages, or -1 when they are no sensible length: not a positive safe integer, or
 * more than the address space.
 */
export function lengthPagesOf(lengthBytes: number): number {
  if (!Number.isSafeInteger(lengthBytes) || lengthBytes <= 0) return -1;
  const pages = Math.ceil(lengthBytes / PAGE_BYTES);
  return pages <= TASK_SIZE_PAGES ? pages : -1;
}

/**
 * True for a length that mprotect, madvise and mremap's old range take: 0 or more; how far it
 * reaches is judged later.
 */
export function isLengthOrZero(lengthBytes: number): boolean {
  return Number.isSafeInteger(lengthBytes) && lengthBytes >= 0;
}

/** A page-aligned address to its page number, which may lie past the end of addresses; or -1. */
export function alignedPageOf(address: number): number {
  return Number.isSafeInteger(address) && address >= 0 && address % PAGE_BYTES === 0
    ? address / PAGE_BYTES
    : -1;
}

/** A page-aligned address to its page number, or -1, also past the end of addresses. */
export function pageOf(address: number): number {
  const page = alignedPageOf(address);
  return page <= TASK_SIZE_PAGES ? page : -1;
}

/**
 * A page-aligned range as pages, or undefined when it is no range inside the addresses (EINVAL to
 * the caller).
 */
export function pagesOf(
  address: number,
  lengthBytes: number,
): { startPage: number; endPage: number } | undefined {
  const startPage = pageOf(address);
  const pages = lengthPagesOf(lengthBytes);
  if (startPage < 0 || pages < 0 || startPage + pages > TASK_SIZE_PAGES) return undefined;
  return { startPage, endPage: startPage + pages };
}

/**
 * Maps memory. The address, or EINVAL (length, address, or a private buffer), EEXIST (no-replace),
 * ENOMEM (no room, a limit, no memory). Linux: `mmap(2)`; a range that ends past the last address
 * is ENOMEM there and here, aligned or not.
 */
export function* doMmap(machine: Machine, mm: Mm, request: MmapRequest): Task<number> {
  if (!Number.isSafeInteger(request.lengthBytes) || request.lengthBytes <= 0) return EINVAL;
  if (request.bufferPfn !== 0 && !request.shared) return EINVAL;
  const pages = lengthPagesOf(request.lengthBytes);
  if (pages < 0) return ENOMEM;
  if (request.placement !== MAP_ANYWHERE) {
    if (request.address > (TASK_SIZE_PAGES - pages) * PAGE_BYTES) return ENOMEM;
    if (pageOf(request.address) < 0) return EINVAL;
  }
  yield* mm.mmapLock.downWrite();
  // Made while the lock is held: a thread that dies while it waits for the lock leaves nothing
  // behind.
  const source = yield* makeSource(machine, request, pages);
  const address = source < 0 ? source : yield* mmapLocked(machine, mm, request, pages, source);
  yield* mm.mmapLock.upWrite();
  return address;
}

/** The source with a reference for the vma-to-be: 0 for private memory; ENOMEM. */
function* makeSource(machine: Machine, request: MmapRequest, pages: number): Task<number> {
  if (request.bufferPfn !== 0) {
    yield* machine.ram.refs.pageGet(request.bufferPfn);
    return request.bufferPfn;
  }
  if (!request.shared) return 0;
  const at = yield* shmemCreate(machine, pages);
  return at === 0 ? ENOMEM : at;
}

function* mmapLocked(
  machine: Machine,
  mm: Mm,
  request: MmapRequest,
  pages: number,
  source: number,
): Task<number> {
  const kind: VmaKind = { flags: vmaFlags(request), source, offsetPages: request.offsetPages };
  const startPage = choosePlace(machine, mm, request, pages);
  const endPage = startPage + pages;
  let result: Errno = startPage < 0 ? startPage : 0;
  const replacedPages = startPage < 0 ? 0 : mappedPagesIn(machine.memory, mm, startPage, endPage);
  if (result === 0 && mm.mappedPages - replacedPages + pages > mm.limitPages) result = ENOMEM;
  if (result === 0) {
    const put = replacedPages === 0 ? insertVma : replaceRange;
    result = yield* put(machine, mm, startPage, endPage, kind);
  } else {
    yield* dropSource(machine, kind);
  }
  return result === 0 ? startPage * PAGE_BYTES : result;
}

/**
 * Puts a mapping where others are. All that can fail is done before anything is unmapped, so that
 * ENOMEM leaves the mappings as they were (Linux may leave a hole). Owns the caller's reference of
 * the source.
 */
function* replaceRange(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
  kind: VmaKind,
): Task<Errno> {
  const isAllowed = countWith(machine.memory, mm, startPage, endPage, kind) <= mm.limitVmas;
  const spare = isAllowed ? yield* machine.heap.alloc(Vma) : 0;
  const result = spare === 0 ? ENOMEM : yield* munmapLocked(machine, mm, startPage, endPage);
  if (result === 0) {
    yield* insertSpareVma(machine, mm, startPage, endPage, kind, spare);
    return 0;
  }
  if (spare !== 0) yield* machine.heap.free(Vma, spare);
  yield* dropSource(machine, kind);
  return result;
}

function vmaFlags(request: MmapRequest): number {
  const protection = request.protection & (VM_READ | VM_WRITE);
  if (request.bufferPfn !== 0) return protection | VM_SHARED | VM_BUFFER;
  return request.shared ? protection | VM_SHARED : protection;
}

/** First page of the new mapping, or a negative errno. Holding the mmap lock. */
function choosePlace(machine: Machine, mm: Mm, request: MmapRequest, pages: number): number {
  const { memory } = machine;
  if (request.placement === MAP_FIXED_REPLACE) return pageOf(request.address);
  if (request.placement === MAP_FIXED_NOREPLACE) {
    const page = pageOf(request.address);
    return isFree(machine, mm, page, page + pages) ? page : EEXIST;
  }
  const hint = Number.isSafeInteger(request.address) ? Math.floor(request.address / PAGE_BYTES) : 0;
  const fits =
    hint >= FIRST_PAGE &&
    hint + pages <= TASK_SIZE_PAGES &&
    isFree(machine, mm, hint, hint + pages);
  if (fits) return hint;
  const page = findFreeArea(memory, mm, pages);
  return page < 0 ? ENOMEM : page;
}

/** True when nothing is mapped in the range. Holding the mmap lock. */
export function isFree(machine: Machine, mm: Mm, startPage: number, endPage: number): boolean {
  const vma = vmaAt(machine.memory, findVma(machine.memory, mm, startPage));
  return vma === undefined || vma.startPage >= endPage;
}

/**
 * Unmaps [address, address + length). 0, EINVAL, or ENOMEM when the range lies inside one mapping,
 * of which two would be left, at the limit or without memory for the second. Holes are no error.
 */
export function* doMunmap(
  machine: Machine,
  mm: Mm,
  address: number,
  lengthBytes: number,
): Task<Errno> {
  const range = pagesOf(address, lengthBytes);
  if (range === undefined) return EINVAL;
  yield* mm.mmapLock.downWrite();
  const result = yield* munmapLocked(machine, mm, range.startPage, range.endPage);
  yield* mm.mmapLock.upWrite();
  return result;
}

/** Holding the mmap lock for writing. ENOMEM leaves the mappings as they were. */
export function* munmapLocked(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
): Task<Errno> {
  const result = yield* splitAround(machine, mm, startPage, endPage);
  if (result === 0) yield* unmapSplit(machine, mm, startPage, endPage);
  return result;
}

/**
 * The part of munmap that cannot fail, after `splitAround`. Empty tables stay with `keepsTables`:
 * for who is about to fill them. Holding the mmap lock for writing.
 */
export function* unmapSplit(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
  keepsTables: boolean = false,
): Task<void> {
  if (isFree(machine, mm, startPage, endPage)) return;
  yield* zapRange(machine, mm, invalidateRange(mm, startPage, endPage, EVENT_UNMAP), keepsTables);
  yield* removeVmas(machine, mm, startPage, endPage);
}

/**
 * Makes both ends of a range borders of vmas, or neither: on ENOMEM a split that was made is merged
 * again. Holding the mmap lock for writing.
 */
export function* splitAtBoth(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
  limit: SplitLimit = "limited",
): Task<Errno> {
  let result = yield* splitVmaAt(machine, mm, startPage, limit);
  if (result !== 0) return result;
  result = yield* splitVmaAt(machine, mm, endPage, limit);
  if (result !== 0) yield* mergeVmas(machine, mm, startPage, endPage);
  return result;
}
