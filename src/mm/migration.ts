/**
 * @module mm/migration
 * A migration under way: which pages it has, and how it ends. Its steps are
 * migrate/migrate-vma.ts. What is known of it lies in the kernel heap, in the list `moving` of the
 * mm. So if its thread dies, whoever comes next ends it:
 *
 *   Q1  A migration is listed from the end of the invalidation in setup until its entries are gone.
 *       Its thread holds the mmap lock for reading all the time. So a writer of the lock that finds
 *       one listed knows that its thread has died.
 *   Q2  Who meets a migration entry waits, and ends the migrations of dead threads before each
 *       sleep. A writer of the mmap lock, exit, and an eviction end them before they look at
 *       entries. Nobody else depends on them: the page is where it was, and its frames are kept.
 *   Q3  Until `pages` a migration is taken back: the pages stay where they are, and the new frames
 *       are put. After `pages` it is completed: the contents are in the new frames, and a device
 *       may have begun to write them.
 *   Q4  Pages end in their order, and `next` is the page that is being ended. Of that one nobody
 *       can tell which counts the dead thread has put. If its entry is not the migration's any
 *       more, its frames are left alone. Frames are put for ROW_PAGES pages together, after their
 *       entries: those of a dead thread's row are lost, two a page at most, and none is put twice.
 *       A huge page ends at once, and may lose its 512.
 *   Q5  Who ends another thread's migration takes it under migrationsLock, and may not die before
 *       it is done (mm/half-done.ts). So each has one thread that ends it.
 *
 *     migrating thread                          thread that faults on the page
 *     setup: migration entry, listed
 *     copies
 *     [dead]
 *                                               migration entry: waits
 *                                               wakes now and then, finds the death
 *                                               takes the migration: old entry, new frame put
 *                                               faults once more
 *
 * A thread that dies between the start and the end of the invalidation stops the machine, as
 * everywhere. So does one that dies later, if there was no memory for the record.
 */

import { DEVICE_PRIVATE, DeviceMemory, setDevicePageHint } from "../memory/frames/device-frames.ts";
import { List } from "../memory/layout/list.ts";
import {
  type Struct,
  type StructView,
  type WordArray,
  array,
  embed,
  pointer,
  struct,
  u32,
} from "../memory/layout/struct.ts";
import type { Machine } from "../memory/machine.ts";
import { counterPlace } from "../memory/space-counters.ts";
import { leafOf, nextLeafPage, pteIndex } from "../mmu/radix-table.ts";
import { atomicCompareExchange } from "../sync/atomics.ts";
import { hasAgentDied, liveAgent } from "../sync/tasks/identity.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { DONE, type Task } from "../sync/tasks/task.ts";
import { beginHalfDone, endHalfDone } from "./half-done.ts";
import { HUGE_PAGES } from "./huge.ts";
import { NOT_ISOLATED, hintHuge, replaceHuge, startsHuge } from "./huge-migration.ts";
import type { Mm } from "./mm-struct.ts";
import {
  KIND_DEVICE_PRIVATE,
  KIND_MIGRATION,
  NON_PRESENT_WRITE,
  PTE_ACCESSED,
  WRITTEN_RIGHTS,
  ZERO_PFN,
  makeNonPresent,
  makePte,
  ptePfn,
} from "./pte.ts";

/** Of `src`: the page has a frame, whose number is from MIGRATE_PFN_SHIFT on. */
export const MIGRATE_PFN_VALID = 1;
/** The page can be moved (after setup), will be moved (after pages). */
export const MIGRATE_PFN_MIGRATE = 2;
/** The page will be writable. */
export const MIGRATE_PFN_WRITE = 8;
/** Of `src`: the old frame number begins at this bit. */
export const MIGRATE_PFN_SHIFT = 8;

const PAGES_TO_DEVICE = counterPlace("pagesToDevice");
const PAGES_TO_RAM = counterPlace("pagesToRam");

/** Of each page: `src`, `dst`, `old`. */
const WORDS_PER_PAGE = 3;
const INLINE_PAGES = 4;
/** The heap's smallest and largest block of words. */
const TABLE_WORDS_MIN = 512;
const TABLE_WORDS_MAX = 16_384;

/** Pages that are ended before their frames are put (Q4). */
const ROW_PAGES = 64;

/** `copying` is 0: until `pages` has been done. */
const SETTLED = 1;
const ENDING = 2;

interface MigrationRecord extends StructView {
  readonly node: List;
  owner: number;
  startPage: number;
  pages: number;
  table: number;
  step: number;
  next: number;
  readonly inline: WordArray;
}

const MigrationRecord: Struct<MigrationRecord> = struct<MigrationRecord>("migration", {
  node: embed(List, "in the mm's `moving`; guarded by migrationsLock"),
  owner: u32("migrationsLock", "the thread, as `liveAgent` names it"),
  startPage: u32("const", "first page"),
  pages: u32("const", "pages"),
  table: pointer("const", "src, dst and old, a word for each page; 0: `inline`"),
  step: u32("owner", "0, SETTLED after `pages`, ENDING while pages end (Q3, Q4)"),
  next: u32("owner", "the page that is being ended, from `startPage` (Q4)"),
  inline: array(WORDS_PER_PAGE * INLINE_PAGES, "owner", "the table of few pages"),
});

/** The pages of a migration. */
export interface MovingPages {
  /** The machine of the address space. */
  readonly machine: Machine;
  /** The address space whose pages move. */
  readonly mm: Mm;
  /** The virtual page number of the first page. */
  readonly startPage: number;
  /**
   * For each page: 0, or MIGRATE_PFN_ bits and the old frame. A page that is marked and not valid
   * has no frame, and reads as zeros.
   */
  readonly src: Uint32Array;
  /** For each page: 0, or its new frame, of which the caller gives its one reference. */
  readonly dst: Uint32Array;
  /** The entries as they were; of pages that have no migration entry: NOT_ISOLATED. */
  readonly old: Int32Array;
  /** Where they lie in the heap; 0: in this thread's memory, because the heap has no room. */
  readonly recordAt: number;
}

/** Makes a migration of `pages` pages, not listed yet. */
export function* makeMigration(
  machine: Machine,
  mm: Mm,
  startPage: number,
  pages: number,
): Task<MovingPages> {
  const { heap, memory } = machine;
  const at = pages * WORDS_PER_PAGE > TABLE_WORDS_MAX ? 0 : yield* heap.alloc(MigrationRecord);
  const tableWords = wordsFor(pages);
  const table = at === 0 || tableWords === 0 ? 0 : yield* heap.allocWords(tableWords);
  if (at === 0 || (tableWords > 0 && table === 0)) {
    if (at !== 0) yield* heap.free(MigrationRecord, at);
    const [src, dst] = [new Uint32Array(pages), new Uint32Array(pages)];
    const old = new Int32Array(pages).fill(NOT_ISOLATED);
    return { machine, mm, startPage, src, dst, old, recordAt: 0 };
  }
  const record = MigrationRecord.at(memory, at);
  record.startPage = startPage;
  record.pages = pages;
  record.table = table;
  const moving = movingOf(machine, mm, record);
  moving.old.fill(NOT_ISOLATED);
  return moving;
}

/** Words of the table; 0 for one that fits into the struct. */
function wordsFor(pages: number): number {
  if (pages <= INLINE_PAGES) return 0;
  let words = TABLE_WORDS_MIN;
  while (words < pages * WORDS_PER_PAGE) words *= 2;
  return words;
}

function movingOf(machine: Machine, mm: Mm, record: MigrationRecord): MovingPages {
  const { memory } = machine;
  const { startPage, pages, table } = record;
  const first = table === 0 ? record.at + MigrationRecord.offset.inline : table;
  memory.ensure(first + pages * WORDS_PER_PAGE);
  const { buffer, byteOffset } = memory.words;
  const bytesOf = (part: number): number => byteOffset + (first + part * pages) * 4;
  return {
    machine,
    mm,
    startPage,
    src: new Uint32Array(buffer, bytesOf(0), pages),
    dst: new Uint32Array(buffer, bytesOf(1), pages),
    old: new Int32Array(buffer, bytesOf(2), pages),
    recordAt: record.at,
  };
}

/** Q1. Its entries are set and flushed, its invalidation has ended. */
export function* listMigration({ machine, mm, recordAt }: MovingPages): Task<void> {
  if (recordAt === 0) return;
  const { memory } = machine;
  yield* mm.migrationsLock.lock();
  const record = MigrationRecord.at(memory, recordAt);
  record.owner = liveAgent(memory);
  mm.moving.addTail(record.node);
  yield* mm.migrationsLock.unlock();
  endHalfDone(mm);
}

/** `pages` has been done: from here on the migration is completed, whoever ends it (Q3). */
export function settleMigration({ machine, recordAt }: MovingPages): void {
  if (recordAt !== 0) MigrationRecord.at(machine.memory, recordAt).step = SETTLED;
}

/**
 * Ends the migration: the marked pages are in their new frames, the others as they were. Frames in
 * `dst` that were not needed are put. Returns how many pages are in their new frames. The caller is
 * its thread, or has taken it (Q5). Holding the mmap lock.
 */
export function* endMigration(moving: MovingPages): Task<number> {
  const { machine, mm, recordAt, startPage, src } = moving;
  const record = recordAt === 0 ? undefined : MigrationRecord.at(machine.memory, recordAt);
  const isTakenOver = record?.step === ENDING;
  if (record !== undefined) record.step = ENDING;
  const first = record?.next ?? 0;
  let moved = 0;
  for (let i = first, end = first; i < src.length; i = end) {
    if (record !== undefined) record.next = i;
    end = i + 1;
    if (isTakenOver && i === first && !(yield* isStillOurs(moving, i))) continue;
    if (yield* endHuge(moving, record, i)) {
      moved += HUGE_PAGES;
      end = i + HUGE_PAGES;
    } else {
      end = Math.min(i + ROW_PAGES, src.length, nextLeafPage(startPage + i) - startPage);
      moved += yield* endRow(moving, record, i, end);
    }
  }
  yield* mm.migrations.wakeAll();
  if (record === undefined) endHalfDone(mm);
  else yield* unlist(machine, mm, record);
  return moved;
}

function* unlist(machine: Machine, mm: Mm, record: MigrationRecord): Task<void> {
  const { heap } = machine;
  yield* mm.migrationsLock.lock();
  record.node.del();
  yield* mm.migrationsLock.unlock();
  if (record.table !== 0) yield* heap.freeWords(record.table, wordsFor(record.pages));
  yield* heap.free(MigrationRecord, record.at);
}

/** The migration entry of a page with that entry. */
export function migrationEntry(pte: number): number {
  return makeNonPresent(KIND_MIGRATION, ptePfn(pte));
}

/** Q4. */
function* isStillOurs({ machine, mm, startPage, old }: MovingPages, i: number): Task<boolean> {
  const { memory } = machine;
  const page = startPage + i;
  if (old[i] === NOT_ISOLATED) return false;
  const index = pteIndex(leafOf(memory, mm.pgd, page), page);
  return replaceMigration(memory, index, old[i]!, migrationEntry(old[i]!));
}

/**
 * Ends a huge page of which page `i` is the first, if it moves as one (V2 of
 * migrate/migrate-huge.ts). From the exchange of its entries on, `next` is its last page: a thread
 * that dies while it puts the old frames loses those that are left, and puts none twice.
 */
function* endHuge(
  moving: MovingPages,
  record: MigrationRecord | undefined,
  i: number,
): Task<boolean> {
  const { machine, mm, startPage, src, dst, old } = moving;
  const { ownEndPfn, refs } = machine.ram;
  if ((src[i]! & MIGRATE_PFN_MIGRATE) === 0 || !startsHuge(moving, i)) return false;
  const [from, to] = [ptePfn(old[i]!), dst[i]!];
  if (!(yield* replaceHuge(moving, i, newEntry(moving, i, to)))) return false;
  if (record !== undefined) record.next = i + HUGE_PAGES - 1;
  hintHuge(machine, to, startPage + i);
  if (to >= ownEndPfn) mm.counters.add(PAGES_TO_DEVICE, HUGE_PAGES);
  else if (from >= ownEndPfn) mm.counters.add(PAGES_TO_RAM, HUGE_PAGES);
  if (from !== ZERO_PFN) yield* refs.putRun(from, HUGE_PAGES, 2); // the entries', the migration's
  return true;
}

/**
 * Ends pages [first, end), which lie in one leaf, one by one; then puts their frames (Q4). Returns
 * how many are in their new frames.
 */
function* endRow(
  moving: MovingPages,
  record: MigrationRecord | undefined,
  first: number,
  end: number,
): Task<number> {
  const { machine, mm, startPage, src, dst, old } = moving;
  const { memory, ram } = machine;
  const leaf = leafOf(memory, mm.pgd, startPage + first); // there since setup
  const surplus: number[] = [];
  const left: number[] = [];
  let moved = 0;
  let toDevice = 0;
  let toRam = 0;
  for (let i = first; i < end; i++) {
    if (record !== undefined) record.next = i;
    const to = dst[i]!;
    const before = old[i]!;
    if (before === NOT_ISOLATED) {
      if (to !== 0) surplus.push(to);
      continue;
    }
    const isMarked = (src[i]! & MIGRATE_PFN_MIGRATE) !== 0;
    const fresh = isMarked ? newEntry(moving, i, to) : before;
    const from = ptePfn(before);
    const isMoved = replaceMigration(memory, pteIndex(leaf, startPage + i), before, fresh);
    if (!isMoved || !isMarked) {
      surplus.push(from, to); // the migration's reference (Y3)
      continue;
    }
    left.push(from); // that and the entry's
    moved++;
    if (to >= ram.ownEndPfn) toDevice++;
    else if (from >= ram.ownEndPfn) toRam++;
  }
  if (toDevice > 0) mm.counters.add(PAGES_TO_DEVICE, toDevice);
  if (toRam > 0) mm.counters.add(PAGES_TO_RAM, toRam);
  if (surplus.length > 0) yield* ram.refs.pagePutAll(surplus);
  yield* ram.refs.pagePutAll(left, 2);
  return moved;
}

/** Y5 of migrate/migrate-vma.ts. */
function newEntry({ machine, src, startPage }: MovingPages, i: number, pfn: number): number {
  const { memory, ram } = machine;
  const isWritable = (src[i]! & MIGRATE_PFN_WRITE) !== 0;
  if (pfn >= ram.ownEndPfn) {
    const device = DeviceMemory.at(memory, ram.sections.deviceOf(pfn));
    setDevicePageHint(device, pfn, startPage + i);
    if (device.type === DEVICE_PRIVATE)
      return makeNonPresent(KIND_DEVICE_PRIVATE, pfn, isWritable ? NON_PRESENT_WRITE : 0);
  }
  return makePte(pfn, isWritable ? WRITTEN_RIGHTS : PTE_ACCESSED);
}

/**
 * Replaces the migration entry of a page that had `before`. False: another thread has cleared it.
 *
 * @stepped pte
 */
function replaceMigration(
  { words }: SharedMemory,
  index: number,
  before: number,
  fresh: number,
): boolean {
  const entry = migrationEntry(before);
  return atomicCompareExchange(words, index, entry, fresh) === entry;
}

/**
 * Ends the migrations of threads that have died (Q2). Returns after all of those are ended that no
 * other thread has taken. Holding the mmap lock, and no lock inside it.
 */
export function* endDeadMigrations(machine: Machine, mm: Mm): Task<void> {
  for (;;) {
    const at = yield* takeDead(machine.memory, mm);
    if (at === 0) return;
    const moving = movingOf(machine, mm, MigrationRecord.at(machine.memory, at));
    if (MigrationRecord.at(machine.memory, at).step === 0) moving.src.fill(0); // Q3
    yield* endMigration(moving);
    endHalfDone(mm);
  }
}

/** Takes one of them: its pointer, or 0. Q5. */
function* takeDead(memory: SharedMemory, mm: Mm): Task<number> {
  let taken = 0;
  yield* mm.migrationsLock.lock();
  for (const node of mm.moving.nodes()) {
    const record = MigrationRecord.at(memory, MigrationRecord.containerOf(node, "node"));
    if (!(yield* hasAgentDied(memory, record.owner))) continue;
    beginHalfDone(mm);
    record.owner = liveAgent(memory);
    taken = record.at;
    break;
  }
  yield* mm.migrationsLock.unlock();
  return taken;
}

/**
 * Takes the mmap lock for writing, for a caller that looks at entries. Linux: `mmap_write_lock`. No
 * entry is a migration's then (Q1).
 */
export function mmapWriteLock(machine: Machine, mm: Mm): Task<void> {
  const taking = mm.mmapLock.downWrite();
  return taking === DONE ? endLeftMigrations(machine, mm) : awaitWriteLock(machine, mm, taking);
}

function* awaitWriteLock(machine: Machine, mm: Mm, taking: Task<void>): Task<void> {
  yield* taking;
  yield* endLeftMigrations(machine, mm);
}

/**
 * As `mmapWriteLock`, for a change that nobody can finish or take back: a death before
 * `mmapWriteUnlockHalfDone` stops the machine.
 */
export function* mmapWriteLockHalfDone(machine: Machine, mm: Mm): Task<void> {
  yield* mm.mmapLock.downWrite();
  beginHalfDone(mm);
  yield* endLeftMigrations(machine, mm);
}

/** Pairs with `mmapWriteLockHalfDone`. */
export function* mmapWriteUnlockHalfDone(mm: Mm): Task<void> {
  endHalfDone(mm);
  yield* mm.mmapLock.upWrite();
}

/** Of whom nobody else can be migrating: a writer of the mmap lock, or exit. */
export function endLeftMigrations(machine: Machine, mm: Mm): Task<void> {
  return mm.moving.isEmpty() ? DONE : endDeadMigrations(machine, mm);
}
