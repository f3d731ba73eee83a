/**
 * @module mm/vma/vma-map
 * Changes of the set of vmas: insert, split, merge, remove. Follows the functions of these names in
 * Linux `mm/vma.c`. Everything here holds the mmap lock for writing; only exit, which is alone,
 * does not.
 *
 *   V1  Vmas of a space do not overlap and are not empty. `next` and `prev` follow the addresses.
 *   V2  Neighbours of one kind are merged: same flags, same source, consecutive offsets. But for
 *       those between which a thread has died that was about to change one.
 *   V3  A vma holds one reference of its page cache, and is counted by its source. Of a user's
 *       buffer it holds a count of the section's first frame, so the section stays while it is
 *       mapped anywhere.
 *   V4  Whoever dies holding the mmap lock for writing leaves V1 as it is: each change is undone
 *       up to `endVmaChange` (sync/words/undo-log.ts). A vma that is not linked is a resource of
 *       its thread: what allocates, links, unlinks or frees it changes that in the same change.
 */

import { Machine } from "../../memory/machine.ts";
import { ENOMEM, type Errno } from "../../sync/errno.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import {
  addResourceUnder,
  findResource,
  kindWord,
  registerReleaser,
  removeResourceUnder,
  reserveResource,
  resourceKind,
} from "../../sync/death/resources.ts";
import { DONE, DONE_FALSE, type Task, doneNumber } from "../../sync/tasks/task.ts";
import { HUGE_PAGES, clearHuge } from "../huge.ts";
import { undoField } from "../../memory/layout/undo-field.ts";
import type { PlainField } from "../../memory/layout/struct.ts";
import { Mm } from "../mm-struct.ts";
import { PageCache, backingOf, cacheGet, cachePages, cachePut } from "./page-cache.ts";
import { addMapper, countMapping } from "./source.ts";
import {
  beginVmaChange,
  endVmaChange,
  predecessor,
  treeInsert,
  treeRemove,
  treeUpdate,
} from "./vma-tree.ts";
import {
  END_PAGE,
  OFFSET_PAGES,
  type PageRange,
  START_PAGE,
  VM_BACKED,
  VM_BUFFER,
  VM_SHARED,
  VM_SPECIAL,
  Vma,
  type VmaKind,
  findVma,
  kindAt,
  offsetOf,
  vmaAt,
  vmaOf,
  vmasIn,
} from "./vma.ts";

const VMA_COUNT: PlainField = undoField(Mm, "vmaCount");
const MAPPED_PAGES: PlainField = undoField(Mm, "mappedPages");
const SOURCE: PlainField = Vma.plain("source");

/** Flags that say what a mapping's memory is, and not how it is used. */
const SOURCE_FLAGS: number = VM_SHARED | VM_BUFFER | VM_BACKED | VM_SPECIAL;

function isSameKind(vma: Vma, kind: VmaKind, kindStartPage: number): boolean {
  return vma.flags === kind.flags && goesOnIn(vma, kind, kindStartPage);
}

/** True if both are private, or have one source at consecutive offsets. */
function goesOnIn(vma: Vma, kind: VmaKind, kindStartPage: number): boolean {
  if (vma.source !== kind.source) return false;
  return kind.source === 0 || vma.offsetPages - vma.startPage === kind.offsetPages - kindStartPage;
}

/** True if two neighbours differ at most in their flags (V2). Holding the mmap lock. */
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

/** Gives back the caller's reference of the source (V3). */
export function dropSource(machine: Machine, kind: VmaKind): Task<void> {
  return kind.source === 0 ? DONE : putSource(machine, kind);
}

function* putSource(machine: Machine, { flags, source }: VmaKind): Task<void> {
  if ((flags & VM_BUFFER) !== 0) yield* machine.ram.refs.pagePut(source);
  else {
    if ((flags & VM_BACKED) !== 0) yield* countMappingOf(machine, source, -1);
    yield* cachePut(machine, source);
  }
}

/** One more reference of the source, for a second vma over it (V3). */
export function* getSource(machine: Machine, { flags, source }: VmaKind): Task<void> {
  if (source === 0) return;
  if ((flags & VM_BUFFER) !== 0) yield* machine.ram.refs.pageGet(source);
  else {
    yield* cacheGet(machine, source);
    if ((flags & VM_BACKED) !== 0) yield* countMappingOf(machine, source, 1);
  }
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

function* countMappingOf(machine: Machine, at: number, change: 1 | -1): Task<void> {
  const backing = backingOf(machine, at);
  if (backing !== undefined) yield* countMapping(PageCache.at(machine.memory, at), backing, change);
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

/**
 * Inserts [startPage, endPage), which is free, and merges (V2). Owns the caller's reference of the
 * source: after ENOMEM it is dropped, and nothing else has changed. Holding the mmap lock for
 * writing. Linux: the merge and link of `mmap_region`.
 */
export function* insertVma(machine: Machine, mm: Mm, range: PageRange, kind: VmaKind): Task<Errno> {
  yield* flushPlace(mm, range, kind);
  if (yield* mergeInto(machine, mm, range, kind)) return 0;
  const spare = mm.vmaCount < mm.limitVmas ? yield* allocVma(machine) : NO_VMA;
  if (spare.at === 0) {
    yield* dropSource(machine, kind);
    return ENOMEM;
  }
  linkVma(machine, mm, spare, range, kind);
  endVmaChange(machine.memory, mm);
  return 0;
}

/**
 * `insertVma` with a vma that was allocated before, so it cannot fail. Frees the vma if a merge
 * needs none.
 */
export function* insertSpareVma(
  machine: Machine,
  mm: Mm,
  range: PageRange,
  kind: VmaKind,
  spare: SpareVma,
): Task<void> {
  yield* flushPlace(mm, range, kind);
  if (yield* mergeInto(machine, mm, range, kind)) yield* freeVma(machine, spare);
  else {
    linkVma(machine, mm, spare, range, kind);
    endVmaChange(machine.memory, mm);
  }
}

/**
 * Extends a neighbour of the same kind over the range, and drops the caller's reference of the
 * source. False: there is none, and nothing has changed.
 */
function mergeInto(machine: Machine, mm: Mm, range: PageRange, kind: VmaKind): Task<boolean> {
  const { startPage, endPage } = range;
  const { memory } = machine;
  const below = vmaAt(memory, predecessor(memory, mm, startPage));
  const above = vmaAt(memory, below === undefined ? mm.vmaFirst : below.next);
  const joinsBelow =
    below !== undefined && below.endPage === startPage && isSameKind(below, kind, startPage);
  const joinsAbove =
    above !== undefined && above.startPage === endPage && isSameKind(above, kind, startPage);
  if (!joinsBelow && !joinsAbove) return DONE_FALSE;
  const neighbours = {
    below: joinsBelow ? below : undefined,
    above: joinsAbove ? above : undefined,
  };
  return mergeWith(machine, mm, range, kind, neighbours);
}

/** `mergeInto` with one neighbour or both. */
function* mergeWith(
  machine: Machine,
  mm: Mm,
  { startPage, endPage }: PageRange,
  kind: VmaKind,
  { below, above }: { readonly below: Vma | undefined; readonly above: Vma | undefined },
): Task<boolean> {
  const { memory } = machine;
  beginVmaChange(memory, mm);
  MAPPED_PAGES.store(memory, mm.at, mm.mappedPages + endPage - startPage);
  let freed: SpareVma | undefined;
  if (below !== undefined) {
    const newEndPage = above === undefined ? endPage : above.endPage;
    if (above !== undefined) freed = unlinkVma(memory, mm, above);
    END_PAGE.store(memory, below.at, newEndPage);
    touchVma(memory, mm, below);
  } else if (above !== undefined) {
    OFFSET_PAGES.store(memory, above.at, kind.offsetPages);
    START_PAGE.store(memory, above.at, startPage);
    touchVma(memory, mm, above);
  }
  endVmaChange(memory, mm);
  yield* dropSource(machine, kind);
  if (freed !== undefined) yield* freeVma(machine, freed);
  return true;
}

/**
 * How many vmas the space will have after a mapping of `kind` has replaced [startPage, endPage).
 * Holding the mmap lock.
 */
export function countWith(memory: SharedMemory, mm: Mm, range: PageRange, kind: VmaKind): number {
  const { startPage, endPage } = range;
  let count = mm.vmaCount + 1;
  for (const vma of vmasIn(memory, mm, startPage, endPage)) {
    if (vma.startPage >= startPage && vma.endPage <= endPage) count--;
    else if (vma.startPage < startPage && vma.endPage > endPage) count++;
  }
  const below = vmaOf(memory, mm, startPage - 1);
  const above = vmaOf(memory, mm, endPage);
  if (below !== undefined && isSameKind(below, kind, startPage)) count--;
  if (above !== undefined && isSameKind(above, kind, startPage)) count--;
  return count;
}

/** A vma that is not linked: its pointer, or 0, and its slot among the thread's resources (V4). */
export interface SpareVma {
  readonly at: number;
  readonly slot: number;
}

const NO_VMA: SpareVma = { at: 0, slot: -1 };

const VMA_RESOURCE: number = resourceKind("vma that is not linked");
registerReleaser(VMA_RESOURCE, (memory, at) => freeVma(Machine.of(memory), { at, slot: -1 }));

/** A vma for `linkVma` or `freeVma`. `at` is 0 if there is no memory. */
export function* allocVma(machine: Machine): Task<SpareVma> {
  const at = yield* machine.heap.alloc(Vma, VMA_RESOURCE);
  return at === 0 ? NO_VMA : { at, slot: findResource(machine.memory, VMA_RESOURCE, at) };
}

/**
 * Makes a mapping of a vma. Does not merge (the caller restores V2) and checks no limit. Owns the
 * caller's reference of the source.
 */
export function linkVma(
  machine: Machine,
  mm: Mm,
  { at, slot }: SpareVma,
  range: PageRange,
  kind: VmaKind,
): void {
  const { startPage, endPage } = range;
  if (slot >= 0) removeResourceUnder(machine.memory, mm.mmapLock.at, slot);
  const vma = Vma.at(machine.memory, at);
  vma.startPage = startPage;
  vma.endPage = endPage;
  vma.flags = kind.flags;
  vma.source = kind.source;
  vma.offsetPages = kind.offsetPages;
  treeInsert(machine.memory, mm, vma);
  VMA_COUNT.store(machine.memory, mm.at, mm.vmaCount + 1);
  MAPPED_PAGES.store(machine.memory, mm.at, mm.mappedPages + endPage - startPage);
}

/** After the bounds of a vma have changed in place: so have the holes around it. */
function touchVma(memory: SharedMemory, mm: Mm, vma: Vma): void {
  treeUpdate(memory, mm, vma);
  const next = vmaAt(memory, vma.next);
  if (next !== undefined) treeUpdate(memory, mm, next);
}

/** The caller frees it, after `endVmaChange`. */
function unlinkVma(memory: SharedMemory, mm: Mm, vma: Vma): SpareVma {
  const { at } = vma;
  treeRemove(memory, mm, vma);
  VMA_COUNT.store(memory, mm.at, mm.vmaCount - 1);
  return { at, slot: addResourceUnder(memory, mm.mmapLock.at, VMA_RESOURCE, at) };
}

/** With its reference of its source, if it was linked. */
export function freeVma(machine: Machine, { at, slot }: SpareVma): Task<void> {
  const { memory } = machine;
  const kind = SOURCE.load(memory, at) === 0 ? undefined : kindAt(Vma.at(memory, at));
  const freeing = machine.heap.free(Vma, at, slot);
  return kind === undefined ? freeing : dropAfter(machine, freeing, kind);
}

function* dropAfter(machine: Machine, freeing: Task<void>, kind: VmaKind): Task<void> {
  yield* freeing;
  yield* dropSource(machine, kind);
}

/**
 * Splits the vma that extends past both ends of the range, if there is one. This is all of a
 * removal that can fail. ENOMEM at the limit or without memory; then nothing has changed. Undone by
 * `mergeVmas`. Holding the mmap lock for writing.
 */
export function splitAround(machine: Machine, mm: Mm, range: PageRange): Task<Errno> {
  const { startPage, endPage } = range;
  const { memory } = machine;
  const at = findVma(memory, mm, startPage);
  const isInside =
    at !== 0 && START_PAGE.load(memory, at) < startPage && END_PAGE.load(memory, at) > endPage;
  return isInside ? splitVmaAt(machine, mm, endPage) : doneNumber(0);
}

/**
 * Removes [startPage, endPage) from the vmas, after `splitAround` and after a zap. Frees those that
 * lie in the range, with their references, and shortens those that extend into it. `first` is what
 * `findVma` finds at its start. Needs no memory and no limit. Holding the mmap lock for writing.
 */
export function removeVmas(machine: Machine, mm: Mm, range: PageRange, first: number): Task<void> {
  const { memory } = machine;
  const vma = vmaAt(memory, first);
  if (vma === undefined || vma.startPage >= range.endPage) return DONE;
  if (vma.endPage < range.endPage) return removeEach(machine, mm, range, first);
  const freed = removePart(memory, mm, range, vma);
  return freed === undefined ? DONE : freeVma(machine, freed);
}

function* removeEach(machine: Machine, mm: Mm, range: PageRange, first: number): Task<void> {
  const { memory } = machine;
  let vma = vmaAt(memory, first);
  while (vma !== undefined && vma.startPage < range.endPage) {
    const next = vmaAt(memory, vma.next);
    const freed = removePart(memory, mm, range, vma);
    if (freed !== undefined) yield* freeVma(machine, freed);
    vma = next;
  }
}

/** Removes from a vma what lies in the range. If that is all of it, the caller frees it. */
function removePart(
  memory: SharedMemory,
  mm: Mm,
  { startPage, endPage }: PageRange,
  vma: Vma,
): SpareVma | undefined {
  const gone = Math.min(vma.endPage, endPage) - Math.max(vma.startPage, startPage);
  let freed: SpareVma | undefined;
  beginVmaChange(memory, mm);
  MAPPED_PAGES.store(memory, mm.at, mm.mappedPages - gone);
  if (vma.startPage < startPage) {
    END_PAGE.store(memory, vma.at, startPage);
    touchVma(memory, mm, vma);
  } else if (vma.endPage > endPage) {
    OFFSET_PAGES.store(memory, vma.at, kindAt(vma, endPage).offsetPages);
    START_PAGE.store(memory, vma.at, endPage);
    touchVma(memory, mm, vma);
  } else {
    freed = unlinkVma(memory, mm, vma);
  }
  endVmaChange(memory, mm);
  return freed;
}

/**
 * Moves a whole vma to a range, and leaves its source and offset as they are. The caller moves the
 * entries. The place is free, apart from the vma itself. Does not merge (the caller restores V2).
 * Holding the mmap lock for writing.
 */
export function relocateVma(
  machine: Machine,
  mm: Mm,
  vma: Vma,
  { startPage, endPage }: PageRange,
): void {
  const { memory } = machine;
  treeRemove(memory, mm, vma);
  const more = endPage - startPage - (vma.endPage - vma.startPage);
  MAPPED_PAGES.store(memory, mm.at, mm.mappedPages + more);
  START_PAGE.store(memory, vma.at, startPage);
  END_PAGE.store(memory, vma.at, endPage);
  treeInsert(memory, mm, vma);
}

/** Whether a split checks the limit of vmas, or its caller has. */
export type SplitLimit = "limited" | "unlimited";

/**
 * Makes `page` a border: a vma around it becomes two. ENOMEM at the limit or without memory; then
 * nothing has changed. Holding the mmap lock for writing. Linux: `split_vma`.
 */
export function* splitVmaAt(
  machine: Machine,
  mm: Mm,
  page: number,
  limit: SplitLimit = "limited",
): Task<Errno> {
  const vma = vmaOf(machine.memory, mm, page);
  if (vma === undefined || vma.startPage === page) return 0;
  const { endPage } = vma;
  const upper = kindAt(vma, page);
  const isAllowed = limit === "unlimited" || mm.vmaCount < mm.limitVmas;
  const spare = isAllowed ? yield* allocVma(machine) : NO_VMA;
  if (spare.at === 0) return ENOMEM;
  yield* getSource(machine, upper);
  // A huge page lies in one mapping.
  if (page % HUGE_PAGES !== 0) clearHuge(machine.memory, mm, page);
  beginVmaChange(machine.memory, mm);
  END_PAGE.store(machine.memory, vma.at, page);
  MAPPED_PAGES.store(machine.memory, mm.at, mm.mappedPages - (endPage - page));
  touchVma(machine.memory, mm, vma);
  linkVma(machine, mm, spare, { startPage: page, endPage }, upper);
  endVmaChange(machine.memory, mm);
  return 0;
}

/**
 * Merges neighbours of one kind that meet in [startPage, endPage] (V2). Holding the mmap lock for
 * writing.
 */
export function* mergeVmas(machine: Machine, mm: Mm, range: PageRange): Task<void> {
  const { startPage, endPage } = range;
  const { memory } = machine;
  let vma = vmaAt(memory, findVma(memory, mm, Math.max(startPage - 1, 0)));
  while (vma !== undefined && vma.startPage <= endPage) {
    const next = vmaAt(memory, vma.next);
    if (
      next !== undefined &&
      next.startPage === vma.endPage &&
      isSameKind(vma, next, next.startPage)
    ) {
      const { endPage: newEndPage } = next;
      const freed = unlinkVma(memory, mm, next);
      END_PAGE.store(memory, vma.at, newEndPage);
      touchVma(memory, mm, vma);
      endVmaChange(memory, mm);
      yield* freeVma(machine, freed);
    } else {
      vma = next;
    }
  }
}

/**
 * Makes both ends of a range borders, or neither: after ENOMEM the first split is merged again.
 * Holding the mmap lock for writing.
 */
export function* splitAtBoth(
  machine: Machine,
  mm: Mm,
  range: PageRange,
  limit: SplitLimit = "limited",
): Task<Errno> {
  const { startPage, endPage } = range;
  let result = yield* splitVmaAt(machine, mm, startPage, limit);
  if (result !== 0) return result;
  result = yield* splitVmaAt(machine, mm, endPage, limit);
  if (result !== 0) yield* mergeVmas(machine, mm, range);
  return result;
}

/** Exit: frees every vma and its reference of its source. Alone. */
export function* freeAllVmas(machine: Machine, mm: Mm): Task<void> {
  const { memory, heap } = machine;
  for (let vma = vmaAt(memory, mm.vmaFirst); vma !== undefined;) {
    const { at, next } = vma;
    const kind = kindAt(vma);
    // The vma is a resource in the step that takes it off (V4), unless the list is full.
    const slot = reserveResource(memory, at);
    const [listed, first] = [kindWord(memory, slot), mm.at + Mm.offset.vmaFirst];
    if (listed !== 0) memory.words[listed] = VMA_RESOURCE;
    memory.words[first] = next;
    yield* dropSource(machine, kind);
    yield* heap.free(Vma, at, slot);
    vma = vmaAt(memory, next);
  }
  mm.vmaRoot = 0;
  mm.vmaCount = 0;
  mm.mappedPages = 0;
}
