/**
 * @module mm/vma/vma-map
 * Changes of the set of vmas: insert, split, merge, remove. Follows the functions of these names in
 * Linux `mm/vma.c`; one vma in or out is vma-link.ts. Everything here holds the mmap lock for
 * writing; only exit, which is alone, does not.
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

import type { Machine } from "../../memory/machine.ts";
import { ENOMEM, type Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { DONE, DONE_FALSE, doneNumber, type Task } from "../../sync/tasks/task.ts";
import { HUGE_PAGES, clearHuge } from "../huge.ts";
import type { Mm } from "../mm-struct.ts";
import { beginVmaChange, endVmaChange, predecessor, nextVma, treeUpdate } from "./vma-tree.ts";
import {
  END_PAGE,
  FLAGS,
  OFFSET_PAGES,
  START_PAGE,
  Vma,
  findVma,
  kindAt,
  vmaAt,
  vmaOf,
  vmasIn,
  type PageRange,
  type VmaKind,
} from "./vma.ts";
import { goesOnIn, flushPlace, takeSource } from "./vma-source.ts";
import {
  MAPPED_PAGES,
  allocVma,
  spareOf,
  linkVma,
  unlinkVma,
  freeVma,
  type SpareVma,
} from "./vma-link.ts";

/** `isSameKind` of a vma that meets `page`; `at` may be 0. */
function joins(memory: SharedMemory, at: number, kind: VmaKind, kindStartPage: number): boolean {
  if (at === 0 || FLAGS.load(memory, at) !== kind.flags) return false;
  return goesOnIn(Vma.at(memory, at), kind, kindStartPage);
}

function isSameKind(vma: Vma, kind: VmaKind, kindStartPage: number): boolean {
  return vma.flags === kind.flags && goesOnIn(vma, kind, kindStartPage);
}

/**
 * Inserts [startPage, endPage), which is free, and merges (V2). `given`: a vma that is not linked
 * and has a reference of the source, if there is one; it is linked, or freed. After ENOMEM nothing
 * else has changed. Holding the mmap lock for writing. Linux: the merge and link of `mmap_region`.
 */
export function* insertVma(
  machine: Machine,
  mm: Mm,
  range: PageRange,
  kind: VmaKind,
  given?: SpareVma,
): Task<Errno> {
  yield* flushPlace(mm, range, kind);
  if (yield* mergeInto(machine, mm, range, kind)) {
    if (given !== undefined) yield* freeVma(machine, given);
    return 0;
  }
  const isAllowed = mm.vmaCount < mm.limitVmas;
  const spare = given ?? spareOf(machine, isAllowed ? yield* allocVma(machine) : 0);
  if (!isAllowed || spare.at === 0) {
    if (given !== undefined) yield* freeVma(machine, given);
    return ENOMEM;
  }
  linkVma(machine, mm, spare, range, kind);
  endVmaChange(machine.memory, mm);
  return 0;
}

/**
 * `insertVma` where others were mapped until now: unmapping them has flushed the place. With a vma
 * that was allocated before, and has a reference of the source if there is one. It cannot fail.
 * Frees the vma if a merge needs none.
 */
export function* insertSpareVma(
  machine: Machine,
  mm: Mm,
  range: PageRange,
  kind: VmaKind,
  spare: SpareVma,
): Task<void> {
  if (yield* mergeInto(machine, mm, range, kind)) {
    yield* freeVma(machine, spare);
  } else {
    linkVma(machine, mm, spare, range, kind);
    endVmaChange(machine.memory, mm);
  }
}

/**
 * Grows the mapping that ends where the range begins, which is free; it goes on there as `kind`
 * says, and merges (V2). Holding the mmap lock for writing. Linux: `vma_expand`.
 */
export function* extendVma(machine: Machine, mm: Mm, range: PageRange, kind: VmaKind): Task<void> {
  yield* flushPlace(mm, range, kind);
  if (!(yield* mergeInto(machine, mm, range, kind)))
    bug(`no mapping of that kind ends at page ${range.startPage}`);
}

/**
 * Extends a neighbour of the same kind over the range. False: there is none, and nothing has
 * changed.
 */
function mergeInto(machine: Machine, mm: Mm, range: PageRange, kind: VmaKind): Task<boolean> {
  const { startPage, endPage } = range;
  const { memory } = machine;
  const prev = predecessor(memory, mm, startPage);
  const next = prev === 0 ? mm.vmaFirst : nextVma(memory, prev);
  const below = prev !== 0 && END_PAGE.load(memory, prev) === startPage ? prev : 0;
  const above = next !== 0 && START_PAGE.load(memory, next) === endPage ? next : 0;
  const joinsBelow = joins(memory, below, kind, startPage);
  const joinsAbove = joins(memory, above, kind, startPage);
  if (!joinsBelow && !joinsAbove) return DONE_FALSE;
  const neighbours = { below: joinsBelow ? below : 0, above: joinsAbove ? above : 0 };
  return mergeWith(machine, mm, range, kind, neighbours);
}

/** `mergeInto` with one neighbour or both; 0: not with that one. */
function* mergeWith(
  machine: Machine,
  mm: Mm,
  { startPage, endPage }: PageRange,
  kind: VmaKind,
  { below, above }: { readonly below: number; readonly above: number },
): Task<boolean> {
  const { memory } = machine;
  beginVmaChange(memory, mm);
  MAPPED_PAGES.store(memory, mm.at, mm.mappedPages + endPage - startPage);
  let freed: SpareVma | undefined;
  if (below !== 0) {
    const newEndPage = above === 0 ? endPage : END_PAGE.load(memory, above);
    if (above !== 0) freed = unlinkVma(memory, mm, above);
    END_PAGE.store(memory, below, newEndPage);
    treeUpdate(memory, mm, below);
  } else {
    OFFSET_PAGES.store(memory, above, kind.offsetPages);
    START_PAGE.store(memory, above, startPage);
    treeUpdate(memory, mm, above);
  }
  endVmaChange(memory, mm);
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

/**
 * Splits the vma that extends past both ends of the range, if there is one. This is all of a
 * removal that can fail. ENOMEM at the limit or without memory; then nothing has changed. Undone by
 * `mergeVmas`. Holding the mmap lock for writing.
 */
export function splitAround(machine: Machine, mm: Mm, range: PageRange): Task<Errno> {
  const at = findVma(machine.memory, mm, range.startPage);
  const isInside = at !== 0 && extendsPast(machine.memory, at, range);
  return isInside ? splitVmaAt(machine, mm, range.endPage) : doneNumber(0);
}

/** Whether a vma extends past both ends of the range. Holding the mmap lock. */
export function extendsPast(
  memory: SharedMemory,
  vma: number,
  { startPage, endPage }: PageRange,
): boolean {
  return START_PAGE.load(memory, vma) < startPage && END_PAGE.load(memory, vma) > endPage;
}

/**
 * Removes [startPage, endPage) from the vmas, after `splitAround` and after a zap. Frees those that
 * lie in the range, with their references, and shortens those that extend into it. `first` is what
 * `findVma` finds at its start. Needs no memory and no limit. Holding the mmap lock for writing.
 */
export function removeVmas(machine: Machine, mm: Mm, range: PageRange, first: number): Task<void> {
  const { memory } = machine;
  if (first === 0 || START_PAGE.load(memory, first) >= range.endPage) return DONE;
  if (END_PAGE.load(memory, first) < range.endPage) return removeEach(machine, mm, range, first);
  const freed = removePart(memory, mm, range, first);
  return freed === undefined ? DONE : freeVma(machine, freed);
}

function* removeEach(machine: Machine, mm: Mm, range: PageRange, first: number): Task<void> {
  const { memory } = machine;
  for (let at = first; at !== 0 && START_PAGE.load(memory, at) < range.endPage;) {
    const next = nextVma(memory, at);
    const freed = removePart(memory, mm, range, at);
    if (freed !== undefined) yield* freeVma(machine, freed);
    at = next;
  }
}

/** Removes from a vma what lies in the range. If that is all of it, the caller frees it. */
function removePart(
  memory: SharedMemory,
  mm: Mm,
  { startPage, endPage }: PageRange,
  at: number,
): SpareVma | undefined {
  const start = START_PAGE.load(memory, at);
  const end = END_PAGE.load(memory, at);
  const gone = Math.min(end, endPage) - Math.max(start, startPage);
  let freed: SpareVma | undefined;
  beginVmaChange(memory, mm);
  MAPPED_PAGES.store(memory, mm.at, mm.mappedPages - gone);
  if (start < startPage) {
    END_PAGE.store(memory, at, startPage);
    treeUpdate(memory, mm, at);
  } else if (end > endPage) {
    OFFSET_PAGES.store(memory, at, kindAt(Vma.at(memory, at), endPage).offsetPages);
    START_PAGE.store(memory, at, endPage);
    treeUpdate(memory, mm, at);
  } else {
    freed = unlinkVma(memory, mm, at);
  }
  endVmaChange(memory, mm);
  return freed;
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
  const spare = spareOf(machine, isAllowed ? yield* allocVma(machine) : 0);
  if (spare.at === 0) return ENOMEM;
  yield* takeSource(machine, spare.at, upper);
  // A huge page lies in one mapping.
  if (page % HUGE_PAGES !== 0) clearHuge(machine.memory, mm, page);
  beginVmaChange(machine.memory, mm);
  END_PAGE.store(machine.memory, vma.at, page);
  MAPPED_PAGES.store(machine.memory, mm.at, mm.mappedPages - (endPage - page));
  treeUpdate(machine.memory, mm, vma.at);
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
      const freed = unlinkVma(memory, mm, next.at);
      END_PAGE.store(memory, vma.at, newEndPage);
      treeUpdate(memory, mm, vma.at);
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
