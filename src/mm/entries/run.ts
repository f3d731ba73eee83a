/**
 * @module mm/entries/run
 * Frames in a row that pages without frames get.
 *
 *   K6  Frames in a row for pages that have none (view/view-populate.ts) are one note, in the
 *       change that takes them. When their counts are right RUN_USED says so. A page whose entry
 *       names its frame has got it. Of the others the reference is put. A leaf that is not linked
 *       yet counts for nothing.
 */

import { notedFrame } from "../../memory/frames/frame-allocator.ts";
import type { Machine } from "../../memory/machine.ts";
import { LEAF_WORDS, pteAt } from "../../mmu/radix-table.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { Mm } from "../mm-struct.ts";
import { isOfFrame } from "../pte.ts";
import { BATCH_FEW, closeBatch, fewOf, openBatch, putBatch, putLeft } from "./batch.ts";
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

/** Frames of a run that are noted one by one. */
const MOST_NOTED: number = LEAF_WORDS;

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

/** Puts what is left of such a run, and of other frames in hand. */
export function* putNotedRun(machine: Machine, operation: number): Task<void> {
  yield* putHand(machine, operation, BATCH_FEW);
  const table = machine.memory.words[operation + TABLE]!;
  if (table === 0) return;
  yield* putBatch(machine, operation, { start: table, end: table + LEAF_WORDS });
  yield* closeBatch(machine, operation);
}

export function* finishRun(machine: Machine, at: number): Task<void> {
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
