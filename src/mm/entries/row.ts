/**
 * @module mm/entries/row
 * The 512 frames of a huge page, while its entries get them.
 *
 *   K8  Frames in a row that the entries of a huge page get, or give up, are a row in hand: with
 *       each entry that changes, its new frame leaves the row, and its old one joins it. A row that
 *       a whole new huge page gets leaves the hand in the step that links its leaf.
 */

import { notedFrame } from "../../memory/frames/frame-allocator.ts";
import type { Machine } from "../../memory/machine.ts";
import { LEAF_WORDS } from "../../mmu/radix-table.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { HUGE_PAGES, type LinkNotes } from "../huge.ts";
import { fewOf, putBatch, putLeft } from "./batch.ts";
import { tablesOf } from "./hand.ts";
import { runOf } from "./run.ts";
import { LINKS, ROW, ROW_END, ROW_NEXT, ROW_OLD, ROW_SET, RUN, TABLE } from "./words.ts";

/** What is noted of a huge page while it is linked. Its row in hand leaves it then (K8). */
export function linkNotesOf(operation: number): LinkNotes {
  return { ...tablesOf(operation), links: operation + LINKS };
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

/** The huge page is linked: the frames of the row are its. */
export function giveRow({ words }: SharedMemory, operation: number): void {
  words[operation + ROW_END] = 0;
  words[operation + LINKS] = 0;
}

/** The entries have what they got of the row; the rest is put, and the operation ends. */
export function* endRow(machine: Machine, operation: number): Task<void> {
  const { words } = machine.memory;
  const isGiven =
    words[operation + ROW_SET] === words[operation + ROW_END] && words[operation + ROW_OLD] === 0;
  if (!isGiven) yield* putRow(machine, operation);
  words[operation + ROW_END] = 0;
  words[operation] = 0;
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

/** K8: of a leaf that was about to be linked, or has been. */
export function dropUnlinked(memory: SharedMemory, at: number): void {
  const leaf = memory.words[at + TABLE]!;
  memory.ensure(leaf + LEAF_WORDS);
  if (leaf === 0) memory.words[at + ROW_END] = 0;
  else memory.words.fill(0, leaf, leaf + LEAF_WORDS);
  memory.words[at + LINKS] = 0;
}
