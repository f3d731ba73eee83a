/**
 * @module mm/invalidation
 * Changes of entries that another thread finishes if the one that makes them dies. A thread that
 * dies as a reader of the mmap lock stops nobody: most of what it does under the lock is one
 * compare-and-swap. From the first entry that loses a right to the flush behind it that is not so:
 *
 *     thread that dies                              others
 *     entry cleared
 *                                                   one still stores to the frame, by its TLB
 *     [dead before the flush]                       another faults, and gets a new frame: it never
 *                                                   sees those stores
 *
 * So the thread notes the pages before the first change (sync/words/operations.ts), and the frames
 * that the entries held as it clears them. Whoever finds it dead flushes the pages and puts the
 * frames. The mmap lock is the dead thread's until then, so nobody faults in between.
 *
 *   K1  Only what is under way is finished. Entries that were not cleared yet stay, and the vmas
 *       are as they were before the call (V4 of vma/vma-map.ts). So a thread that dies in munmap
 *       may leave the mapping, and a part of it without its pages; one that dies in mprotect leaves
 *       the old rights, of which faults add again what the entries have lost.
 *   K2  A frame is noted in the step that clears its entry, and its note is cleared in the step
 *       that drops its reference, or that makes it free. So each is put once.
 *   K3  The frames of up to BATCH_FEW entries are noted in the operation itself, those of more in a
 *       table of the kernel heap, if there is memory for it.
 *   K5  Leaves that have been unlinked are noted, too, and are free after the flush.
 *   K6  Frames in a row for pages that have none (view/view-populate.ts) are one note, in the
 *       change that takes them. When their counts are right RUN_USED says so. A page whose entry
 *       names its frame has got it. Of the others the reference is put. A leaf that is not linked
 *       yet counts for nothing.
 *   K7  Entries that move to another place (mm/moved-entries.ts) all do, from the change on that
 *       gives their mapping the new place: MOVES becomes 1 in that change. What is at neither place
 *       for a moment is noted.
 *   K8  Frames in a row that the entries of a huge page get, or give up, are a row in hand: with
 *       each entry that changes, its new frame leaves the row, and its old one joins it. A row that
 *       a whole new huge page gets leaves the hand in the step that links its leaf.
 */

import { notedFrame } from "../memory/frames/frame-allocator.ts";
import { Machine } from "../memory/machine.ts";
import { awaitOperation, registerFinisher } from "../sync/death/recovery.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { DONE, type Task, doneNumber, doneValue } from "../sync/tasks/task.ts";
import { freeOperation } from "../sync/words/operations.ts";
import {
  LEAF_WORDS,
  MID_WORDS,
  type TableNotes,
  freeLeftLeaves,
  pteAt,
} from "../mmu/radix-table.ts";
import { undoStore } from "../sync/words/undo-log.ts";
import { HUGE_PAGES, type LinkNotes, splitHuge } from "./huge.ts";
import { Mm } from "./mm-struct.ts";
import { type EntryMove, type MoveNotes, finishMove } from "./moved-entries.ts";
import { holdsFrame, isOfFrame } from "./pte.ts";

/** Words of an operation, after its lock. */
const MM = 1;
const START_PAGE = 2;
const END_PAGE = 3;
const TABLE = 4;
const GIVEN = 5;
/** A mid table that is not linked yet; TABLE names a leaf, then. */
const MID_TABLE = 6;
/** First of frames in a row that the pages are about to get (K6); 0: none. */
const RUN = 7;
/** 1: each of them has a reference for the entry of its page. */
const RUN_USED = 8;
/** How many pages of the run a finisher has seen to. */
const RUN_NEXT = 9;
/** 1: BATCH notes leaves, not frames (K5). */
const LEAVES = 10;
/** 1: the entries of the pages move to TARGET (K7). */
const MOVES = 11;
const TARGET = 12;
/** 1: leaves of the page table do, as they are. */
const TAKES_LEAVES = 13;
/** Of an entry that is at neither place: where it comes. Of leaves: the page of the first. */
const MOVED_TO = 14;
/** The entry that is at neither place. Leaves are noted in BATCH, or in the table. */
const MOVED = 15;
const BATCH = 16;
/** First of the frames of a row in hand (K8); those from ROW_SET to ROW_END are. */
const ROW = 32;
/** How many entries have got their frame. */
const ROW_SET = 33;
const ROW_END = 34;
/** First of the frames that those entries had; 0: of none. These are in hand up to ROW_SET. */
const ROW_OLD = 35;
/** How many frames of the row are noted in BATCH, or have been put. */
const ROW_NEXT = 36;
/** 1: the leaf that TABLE notes is linked with the row's frames; if it is 0, it has been. */
const LINKS = 37;
/** Of a page that moves in its cache: the reference of its new frame that its entry is to get. */
const CACHE_FRESH = 38;
/** And that of its old frame which the cache had. */
const CACHE_OLD = 39;
/** Frames of RUN. */
const RUN_PAGES = 40;
/** Entries whose frames are noted in the operation (K3). */
export const BATCH_FEW = 16;

/**
 * Pages [startPage, endPage) are about to lose rights, or frames. Before the first of them does.
 * Pairs with {@link endInvalidation}. Returns the operation. Holding the mmap lock, or alone with
 * the space.
 */
export function beginInvalidation(mm: Mm, startPage: number, endPage: number): Task<number> {
  const at = freeOperation(mm.memory);
  return at === 0
    ? beginLater(mm, startPage, endPage)
    : doneNumber(noteInvalidation(mm, at, startPage, endPage));
}

function* beginLater(mm: Mm, startPage: number, endPage: number): Task<number> {
  return noteInvalidation(mm, yield* awaitOperation(mm.memory), startPage, endPage);
}

function noteInvalidation(mm: Mm, at: number, startPage: number, endPage: number): number {
  const { words } = mm.memory;
  words[at + MM] = mm.at;
  words[at + START_PAGE] = startPage;
  words[at + END_PAGE] = endPage;
  words[at] = mm.mmapLock.at; // R1 of sync/words/operations.ts
  return at;
}

/**
 * A thread is about to get frames that nobody else will know for a while: the notes of the
 * operation's first words say which. As {@link beginInvalidation}, of no pages.
 */
export function beginHand(mm: Mm): Task<number> {
  return beginInvalidation(mm, 0, 0);
}

/** The same for code that is not a task; 0: there is no operation left. */
export function beginHandFast({ memory, mmapLock }: Mm): number {
  const at = freeOperation(memory);
  if (at === 0) return 0;
  memory.words[at + MM] = 0;
  memory.words[at] = mmapLock.at;
  return at;
}

/** The `i`th word of an operation that notes a frame, below BATCH_FEW. */
export function handOf(operation: number, i: number = 0): number {
  return operation + BATCH + i;
}

/** Where the operation notes a page table that is not linked yet. It has no table of frames. */
export function tablesOf(operation: number): TableNotes {
  return { leaf: operation + TABLE, mid: operation + MID_TABLE };
}

/** Puts the frames that the first `count` words note. */
export function putHand(machine: Machine, operation: number, count: number = 1): Task<void> {
  return putBatch(machine, operation, { start: handOf(operation), end: handOf(operation, count) });
}

/** The word that notes `pages` frames in a row (K6), which is 0. */
export function runOf({ words }: SharedMemory, operation: number, pages: number): number {
  words[operation + RUN_PAGES] = pages;
  return operation + RUN;
}

/** The word that becomes 1 when each frame of the run has a reference for its page. */
export function runUsedOf(operation: number): number {
  return operation + RUN_USED;
}

/** What is noted of a huge page while it is linked. Its row in hand leaves it then (K8). */
export function linkNotesOf(operation: number): LinkNotes {
  return { ...tablesOf(operation), links: operation + LINKS };
}

/** The huge page is linked: the frames of the row are its. */
export function giveRow({ words }: SharedMemory, operation: number): void {
  words[operation + ROW_END] = 0;
  words[operation + LINKS] = 0;
}

/**
 * The first of HUGE_PAGES frames in a row, an aligned one, each with a reference: they are a row in
 * hand. 0: there are none, or there is another row.
 */
export function* takeRow(
  { memory, ram }: Machine,
  operation: number,
  zeroed: boolean,
): Task<number> {
  const runNote = runOf(memory, operation, HUGE_PAGES);
  const pfn = yield* ram.allocRun(HUGE_PAGES, zeroed, false, runNote);
  if (pfn === 0) return 0;
  const { words } = memory;
  words[operation + ROW] = pfn;
  words[operation + ROW_SET] = 0;
  words[operation + ROW_OLD] = 0;
  words[operation + ROW_END] = HUGE_PAGES;
  words[operation + RUN] = 0;
  return pfn % HUGE_PAGES === 0 ? pfn : 0;
}

/** One reference more of each of the frames from `pfn` on: they are a row in hand. */
export function* getRow({ memory, ram }: Machine, operation: number, pfn: number): Task<void> {
  const { words } = memory;
  words[operation + ROW] = pfn;
  words[operation + ROW_SET] = 0;
  words[operation + ROW_OLD] = 0;
  for (let i = 0; i < HUGE_PAGES; i++) ram.refs.pageGetNoted(pfn + i, operation + ROW_END, i + 1);
}

/**
 * Entries get the frames of the row, and gave up those from `old` on; 0: none. The word that counts
 * them (`rewriteHugeNoted`).
 */
export function setOfRow({ words }: SharedMemory, operation: number, old: number): number {
  words[operation + ROW_OLD] = old;
  return operation + ROW_SET;
}

/**
 * The first of `pages` frames in a row, each with a reference, which words note; or 0. `start` of
 * the words, in the operation or its table; 0 of more than MOST_NOTED pages, or without memory for
 * the table: nothing notes them.
 */
export function* takeNotedRun(
  machine: Machine,
  operation: number,
  pages: number,
): Task<{ readonly pfn: number; readonly start: number }> {
  const { memory, ram } = machine;
  const isNoted = pages <= MOST_NOTED;
  const batch =
    pages > BATCH_FEW && isNoted ? yield* openBatch(machine, operation) : fewOf(operation);
  const start = isNoted && batch.end - batch.start >= pages ? batch.start : 0;
  const pfn = yield* ram.allocRun(pages, true, false, runOf(memory, operation, pages));
  if (pfn === 0) return { pfn, start };
  // The run is noted as a whole until each of its frames is.
  for (let i = 0; i < (start === 0 ? 0 : pages); i++) memory.words[start + i] = notedFrame(pfn + i);
  memory.words[operation + RUN] = 0;
  return { pfn, start };
}

/** Frames of a run that are noted one by one. */
const MOST_NOTED: number = LEAF_WORDS;

/** Puts what is left of such a run, and of other frames in hand. */
export function* putNotedRun(machine: Machine, operation: number): Task<void> {
  yield* putHand(machine, operation, BATCH_FEW);
  const table = machine.memory.words[operation + TABLE]!;
  if (table === 0) return;
  yield* putBatch(machine, operation, { start: table, end: table + LEAF_WORDS });
  yield* closeBatch(machine, operation);
}

/** Words that note what a page has while it moves in its cache. */
export interface CacheNotes {
  /** The count of its new frame that is for the caller's entry. */
  readonly fresh: number;
  /** The count of its old frame that the cache had. */
  readonly old: number;
}

export function cacheNotesOf(operation: number): CacheNotes {
  return { fresh: operation + CACHE_FRESH, old: operation + CACHE_OLD };
}

/** Puts the old frame of a page that has moved in its cache. */
export function putOld(machine: Machine, operation: number): Task<void> {
  const start = operation + CACHE_OLD;
  return putBatch(machine, operation, { start, end: start + 1 });
}

/** The entries have what they got of the row; the rest is put, and the operation ends. */
export function* endRow(machine: Machine, mm: Mm, operation: number): Task<void> {
  const { words } = machine.memory;
  const isGiven =
    words[operation + ROW_SET] === words[operation + ROW_END] && words[operation + ROW_OLD] === 0;
  if (!isGiven) yield* putRow(machine, operation);
  words[operation + ROW_END] = 0;
  endInvalidation(mm, operation);
}

/** Puts what is in hand of a row, if there is one. */
export function* putRow(machine: Machine, operation: number): Task<void> {
  const { words } = machine.memory;
  const { start, end } = fewOf(operation);
  const [row, old] = [words[operation + ROW]!, words[operation + ROW_OLD]!];
  const set = words[operation + ROW_SET]!;
  yield* putLeft(machine, operation, start, end);
  for (let i = words[operation + ROW_NEXT]!; i < words[operation + ROW_END]!;) {
    let note = start;
    for (; i < words[operation + ROW_END]! && note < end; i++) {
      const isLeft = i >= set || old !== 0;
      const noted = isLeft ? notedFrame((i < set ? old : row) + i) : 0;
      words[note] = noted;
      words[operation + ROW_NEXT] = i + 1; // in the same step
      if (isLeft) note++;
    }
    yield* putBatch(machine, operation, { start, end: note });
  }
  words[operation + ROW_END] = 0;
  words[operation + ROW_NEXT] = 0;
}

/** Each page of the run has its frame, or its frame has been put. */
export function endRun({ memory }: Mm, operation: number): void {
  const { words } = memory;
  words[operation + RUN] = 0;
  words[operation + RUN_USED] = 0;
  words[operation + RUN_NEXT] = 0;
  words[operation] = 0;
}

/** Where up to `leaves` leaves are noted that the operation frees (K5), or some of them (K3). */
export function openLeaves(machine: Machine, operation: number, leaves: number): Task<Batch> {
  machine.memory.words[operation + LEAVES] = 1;
  return leaves <= BATCH_FEW ? doneValue(fewOf(operation)) : openBatch(machine, operation);
}

/** Pairs with {@link openLeaves}. All leaves are free. */
export function* closeLeaves(machine: Machine, operation: number): Task<void> {
  yield* closeBatch(machine, operation);
  machine.memory.words[operation + LEAVES] = 0;
}

/**
 * The entries of the operation's pages are about to move, with their mapping. The words that note
 * what is at neither place; there is a table for leaves, if they are many and there is memory.
 */
export function* openMove(
  machine: Machine,
  operation: number,
  { startPage, endPage, target, takesLeaves }: EntryMove,
): Task<MoveNotes> {
  const isMany = endPage - startPage > BATCH_FEW * LEAF_WORDS;
  if (isMany) yield* openBatch(machine, operation);
  const { words } = machine.memory;
  words[operation + TARGET] = target;
  words[operation + TAKES_LEAVES] = takesLeaves ? 1 : 0;
  return moveNotesOf(words, operation);
}

function moveNotesOf(words: Int32Array, operation: number): MoveNotes {
  const table = words[operation + TABLE]!;
  const { start, end } = table === 0 ? fewOf(operation) : { start: table, end: table + LEAF_WORDS };
  const leaves = { from: operation + MOVED_TO, start, end };
  return { entry: operation + MOVED, place: operation + MOVED_TO, leaves };
}

/** K7: as part of the change of the mapping. Holding the mmap lock for writing. */
export function beginMoveUnder({ memory, mmapLock }: Mm, operation: number): void {
  undoStore(memory, mmapLock.at, operation + MOVES, 1);
}

/**
 * All entries have moved. From here on the operation notes leaves of the old place that become
 * free: where, as {@link openLeaves}.
 */
export function leavesAfterMove({ memory }: Machine, operation: number): Batch {
  const { words } = memory;
  words[operation + LEAVES] = 1;
  words[operation + MOVES] = 0;
  return moveNotesOf(words, operation).leaves;
}

/** Unpins the frames of a view, as many as the word `note` counts. Nothing is in hand before. */
export function unpinInHand(
  { ram }: Machine,
  operation: number,
  pfn: number,
  note: number,
): Task<void> {
  return ram.refs.unpinNoted(pfn, note, handOf(operation), operation + GIVEN);
}

/** The same of a pin's frames, which words from `table` on name. */
export function unpinEachInHand(
  { ram }: Machine,
  operation: number,
  table: number,
  note: number,
): Task<void> {
  return ram.refs.unpinEachNoted(table, note, handOf(operation), operation + GIVEN);
}

/** The pages are flushed, and their frames are put. */
export function endInvalidation({ memory }: Mm, operation: number): void {
  memory.words[operation] = 0;
}

/** Where the frames of cleared entries are noted: words [start, end), all of them 0. */
export interface Batch {
  readonly start: number;
  readonly end: number;
}

/** For the frames of up to BATCH_FEW entries (K3). */
export function fewOf(operation: number): Batch {
  return { start: operation + BATCH, end: operation + BATCH + BATCH_FEW };
}

/** For those of all entries of a leaf; of fewer, where there is no memory (K3). */
export function* openBatch({ heap, memory }: Machine, operation: number): Task<Batch> {
  const table = yield* heap.allocWords(LEAF_WORDS, operation + TABLE);
  if (table === 0) return fewOf(operation);
  memory.ensure(table + LEAF_WORDS);
  return { start: table, end: table + LEAF_WORDS };
}

/** Pairs with {@link openBatch}. The batch is empty. */
export function closeBatch({ heap, memory }: Machine, operation: number): Task<void> {
  const table = memory.words[operation + TABLE]!;
  return table === 0 ? DONE : heap.freeWords(table, LEAF_WORDS, operation + TABLE);
}

/** Puts the frames of the batch, whose pages are flushed; it is empty then. K2. */
export function putBatch({ ram }: Machine, operation: number, { start, end }: Batch): Task<void> {
  return ram.refs.putNoted(start, end, operation + GIVEN);
}

/**
 * Of a dead thread. Between two steps of {@link closeBatch} and {@link openBatch} there is a table
 * that is all 0.
 */
function* finish(memory: SharedMemory, at: number): Task<boolean> {
  const machine = Machine.of(memory);
  if (memory.words[at + LINKS] !== 0) dropUnlinked(memory, at);
  if (memory.words[at + MOVES] !== 0) yield* finishMoveOf(machine, at);
  else if (memory.words[at + RUN] === 0) yield* finishPages(machine, at);
  else yield* finishRun(machine, at);
  if (memory.words[at + ROW_END] !== 0) yield* putRow(machine, at);
  const table = memory.words[at + TABLE]!;
  memory.ensure(table + LEAF_WORDS);
  if (memory.words[at + LEAVES] !== 0) {
    yield* freeLeftLeaves(machine, at + BATCH, at + BATCH + BATCH_FEW);
    if (table !== 0) yield* freeLeftLeaves(machine, table, table + LEAF_WORDS);
    memory.words[at + LEAVES] = 0;
  }
  // One of the two is empty: who has a table of frames uses that alone.
  if (table !== 0) yield* putLeft(machine, at, table, table + LEAF_WORDS);
  yield* putLeft(machine, at, at + BATCH, at + BATCH + BATCH_FEW);
  yield* putLeft(machine, at, at + CACHE_FRESH, at + CACHE_OLD + 1);
  yield* closeBatch(machine, at);
  const mid = memory.words[at + MID_TABLE]!;
  if (mid !== 0) yield* machine.heap.freeWords(mid, MID_WORDS, at + MID_TABLE);
  return true;
}

/** K8: of a leaf that was about to be linked, or has been. */
function dropUnlinked(memory: SharedMemory, at: number): void {
  const leaf = memory.words[at + TABLE]!;
  memory.ensure(leaf + LEAF_WORDS);
  if (leaf === 0) memory.words[at + ROW_END] = 0;
  else memory.words.fill(0, leaf, leaf + LEAF_WORDS);
  memory.words[at + LINKS] = 0;
}

function* finishPages(machine: Machine, at: number): Task<void> {
  const { memory } = machine;
  const mmAt = memory.words[at + MM]!;
  const startPage = memory.words[at + START_PAGE]! >>> 0;
  const endPage = memory.words[at + END_PAGE]! >>> 0;
  if (mmAt === 0 || startPage === endPage) return;
  const mm = Mm.at(memory, mmAt);
  // Of a huge page all entries change alike: who died in between has changed some (U1 of huge.ts).
  yield* splitHuge(machine, mm, startPage);
  yield* mm.shootdown.flush(startPage, endPage);
}

function* finishMoveOf(machine: Machine, at: number): Task<void> {
  const { memory } = machine;
  const mm = Mm.at(memory, memory.words[at + MM]!);
  const table = memory.words[at + TABLE]!;
  memory.ensure(table + LEAF_WORDS);
  const { words } = memory;
  const move = {
    startPage: words[at + START_PAGE]! >>> 0,
    endPage: words[at + END_PAGE]! >>> 0,
    target: words[at + TARGET]! >>> 0,
    takesLeaves: words[at + TAKES_LEAVES] !== 0,
  };
  yield* finishMove(machine, mm, move, moveNotesOf(words, at));
  memory.words[at + MOVES] = 0;
}

function* finishRun(machine: Machine, at: number): Task<void> {
  const { memory, ram } = machine;
  const { words } = memory;
  const leaf = words[at + TABLE]!;
  memory.ensure(leaf + LEAF_WORDS);
  if (leaf !== 0) memory.words.fill(0, leaf, leaf + LEAF_WORDS);
  if (words[at + RUN_USED] === 0) {
    words.fill(0, at + BATCH, at + BATCH + BATCH_FEW); // notes of the same frames
    yield* ram.giveRun(words[at + RUN_PAGES]!, at + RUN);
    return;
  }
  yield* putUnset(machine, at);
  words[at + RUN] = 0;
  words[at + RUN_USED] = 0;
  words[at + RUN_NEXT] = 0;
}

/**
 * Puts the references of the run's frames whose pages have not got them (K6). May be done again:
 * what is noted is put first.
 */
export function* putUnset(machine: Machine, operation: number): Task<void> {
  const { memory } = machine;
  const mm = Mm.at(memory, memory.words[operation + MM]!);
  const startPage = memory.words[operation + START_PAGE]! >>> 0;
  const pages = (memory.words[operation + END_PAGE]! >>> 0) - startPage;
  const first = memory.words[operation + RUN]!;
  const { start, end } = fewOf(operation);
  yield* putLeft(machine, operation, start, end);
  for (let i = memory.words[operation + RUN_NEXT]!; i < pages;) {
    let note = start;
    for (; i < pages && note < end; i++) {
      if (isOfFrame(pteAt(memory, mm.pgd, startPage + i), first + i)) continue;
      const noted = notedFrame(first + i);
      memory.words[note++] = noted;
      memory.words[operation + RUN_NEXT] = i + 1; // in the same step
    }
    yield* putBatch(machine, operation, { start, end: note });
  }
}

function putLeft({ memory, ram }: Machine, at: number, start: number, end: number): Task<void> {
  dropUnheld(memory.words, start, end);
  return ram.refs.putLeft(start, end, at + GIVEN);
}

/** An entry without a frame was noted, too, and its note not cleared yet. */
function dropUnheld(words: Int32Array, start: number, end: number): void {
  for (let note = start; note < end; note++) if (!holdsFrame(words[note]!)) words[note] = 0;
}

registerFinisher(finish);
