/**
 * @module mm/entries/batch
 * Where an operation notes the frames of entries that it clears, and the leaves that it unlinks.
 *
 *   K2  A frame is noted in the step that clears its entry, and its note is cleared in the step
 *       that drops its reference, or that makes it free. So each is put once.
 *   K3  The frames of up to BATCH_FEW entries are noted in the operation itself, those of more in a
 *       table of the kernel heap, if there is memory for it.
 *   K5  Leaves that have been unlinked are noted, too, and are free after the flush.
 */

import type { Machine } from "../../memory/machine.ts";
import { LEAF_WORDS } from "../../mmu/radix-table.ts";
import { DONE, type Task, doneValue } from "../../sync/tasks/task.ts";
import { holdsFrame } from "../pte.ts";
import { BATCH, GIVEN, LEAVES, TABLE } from "./words.ts";

/** Entries whose frames are noted in the operation (K3). */
export const BATCH_FEW = 16;

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

export function putLeft(
  { memory, ram }: Machine,
  at: number,
  start: number,
  end: number,
): Task<void> {
  dropUnheld(memory.words, start, end);
  return ram.refs.putLeft(start, end, at + GIVEN);
}

/** An entry without a frame was noted, too, and its note not cleared yet. */
function dropUnheld(words: Int32Array, start: number, end: number): void {
  for (let note = start; note < end; note++) if (!holdsFrame(words[note]!)) words[note] = 0;
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
