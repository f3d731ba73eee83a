/**
 * @module mm/half-done
 * Changes of entries that must not be left half done. A thread that dies as a reader of the mmap
 * lock stops nobody: most of what it does under the lock is one compare-and-swap. Between the start
 * and the end of an invalidation that is not so. Devices wait for the end, frames wait in this
 * thread's memory for a flush, and nobody else knows which:
 *
 *     thread that dies                              others
 *     start: ranges over the page are not valid
 *     entry cleared
 *                                                   one still stores to the frame, by its TLB
 *     [dead before the flush]                       another faults, and gets a new frame: it never
 *                                                   sees those stores
 *                                                   devices wait for the end, for ever
 *
 * So a death in between stops the machine. Where no device is told, nothing is half done between
 * the start and the end but a leaf, from its first cleared entry until its frames are given back.
 *
 * The same holds of a thread that has the lock for writing. What it changes of the vmas is undone
 * (vma/vma-map.ts), and then the lock is released. What is not ready for that is half done from its
 * beginning to its end: `mmapWriteLockHalfDone`.
 */

import { lockClass } from "../sync/lock-class.ts";
import {
  HELD_CALLBACK,
  enterCritical,
  heldTag,
  leaveCritical,
} from "../sync/lockdep/held-locks.ts";
import type { Mm } from "./mm-struct.ts";

const tag = heldTag(lockClass("invalidation"), HELD_CALLBACK);

/**
 * Before the start of the invalidation. Pairs with {@link endHalfDone}, in the same thread. It is
 * listed at a word where no lock lives: a lock that another task of the thread gives back is looked
 * for by its word alone.
 */
export function beginHalfDone(mm: Mm): void {
  enterCritical(mm.memory, mm.at, tag);
}

/**
 * As {@link beginHalfDone}, if any notifier is told of the invalidation. Returns whether; then it
 * pairs with {@link endHalfDone}. Holding the mmap lock.
 */
export function beginWatched(mm: Mm): boolean {
  const isWatched = mm.notifiers.mayHaveAny();
  if (isWatched) beginHalfDone(mm);
  return isWatched;
}

/** After its end; after its start, if that failed and so changed nothing. */
export function endHalfDone(mm: Mm): void {
  leaveCritical(mm.memory, mm.at, tag);
}
