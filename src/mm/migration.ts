/**
 * @module mm/migration
 * A migration under way: which pages it has, and how it ends. Its steps are
 * migrate/migrate-vma.ts. What is known of it lies in the kernel heap, in the list `moving` of the
 * mm. So if its thread dies, whoever comes next ends it:
 *
 *   Q1  A migration is listed from before the invalidation in setup until its entries are gone. Its
 *       thread holds the mmap lock for reading all the time. So a writer of the lock that finds one
 *       listed knows that its thread has died.
 *   Q2  Who meets a migration entry waits, and ends the migrations of dead threads before each
 *       sleep. A writer of the mmap lock, exit, and an eviction end them before they look at
 *       entries. Nobody else depends on them: the page is where it was, and its frames are kept.
 *   Q3  Until `pages` a migration is taken back: the pages stay where they are, and the new frames
 *       are put. No flush is needed for that: an entry gets what it had, and nobody has another.
 *       After `pages` it is completed: the contents are in the new frames, and a device may have
 *       begun to write them.
 *   Q4  An entry is isolated in the step that fills its `old` and `src`, and ends in the step that
 *       counts it in `next`. From then on `dst` and `old` of the page note what is to be put, as in
 *       FrameRefs.putNoted: a new frame that was not needed, and the old frame, unless the entry
 *       has its count again. Frames are put for the pages of a leaf together. So whoever goes on
 *       puts what is left, and nothing twice.
 *   Q5  Who ends another thread's migration takes it under migrationsLock, with its name. If it
 *       dies itself, the next one takes it. So each has one thread that ends it.
 *
 *   Q6  New frames are in `dst` from the step on that takes them, or noted in `run` or `fresh`
 *       until they are. Of a dead thread these are given back.
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
 * A thread that dies after the start of the invalidation stops the machine if there was no memory
 * for the record.
 */

import { DEVICE_PRIVATE, DeviceMemory, setDevicePageHint } from "../memory/frames/device-frames.ts";
import { notedFrame } from "../memory/frames/frame-allocator.ts";
import { GRANULE_SHIFT } from "../memory/frames/section-records.ts";
import type { Machine } from "../memory/machine.ts";
import { counterPlace } from "../memory/space-counters.ts";
import { leafOf, nextLeafPage, pteIndex } from "../mmu/radix-table.ts";
import { atomicCompareExchange } from "../sync/atomics.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { DONE, type Task } from "../sync/tasks/task.ts";
import { beginHalfDone, endHalfDone } from "./half-done.ts";
import { HUGE_PAGES, splitIfDead } from "./huge.ts";
import {
  NOT_ISOLATED,
  NO_NOTES,
  type HugeNotes,
  hintHuge,
  replaceHuge,
  startsHuge,
} from "./huge-migration.ts";
import {
  ENDING,
  MigrationRecord,
  type MovingPages,
  SETTLED,
  listMigration,
  tableOf,
  takeDead,
  unlistMigration,
} from "./migration-record.ts";
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

/**
 * Before the first entry of the migration is set (Q1). Nobody else can end one without a record.
 */
export function beginMigration(moving: MovingPages): Task<void> {
  if (moving.recordAt !== 0) return listMigration(moving);
  beginHalfDone(moving.mm);
  return DONE;
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
  const first = record?.next ?? 0;
  if (record !== undefined) record.step = ENDING;
  if (record !== undefined && (first > 0 || record.hugeAt !== 0)) yield* putLeft(moving, record);
  let moved = 0;
  for (let i = first, end = first; i < src.length; i = end) {
    const isHuge = yield* endHuge(moving, record, i);
    end = Math.min(src.length, nextLeafPage(startPage + i) - startPage);
    moved += isHuge ? HUGE_PAGES : yield* endPages(moving, i, end);
    yield* putRow(moving, record, i, end, isHuge);
  }
  yield* mm.migrations.wakeAll();
  if (record === undefined) endHalfDone(mm);
  else yield* unlistMigration(moving);
  return moved;
}

/** The migration entry of a page with that entry. */
export function migrationEntry(pte: number): number {
  return makeNonPresent(KIND_MIGRATION, ptePfn(pte));
}

/**
 * Ends a huge page of which page `i` is the first, if it moves as one (V2 of
 * migrate/migrate-huge.ts). False: its pages end one by one.
 */
function* endHuge(
  moving: MovingPages,
  record: MigrationRecord | undefined,
  i: number,
): Task<boolean> {
  const { machine, mm, startPage, src, dst, old } = moving;
  const { ownEndPfn } = machine.ram;
  if ((src[i]! & MIGRATE_PFN_MIGRATE) === 0 || !startsHuge(moving, i)) return false;
  const [from, to] = [ptePfn(old[i]!), dst[i]!];
  const notes = record === undefined ? NO_NOTES : notesOf(record);
  if (!(yield* replaceHuge(moving, i, newEntry(moving, i, to, deviceOf(machine, to)), notes)))
    return false;
  hintHuge(machine, to, startPage + i);
  if (to >= ownEndPfn) mm.counters.add(PAGES_TO_DEVICE, HUGE_PAGES);
  else if (from >= ownEndPfn) mm.counters.add(PAGES_TO_RAM, HUGE_PAGES);
  forgetHuge(moving, record, i, i + HUGE_PAGES);
  return true;
}

function notesOf({ at }: MigrationRecord): HugeNotes {
  const { next, hugeAt } = MigrationRecord.offset;
  return { next: at + next, hugeAt: at + hugeAt };
}

/** What is left of pages [first, end) of a huge page is the old frames (Q4). */
function forgetHuge(
  { dst }: MovingPages,
  record: MigrationRecord | undefined,
  first: number,
  end: number,
): void {
  dst.fill(0, first, end);
  if (record !== undefined) record.hugeAt = 0;
}

/**
 * Ends pages [first, end), which lie in one leaf. Those of a huge page of which none moves (V2 of
 * migrate/migrate-huge.ts) get their entries in one section of pageTableLock: who changes all of
 * them alike by the first one (U4 of huge.ts) would change those that still are the migration's.
 */
function* endPages(moving: MovingPages, first: number, end: number): Task<number> {
  const { machine, mm, startPage } = moving;
  if (!startsHuge(moving, first)) return yield* endRow(moving, first, end);
  yield* mm.pageTableLock.lock();
  splitIfDead(machine.memory, mm, startPage + first, mm.pageTableLock.at);
  const moved = yield* endRow(moving, first, end);
  yield* mm.pageTableLock.unlock();
  return moved;
}

/**
 * Ends pages [first, end), which lie in one leaf, one by one. Their frames are to be put after that
 * (Q4). Returns how many are in their new frames.
 */
function* endRow(moving: MovingPages, first: number, end: number): Task<number> {
  const { machine, mm, startPage, src, dst, old, recordAt } = moving;
  const { memory, ram } = machine;
  const next = recordAt === 0 ? 0 : recordAt + MigrationRecord.offset.next;
  const leaf = leafOf(memory, mm.pgd, startPage + first); // there since setup
  const { words } = memory;
  let moved = 0;
  let toDevice = 0;
  let toRam = 0;
  let granule = -1;
  let device: TargetDevice | undefined;
  for (let i = first; i < end; i++) {
    const to = dst[i]!;
    const before = old[i]!;
    const isMarked = (src[i]! & MIGRATE_PFN_MIGRATE) !== 0;
    if (isMarked && to >>> GRANULE_SHIFT !== granule) {
      granule = to >>> GRANULE_SHIFT;
      device = deviceOf(machine, to);
    }
    const fresh = isMarked ? newEntry(moving, i, to, device) : before;
    const surplus = notedFrame(to);
    const index = pteIndex(leaf, startPage + i);
    // Of a page that has no migration entry there may be a new frame, and nothing else.
    const isOurs = before !== NOT_ISOLATED && replaceMigration(memory, index, before, fresh);
    // No function is entered from here to the last store of the page (H1 of held-locks.ts).
    const isMoved = isOurs && isMarked;
    dst[i] = isMoved ? 0 : surplus;
    if (isOurs && !isMarked) old[i] = 0; // its count is the entry's again (Y3)
    if (next !== 0) words[next] = i + 1;
    if (!isMoved) continue;
    moved++;
    if (to >= ram.ownEndPfn) toDevice++;
    else if (ptePfn(before) >= ram.ownEndPfn) toRam++;
  }
  if (toDevice > 0) mm.counters.add(PAGES_TO_DEVICE, toDevice);
  if (toRam > 0) mm.counters.add(PAGES_TO_RAM, toRam);
  return moved;
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
 * Puts what pages [first, end), which have ended, do not need any more. Of a huge page, which has
 * ended as one, that is the old frames.
 */
function* putRow(
  moving: MovingPages,
  record: MigrationRecord | undefined,
  first: number,
  end: number,
  isHuge: boolean,
): Task<void> {
  const { machine, dst, old } = moving;
  const { refs } = machine.ram;
  if (record === undefined) {
    yield* refs.pagePutAll(framesOf(dst.subarray(first, end)));
    yield* refs.pagePutAll(framesOf(old.subarray(first, end)));
    return;
  }
  const table = tableOf(record);
  const given = record.at + MigrationRecord.offset.given;
  for (const part of isHuge ? PUTS_OF_HUGE : PUTS) {
    const at = table + part * record.pages;
    yield* refs.putNoted(at + first, at + end, given + part);
  }
}

/** The same of all pages that another thread has ended, which has died. */
function* putLeft(moving: MovingPages, record: MigrationRecord): Task<void> {
  const { refs } = moving.machine.ram;
  if (record.hugeAt !== 0) forgetHuge(moving, record, record.hugeAt - 1, record.next);
  const table = tableOf(record);
  const given = record.at + MigrationRecord.offset.given;
  for (const part of PUTS) {
    const at = table + part * record.pages;
    yield* refs.putLeft(at, at + record.next, given + part);
  }
}

/** Which parts of the table, `dst` and `old`, note frames of pages that have ended. */
const PUTS = [1, 2] as const;
const PUTS_OF_HUGE = [2] as const;

function framesOf(notes: Uint32Array | Int32Array): number[] {
  const pfns: number[] = [];
  for (const note of notes) if (ptePfn(note) !== ZERO_PFN) pfns.push(ptePfn(note));
  return pfns;
}

/** The device memory that pages move to. */
interface TargetDevice {
  readonly memory: DeviceMemory;
  readonly isPrivate: boolean;
}

/** Of all frames of a section; undefined in RAM. */
function deviceOf({ memory, ram }: Machine, pfn: number): TargetDevice | undefined {
  if (pfn < ram.ownEndPfn) return undefined;
  const device = DeviceMemory.at(memory, ram.sections.deviceOf(pfn));
  return { memory: device, isPrivate: device.type === DEVICE_PRIVATE };
}

/** Y5 of migrate/migrate-vma.ts. */
function newEntry(
  { src, startPage }: MovingPages,
  i: number,
  pfn: number,
  device: TargetDevice | undefined,
): number {
  const isWritable = (src[i]! & MIGRATE_PFN_WRITE) !== 0;
  if (device !== undefined) {
    setDevicePageHint(device.memory, pfn, startPage + i);
    if (device.isPrivate)
      return makeNonPresent(KIND_DEVICE_PRIVATE, pfn, isWritable ? NON_PRESENT_WRITE : 0);
  }
  return makePte(pfn, isWritable ? WRITTEN_RIGHTS : PTE_ACCESSED);
}

/**
 * Ends the migrations of threads that have died (Q2). Returns after all of those are ended that no
 * other thread has taken. Holding the mmap lock, and no lock inside it.
 */
export function* endDeadMigrations(machine: Machine, mm: Mm): Task<void> {
  for (;;) {
    const moving = yield* takeDead(machine, mm);
    if (moving === undefined) return;
    const record = MigrationRecord.at(machine.memory, moving.recordAt);
    yield* giveUnnamed(moving, record);
    if (record.step === 0) moving.src.fill(0); // Q3
    yield* endMigration(moving);
  }
}

/** Q6. May be done again, for a thread that died in it. */
function* giveUnnamed({ machine, dst }: MovingPages, record: MigrationRecord): Task<void> {
  const { run, fresh } = MigrationRecord.offset;
  const [first, end] = [record.run, record.run + record.runPages];
  if (first !== 0) {
    for (let i = 0; i < dst.length; i++) if (dst[i]! >= first && dst[i]! < end) dst[i] = 0;
    yield* machine.ram.giveRun(record.runPages, record.at + run);
  }
  const note = record.at + fresh;
  yield* machine.ram.refs.putLeft(note, note + 1, note + 1);
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

/** Of whom nobody else can be migrating: a writer of the mmap lock, or exit. */
export function endLeftMigrations(machine: Machine, mm: Mm): Task<void> {
  return mm.moving.isEmpty() ? DONE : endDeadMigrations(machine, mm);
}
