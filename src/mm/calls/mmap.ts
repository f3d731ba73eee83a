/**
 * @module mm/calls/mmap
 * Makes a mapping. Follows Linux `do_mmap` in `mm/mmap.c` and `mmap_region` in `mm/vma.c`, with
 * their errno values.
 */

import type { Machine } from "../../memory/machine.ts";
import { TASK_SIZE_PAGES } from "../../mmu/radix-table.ts";
import { EACCES, EEXIST, EINVAL, ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { HUGE_PAGES } from "../huge.ts";
import { mmapWriteLock } from "../migration.ts";
import type { Mm } from "../mm-struct.ts";
import { PAGE_BYTES } from "../pte.ts";
import { cacheCreate } from "../vma/page-cache.ts";
import { type SpareVma, allocVma, freeVma, spareOf } from "../vma/vma-link.ts";
import { countWith, insertSpareVma, insertVma } from "../vma/vma-map.ts";
import { isReadOnlySource, listSpace, takeSource } from "../vma/vma-source.ts";
import { wantsHuge } from "../vma/huge-vma.ts";
import { FIRST_PAGE, findAlignedArea, findFreeArea } from "../vma/vma-tree.ts";
import {
  type PageRange,
  VM_BACKED,
  VM_BUFFER,
  VM_HUGETLB,
  VM_MIXEDMAP,
  VM_READ,
  VM_SHARED,
  VM_WRITE,
  Vma,
  type VmaKind,
  isFree,
  mappedPagesIn,
} from "../vma/vma.ts";
import { populateHugetlb } from "./hugetlb.ts";
import { insertPages } from "./inserted.ts";
import { munmapLocked } from "./munmap.ts";
import { lengthPagesOf, pageOf } from "./page-arguments.ts";

/** Anywhere; `address` is a hint. */
export const MAP_ANYWHERE = 0;
/** Exactly at `address`, unmapping what is there (MAP_FIXED). */
export const MAP_FIXED_REPLACE = 1;
/** Exactly at `address`, EEXIST if anything is there (MAP_FIXED_NOREPLACE). */
export const MAP_FIXED_NOREPLACE = 2;

/** What is to be mapped, and where. */
export interface MmapRequest {
  /** Length in bytes: a multiple of 4096. */
  readonly lengthBytes: number;
  /** A hint, or the place; 0 = none. */
  readonly address: number;
  /** A hint, or the very place: a MAP_ constant. */
  readonly placement: number;
  /** VM_READ | VM_WRITE bits. */
  readonly protection: number;
  /** Forks share the frames. */
  readonly shared: boolean;
  /** First frame of a user's buffer to map in place, or 0. */
  readonly bufferPfn: number;
  /** Page cache of a source with a backing store, which the caller has claimed; 0 = none. */
  readonly cache?: number;
  /** Where in the buffer or the source the mapping starts. */
  readonly offsetPages: number;
  /** An explicit huge mapping of private memory (vma/huge-vma.ts). Default false. */
  readonly huge?: boolean;
  /** A private mapping whose pages a driver puts there (inserted.ts). Default false. */
  readonly inserted?: boolean;
}

/**
 * Maps memory of a driver's own into a space, as the mmap of its file does: private, for reading
 * and writing, zeroed pages that are there at once. The address, or as of `doMmap`. Takes the mmap
 * lock; the caller holds an mm user.
 */
export function mapInserted(machine: Machine, mm: Mm, lengthBytes: number): Task<number> {
  const protection = VM_READ | VM_WRITE;
  const request = { lengthBytes, address: 0, placement: MAP_ANYWHERE, protection, shared: false };
  return doMmap(machine, mm, { ...request, bufferPfn: 0, offsetPages: 0, inserted: true });
}

/**
 * Maps memory. The address, or EINVAL (length, address, a private buffer, a huge mapping that is
 * not of private memory), EACCES (a shared mapping that is writable, of a source that is not),
 * EEXIST (no-replace), ENOMEM (no room, a limit, no memory). Linux: `mmap(2)`; a range that ends
 * past the last address is ENOMEM there and here, aligned or not. Takes the mmap lock; the caller
 * holds an mm user (R2).
 */
export function* doMmap(machine: Machine, mm: Mm, request: MmapRequest): Task<number> {
  if (!Number.isSafeInteger(request.lengthBytes) || request.lengthBytes <= 0) return EINVAL;
  if (request.bufferPfn !== 0 && !request.shared) return EINVAL;
  const pages = wholePages(lengthPagesOf(request.lengthBytes), request);
  if (pages < 0 || pages > TASK_SIZE_PAGES) return ENOMEM;
  if (request.huge === true && !isHugeRequest(request)) return EINVAL;
  if (isUnwritable(machine, request)) return EACCES;
  if (request.placement !== MAP_ANYWHERE) {
    if (request.address > (TASK_SIZE_PAGES - pages) * PAGE_BYTES) return ENOMEM;
    if (pageOf(request.address) < 0) return EINVAL;
  }
  yield* mmapWriteLock(machine, mm);
  const address = yield* hasSource(request)
    ? mapSource(machine, mm, request, pages)
    : mmapLocked(machine, mm, request, pages);
  yield* mm.mmapLock.upWrite();
  return address;
}

function hasSource(request: MmapRequest): boolean {
  return request.shared || request.bufferPfn !== 0 || isBacked(request);
}

/**
 * The source is made while the lock is held: a thread that dies while it waits for the lock leaves
 * none. From the step on that makes it, or gets a reference, it is the new vma's, which is a
 * resource of this thread until it is linked (V4 of vma/vma-map.ts).
 */
function* mapSource(machine: Machine, mm: Mm, request: MmapRequest, pages: number): Task<number> {
  const spare = spareOf(machine, yield* allocVma(machine));
  if (spare.at === 0) return ENOMEM;
  const source = yield* takeRequested(machine, spare.at, request, pages);
  if (source !== 0) {
    const address = yield* mmapLocked(machine, mm, request, pages, { source, spare });
    return address;
  }
  yield* freeVma(machine, spare);
  return ENOMEM;
}

/** The source, of which the vma `at` has a reference; 0 = ENOMEM. */
function* takeRequested(
  machine: Machine,
  at: number,
  request: MmapRequest,
  pages: number,
): Task<number> {
  const flags = vmaFlags(request);
  const known = request.bufferPfn === 0 ? (request.cache ?? 0) : request.bufferPfn;
  if (known === 0) return yield* cacheCreate(machine, pages, 0, at + Vma.offset.source);
  yield* takeSource(machine, at, { flags, source: known, offsetPages: 0 });
  return known;
}

/** A vma that is not linked and has a reference of the source. */
interface SourcedVma {
  readonly source: number;
  readonly spare: SpareVma;
}

function* mmapLocked(
  machine: Machine,
  mm: Mm,
  request: MmapRequest,
  pages: number,
  sourced?: SourcedVma,
): Task<number> {
  const { source, spare } = sourced ?? { source: 0, spare: undefined };
  const offsetPages = source === 0 ? 0 : request.offsetPages;
  const kind: VmaKind = { flags: vmaFlags(request), source, offsetPages };
  const listed = source === 0 ? 0 : yield* listSpace(machine, mm, kind);
  if (listed !== 0) {
    if (spare !== undefined) yield* freeVma(machine, spare);
    return listed;
  }
  const startPage = choosePlace(machine, mm, request, pages);
  const range = { startPage, endPage: startPage + pages };
  let result: Errno = startPage < 0 ? startPage : 0;
  const mayReplace = request.placement === MAP_FIXED_REPLACE;
  const replacedPages = mayReplace ? mappedPagesIn(machine.memory, mm, range) : 0;
  if (result === 0 && mm.mappedPages - replacedPages + pages > mm.limitPages) result = ENOMEM;
  if (result === 0) {
    const put = replacedPages === 0 ? insertVma : replaceRange;
    result = yield* put(machine, mm, range, kind, spare);
    if (result === 0 && (request.huge === true || request.inserted === true))
      result = yield* populateNow(machine, mm, range, request);
  } else if (spare !== undefined) {
    yield* freeVma(machine, spare);
  }
  return result === 0 ? startPage * PAGE_BYTES : result;
}

/**
 * What such a mapping has from its beginning. A thread that dies in it leaves the mapping with a
 * part of its pages, whose address nobody was told.
 */
function* populateNow(
  machine: Machine,
  mm: Mm,
  range: PageRange,
  request: MmapRequest,
): Task<Errno> {
  if (request.huge === true) return yield* populateHugetlb(machine, mm, range, vmaFlags(request));
  return yield* insertPages(machine, mm, range);
}

/**
 * Maps a range where others are mapped. All that can fail is done before anything is unmapped, so
 * ENOMEM leaves the mappings as they were (Linux may leave a hole). `given`: a vma with a reference
 * of the source, if there is one.
 */
function* replaceRange(
  machine: Machine,
  mm: Mm,
  range: PageRange,
  kind: VmaKind,
  given?: SpareVma,
): Task<Errno> {
  const isAllowed = countWith(machine.memory, mm, range, kind) <= mm.limitVmas;
  const spare = given ?? spareOf(machine, isAllowed ? yield* allocVma(machine) : 0);
  const hasRoom = isAllowed && spare.at !== 0;
  const result = hasRoom ? yield* munmapLocked(machine, mm, range) : ENOMEM;
  if (result === 0) yield* insertSpareVma(machine, mm, range, kind, spare);
  else if (spare.at !== 0) yield* freeVma(machine, spare);
  return result;
}

/** An explicit huge mapping consists of whole huge pages. Linux rounds up, too. */
function wholePages(pages: number, { huge = false }: MmapRequest): number {
  return huge ? Math.ceil(pages / HUGE_PAGES) * HUGE_PAGES : pages;
}

/** Of private memory, at a place that is a multiple of 2 MiB. */
function isHugeRequest(request: MmapRequest): boolean {
  const isAligned =
    request.placement === MAP_ANYWHERE || request.address % (HUGE_PAGES * PAGE_BYTES) === 0;
  return isAligned && !request.shared && request.bufferPfn === 0 && !isBacked(request);
}

function vmaFlags(request: MmapRequest): number {
  let protection = request.protection & (VM_READ | VM_WRITE);
  if (request.huge === true) protection |= VM_HUGETLB;
  if (request.inserted === true) protection |= VM_MIXEDMAP;
  if (request.bufferPfn !== 0) return protection | VM_SHARED | VM_BUFFER;
  const flags = request.shared ? protection | VM_SHARED : protection;
  return isBacked(request) ? flags | VM_BACKED : flags;
}

function isBacked({ cache = 0 }: MmapRequest): boolean {
  return cache !== 0;
}

/** Whether stores through a shared mapping could never be written back. Linux: EACCES. */
function isUnwritable(machine: Machine, request: MmapRequest): boolean {
  if (!request.shared || (request.protection & VM_WRITE) === 0 || !isBacked(request)) return false;
  return isReadOnlySource(machine, request.cache ?? 0);
}

/** First page of the new mapping, or a negative errno. Holding the mmap lock. */
function choosePlace(machine: Machine, mm: Mm, request: MmapRequest, pages: number): number {
  const { memory } = machine;
  if (request.placement === MAP_FIXED_REPLACE) return pageOf(request.address);
  if (request.placement === MAP_FIXED_NOREPLACE) {
    const page = pageOf(request.address);
    return isFree(memory, mm, { startPage: page, endPage: page + pages }) ? page : EEXIST;
  }
  const hint = Number.isSafeInteger(request.address) ? Math.floor(request.address / PAGE_BYTES) : 0;
  const isAligned = request.huge !== true || hint % HUGE_PAGES === 0;
  const fits =
    isAligned &&
    hint >= FIRST_PAGE &&
    hint + pages <= TASK_SIZE_PAGES &&
    isFree(memory, mm, { startPage: hint, endPage: hint + pages });
  if (fits) return hint;
  const mayBeHuge = pages >= HUGE_PAGES && wantsHuge(mm, vmaFlags(request));
  const aligned = mayBeHuge ? findAlignedArea(memory, mm, pages, HUGE_PAGES) : -1;
  if (aligned >= 0) return aligned;
  const page = request.huge === true ? -1 : findFreeArea(memory, mm, pages);
  return page < 0 ? ENOMEM : page;
}
