/**
 * @module mm/entries/invalidation
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
 *
 * The other rules are in batch.ts (K2, K3, K5), run.ts (K6), move.ts (K7) and row.ts (K8).
 */

import { Machine } from "../../memory/machine.ts";
import { LEAF_WORDS, MID_WORDS } from "../../mmu/radix-table.ts";
import { freeLeftLeaves } from "../../mmu/unlinked-leaves.ts";
import { awaitOperation, registerFinisher } from "../../sync/death/recovery.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { type Task, doneNumber } from "../../sync/tasks/task.ts";
import { freeOperation } from "../../sync/words/operations.ts";
import { splitHuge } from "../huge.ts";
import { Mm } from "../mm-struct.ts";
import { BATCH_FEW, closeBatch, putLeft } from "./batch.ts";
import { finishMoveOf } from "./move.ts";
import { dropUnlinked, putRow } from "./row.ts";
import { finishRun } from "./run.ts";
import {
  BATCH,
  CACHE_FRESH,
  CACHE_OLD,
  END_PAGE,
  LEAVES,
  LINKS,
  MID_TABLE,
  MM,
  MOVES,
  ROW_END,
  RUN,
  START_PAGE,
  TABLE,
} from "./words.ts";

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

/** The pages are flushed, and their frames are put. */
export function endInvalidation({ memory }: Mm, operation: number): void {
  memory.words[operation] = 0;
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

registerFinisher(finish);
