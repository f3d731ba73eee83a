/**
 * @module mm/zap
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
} from "../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../notifier/mmu-notifier.ts";
import type { Machine } from "../memory/machine.ts";
import { atomicExchange } from "../sync/atomics.ts";
import type { Errno } from "../sync/errno.ts";
import type { Task } from "../sync/tasks/task.ts";
import { beginHalfDone, beginWatched, endHalfDone } from "./half-done.ts";
import { HUGE_PAGES, clearHuge } from "./huge.ts";
import type { Mm } from "./mm-struct.ts";
import {
  LEAF_WORDS,
  type LeafVisitor,
  TASK_SIZE_PAGES,
  forEachLeaf,
  freeEmptyLeaves,
  pteIndex,
  wordAt,
} from "../mmu/radix-table.ts";
import { holdsFrame, ptePfn } from "./pte.ts";

/**
 * Clears the entries from `start` up to `end`, and adds the frames that they held to `frames`.
 * True: there were some. They are half done from here on, until their frames are given back.
 *
 * @stepped pte
 */
function clearEntries(
  mm: Mm,
  words: Int32Array,
  start: number,
  end: number,
  frames: number[],
): boolean {
  let isCleared = false;
  for (let index = start; index < end; index++) {
    if (wordAt(words, index) === 0) continue;
    if (!isCleared) beginHalfDone(mm);
    isCleared = true;
    const pte = atomicExchange(words, index, 0);
    if (holdsFrame(pte)) frames.push(ptePfn(pte));
  }
  return isCleared;
}

/** The same as no step of the explorer: the caller is alone with the entries. */
const clearEntriesAlone: typeof clearEntries = clearEntries;

/**
 * Clears the range's entries and gives the frames back, inside an invalidation. Holding the mmap
 * lock; for reading is enough, because faults change entries by compare-and-swap. Or `isAlone`: no
 * other task reaches the entries, so clearing them is no scheduling point.
 *
 * @stepped pte
 */
function* clearRange(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
  isAlone: boolean = false,
): Task<void> {
  const { memory, ram } = machine;
  const frames: number[] = [];
  const visit: LeafVisitor = function* (leaf, first, end, isHuge): Task<number> {
    frames.length = 0;
    const index = pteIndex(leaf, first);
    const stop = index + (end - first);
    let isCleared: boolean;
    if (isAlone) isCleared = clearEntriesAlone(mm, memory.words, index, stop, frames);
    else if (isHuge) isCleared = yield* clearHugeEntries(machine, mm, first, index, stop, frames);
    else isCleared = clearEntries(mm, memory.words, index, stop, frames);
    yield* mm.shootdown.flush(first, end);
    yield* ram.refs.pagePutAll(frames);
    if (isCleared) endHalfDone(mm);
    return 0;
  };
  yield* forEachLeaf(memory, mm.pgd, startPage, endPage, visit, isAlone);
}

/**
 * Of a huge page (U4 of mm/huge.ts): cleared as a whole it is an empty one, in part it is split.
 *
 * @stepped pte
 */
function* clearHugeEntries(
  { memory }: Machine,
  mm: Mm,
  page: number,
  start: number,
  end: number,
  frames: number[],
): Task<boolean> {
  yield* mm.pageTableLock.lock();
  if (end - start < HUGE_PAGES) clearHuge(memory, mm, page);
  const isCleared = clearEntries(mm, memory.words, start, end, frames);
  yield* mm.pageTableLock.unlock();
  return isCleared;
}

/**
 * Unmaps the range's pages, as one invalidation. Holding the mmap lock: for writing if the vmas go,
 * too (EVENT_UNMAP), else at least for reading. EAGAIN only if not blockable; then nothing has
 * changed. With `keepsTables`, tables stay that are empty then: the caller fills them, and must not
 * fail.
 */
export function* zapRange(
  machine: Machine,
  mm: Mm,
  range: InvalidateRange,
  keepsTables: boolean = false,
): Task<Errno> {
  const isWatched = beginWatched(mm);
  const answer = yield* mmuNotifierInvalidateRangeStart(machine, range);
  if (answer === 0) {
    yield* clearRange(machine, mm, range.startPage, range.endPage);
    if (range.event === EVENT_UNMAP && !keepsTables && hasWholeLeaf(range))
      yield* freeLeaves(machine, mm, range);
    yield* mmuNotifierInvalidateRangeEnd(machine, range);
  }
  if (isWatched) endHalfDone(mm);
  return answer;
}

function* freeLeaves(
  machine: Machine,
  mm: Mm,
  { startPage, endPage }: InvalidateRange,
): Task<void> {
  beginHalfDone(mm);
  yield* freeEmptyLeaves(machine, mm, startPage, endPage);
  endHalfDone(mm);
}

function hasWholeLeaf({ startPage, endPage }: InvalidateRange): boolean {
  return Math.ceil(startPage / LEAF_WORDS) * LEAF_WORDS + LEAF_WORDS <= endPage;
}

/**
 * Drops the range's pages without waiting, as an out-of-memory reaper does. EAGAIN if a notifier
 * would have to wait; then nothing has changed. Linux: `__oom_reap_task_mm`. Holding the mmap lock
 * at least for reading.
 */
export function zapNonBlocking(
  machine: Machine,
  mm: Mm,
  startPage: number,
  endPage: number,
): Task<Errno> {
  return zapRange(
    machine,
    mm,
    invalidateRange(mm, startPage, endPage, EVENT_CLEAR, { blockable: false }),
  );
}

/** Exit: everything. No notifier is left to call. */
export function zapEverything(machine: Machine, mm: Mm): Task<void> {
  return clearRange(machine, mm, 0, TASK_SIZE_PAGES, true);
}
