/**
 * @module The undo log: what the words that a lock guards held before its holder changed them. It
 * is in the record of the thread. If the thread dies with the lock, whoever finds it dead stores
 * the old values again, the newest first, and releases the lock (death.ts). So the change has not
 * begun, as far as others can see.
 *
 *   U1  An entry is complete before it is counted, and counted before the word is changed. So a
 *       thread may die between any two of these, and a word that was not changed yet gets the value
 *       that it has.
 *   U2  An entry names its lock. A change of a word that a lock guards is in the log of the holder
 *       from before it is made until the lock is released, or the holder says that what is there is
 *       whole (`commitUndo`). Either ends the entries of that lock by one store.
 *   U3  What an entry guards must not be given away before that: an object that is no longer linked
 *       is freed after the commit. Otherwise the undo would link freed memory.
 *   U4  Tasks of one thread that wait in turn may have entries between each other's. They are of
 *       different locks, so their words are different, and their order does not matter.
 *   U5  A thread whose log is full notes the lock. A death with that lock stops the machine.
 *
 * Stores in a row, without a call between them, need no log: no thread dies there (H1 of
 * lockdep/held-locks.ts).
 *
 * An entry is three words: the lock; the place; what was there. A place is the index of a word of
 * the heap, or UNDO_FRAME and a number that the owner of the frame tables can find.
 */

import { plainLoad } from "../atomics.ts";
import {
  AGENT_HELD,
  AGENT_UNDO,
  AGENT_UNDO_COMMITTED,
  AGENT_UNDO_COUNT,
  AGENT_UNDO_FULL,
  UNDO_LIMIT,
  UNDO_WORDS,
} from "../control-block.ts";
import type { SharedMemory } from "../shared-memory.ts";

/** A place in a frame table, not in the heap. Heaps have fewer words. */
export const UNDO_FRAME: number = 2 ** 30;

const PLACE = 1;
const OLD = 2;

/**
 * Stores a word of the heap that `lock` guards, so that the store is undone if this thread dies
 * with the lock (U1). Who is alone with the word, and holds no lock, stores it plainly.
 */
export function undoStore(memory: SharedMemory, lock: number, index: number, value: number): void {
  noteUndo(memory, lock, index, plainLoad(memory.words, index));
  memory.words[index] = value;
}

/** The caller is about to change what `place` holds, which is `old`. */
export function noteUndo(memory: SharedMemory, lock: number, place: number, old: number): void {
  if (!isHeld(memory, lock)) return; // the caller is alone
  const { words, record } = memory;
  const count = plainLoad(words, record + AGENT_UNDO_COUNT);
  if (count === UNDO_LIMIT) {
    words[record + AGENT_UNDO_FULL] = lock;
    return;
  }
  const at = record + AGENT_UNDO + count * UNDO_WORDS;
  words[at] = lock;
  words[at + PLACE] = place;
  words[at + OLD] = old;
  words[record + AGENT_UNDO_COUNT] = count + 1;
}

/** By this thread's own held table: those who wait for the lock write its word. */
function isHeld({ words, record, heldNext }: SharedMemory, lock: number): boolean {
  if (lock === 0) return false;
  for (let slot = heldNext - 1; slot >= record + AGENT_HELD; slot--)
    if (words[slot] === lock) return true;
  return false;
}

/** Whether this thread has entries that are to be committed. */
export function hasUndo(memory: SharedMemory): boolean {
  return memory.words[memory.record + AGENT_UNDO_COUNT] !== 0;
}

/** What the lock guards is whole: nothing of it will be undone (U2). Holding it. */
export function commitUndo(memory: SharedMemory, lock: number): void {
  const { words, record } = memory;
  const first = record + AGENT_UNDO;
  const count = plainLoad(words, record + AGENT_UNDO_COUNT);
  let end = count;
  while (end > 0 && words[first + (end - 1) * UNDO_WORDS] === lock) end--;
  let apart = false;
  for (let i = 0; i < end; i++) apart ||= words[first + i * UNDO_WORDS] === lock;
  if (apart) commitApart(memory, lock, end);
  words[record + AGENT_UNDO_COUNT] = end;
  if (words[record + AGENT_UNDO_FULL] === lock) words[record + AGENT_UNDO_FULL] = 0;
}

/**
 * U4. Entries of other locks lie between those of this one. They end together: by the store of
 * COMMITTED.
 */
function commitApart(memory: SharedMemory, lock: number, end: number): void {
  const { words, record } = memory;
  const first = record + AGENT_UNDO;
  words[record + AGENT_UNDO_COMMITTED] = lock;
  for (let i = 0; i < end; i++)
    if (words[first + i * UNDO_WORDS] === lock) words[first + i * UNDO_WORDS] = 0;
  words[record + AGENT_UNDO_COUNT] = end;
  words[record + AGENT_UNDO_COMMITTED] = 0;
}

/**
 * The thread of `record` has died with the lock: what it guards is as it was. False: this cannot be
 * done (U5), or this thread has not the frame tables. May be done again, if whoever began it died,
 * too.
 */
export function undoAll(memory: SharedMemory, record: number, lock: number): boolean {
  const { words } = memory;
  if (words[record + AGENT_UNDO_FULL] === lock) return false;
  if (words[record + AGENT_UNDO_COMMITTED] === lock) return true;
  for (let i = plainLoad(words, record + AGENT_UNDO_COUNT) - 1; i >= 0; i--) {
    const at = record + AGENT_UNDO + i * UNDO_WORDS;
    if (words[at] !== lock) continue;
    const place = plainLoad(words, at + PLACE);
    const old = plainLoad(words, at + OLD);
    if (place < UNDO_FRAME) {
      memory.ensure(place + 1);
      memory.words[place] = old;
    } else if (memory.storeFrameWord?.(place - UNDO_FRAME, old) !== true) {
      return false;
    }
  }
  return true;
}
