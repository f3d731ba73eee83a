/**
 * @module mm/migration-record
 * What is known of a migration (mm/migration.ts), in the kernel heap: its struct, how it is listed
 * and taken by another thread, and who frees it. It is a resource of its thread until it is listed,
 * and of whoever takes it off the list until it is free: so none is lost.
 */

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
import { Machine } from "../memory/machine.ts";
import { type FrameNotes, NO_NOTES } from "../memory/ram.ts";
import {
  addResourceUnder,
  findResource,
  registerHeir,
  removeResourceUnder,
  resourceKind,
} from "../sync/lockdep/resources.ts";
import { hasAgentDied, liveAgent } from "../sync/tasks/identity.ts";
import type { Task } from "../sync/tasks/task.ts";
import { NOT_ISOLATED } from "./huge-migration.ts";
import type { Mm } from "./mm-struct.ts";

/** Of each page: `src`, `dst`, `old`. */
const WORDS_PER_PAGE = 3;
const INLINE_PAGES = 4;
/** The heap's smallest and largest block of words. */
const TABLE_WORDS_MIN = 512;
const TABLE_WORDS_MAX = 16_384;

/** Of `step`, which is 0 until `pages` has been done. */
export const SETTLED = 1;
export const ENDING = 2;

export interface MigrationRecord extends StructView {
  readonly node: List;
  owner: number;
  startPage: number;
  pages: number;
  table: number;
  step: number;
  next: number;
  hugeAt: number;
  run: number;
  runPages: number;
  readonly fresh: WordArray;
  readonly given: WordArray;
  readonly inline: WordArray;
}

export const MigrationRecord: Struct<MigrationRecord> = struct<MigrationRecord>("migration", {
  node: embed(List, "in the mm's `moving`; guarded by migrationsLock"),
  owner: u32("migrationsLock", "the thread, as `liveAgent` names it"),
  startPage: u32("const", "first page"),
  pages: u32("const", "pages"),
  table: pointer("const", "src, dst and old, a word for each page; 0: `inline`"),
  step: u32("owner", "0, SETTLED after `pages`, ENDING while pages end (Q3, Q4)"),
  next: u32("owner", "how many pages have ended, from `startPage` on (Q4)"),
  hugeAt: u32("owner", "0; or n: of pages n - 1 up to `next`, `src` and `dst` say nothing"),
  run: u32("owner", "first of new frames in a row that may not be in `dst` yet, or 0 (Q6)"),
  runPages: u32("owner", "how many those are"),
  fresh: array(2, "owner", "a new frame that is not in `dst` yet; for `FrameRefs.putLeft`"),
  given: array(
    WORDS_PER_PAGE,
    "owner",
    "of `dst` and `old`, from word 1 on: for `FrameRefs.putNoted` (Q4)",
  ),
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

/** One that is not listed: its struct, and its table. */
const MIGRATION_RESOURCE: number = resourceKind("migration that is not listed");
registerHeir(MIGRATION_RESOURCE, (memory, at, slot) => freeRecord(Machine.of(memory), at, slot));

/** Makes a migration of `pages` pages, not listed yet. */
export function* makeMigration(
  machine: Machine,
  mm: Mm,
  startPage: number,
  pages: number,
): Task<MovingPages> {
  const { heap, memory } = machine;
  const isTooBig = pages * WORDS_PER_PAGE > TABLE_WORDS_MAX;
  const at = isTooBig ? 0 : yield* heap.alloc(MigrationRecord, MIGRATION_RESOURCE);
  if (at === 0) return privateMigration(machine, mm, startPage, pages);
  const record = MigrationRecord.at(memory, at);
  record.startPage = startPage;
  record.pages = pages;
  const tableWords = wordsFor(pages);
  const note = at + MigrationRecord.offset.table;
  if (tableWords > 0 && (yield* heap.allocWords(tableWords, note)) === 0) {
    yield* freeRecord(machine, at, findResource(memory, MIGRATION_RESOURCE, at));
    return privateMigration(machine, mm, startPage, pages);
  }
  const moving = movingOf(machine, mm, record);
  moving.old.fill(NOT_ISOLATED);
  return moving;
}

/** One that nobody else can end. */
function privateMigration(machine: Machine, mm: Mm, startPage: number, pages: number): MovingPages {
  const [src, dst] = [new Uint32Array(pages), new Uint32Array(pages)];
  const old = new Int32Array(pages).fill(NOT_ISOLATED);
  return { machine, mm, startPage, src, dst, old, recordAt: 0 };
}

function* freeRecord({ heap, memory }: Machine, at: number, slot: number): Task<void> {
  const { table, pages } = MigrationRecord.at(memory, at);
  const note = at + MigrationRecord.offset.table;
  if (table !== 0) yield* heap.freeWords(table, wordsFor(pages), note);
  yield* heap.free(MigrationRecord, at, slot);
}

/** Words of the table; 0 for one that fits into the struct. */
function wordsFor(pages: number): number {
  if (pages <= INLINE_PAGES) return 0;
  let words = TABLE_WORDS_MIN;
  while (words < pages * WORDS_PER_PAGE) words *= 2;
  return words;
}

/** The first word of `src`, which `dst` and `old` follow. */
export function tableOf({ at, table }: MigrationRecord): number {
  return table === 0 ? at + MigrationRecord.offset.inline : table;
}

function movingOf(machine: Machine, mm: Mm, record: MigrationRecord): MovingPages {
  const { memory } = machine;
  const { startPage, pages } = record;
  const first = tableOf(record);
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

/** Q6 of migration.ts: where new frames are noted. */
export function frameNotesOf({ recordAt }: MovingPages): FrameNotes {
  if (recordAt === 0) return NO_NOTES;
  const { run, runPages, fresh } = MigrationRecord.offset;
  return { run: recordAt + run, runPages: recordAt + runPages, frame: recordAt + fresh };
}

/** Q1 of migration.ts: before its first entry is set. */
export function* listMigration({ machine, mm, recordAt }: MovingPages): Task<void> {
  const { memory } = machine;
  const { migrationsLock } = mm;
  const slot = findResource(memory, MIGRATION_RESOURCE, recordAt);
  yield* migrationsLock.lock();
  const record = MigrationRecord.at(memory, recordAt);
  record.owner = liveAgent(memory);
  mm.moving.addTail(record.node, migrationsLock.at);
  if (slot >= 0) removeResourceUnder(memory, migrationsLock.at, slot);
  yield* migrationsLock.unlock();
}

/** All its pages have ended. */
export function* unlistMigration({ machine, mm, recordAt }: MovingPages): Task<void> {
  const { memory } = machine;
  const { migrationsLock } = mm;
  yield* migrationsLock.lock();
  MigrationRecord.at(memory, recordAt).node.del(migrationsLock.at);
  const slot = addResourceUnder(memory, migrationsLock.at, MIGRATION_RESOURCE, recordAt);
  yield* migrationsLock.unlock();
  yield* freeRecord(machine, recordAt, slot);
}

/** Takes the migration of a thread that has died (Q5 of migration.ts); undefined: there is none. */
export function* takeDead(machine: Machine, mm: Mm): Task<MovingPages | undefined> {
  const { memory } = machine;
  let taken: MovingPages | undefined;
  yield* mm.migrationsLock.lock();
  for (const node of mm.moving.nodes()) {
    const record = MigrationRecord.at(memory, MigrationRecord.containerOf(node, "node"));
    if (!(yield* hasAgentDied(memory, record.owner))) continue;
    record.owner = liveAgent(memory);
    taken = movingOf(machine, mm, record);
    break;
  }
  yield* mm.migrationsLock.unlock();
  return taken;
}
