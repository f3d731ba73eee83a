/**
 * @module mm/entries/run
 * Frames in a row that pages get.
 *
 *   K6  Frames in a row are one note, in the change that takes them. Those for pages that have none
 *       (view/view-populate.ts): when their counts are right RUN_USED says so. A page whose entry
 *       names its frame has got it. Of the others the reference is put. A leaf that is not linked
 *       yet counts for nothing.
 *       Those for pages that move (migrate/migrate-to-run.ts) are noted one by one, too, before
 *       pages take them: at most as many at a time as there are words for. RUN and RUN_PAGES are
 *       the others. A frame that is noted both ways is one of RUN.
 */

import { notedFrame } from "../../memory/frames/frame-allocator.ts";
import type { Machine } from "../../memory/machine.ts";
import { LEAF_WORDS, pteAt } from "../../mmu/radix-table.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { Mm } from "../mm-struct.ts";
import { isOfFrame, ptePfn } from "../pte.ts";
import { BATCH_FEW, type Batch, closeBatch, fewOf, openBatch, putBatch, putLeft } from "./batch.ts";
import { putHand } from "./hand.ts";
import {
  BATCH,
  END_PAGE,
  MM,
  RUN,
  RUN_NEXT,
  RUN_PAGES,
  RUN_USED,
  START_PAGE,
  TABLE,
} from "./words.ts";

/** The word that notes `pages` frames in a row (K6), which is 0. */
export function runOf({ words }: SharedMemory, operation: number, pages: number): number {
  words[operation + RUN_PAGES] = pages;
  return operation + RUN;
}

/** The word that becomes 1 when each frame of the run has a reference for its page. */
export function runUsedOf(operation: number): number {
  return operation + RUN_USED;
}

/** Each page of the run has its frame, or its frame has been put. */
export function endRun({ memory }: Mm, operation: number): void {
  const { words } = memory;
  words[operation + RUN] = 0;
  words[operation + RUN_USED] = 0;
  words[operation + RUN_NEXT] = 0;
  words[operation] = 0;
}

/**
 * The first of `pages` frames in a row, each with a reference, which are noted as a whole; or 0.
 * With it where {@link noteNext} notes some of them. Pairs with {@link putNotedRun}.
 */
export function* takeNotedRun(
  machine: Machine,
  operation: number,
  pages: number,
): Task<{ readonly pfn: number; readonly batch: Batch }> {
  const { memory, ram } = machine;
  const batch = pages > BATCH_FEW ? yield* openBatch(machine, operation) : fewOf(operation);
  const pfn = yield* ram.allocRun(pages, true, false, runOf(memory, operation, pages));
  return { pfn, batch };
}

/** The next `count` frames of such a run are noted in the batch, which has as many words. */
export function noteNext(
  { words }: SharedMemory,
  operation: number,
  { start }: Batch,
  count: number,
): void {
  const first = words[operation + RUN]!;
  const left = words[operation + RUN_PAGES]! - count;
  for (let i = 0; i < count; i++) words[start + i] = notedFrame(first + i);
  // Noted twice until here (K6). No function is entered between these (H1 of held-locks.ts).
  words[operation + RUN_PAGES] = left;
  words[operation + RUN] = left === 0 ? 0 : first + count;
}

/** Puts what is left of such a run: what the batch notes, and what it does not yet. */
export function* putNotedRun(machine: Machine, operation: number): Task<void> {
  const { memory, ram } = machine;
  yield* putHand(machine, operation, BATCH_FEW);
  const table = memory.words[operation + TABLE]!;
  if (table !== 0) yield* putBatch(machine, operation, { start: table, end: table + LEAF_WORDS });
  if (memory.words[operation + RUN] !== 0)
    yield* ram.giveRun(memory.words[operation + RUN_PAGES]!, operation + RUN);
  yield* closeBatch(machine, operation);
}

export function* finishRun(machine: Machine, at: number): Task<void> {
  const { memory, ram } = machine;
  const { words } = memory;
  const table = words[at + TABLE]!;
  memory.ensure(table + LEAF_WORDS);
  if (words[at + RUN_USED] === 0) {
    dropNotesOfRun(memory, at, table, table === 0 ? 0 : table + LEAF_WORDS);
    dropNotesOfRun(memory, at, at + BATCH, at + BATCH + BATCH_FEW);
    yield* ram.giveRun(words[at + RUN_PAGES]!, at + RUN);
    return;
  }
  if (table !== 0) memory.words.fill(0, table, table + LEAF_WORDS); // a leaf that is not linked
  yield* putUnset(machine, at);
  words[at + RUN] = 0;
  words[at + RUN_USED] = 0;
  words[at + RUN_NEXT] = 0;
}

/** Of words [start, end), those that note frames of the run, which is noted as a whole, too. */
function dropNotesOfRun({ words }: SharedMemory, at: number, start: number, end: number): void {
  const [first, pages] = [words[at + RUN]!, words[at + RUN_PAGES]!];
  for (let note = start; note < end; note++) {
    const pfn = ptePfn(words[note]!);
    if (pfn >= first && pfn < first + pages) words[note] = 0;
  }
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
