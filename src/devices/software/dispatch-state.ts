/**
 * @module devices/software/dispatch-state
 * How far the running dispatch has come: two words of the device's record that its threads share.
 * `nextItem` is the first work item that no thread has taken; `stop` is 1 once the dispatch is to
 * end early.
 */

import { atomicAdd, atomicLoad, atomicStore } from "../../driver-interface.ts";
import { SoftwareRecord } from "./software-record.ts";

const NEXT_ITEM: number = SoftwareRecord.offset.nextItem;
const STOP: number = SoftwareRecord.offset.stop;

/** Most items taken from the dispatch at once. */
const CHUNK_MAX = 256;

/**
 * Makes the record ready for a dispatch. Before any thread has begun with it.
 *
 * @stepped dispatch
 */
export function beginDispatch({ memory, at }: SoftwareRecord): void {
  atomicStore(memory.words, at + NEXT_ITEM, 0);
  atomicStore(memory.words, at + STOP, 0);
}

/**
 * Lets the running dispatch end early: its threads finish the items that they are running, and take
 * no more.
 *
 * @stepped dispatch
 */
export function stopDispatch({ memory, at }: SoftwareRecord): void {
  atomicStore(memory.words, at + STOP, 1);
}

/** @stepped dispatch */
export function isStopped({ memory, at }: SoftwareRecord): boolean {
  return atomicLoad(memory.words, at + STOP) !== 0;
}

/** How many of `items` a thread takes at once, with `threads` of them at work. */
export function chunkOf(items: number, threads: number): number {
  return Math.max(1, Math.min(CHUNK_MAX, Math.ceil(items / (threads * 8))));
}

/**
 * Takes the next `chunk` work items of a dispatch of `items` for this thread: returns the first of
 * them, or `items` when none is left.
 *
 * @stepped dispatch
 */
export function takeItems({ memory, at }: SoftwareRecord, items: number, chunk: number): number {
  const first = atomicAdd(memory.words, at + NEXT_ITEM, chunk) >>> 0;
  if (first < items) return first;
  // does not run over, however often it is asked
  atomicStore(memory.words, at + NEXT_ITEM, items);
  return items;
}
