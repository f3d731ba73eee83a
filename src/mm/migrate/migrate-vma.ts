/**
 * @module mm/migrate/migrate-vma
 * Moves pages of private memory between RAM and a device's memory, in three steps, between which
 * the caller copies. Follows Linux `migrate_vma_setup`, `migrate_vma_pages` and
 * `migrate_vma_finalize` in `mm/migrate_device.c`. This is the only body that moves a page of
 * private memory: the steps of a device, its eviction (device-evict.ts), a touch of the CPU, and a
 * view (migrate-to-run.ts) differ in what they select and in who makes the new frames.
 *
 *     setup      start of the invalidation (EVENT_MIGRATE with the owner, or EVENT_CLEAR)
 *                every page that is selected: its entry becomes a migration entry
 *                flush
 *                end of the invalidation
 *     (caller)   a new frame for each page that is marked: `dst`; copies, or clears
 *     pages      says which pages will move: those that still are the migration's and have a new
 *                frame
 *     (caller)   makes its device use the new frames, if the range is still valid (R4)
 *     finalize   migration entry -> entry of the new frame, or the old entry again; puts the frames
 *                that are left over; wakes those who wait
 *
 *   Y1  A page moves whole, or stays where it is. The entry that it has at the end is its old one
 *       or one of a new frame that holds its contents, and nothing else has been lost or gained.
 *   Y2  The mmap lock is held, at least for reading, from setup to finalize. So vmas and tables
 *       stay, and fork, mprotect, munmap, mremap and views, which hold it for writing, meet no
 *       migration entry. Faults do, and wait for its end holding the lock for reading; so whoever
 *       moves pages asks for no lock that is held into a fault. madvise does, and clears the entry.
 *   Y3  The migration has the count of the old frame that the entry had: it changes hands in the
 *       step that makes the entry a migration entry. So the old frame lives until finalize, also
 *       when the entry is cleared meanwhile: whoever clears a migration entry puts nothing. The
 *       frame cannot come back into the same entry before: only fork adds entries of a private
 *       frame. So a migration entry that finalize finds is the one that it made.
 *   Y4  After the flush nobody writes to the old frame. Its entry was the only one, or all its
 *       entries are read-only (C1 of fault/copy-on-write.ts): then the page is copied, for this
 *       space alone. Devices have been notified; the owner, which may skip that, sees to its own
 *       accesses. A pinned frame is written without entries, and stays; pins come and go with the
 *       mmap lock held for writing, so there is nothing to freeze. Whoever else has a reference and
 *       no entry (C3 of fault/copy-on-write.ts, a fault in fault/device-private.ts) rechecks the
 *       entry before it makes use of the contents. So, unlike Linux's, no count is compared with an
 *       expected one.
 *   Y5  The new frame has one reference, which its entry gets. Nobody else knows the frame. So it
 *       is writable where the vma is, whatever the old entry allowed.
 *   Y6  A device that is made to use a new frame between pages and finalize did read-begin after
 *       setup, and checks under its lock. A clear in between notifies it, before or after.
 *
 *   Y7  A thread that dies between setup and finalize leaves a migration that others end
 *       (mm/migration.ts): before `pages` each page stays where it is, afterwards each moves.
 *
 *     migrating thread                          thread in madvise(DONTNEED)
 *     setup: migration entry, flush
 *     copies frame 7 to frame 9 of the device
 *                                               start: the device's range is invalid
 *                                               migration entry -> none, flush
 *     pages: the entry is not ours any more: the
 *       page is not marked
 *     finalize: puts frames 9 and 7             end
 */

import type { DeviceMemory } from "../../memory/frames/device-frames.ts";
import type { Machine } from "../../memory/machine.ts";
import { leafAlloc, leafOf, nextLeafPage, pteAt, pteIndex, wordAt } from "../../mmu/radix-table.ts";
import { EVENT_CLEAR, EVENT_MIGRATE, invalidateRange } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../notifier/mmu-notifier.ts";
import { atomicCompareExchange } from "../../sync/atomics.ts";
import { EINVAL, ENOMEM, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { joinDeviceSpaces } from "../device-spaces.ts";
import { tablesOf } from "../entries/hand.ts";
import { beginHand, endInvalidation } from "../entries/invalidation.ts";
import { linkNotesOf } from "../entries/row.ts";
import type { VmFault } from "../fault/vm-fault.ts";
import { HUGE_PAGES, hugeStart, isHugeAt, splitHuge } from "../huge.ts";
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_SHIFT,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  beginMigration,
  endMigration,
  migrationEntry,
  settleMigration,
} from "../migration.ts";
import { type MovingPages, makeMigration } from "../migration-record.ts";
import type { Mm } from "../mm-struct.ts";
import {
  KIND_DEVICE_EXCLUSIVE,
  KIND_DEVICE_PRIVATE,
  KIND_FRAME,
  KIND_NONE,
  KIND_PROT_NONE,
  KIND_SPECIAL,
  ZERO_PFN,
  pteKind,
  ptePfn,
} from "../pte.ts";
import {
  type PageRange,
  VM_BACKED,
  VM_BUFFER,
  VM_HUGETLB,
  VM_READ,
  VM_SHARED,
  VM_SPECIAL,
  VM_WRITE,
  type Vma,
} from "../vma/vma.ts";
import { type PageFiller, fillPages } from "./fill-pages.ts";
import { HUGE_NONE, isolateHuge, movesAsHuge, prepareHuge, settleHuge } from "./migrate-huge.ts";

/** Pages in RAM, and places where nothing is yet. */
export const SELECT_SYSTEM = 1;
/** Pages in private memory of a device with the `owner`. */
export const SELECT_DEVICE_PRIVATE = 2;
/** Pages in coherent memory of a device with the `owner`. */
export const SELECT_DEVICE_COHERENT = 4;
/** All pages that a device with an owner has, of whichever kind. */
export const SELECT_DEVICE: number = SELECT_DEVICE_PRIVATE | SELECT_DEVICE_COHERENT;

/**
 * Also those of RAM that a device may not take: exclusive pages, and what a private mapping of a
 * file shows and has not copied. Only for {@link NOBODY}.
 */
export const SELECT_ALL_SYSTEM = 9;
/** As `owner`: no device moves the pages. So no driver may skip the event. */
export const NOBODY = 0;

/** Which pages of one vma are to be moved, and for whom. */
export interface MigrateArguments extends PageRange {
  /** The machine of the address space. */
  readonly machine: Machine;
  /** The address space whose pages move. */
  readonly mm: Mm;
  /** Contains the range. */
  readonly vma: Vma;
  /** SELECT_ bits: which pages. */
  readonly select: number;
  /** Number of the device whose pages they are or become. */
  readonly owner: number;
  /**
   * Whether the owner's driver moves them, and sees to its own accesses: the event carries the
   * owner, and the driver may skip it. Default: yes, if there is an owner.
   */
  readonly isByOwner?: boolean;
}

/** A migration under way, of one thread. */
export interface Migration extends MigrateArguments, MovingPages {
  /** Those of the vma. */
  readonly vmaFlags: number;
}

/** The old frame of page `i`; ZERO_PFN where it had none. */
export function sourcePfn({ src }: Migration, i: number): number {
  return src[i]! >>> MIGRATE_PFN_SHIFT;
}

/** Whether page `i` of the migration can be moved (after setup), or will be moved (after pages). */
export function isMarked({ src }: Migration, i: number): boolean {
  return (src[i]! & MIGRATE_PFN_MIGRATE) !== 0;
}

/**
 * Isolates the selected pages of the range: from here on nobody reads or writes them, and the
 * caller must go on to `migrateVmaFinalize`. EINVAL: an empty range, one that the vma does not
 * contain, a vma that may not be read, of a user's buffer, or special. ENOMEM: no memory to list
 * the space. Pages of shared memory are never selected. Holding the mmap lock (Y2) and no lock that
 * a driver's call-back takes.
 */
export function* migrateVmaSetup(args: MigrateArguments): Task<Migration | Errno> {
  const { machine, mm, vma, startPage, endPage } = args;
  mm.mmapLock.assertHeld();
  const isInside = vma.startPage <= startPage && startPage < endPage && endPage <= vma.endPage;
  if (!isInside || !mayPagesMove(vma)) return EINVAL;
  // Before the device's frames are taken, which a dead thread leaves (Y7).
  if (mayGoToDevice(args) && !(yield* joinDeviceSpaces(machine, mm))) return ENOMEM;
  const pages = yield* makeMigration(machine, mm, startPage, endPage - startPage);
  const { src, dst, old, recordAt } = pages;
  const { select, owner, isByOwner = owner !== NOBODY } = args;
  // Spreading other objects into this one takes V8 3 us, a tenth of a call that moves one page.
  const migration: Migration = {
    machine,
    mm,
    vma,
    startPage,
    endPage,
    select,
    owner,
    isByOwner,
    vmaFlags: vma.flags,
    src,
    dst,
    old,
    recordAt,
  };
  yield* beginMigration(migration);
  if ((vma.flags & VM_SHARED) === 0) yield* collect(migration);
  return migration;
}

/** Whether pages of the mapping can be moved at all. */
export function mayPagesMove({ flags }: Vma): boolean {
  return (flags & (VM_SPECIAL | VM_BUFFER | VM_HUGETLB)) === 0 && (flags & VM_READ) !== 0;
}

function mayGoToDevice({ select, owner }: MigrateArguments): boolean {
  return owner !== NOBODY && (select & SELECT_SYSTEM) !== 0;
}

function isByDriver({ owner, isByOwner = owner !== NOBODY }: MigrateArguments): boolean {
  return isByOwner;
}

function* collect(migration: Migration): Task<void> {
  const { machine, mm, startPage, endPage, owner } = migration;
  const range = isByDriver(migration)
    ? invalidateRange(mm, startPage, endPage, EVENT_MIGRATE, { owner })
    : invalidateRange(mm, startPage, endPage, EVENT_CLEAR);
  const operation = yield* beginHand(mm);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  for (let page = startPage; page < endPage;) {
    const stop = Math.min(nextLeafPage(page), endPage);
    const isHuge = stop - page === HUGE_PAGES && (yield* collectHuge(migration, operation, page));
    const leaf = isHuge ? 0 : yield* leafAlloc(machine, mm.pgd, page, tablesOf(operation));
    if (leaf !== 0) {
      yield* splitHuge(machine, mm, page);
      yield* isolatePages(migration, leaf, page, stop);
    }
    page = stop;
  }
  // Also where nothing was: a coherent frame may come there (mmu/soft-tlb.ts, X6).
  yield* mm.shootdown.flush(startPage, endPage);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  endInvalidation(mm, operation);
}

/** A huge page as one (V1 of migrate-huge.ts). False: the pages are to be collected one by one. */
function* collectHuge(migration: Migration, operation: number, page: number): Task<boolean> {
  const { machine, mm, vma, select } = migration;
  if ((select & SELECT_SYSTEM) !== 0)
    yield* prepareHuge(machine, mm, vma, page, linkNotesOf(operation));
  const answer = yield* isolateHuge(migration, page, {
    mayMove: (pte) => mayMoveHuge(migration, pte),
    sourceOf: (pte) => sourceOf(migration, pte),
  });
  return answer !== HUGE_NONE;
}

function mayMoveHuge(migration: Migration, pte: number): boolean {
  const pfn = ptePfn(pte);
  return isOfSelectedKind(migration, pte) && (pfn === ZERO_PFN || mayTake(migration, pfn));
}

/** What `src` says of a page with that entry, after setup. */
function sourceOf({ vmaFlags }: Migration, pte: number): number {
  const pfn = ptePfn(pte);
  const isValid = pfn === ZERO_PFN ? 0 : MIGRATE_PFN_VALID;
  const mayWrite = (vmaFlags & VM_WRITE) === 0 ? 0 : MIGRATE_PFN_WRITE;
  return (pfn << MIGRATE_PFN_SHIFT) | isValid | MIGRATE_PFN_MIGRATE | mayWrite;
}

/**
 * Of a frame of a device that is looked at first, nothing is known: the device may end meanwhile.
 * So its entry is isolated, and what must not move stays with it.
 */
function* isolatePages(
  migration: Migration,
  leaf: number,
  startPage: number,
  endPage: number,
): Task<void> {
  const { machine, src, old, vmaFlags } = migration;
  const { words } = machine.memory;
  const { ownEndPfn } = machine.ram;
  const isBacked = (vmaFlags & VM_BACKED) !== 0;
  for (let page = startPage; page < endPage; page++) {
    const index = pteIndex(leaf, page);
    const pte = entryAt(words, index);
    if (!isOfSelectedKind(migration, pte)) continue;
    const i = page - migration.startPage;
    const source = sourceOf(migration, pte);
    if (!isolate(migration, index, pte)) continue;
    // Q4 of mm/migration.ts: no function is entered between these (H1 of held-locks.ts).
    old[i] = pte;
    src[i] = source;
    // A frame of RAM may have been freed since it was looked at, and be the page cache's now.
    const isUnsure = ptePfn(pte) >= ownEndPfn || isBacked;
    if (isUnsure && !mayMove(migration, ptePfn(pte))) src[i] = 0;
  }
}

/** @stepped pte */
function entryAt(words: Int32Array, index: number): number {
  return wordAt(words, index);
}

function isOfSelectedKind(migration: Migration, pte: number): boolean {
  const { machine, select, vmaFlags } = migration;
  const kind = pteKind(pte);
  const isAll = (select & SELECT_ALL_SYSTEM) === SELECT_ALL_SYSTEM;
  if (kind === KIND_NONE || (kind === KIND_SPECIAL && ptePfn(pte) === ZERO_PFN))
    return (select & SELECT_SYSTEM) !== 0 && (isAll || (vmaFlags & VM_BACKED) === 0);
  const isPrivate = kind === KIND_DEVICE_PRIVATE;
  const isOfRam = kind === KIND_FRAME || kind === KIND_PROT_NONE;
  // Of RAM or of coherent memory. Every driver hears of the event, and ends the access.
  const isExclusive = kind === KIND_DEVICE_EXCLUSIVE && !isByDriver(migration);
  if (!isPrivate && !isOfRam && !isExclusive) return false;
  if (ptePfn(pte) < machine.ram.ownEndPfn) return (select & SELECT_SYSTEM) !== 0;
  return (select & (isPrivate ? SELECT_DEVICE_PRIVATE : SELECT_DEVICE_COHERENT)) !== 0;
}

/**
 * Makes the entry a migration entry, of which the migration has the frame's count (Y3), unless
 * another thread has changed the entry, or the frame is one of RAM that must not move.
 *
 * @stepped pte
 */
function isolate(migration: Migration, index: number, pte: number): boolean {
  const { memory, ram } = migration.machine;
  if (ptePfn(pte) < ram.ownEndPfn && !mayMove(migration, ptePfn(pte))) return false;
  return atomicCompareExchange(memory.words, index, pte, migrationEntry(pte)) === pte;
}

/**
 * Whether a frame is not pinned (Y4) and may be taken. Pins come with the mmap lock held for
 * writing: that the frame has been another's meanwhile, and came back, changes nothing.
 *
 * @stepped
 */
function mayMove(migration: Migration, pfn: number): boolean {
  if (pfn !== ZERO_PFN && migration.machine.ram.refs.pagePinnedFast(pfn)) return false;
  return mayTake(migration, pfn);
}

/**
 * Whether a frame is the owner's, or anonymous memory. Of a private mapping of a file, what was not
 * copied for it belongs to the file's page cache.
 */
function mayTake({ machine, owner, vmaFlags, select }: Migration, pfn: number): boolean {
  const { refs, sections, ownEndPfn } = machine.ram;
  if (pfn >= ownEndPfn) return sections.deviceKindOf(pfn) >>> 2 === owner;
  if ((select & SELECT_ALL_SYSTEM) === SELECT_ALL_SYSTEM) return true;
  return (vmaFlags & VM_BACKED) === 0 || refs.mappingOf(pfn) === 0;
}

/**
 * Settles which pages move: marked are afterwards those that have a new frame and still are the
 * migration's. Returns how many. The contents are in the new frames by now.
 */
export function* migrateVmaPages(migration: Migration): Task<number> {
  const { startPage, src } = migration;
  let pages = 0;
  for (let i = 0, end = 0; i < src.length; i = end) {
    end = Math.min(src.length, nextLeafPage(startPage + i) - startPage);
    if (movesAsHuge(migration, i)) {
      pages += HUGE_PAGES;
      continue;
    }
    const ofLeaf = settleLeaf(migration, i, end);
    yield* settleHuge(migration, i, ofLeaf > 0);
    pages += ofLeaf;
  }
  settleMigration(migration);
  return pages;
}

/**
 * Of pages [first, end), which lie in one leaf. Returns how many move.
 *
 * @stepped pte
 */
function settleLeaf(migration: Migration, first: number, end: number): number {
  const { machine, mm, startPage, src, dst, old } = migration;
  const { memory } = machine;
  const index = pteIndex(leafOf(memory, mm.pgd, startPage + first), startPage + first);
  let pages = 0;
  for (let i = first; i < end; i++) {
    if (!isMarked(migration, i)) continue;
    const isOurs = wordAt(memory.words, index + i - first) === migrationEntry(old[i]!);
    if (isOurs && dst[i] !== 0) pages++;
    else src[i] = src[i]! & ~MIGRATE_PFN_MIGRATE;
  }
  return pages;
}

/**
 * Ends the migration: the marked pages are in their new frames, the others as they were. Frames in
 * `dst` that were not needed are put. Returns how many pages are in their new frames: a page that
 * was marked may have been given up by another thread since.
 */
export function migrateVmaFinalize(migration: Migration): Task<number> {
  return endMigration(migration);
}

/** Who makes new frames for pages, fills them, and has the device use them. */
export interface PageMover extends PageFiller {
  /** After `migrateVmaPages`: makes the device use the frames of the marked pages (Y6). */
  readonly commit?: (migration: Migration) => Task<void>;
}

/** What came of `migrateRange`. */
export interface MoveResult {
  /** Pages that are in new frames. */
  readonly moved: number;
  /** Pages that could have been moved, but got no frame. */
  readonly lacking: number;
}

/** The three steps, with what `mover` does between them. EINVAL as of `migrateVmaSetup`. */
export function* migrateRange(args: MigrateArguments, mover: PageMover): Task<MoveResult | Errno> {
  const migration = yield* migrateVmaSetup(args);
  if (typeof migration === "number") return migration;
  let lacking = 0;
  try {
    lacking = yield* fillPages(migration, mover);
    const pages = yield* migrateVmaPages(migration);
    if (pages > 0 && mover.commit !== undefined) yield* mover.commit(migration);
  } catch (error) {
    migration.src.fill(0); // Y1: what throws leaves every page where it was
    yield* migrateVmaFinalize(migration);
    throw error;
  }
  return { moved: yield* migrateVmaFinalize(migration), lacking };
}

/** Copies pages of memory that the CPU reaches. */
export function pageCopiers({
  ram,
}: Machine): Pick<Required<PageMover>, "copy" | "copyPages" | "copyHuge"> {
  return {
    copy: (from, to) => ram.copyFrame(from, to),
    copyPages: (from, to, pages) => ram.copyRun(from, to, pages),
    copyHuge: (from, to) =>
      from === ZERO_PFN ? ram.clearRun(to, HUGE_PAGES) : ram.copyRun(from, to, HUGE_PAGES),
  };
}

/** Moves pages to RAM, from wherever the CPU can copy them. */
export function toRam(machine: Machine): PageMover {
  return {
    alloc: () => machine.ram.allocFrame(false),
    allocPages: (frames, notes) => machine.ram.allocFrames(frames, notes),
    allocHuge: (_page, frames, notes) => machine.ram.allocRow(frames, notes),
    ...pageCopiers(machine),
  };
}

/**
 * `migrateToRam` (fault/device-private.ts) for a memory that the CPU can copy: moves the page of
 * the fault, or its huge page, and none beside it, unless `pastPage` says how far (stream-to-ram.ts
 * does). `mover`: by default to any frames.
 */
export function* migrateFaultToRam(
  { machine, mm, vma, page }: VmFault,
  { owner }: DeviceMemory,
  mover: PageMover = toRam(machine),
  pastPage: number = page + 1,
): Task<Errno> {
  const { startPage, endPage } = isHugeAt(machine.memory, mm, page)
    ? { startPage: hugeStart(page), endPage: hugeStart(page) + HUGE_PAGES }
    : { startPage: page, endPage: pastPage };
  const args = { machine, mm, vma, startPage, endPage, owner };
  const result = yield* migrateRange({ ...args, select: SELECT_DEVICE_PRIVATE }, mover);
  if (typeof result === "number") return result;
  const isThere = result.moved === endPage - startPage || !isOnDevice(machine, mm, page);
  return result.lacking === 0 || isThere ? 0 : ENOMEM;
}

function isOnDevice({ memory }: Machine, mm: Mm, page: number): boolean {
  return pteKind(pteAt(memory, mm.pgd, page)) === KIND_DEVICE_PRIVATE;
}
