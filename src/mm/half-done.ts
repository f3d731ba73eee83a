/**
 * @module mm/half-done
 * Changes that must not be left half done, and that nobody else can finish: a death in between
 * stops the machine. From the first entry that is changed to the flush behind it another thread
 * finishes what a dead one has begun (mm/entries/invalidation.ts), and so it does from the start of
 * an invalidation to its end (notifier/notice.ts).
 * What a thread changes of the vmas is undone with the mmap lock (vma/vma-map.ts). What is left is
 * a migration for whose record there was no memory.
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

/** After its end; after its start, if that failed and so changed nothing. */
export function endHalfDone(mm: Mm): void {
  leaveCritical(mm.memory, mm.at, tag);
}
