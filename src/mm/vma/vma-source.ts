/**
 * @module mm/vma/vma-source
 * What the memory of a mapping is: none but the space's own, a page cache, or a user's buffer; and
 * who has references of it (V3 of vma-map.ts).
 */

import type { Machine } from "../../memory/machine.ts";
import type { Errno } from "../../sync/errno.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { DONE, doneNumber, type Task } from "../../sync/tasks/task.ts";
import type { Mm } from "../mm-struct.ts";
import { PageCache, backingOf, cachePages, cachePut } from "./page-cache.ts";
import { addMapper, countMapping } from "./source.ts";
import {
  VM_BACKED,
  VM_BUFFER,
  VM_SHARED,
  VM_SPECIAL,
  Vma,
  offsetOf,
  vmasIn,
  type PageRange,
  type VmaKind,
} from "./vma.ts";

/** Flags that say what a mapping's memory is, and not how it is used. */
const SOURCE_FLAGS: number = VM_SHARED | VM_BUFFER | VM_BACKED | VM_SPECIAL;

/** True if both are private, or have one source at consecutive offsets. */
export function goesOnIn(vma: Vma, kind: VmaKind, kindStartPage: number): boolean {
  if (vma.source !== kind.source) return false;
  return kind.source === 0 || vma.offsetPages - vma.startPage === kind.offsetPages - kindStartPage;
}

/** Whether neighbours differ at most in their flags (V2 of vma-map.ts). Holding the mmap lock. */
export function isSameSource(vma: Vma, next: Vma): boolean {
  return goesOnIn(vma, next, next.startPage);
}

/**
 * The first mapping of the range, if all others go on in its source where the one before ends: they
 * differ in rights and advice, and `offsetOf` the first is right for all. The range is mapped
 * throughout. Holding the mmap lock.
 */
export function oneSourceOf(
  memory: SharedMemory,
  mm: Mm,
  { startPage, endPage }: PageRange,
): Vma | undefined {
  let first: Vma | undefined;
  let before: Vma | undefined;
  for (const vma of vmasIn(memory, mm, startPage, endPage)) {
    const isOther = before !== undefined && ((before.flags ^ vma.flags) & SOURCE_FLAGS) !== 0;
    if (before !== undefined && (isOther || !isSameSource(before, vma))) return undefined;
    first ??= vma;
    before = vma;
  }
  return first;
}

/** Words that note a reference of a source, in case that the thread dies. */
export interface SourceNote {
  /** Becomes the source in the step that gets the reference. */
  readonly source: number;
  /** Becomes `isCounted` in the section in which a source with a backing store counts it. */
  readonly counted: number;
  readonly isCounted: number;
}

/** One more reference of the source (V3 of vma-map.ts), with a note. The words are 0. */
export function* getSourceNoted(machine: Machine, kind: VmaKind, note: SourceNote): Task<void> {
  const { memory, ram } = machine;
  const { flags, source } = kind;
  if ((flags & VM_BUFFER) !== 0) {
    ram.refs.pageGetNoted(source, note.source, source);
    return;
  }
  const cache = PageCache.at(memory, source);
  yield* cache.refs.get(note.source, source);
  const backing = (flags & VM_BACKED) === 0 ? undefined : backingOf(machine, source);
  if (backing !== undefined) yield* countMapping(cache, backing, 1, note.counted, note.isCounted);
}

/**
 * As `getSourceNoted`, for the vma `at`, which is not linked: who frees that gives the reference
 * back, from the step on that gets it (V4 of vma-map.ts).
 */
export function takeSource(machine: Machine, at: number, kind: VmaKind): Task<void> {
  const { flags, source } = kind;
  if (source === 0) return DONE;
  const { flags: flagsAt, source: sourceAt } = Vma.offset;
  Vma.at(machine.memory, at).flags = flags & ~VM_BACKED; // a source that does not count it yet
  const note = { source: at + sourceAt, counted: at + flagsAt, isCounted: flags };
  return getSourceNoted(machine, kind, note);
}

/**
 * Gives back the reference of a vma that is not linked. Its words note what it has, as in
 * `takeSource`: so it may be done again, for a thread that died in it.
 */
export function* dropSourceOf(machine: Machine, at: number): Task<void> {
  const { memory } = machine;
  const { flags, source } = Vma.at(memory, at);
  const { flags: flagsAt, source: sourceAt } = Vma.offset;
  if ((flags & VM_BUFFER) !== 0) {
    memory.words[at + sourceAt] = 0;
    yield* machine.ram.refs.pagePut(source);
    return;
  }
  const backing = (flags & VM_BACKED) === 0 ? undefined : backingOf(machine, source);
  const uncounted = flags & ~VM_BACKED;
  if (backing !== undefined)
    yield* countMapping(PageCache.at(memory, source), backing, -1, at + flagsAt, uncounted);
  yield* cachePut(machine, source, at + sourceAt);
}

/**
 * Before a space gets its first mapping of a source: the source knows the space from now on (B3 of
 * source.ts). 0 or ENOMEM.
 */
export function listSpace(machine: Machine, mm: Mm, { flags, source }: VmaKind): Task<Errno> {
  const backing = (flags & VM_BACKED) === 0 ? undefined : backingOf(machine, source);
  if (backing === undefined) return doneNumber(0);
  return addMapper(machine, PageCache.at(machine.memory, source), backing, mm);
}

/** Whether a source has no way to write pages back. The caller has a reference of its cache. */
export function isReadOnlySource(machine: Machine, cache: number): boolean {
  return backingOf(machine, cache)?.isWritable === 0;
}

/**
 * True where a mapping extends past the end of its source: an access is SIGBUS there. Holding the
 * mmap lock.
 */
export function isBeyondSource(machine: Machine, vma: Vma, page: number): boolean {
  const { flags, source } = vma;
  if (source === 0) return false;
  const pages =
    (flags & VM_BUFFER) === 0 ? cachePages(machine, source) : machine.ram.sections.pagesAt(source);
  return offsetOf(vma, page) >= pages;
}

/**
 * Before pages of a user's buffer, or of a device's memory, are mapped at a place: threads forget
 * what they remember of frames there (X6 of mmu/soft-tlb.ts), since the buffer's frames may have
 * had other contents under the same numbers. Holding the mmap lock for writing.
 */
export function flushPlace(
  mm: Mm,
  { startPage, endPage }: PageRange,
  { flags }: VmaKind,
): Task<void> {
  return (flags & VM_BUFFER) !== 0 || mm.isDeviceSpace !== 0
    ? mm.shootdown.flush(startPage, endPage)
    : DONE;
}
