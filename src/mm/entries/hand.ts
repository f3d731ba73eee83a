/**
 * @module mm/entries/hand
 * What a thread has in hand, and nobody else knows: frames that it has got and not entered yet, a
 * page table that is not linked. Words of its operation note it, until it has its place.
 */

import type { Machine } from "../../memory/machine.ts";
import type { TableNotes } from "../../mmu/radix-table.ts";
import { DONE, type Task } from "../../sync/tasks/task.ts";
import { putBatch } from "./batch.ts";
import { BATCH, CACHE_FRESH, CACHE_OLD, GIVEN, MID_TABLE, TABLE } from "./words.ts";

/** The `i`th word of an operation that notes a frame, below BATCH_FEW. */
export function handOf(operation: number, i: number = 0): number {
  return operation + BATCH + i;
}

/** Where the operation notes a page table that is not linked yet. It has no table of frames. */
export function tablesOf(operation: number): TableNotes {
  return { leaf: operation + TABLE, mid: operation + MID_TABLE };
}

/** Puts the frames that the first `count` words note: often none. */
export function putHand(machine: Machine, operation: number, count: number = 1): Task<void> {
  const { words } = machine.memory;
  const [start, end] = [handOf(operation), handOf(operation, count)];
  for (let note = start; note < end; note++)
    if (words[note] !== 0) return putBatch(machine, operation, { start, end });
  return DONE;
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

/**
 * Puts the old frame of a page that has moved in its cache. GIVEN is of the frames in BATCH, which
 * may note others meanwhile.
 */
export function putOld({ ram }: Machine, operation: number): Task<void> {
  const start = operation + CACHE_OLD;
  return ram.refs.putNoted(start, start + 1, 0);
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
