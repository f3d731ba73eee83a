/**
 * @module mm/vma/vma
 * One mapping, which is a range of pages with one protection and one source, and how to find it.
 * Follows Linux `struct vm_area_struct` and `find_vma`. Changes of the set of vmas are in
 * vma-map.ts, the tree is in vma-tree.ts. Everything here holds the mmap lock at least for reading.
 */

import {
  type PlainField,
  type Struct,
  type StructView,
  pointer,
  struct,
  u32,
} from "../../memory/layout/struct.ts";
import { undoField } from "../../memory/layout/undo-field.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Mm } from "../mm-struct.ts";
import { wordAt } from "../../mmu/radix-table.ts";

/** Protection of a mapping: it may be read. */
export const VM_READ = 0x01;
/** Protection of a mapping: it may be written. */
export const VM_WRITE = 0x02;
/** All who map the source see stores. Without the bit they are the space's own (copy-on-write). */
export const VM_SHARED = 0x04;
/** Device registers: never faulted by devices (EFAULT). */
export const VM_IO = 0x08;
/** Frames without a count. */
export const VM_PFNMAP = 0x10;
/** Frames with and without a count. */
export const VM_MIXEDMAP = 0x20;
/**
 * The source is a user's own buffer, mapped in place: `offsetPages` counts from frame `sourcePfn`.
 */
export const VM_BUFFER = 0x40;
/**
 * The source has a backing store: `source` is a page cache (page-cache.ts) whose pages are read
 * when they are touched. Also with private mappings, whose stores go to copies.
 */
export const VM_BACKED = 0x80;
/** Advice: its pages will be read in order (Linux: VM_SEQ_READ). */
export const VM_SEQUENTIAL = 0x100;
/** Advice: its pages will be read at random (Linux: VM_RAND_READ). */
export const VM_RANDOM = 0x200;
/** Huge pages are wanted (`madvise`), where the space's mode allows them: huge-vma.ts. */
export const VM_HUGEPAGE = 0x1000;
/** Huge pages are not wanted. */
export const VM_NOHUGEPAGE = 0x2000;
/** An explicit huge mapping: all of it consists of huge pages, which are never split. */
export const VM_HUGETLB = 0x4000;
/** Mappings that no device can mirror. */
export const VM_SPECIAL: number = VM_IO | VM_PFNMAP | VM_MIXEDMAP;

export interface Vma extends StructView {
  startPage: number;
  endPage: number;
  flags: number;
  /**
   * PageCache object of a shared anonymous mapping; first frame of the buffer with VM_BUFFER; 0 for
   * private memory.
   */
  source: number;
  offsetPages: number;
  prev: number;
  next: number;
  left: number;
  right: number;
  height: number;
  maxGapPages: number;
}

export const Vma: Struct<Vma> = struct<Vma>("vma", {
  startPage: u32("mmapLock", "first page"),
  endPage: u32("mmapLock", "one past the last page"),
  flags: u32("mmapLock", "VM_ bits"),
  source: pointer("mmapLock", "page cache, or first frame of a user's buffer, or 0"),
  offsetPages: u32("mmapLock", "where in the source `startPage` lies"),
  prev: pointer("mmapLock", "next lower vma"),
  next: pointer("mmapLock", "next higher vma"),
  left: pointer("mmapLock", "tree: lower addresses"),
  right: pointer("mmapLock", "tree: higher addresses"),
  height: u32("mmapLock", "tree: of the subtree here, a leaf has 1"),
  maxGapPages: u32("mmapLock", "tree: widest hole below any vma of the subtree"),
});

/** Where `page`, or the end of the vma, lies in its source. */
export function offsetOf(vma: Vma, page: number): number {
  return vma.offsetPages + (page - vma.startPage);
}

/** What distinguishes a mapping from its neighbours, apart from its place. */
export interface VmaKind {
  readonly flags: number;
  readonly source: number;
  /** 0 for private memory. */
  readonly offsetPages: number;
}

/** The kind of a mapping that starts at `page` of `vma`, or right behind it. */
export function kindAt(vma: Vma, page: number = vma.startPage): VmaKind {
  const { flags, source } = vma;
  return { flags, source, offsetPages: source === 0 ? 0 : offsetOf(vma, page) };
}

/** Of any vma, where a view for it would take longer than all that is done with it. */
export const START_PAGE: PlainField = undoField(Vma, "startPage");
export const END_PAGE: PlainField = undoField(Vma, "endPage");
export const FLAGS: PlainField = undoField(Vma, "flags");
export const OFFSET_PAGES: PlainField = undoField(Vma, "offsetPages");

const { startPage: START, endPage: END, left: LEFT, right: RIGHT } = Vma.offset;

/**
 * The first vma that ends above `page`, or 0. It may start above it, too. Linux: `find_vma`.
 * Holding the mmap lock.
 */
export function findVma(memory: SharedMemory, mm: Mm, page: number): number {
  let best = 0;
  for (let node = mm.vmaRoot; node !== 0;) {
    memory.ensure(node + Vma.sizeWords);
    const { words } = memory;
    if (wordAt(words, node + END) >>> 0 > page) {
      best = node;
      if (wordAt(words, node + START) >>> 0 <= page) break;
      node = wordAt(words, node + LEFT);
    } else {
      node = wordAt(words, node + RIGHT);
    }
  }
  return best;
}

/** The vma that contains `page`, or undefined. Holding the mmap lock. */
export function vmaOf(memory: SharedMemory, mm: Mm, page: number): Vma | undefined {
  const at = findVma(memory, mm, page);
  if (at === 0) return undefined;
  const vma = Vma.at(memory, at);
  return vma.startPage <= page ? vma : undefined;
}

/** The view of a vma pointer, or undefined for 0. */
export function vmaAt(memory: SharedMemory, at: number): Vma | undefined {
  return at === 0 ? undefined : Vma.at(memory, at);
}

/**
 * The vmas that touch [startPage, endPage), in order. The tree must not change while iterating.
 * Holding the mmap lock.
 */
export function* vmasIn(
  memory: SharedMemory,
  mm: Mm,
  startPage: number,
  endPage: number,
): Generator<Vma, void, void> {
  let vma = vmaAt(memory, findVma(memory, mm, startPage));
  while (vma !== undefined && vma.startPage < endPage) {
    yield vma;
    vma = vmaAt(memory, vma.next);
  }
}

/** Pages from `startPage` up to `endPage`, which is exclusive. */
export interface PageRange {
  readonly startPage: number;
  readonly endPage: number;
}

/** What one vma has of a range. */
export interface VmaPart extends PageRange {
  readonly vma: Vma;
}

/** The range's mapped pages, vma by vma. As `vmasIn`. */
export function* partsIn(
  memory: SharedMemory,
  mm: Mm,
  range: PageRange,
): Generator<VmaPart, void, void> {
  const { startPage, endPage } = range;
  for (const vma of vmasIn(memory, mm, startPage, endPage)) {
    yield {
      vma,
      startPage: Math.max(vma.startPage, startPage),
      endPage: Math.min(vma.endPage, endPage),
    };
  }
}

/** True when nothing is mapped in the range. Holding the mmap lock. */
export function isFree(memory: SharedMemory, mm: Mm, range: PageRange): boolean {
  const { startPage, endPage } = range;
  const at = findVma(memory, mm, startPage);
  return at === 0 || START_PAGE.load(memory, at) >= endPage;
}

/** True when every page of the range is mapped. Holding the mmap lock. */
export function isFullyMapped(memory: SharedMemory, mm: Mm, range: PageRange): boolean {
  const { startPage, endPage } = range;
  let page = startPage;
  for (const vma of vmasIn(memory, mm, startPage, endPage)) {
    if (vma.startPage > page) return false;
    page = vma.endPage;
  }
  return page >= endPage;
}

/** How many pages of the range are mapped. Holding the mmap lock. */
export function mappedPagesIn(memory: SharedMemory, mm: Mm, range: PageRange): number {
  let pages = 0;
  for (const part of partsIn(memory, mm, range)) {
    pages += part.endPage - part.startPage;
  }
  return pages;
}
