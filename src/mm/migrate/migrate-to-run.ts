/**
 * @module mm/migrate/migrate-to-run
 * Moves the pages of a range into frames in a row. Follows Linux `migrate_pages` in `mm/migrate.c`:
 * entries are emptied and flushed before anything is copied, so that no store is lost. Views need
 * such runs.
 *
 *     prepare     all that needs memory, and the search for pages that cannot move; on failure
 *                 nothing has changed
 *     start of the invalidation
 *     isolate     entries are emptied and flushed: the contents stay as they are from here on
 *     copy        contents go to the new frames, in the order of the pages, up to one that cannot
 *                 move; the source of a shared page names its new frame
 *     finalize    entries of moved pages get the new frames, and the old ones are put; entries of
 *                 the others are as before, and their new frames are put
 *     end of the invalidation
 *
 * Entries are emptied and are not made migration entries: the mmap lock is held for writing, so no
 * fault can see them.
 */

import type { Machine } from "../../memory/machine.ts";
import { LEAF_WORDS, leafAlloc, leafOf, pteAt, pteIndex } from "../../mmu/radix-table.ts";
import { EVENT_CLEAR, invalidateRange } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../notifier/mmu-notifier.ts";
import { atomicExchange, atomicStore } from "../../sync/atomics.ts";
import { EBUSY, ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import type { Mm } from "../mm-struct.ts";
import { PTE_ACCESSED, WRITTEN_RIGHTS, ZERO_PFN, holdsFrame, makePte, ptePfn } from "../pte.ts";
import { CACHE_BUSY, cacheFrame, cacheMove } from "../vma/page-cache.ts";
import {
  type PageRange,
  VM_BACKED,
  VM_SHARED,
  VM_WRITE,
  type Vma,
  offsetOf,
  partsIn,
} from "../vma/vma.ts";

/** A migration under way. */
interface Migration extends PageRange {
  readonly machine: Machine;
  readonly mm: Mm;
  /** First of the new frames. Each has one count, which goes to its entry. */
  readonly run: number;
  /** The entries as they were, by page from `startPage`. */
  readonly old: Int32Array;
  /** Pages below it are in their new frames. */
  movedEndPage: number;
}

/**
 * First of the frames in a row that hold the range now, or EBUSY (a page is pinned, or shared with
 * another space), ENOMEM. After an error each page has the frame that it had, or another with the
 * same contents. Holding the mmap lock for writing, over a range that is mapped throughout, without
 * users' buffers.
 */
export function* migrateToRun(machine: Machine, mm: Mm, pages: PageRange): Task<number> {
  const { startPage, endPage } = pages;
  const run = yield* prepare(machine, mm, pages);
  if (run < 0) return run;
  const old = new Int32Array(endPage - startPage);
  const migration = { machine, mm, startPage, endPage, run, old, movedEndPage: startPage };
  const range = invalidateRange(mm, startPage, endPage, EVENT_CLEAR);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  yield* isolate(migration);
  const result = yield* copyPages(migration);
  yield* finalize(migration);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  return result === 0 ? run : result;
}

/** First of the new frames, EBUSY or ENOMEM. */
function* prepare(machine: Machine, mm: Mm, range: PageRange): Task<number> {
  const { startPage, endPage } = range;
  const { ram } = machine;
  // Before the range is walked, which may be the whole address space.
  if (endPage - startPage > ram.usage().totalPages) return ENOMEM;
  if (yield* hasPinned(machine, mm, range)) return EBUSY;
  for (let page = startPage; page < endPage; page += LEAF_WORDS - (page % LEAF_WORDS)) {
    if ((yield* leafAlloc(machine, mm.pgd, page)) === 0) return ENOMEM;
  }
  const run = yield* ram.allocRun(endPage - startPage, true);
  return run === 0 ? ENOMEM : run;
}

/**
 * True when a private frame of the range is pinned: who pinned it looks at the frame itself. A
 * frame that is shared since a fork has no pins (Ram.pageAnonExclusive) and is copied, and so is
 * one of a page cache. Of shared memory `cacheMove` decides.
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

/** @stepped pte */
function* isolate({ machine, mm, startPage, endPage, old }: Migration): Task<void> {
  const { memory } = machine;
  for (let page = startPage; page < endPage; page++) {
    const index = pteIndex(leafOf(memory, mm.pgd, page), page);
    old[page - startPage] = atomicExchange(memory.words, index, 0);
  }
  yield* mm.shootdown.flush(startPage, endPage);
}

/** 0, or why the page at `movedEndPage` could not move: EBUSY, ENOMEM. */
function* copyPages(migration: Migration): Task<Errno> {
  const { machine, mm } = migration;
  for (const part of partsIn(machine.memory, mm, migration)) {
    for (let page = part.startPage; page < part.endPage; page++) {
      const result = yield* copyPage(migration, part.vma, page);
      if (result !== 0) return result;
      migration.movedEndPage = page + 1;
    }
  }
  return 0;
}

function* copyPage(
  { machine, startPage, run, old }: Migration,
  vma: Vma,
  page: number,
): Task<Errno> {
  const { ram } = machine;
  const i = page - startPage;
  const pte = old[i]!;
  if ((vma.flags & VM_SHARED) === 0) {
    if (holdsFrame(pte)) yield* ram.copyFrame(ptePfn(pte), run + i);
    else if ((vma.flags & VM_BACKED) !== 0) return yield* copyCached(machine, vma, page, run + i);
    return 0;
  }
  const entries = holdsFrame(pte) ? 1 : 0;
  const from = yield* cacheMove(machine, vma.source, offsetOf(vma, page), run + i, entries);
  if (from < 0) return from === CACHE_BUSY ? EBUSY : from;
  if (from !== ZERO_PFN) yield* ram.refs.pagePut(from);
  return 0;
}

/** A private page that nobody has touched here. EBUSY: it has just left the cache. */
function* copyCached(machine: Machine, vma: Vma, page: number, to: number): Task<Errno> {
  const from = yield* cacheFrame(machine, vma.source, offsetOf(vma, page));
  if (from <= 0) return from === 0 ? ENOMEM : EBUSY;
  yield* machine.ram.copyFrame(from, to);
  yield* machine.ram.refs.pagePut(from);
  return 0;
}

/** @stepped pte */
function* finalize({
  machine,
  mm,
  startPage,
  endPage,
  run,
  old,
  movedEndPage,
}: Migration): Task<void> {
  const { memory, ram } = machine;
  for (const part of partsIn(memory, mm, { startPage, endPage })) {
    const { flags } = part.vma;
    // A shared page of a store is written only after it has been marked (fault/file-fault.ts).
    const isMarked = (flags & VM_SHARED) !== 0 && (flags & VM_BACKED) !== 0;
    const rights = (flags & VM_WRITE) === 0 || isMarked ? PTE_ACCESSED : WRITTEN_RIGHTS;
    for (let page = part.startPage; page < part.endPage; page++) {
      const i = page - startPage;
      const isMoved = page < movedEndPage;
      const pte = old[i]!;
      const index = pteIndex(leafOf(memory, mm.pgd, page), page);
      atomicStore(memory.words, index, isMoved ? makePte(run + i, rights) : pte);
      if (!isMoved) yield* ram.refs.pagePut(run + i);
      else if (holdsFrame(pte)) yield* ram.refs.pagePut(ptePfn(pte));
    }
  }
}
