/**
 * @module mm/entries/zap
 * Clears entries and gives their frames back. Follows Linux `zap_page_range` and `unmap_vmas` in
 * `mm/memory.c`. The order matters:
 *
 *     start of the invalidation   every device lets go of the range (R3)
 *     clear the entries           no new translation can be read
 *     flush the shootdown         no CPU thread uses an old one any more
 *     put the frames              only now may they become somebody else's
 *     end of the invalidation
 *
 * Frames wait in a batch between clearing and flushing, so that one flush serves many pages, and
 * one turn of ramLock all frames that become free (Linux: `mmu_gather`).
 */

import {
  EVENT_CLEAR,
  EVENT_UNMAP,
  type InvalidateRange,
  invalidateRange,
} from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  noteInvalidationOf,
} from "../../notifier/mmu-notifier.ts";
import type { Machine } from "../../memory/machine.ts";
import { exchangeNoted } from "../../sync/atomics.ts";
import type { Errno } from "../../sync/errno.ts";
import { type Task, doneNumber } from "../../sync/tasks/task.ts";
import { HUGE_PAGES, clearHuge, splitIfDead } from "../huge.ts";
import {
  BATCH_FEW,
  closeBatch,
  closeLeaves,
  fewOf,
  openBatch,
  openLeaves,
  putBatch,
} from "./batch.ts";
import { beginInvalidation, endInvalidation } from "./invalidation.ts";
import type { Mm } from "../mm-struct.ts";
import {
  LEAF_WORDS,
  type LeafVisitor,
  MID_HUGE,
  TASK_SIZE_PAGES,
  forEachLeaf,
  leafIn,
  midEntryOf,
  nextLeafPage,
  pteIndex,
  wordAt,
} from "../../mmu/radix-table.ts";
import { freeEmptyLeaves } from "../../mmu/unlinked-leaves.ts";
import { holdsFrame } from "../pte.ts";

/** What clears entries of a leaf, and notes their frames. */
interface Clearing {
  /** Word index of the next entry. */
  index: number;
  /** The entry after the last. */
  readonly end: number;
  /** Where the next frame is noted. */
  note: number;
  /** The word after the last that can note one. */
  readonly noteEnd: number;
  /** Whether an entry was cleared. */
  isCleared: boolean;
}

/**
 * Clears entries up to the end, or until the batch is full. K2 of batch.ts.
 *
 * @stepped pte
 */
function clearEntries(words: Int32Array, clearing: Clearing): void {
  let { index, note } = clearing;
  for (; index < clearing.end && note < clearing.noteEnd; index++) {
    if (wordAt(words, index) === 0) continue;
    clearing.isCleared = true;
    if (holdsFrame(exchangeNoted(words, index, 0, words, note, 0, 0))) note++;
  }
  clearing.index = index;
  clearing.note = note;
}

/** The same as no step of the explorer: the caller is alone with the entries. */
const clearEntriesAlone: typeof clearEntries = clearEntries;

/** Pages of one leaf that are to be cleared. */
interface LeafPart {
  readonly startPage: number;
  readonly endPage: number;
  /** Word index of the first entry. */
  readonly index: number;
  readonly isHuge: boolean;
  readonly isAlone: boolean;
}

/**
 * Clears the range's entries and gives the frames back, inside an invalidation. The result is 0.
 * Holding the mmap lock; for reading is enough, because faults change entries by compare-and-swap.
 * Most ranges lie within one leaf: then there is nothing to begin where nobody has touched it.
 *
 * @stepped page table
 */
function clearRange(machine: Machine, mm: Mm, startPage: number, endPage: number): Task<Errno> {
  if (endPage > nextLeafPage(startPage)) return clearLeaves(machine, mm, startPage, endPage, false);
  const entry = midEntryOf(machine.memory, mm.pgd, startPage);
  if (entry === 0) return doneNumber(0);
  const isHuge = (entry & MID_HUGE) !== 0;
  const index = pteIndex(leafIn(entry), startPage);
  return clearLeaf(machine, mm, { startPage, endPage, index, isHuge, isAlone: false });
}

/** `isAlone`: no other task reaches the entries, so clearing them is no scheduling point. */
function clearLeaves(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
  isAlone: boolean,
): Task<Errno> {
  const visit: LeafVisitor = (leaf, first, end, isHuge) => {
    const part = { startPage: first, endPage: end, index: pteIndex(leaf, first), isHuge, isAlone };
    return clearLeaf(machine, mm, part);
  };
  return forEachLeaf(machine.memory, mm.pgd, startPage, endPage, visit, isAlone);
}

/** Returns 0: the next leaf is to be visited. */
function* clearLeaf(machine: Machine, mm: Mm, part: LeafPart): Task<number> {
  const { startPage, endPage, index, isHuge, isAlone } = part;
  const entries = endPage - startPage;
  const operation = yield* beginInvalidation(mm, startPage, endPage);
  const end = index + entries;
  const isFew = entries <= BATCH_FEW || (isAlone && areFew(machine.memory.words, index, end));
  const batch = isFew ? fewOf(operation) : yield* openBatch(machine, operation);
  for (let at = index; at < end;) {
    const { start: note, end: noteEnd } = batch;
    const clearing = { index: at, end, note, noteEnd, isCleared: false };
    if (isAlone) clearEntriesAlone(machine.memory.words, clearing);
    else if (isHuge && at === index) yield* clearHugeEntries(machine, mm, startPage, clearing);
    else clearEntries(machine.memory.words, clearing);
    at = clearing.index;
    if (clearing.note < noteEnd) machine.memory.words[clearing.note] = 0; // of one without a frame
    yield* mm.shootdown.flush(startPage, endPage);
    if (clearing.isCleared)
      yield* putBatch(machine, operation, { start: note, end: clearing.note });
  }
  yield* closeBatch(machine, operation);
  endInvalidation(mm, operation);
  return 0;
}

/** Whether few entries, of which the caller is alone, are not empty: K3 of batch.ts. */
function areFew(words: Int32Array, start: number, end: number): boolean {
  let count = 0;
  for (let index = start; index < end && count <= BATCH_FEW; index++)
    if (words[index] !== 0) count++;
  return count <= BATCH_FEW;
}

/**
 * Of a huge page (U4 of mm/huge.ts): cleared as a whole it is an empty one, in part it is split, as
 * it is where the thread dies in between.
 *
 * @stepped pte
 */
function* clearHugeEntries(
  { memory }: Machine,
  mm: Mm,
  page: number,
  clearing: Clearing,
): Task<void> {
  const { index, end, note, noteEnd } = clearing;
  yield* mm.pageTableLock.lock();
  if (end - index < HUGE_PAGES || noteEnd - note < HUGE_PAGES) clearHuge(memory, mm, page);
  splitIfDead(memory, mm, page, mm.pageTableLock.at);
  clearEntries(memory.words, clearing);
  yield* mm.pageTableLock.unlock();
}

/**
 * Unmaps the range's pages, as one invalidation. Holding the mmap lock: for writing if the vmas go,
 * too (EVENT_UNMAP), else at least for reading. EAGAIN only if not blockable; then nothing has
 * changed. With `keepsTables`, tables stay that are empty then: the caller fills them, and must not
 * fail.
 *
 * @stepped page table
 */
export function zapRange(
  machine: Machine,
  mm: Mm,
  range: InvalidateRange,
  keepsTables: boolean = false,
): Task<Errno> {
  const freesTables = range.event === EVENT_UNMAP && !keepsTables && hasWholeLeaf(range);
  if (freesTables || !mm.notifiers.isEmptyFast()) return zapTold(machine, mm, range, freesTables);
  noteInvalidationOf(range);
  return clearRange(machine, mm, range.startPage, range.endPage);
}

/** The same if any notifier is to be told, or tables become free. */
function* zapTold(
  machine: Machine,
  mm: Mm,
  range: InvalidateRange,
  freesTables: boolean,
): Task<Errno> {
  const answer = yield* mmuNotifierInvalidateRangeStart(machine, range);
  if (answer === 0) {
    yield* clearRange(machine, mm, range.startPage, range.endPage);
    if (freesTables) yield* freeLeaves(machine, mm, range);
    yield* mmuNotifierInvalidateRangeEnd(machine, range);
  }
  return answer;
}

/**
 * Frees the leaves that lie wholly in the range, whose entries have been cleared. Holding the mmap
 * lock for writing.
 */
export function* freeLeaves(
  machine: Machine,
  mm: Mm,
  { startPage, endPage }: Pick<InvalidateRange, "startPage" | "endPage">,
): Task<void> {
  const operation = yield* beginInvalidation(mm, startPage, endPage);
  const leaves = Math.floor((endPage - startPage) / LEAF_WORDS);
  const notes = yield* openLeaves(machine, operation, leaves);
  yield* freeEmptyLeaves(machine, mm, startPage, endPage, notes);
  yield* closeLeaves(machine, operation);
  endInvalidation(mm, operation);
}

function hasWholeLeaf({ startPage, endPage }: InvalidateRange): boolean {
  return Math.ceil(startPage / LEAF_WORDS) * LEAF_WORDS + LEAF_WORDS <= endPage;
}

/**
 * Drops the range's pages without waiting, as an out-of-memory reaper does. EAGAIN if a notifier
 * would have to wait; then nothing has changed. Linux: `__oom_reap_task_mm`. Holding the mmap lock
 * at least for reading.
 */
export function* zapNonBlocking(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
): Task<Errno> {
  const range = invalidateRange(mm, startPage, endPage, EVENT_CLEAR, { blockable: false });
  return yield* zapRange(machine, mm, range);
}

/** Exit: everything. No notifier is left to call. */
export function zapEverything(machine: Machine, mm: Mm): Task<Errno> {
  return clearLeaves(machine, mm, 0, TASK_SIZE_PAGES, true);
}
