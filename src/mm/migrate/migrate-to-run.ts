/**
 * @module mm/migrate/migrate-to-run
 * Moves the pages of a range into frames in a row, which views need. Follows Linux `migrate_pages`
 * in `mm/migrate.c`. Each page is moved by the steps of migrate-vma.ts, and here is only where the
 * new frames come from. Pages of a shared mapping belong to their page cache, which moves them;
 * this space's entries are cleared before, and installed after.
 *
 * The mmap lock is held for writing. So nobody adds an entry meanwhile, and a page that is in its
 * place stays there.
 */

import type { Machine } from "../../memory/machine.ts";
import { leafAlloc, leafOf, nextLeafPage, pteAt, pteIndex } from "../../mmu/radix-table.ts";
import { EVENT_CLEAR, invalidateRange } from "../../notifier/events.ts";
import { storeNoted } from "../../sync/atomics.ts";
import { EBUSY, ENOMEM, type Errno } from "../../sync/errno.ts";
import { DONE, type Task } from "../../sync/tasks/task.ts";
import { cacheNotesOf, handOf, putHand, putOld, tablesOf } from "../entries/hand.ts";
import { beginHand, endInvalidation } from "../entries/invalidation.ts";
import { noteNext, putNotedRun, takeNotedRun } from "../entries/run.ts";
import type { Mm } from "../mm-struct.ts";
import { PTE_ACCESSED, WRITTEN_RIGHTS, ZERO_PFN, holdsFrame, makePte, ptePfn } from "../pte.ts";
import {
  CACHE_ABSENT,
  CACHE_BUSY,
  CACHE_HANDS,
  PageCache,
  cacheFrame,
  cacheMove,
  cacheSlot,
} from "../vma/page-cache.ts";
import {
  type PageRange,
  VM_BACKED,
  VM_SHARED,
  VM_WRITE,
  type Vma,
  type VmaPart,
  offsetOf,
  partsIn,
} from "../vma/vma.ts";
import { zapRange } from "../entries/zap.ts";
import { NOBODY, type PageMover, SELECT_ALL_SYSTEM, migrateRange } from "./migrate-vma.ts";

/** A page has left its cache meanwhile: it is to be brought in again. No errno. */
export const PAGE_ABSENT = -512;

/** New frames of pages that move together. */
interface Run {
  readonly startPage: number;
  /** First of the frames. Each has one count. */
  readonly pfn: number;
  /** The word that notes the first of them; 0 when the frame is the page's, or its migration's. */
  readonly note: number;
  /** In which they are noted. */
  readonly operation: number;
}

/**
 * First of the frames in a row that hold the range now, or EBUSY (a page is pinned, or shared with
 * another space), ENOMEM, or PAGE_ABSENT. After an error each page has the frame that it had, or
 * another with the same contents. Holding the mmap lock for writing, over a range that is mapped
 * throughout, without users' buffers.
 */
export function* migrateToRun(machine: Machine, mm: Mm, range: PageRange): Task<number> {
  const operation = yield* beginHand(mm);
  const result = yield* moveToRun(machine, mm, range, operation);
  yield* putNotedRun(machine, operation); // what no page has taken
  endInvalidation(mm, operation);
  return result;
}

function* moveToRun(machine: Machine, mm: Mm, range: PageRange, operation: number): Task<number> {
  const { startPage, endPage } = range;
  const failed = yield* prepare(machine, mm, range, operation);
  if (failed !== 0) return failed;
  const { pfn, batch } = yield* takeNotedRun(machine, operation, endPage - startPage);
  if (pfn === 0) return ENOMEM;
  const most = batch.end - batch.start;
  for (const part of partsIn(machine.memory, mm, range)) {
    for (const few of slicesOf(part, most)) {
      noteNext(machine.memory, operation, batch, few.endPage - few.startPage);
      const firstPfn = pfn + (few.startPage - startPage);
      const run = { startPage: few.startPage, pfn: firstPfn, note: batch.start, operation };
      const isShared = (part.vma.flags & VM_SHARED) !== 0;
      const result = yield* (isShared ? moveCached : moveOwn)(machine, mm, few, run);
      if (result !== 0) return result;
    }
  }
  return pfn;
}

/** A part in pieces of at most `most` pages, each of which lies in one leaf. */
function* slicesOf(
  { vma, startPage, endPage }: VmaPart,
  most: number,
): Generator<VmaPart, void, void> {
  for (let page = startPage, end = page; page < endPage; page = end) {
    end = Math.min(nextLeafPage(page), page + most, endPage);
    yield { vma, startPage: page, endPage: end };
  }
}

/** Frame `i` of the run is the page's now, or its migration's. */
function take({ memory }: Machine, { note }: Run, i: number): void {
  memory.words[note + i] = 0;
}

/** 0, EBUSY or ENOMEM. */
function* prepare(machine: Machine, mm: Mm, range: PageRange, operation: number): Task<Errno> {
  const { startPage, endPage } = range;
  const { ram } = machine;
  // Before the range is walked, which may be the whole address space.
  if (endPage - startPage > ram.usage().totalPages) return ENOMEM;
  if (yield* hasPinned(machine, mm, range)) return EBUSY;
  for (let page = startPage; page < endPage; page = nextLeafPage(page)) {
    if ((yield* leafAlloc(machine, mm.pgd, page, tablesOf(operation))) === 0) return ENOMEM;
  }
  for (const part of partsIn(machine.memory, mm, range))
    if ((part.vma.flags & VM_SHARED) !== 0 && !(yield* makeTables(machine, part, operation)))
      return ENOMEM;
  return 0;
}

/** Those of the cache for pages that move in it. False: ENOMEM. */
function* makeTables(
  machine: Machine,
  { vma, startPage, endPage }: VmaPart,
  operation: number,
): Task<boolean> {
  const cache = PageCache.at(machine.memory, vma.source);
  const end = offsetOf(vma, endPage);
  for (let offset = offsetOf(vma, startPage); offset < end; offset = nextLeafPage(offset)) {
    const slot = yield* cacheSlot(machine, cache, offset, tablesOf(operation).leaf);
    if (slot === 0) return false;
    if (slot < 0) break; // the cache ends before
  }
  return true;
}

/**
 * True when a private frame of the range is pinned: who pinned it looks at the frame itself. A
 * frame that is shared since a fork has no pins (FramePins.pageAnonExclusive) and is copied, and so
 * is one of a page cache. Of shared memory `cacheMove` decides.
 */
function* hasPinned(machine: Machine, mm: Mm, range: PageRange): Task<boolean> {
  const { memory } = machine;
  for (const part of partsIn(memory, mm, range)) {
    if ((part.vma.flags & VM_SHARED) !== 0) continue;
    for (let page = part.startPage; page < part.endPage; page++) {
      const pte = pteAt(memory, mm.pgd, page);
      if (!holdsFrame(pte) || isOfCache(machine, part.vma, pte)) continue;
      if (yield* machine.ram.refs.pagePinned(ptePfn(pte))) return true;
    }
  }
  return false;
}

/** Whether a private mapping of a source has the cache's own frame there, and no copy. */
function isOfCache({ ram }: Machine, vma: Vma, pte: number): boolean {
  return (vma.flags & VM_BACKED) !== 0 && ram.refs.mappingOf(ptePfn(pte)) !== 0;
}

/** A part of private memory. 0, EBUSY, ENOMEM, PAGE_ABSENT. */
function* moveOwn(machine: Machine, mm: Mm, part: VmaPart, run: Run): Task<Errno> {
  const { vma, startPage, endPage } = part;
  const { ram } = machine;
  let result: Errno = 0;
  const mover: PageMover = {
    // The run is zeroed, and pages move once each.
    *alloc(page, from) {
      const i = page - run.startPage;
      if (from === ZERO_PFN && (vma.flags & VM_BACKED) !== 0)
        result = yield* copyCached(machine, mm, vma, page, run.pfn + i);
      if (result !== 0) return 0;
      take(machine, run, i);
      return run.pfn + i;
    },
    copy: (from, to) => (from === ZERO_PFN ? DONE : ram.copyFrame(from, to)),
  };
  const select = SELECT_ALL_SYSTEM;
  const args = { machine, mm, vma, startPage, endPage, select, owner: NOBODY };
  const moved = yield* migrateRange(args, mover);
  if (typeof moved === "number") return moved;
  if (result !== 0) return result;
  return moved.moved === endPage - startPage ? 0 : EBUSY;
}

/** A private page of a source that nobody has touched here. 0, ENOMEM or PAGE_ABSENT. */
function* copyCached(machine: Machine, mm: Mm, vma: Vma, page: number, to: number): Task<Errno> {
  const operation = yield* beginHand(mm);
  const [hand, table] = [handOf(operation), tablesOf(operation).leaf];
  const from = yield* cacheFrame(machine, vma.source, offsetOf(vma, page), hand, table);
  if (from > 0) yield* machine.ram.copyFrame(from, to);
  yield* putHand(machine, operation, CACHE_HANDS);
  endInvalidation(mm, operation);
  return from > 0 ? 0 : from === 0 ? ENOMEM : PAGE_ABSENT;
}

const ERRNO_OF_CACHE: ReadonlyMap<number, number> = new Map([
  [CACHE_BUSY, EBUSY],
  [CACHE_ABSENT, PAGE_ABSENT],
]);

/**
 * A part of shared memory. 0, EBUSY, ENOMEM, PAGE_ABSENT.
 *
 * @stepped pte
 */
function* moveCached(machine: Machine, mm: Mm, part: VmaPart, run: Run): Task<Errno> {
  const { vma, startPage, endPage } = part;
  const { memory } = machine;
  const rights = rightsInShared(vma);
  const notes = cacheNotesOf(run.operation);
  yield* zapRange(machine, mm, invalidateRange(mm, startPage, endPage, EVENT_CLEAR));
  for (let page = startPage; page < endPage; page++) {
    const i = page - run.startPage;
    const pfn = run.pfn + i;
    const offset = offsetOf(vma, page);
    const failed = yield* cacheMove(machine, vma.source, offset, pfn, run.note + i, notes);
    if (failed !== 0) return ERRNO_OF_CACHE.get(failed) ?? failed;
    const index = pteIndex(leafOf(memory, mm.pgd, page), page);
    storeNoted(memory.words, index, makePte(pfn, rights), memory.words, notes.fresh);
    yield* putOld(machine, run.operation);
  }
  return 0;
}

/** A page of a store is written only after it has been marked (fault/file-fault.ts). */
function rightsInShared({ flags }: Vma): number {
  return (flags & (VM_WRITE | VM_BACKED)) === VM_WRITE ? WRITTEN_RIGHTS : PTE_ACCESSED;
}
