/**
 * @module The held table: the locks that an agent holds, in its record, in all modes. If the agent
 * dies, other threads read there what it held (death.ts). The table also has read sections of an
 * Srcu, places in an RwSem's queue, and sections in which a death cannot be repaired. What it holds
 * by its reader word (words/reader-word.ts) is not in the table but beside it.
 *
 * A slot is three words: the word index of the lock (0: free); the tag (class and mode); and the
 * serial of the task for an exclusive lock, a count for any other mode. A thread may have thousands
 * of async tasks, so all its readers of one lock share a slot.
 *
 * H1. A slot's first word is set directly after the acquiring atomic operation, and cleared
 *     directly after the releasing one, with no call in between. JavaScript engines stop a
 *     terminated thread only at function entries and loop ends. The return from the small function
 *     around an atomic operation is neither. So no thread dies between taking a lock and recording
 *     it. For this reason callers store the first word themselves:
 *
 *       exclusive:  if (atomicCompareExchange(words, at, 0, owner) === 0) {
 *                     words[memory.heldNext + TAG] = tag;
 *                     words[memory.heldNext] = at;
 *                     noteExclusive(memory);
 *                   }
 *                   const slot = findHeld(memory, at, tag);
 *                   (release) words[slot] = 0; dropHeld(memory, slot);
 *
 *       counted:    const slot = countedSlot(memory, at, tag);
 *                   if (acquired) { words[slot] = at; noteCounted(memory, slot); }
 *                   const slot = findHeld(memory, at, tag);
 *                   (release) if (--words[slot + COUNT] === 0) words[slot] = 0;
 *                             dropHeld(memory, slot);
 *
 * H2. All used slots lie below `memory.heldNext`, and the slot there is free.
 *
 * Only the agent itself writes its table, by plain stores. Other threads read it after the agent
 * died.
 */

import { plainLoad } from "../atomics.ts";
import { AGENT_HELD, AGENT_READS_COUNT, AGENT_READS_TAG, HELD_LIMIT } from "../control-block.ts";
import { currentTask, isBeneath } from "../tasks/current-task.ts";
import { bug } from "../errors.ts";
import { lockClasses } from "../lock-class.ts";
import type { LockClass } from "../lock-class.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { readsOf } from "../words/reader-word.ts";

/** How a slot holds its lock: bits 24.. of its tag. */
export const HELD_EXCLUSIVE = 0;
export const HELD_SHARED = 1;
export const HELD_SRCU = 2;
export const HELD_CALLBACK = 3;
/** Not held: places in an RwSem's queue. death.ts gives up those of a dead thread. */
export const QUEUED_READ = 4;
export const QUEUED_WRITE = 5;
/** A writer that keeps others out of an RwSem and waits until the readers inside have left. */
export const ENTERING_WRITE = 6;

const MODE_SHIFT = 24;
const CLASS_MASK = 0xffffff;
/** From a slot's first word to its tag. */
export const TAG: number = HELD_LIMIT;
const TASK: number = HELD_LIMIT * 2;
/** From a slot's first word to its count. */
export const COUNT: number = HELD_LIMIT * 2;

export function heldTag(lock: LockClass, mode: number): number {
  return (mode << MODE_SHIFT) | lock.id;
}

export function heldMode(tag: number): number {
  return tag >>> MODE_SHIFT;
}

export function heldClassName(tag: number): string {
  return lockClasses.nameOf(tag & CLASS_MASK);
}

/**
 * Completes the slot at `memory.heldNext`, whose tag and first word the caller has just stored
 * (H1).
 */
export function noteExclusive(memory: SharedMemory): void {
  const slot = memory.heldNext;
  memory.words[slot + TASK] = currentTask.serial;
  useSlot(memory, slot);
}

/** The slot that counts holds of this lock and mode: the existing one, or a free one. */
export function countedSlot(memory: SharedMemory, at: number, tag: number): number {
  const slot = findHeld(memory, at, tag);
  if (slot !== 0) return slot;
  const free = memory.heldNext;
  memory.words[free + TAG] = tag;
  memory.words[free + COUNT] = 0;
  return free;
}

/** Counts one hold in `slot`, whose first word the caller has just stored (H1). */
export function noteCounted(memory: SharedMemory, slot: number): void {
  const words = memory.words;
  words[slot + COUNT] = plainLoad(words, slot + COUNT) + 1;
  if (slot === memory.heldNext) useSlot(memory, slot);
}

/** The caller has just stored the first word and the count of `slot` (H1). */
export function noteUsed(memory: SharedMemory, slot: number): void {
  if (slot === memory.heldNext) useSlot(memory, slot);
}

/** The slot in which this agent holds the lock at `at` in the mode of `tag`; 0 if it does not. */
export function findHeld(memory: SharedMemory, at: number, tag: number): number {
  const words = memory.words;
  const base = memory.record + AGENT_HELD;
  for (let slot = memory.heldNext - 1; slot >= base; slot--) {
    if (words[slot] === at && words[slot + TAG] === tag) return slot;
  }
  return 0;
}

/** Gives back a slot if the caller has just cleared its first word (H1). */
export function dropHeld(memory: SharedMemory, slot: number): void {
  const words = memory.words;
  if (slot + 1 !== memory.heldNext || words[slot] !== 0) return;
  const base = memory.record + AGENT_HELD;
  let next = slot;
  while (next > base && words[next - 1] === 0) next--;
  memory.heldNext = next;
}

/** The free slot above all used ones of `memory.record` (H2). */
export function nextHeldSlot(memory: SharedMemory): number {
  const base = memory.record + AGENT_HELD;
  let next = base + HELD_LIMIT;
  while (next > base && memory.words[next - 1] === 0) next--;
  return next;
}

/** Whether this agent holds no lock and is in no queue. */
export function holdsNothing(memory: SharedMemory): boolean {
  const { record } = memory;
  return memory.heldNext === record + AGENT_HELD && readsOf(memory.words, record) === 0;
}

/**
 * This thread begins something that must not be left half done, and that no other thread can
 * finish: if it dies before {@link leaveCritical}, the machine stops. Nests. `at` and `tag` (mode
 * HELD_CALLBACK) say what it is.
 */
export function enterCritical(memory: SharedMemory, at: number, tag: number): void {
  const place = countedSlot(memory, at, tag);
  memory.words[place] = at;
  noteCounted(memory, place);
}

/** Pairs with {@link enterCritical}. */
export function leaveCritical(memory: SharedMemory, at: number, tag: number): void {
  const slot = findHeld(memory, at, tag);
  if (slot === 0) bug(`${heldClassName(tag)} is left by a thread that is not listed for it`);
  if (--memory.words[slot + COUNT]! === 0) memory.words[slot] = 0;
  dropHeld(memory, slot);
}

/**
 * The running task now holds the lock at `at` shared. For {@link heldBeneath}: the counts of the
 * table do not tell which task holds it.
 */
export function pushShared(memory: SharedMemory, at: number): void {
  currentTask.shared.push(memory.keyBase + at);
}

/** Undoes one {@link pushShared}, in whatever order. */
export function popShared(memory: SharedMemory, at: number): void {
  const { shared } = currentTask;
  const key = memory.keyBase + at;
  if (shared[shared.length - 1] === key) {
    shared.pop();
    return;
  }
  const index = shared.lastIndexOf(key);
  if (index >= 0) shared.splice(index, 1);
}

/**
 * Whether the running task, or a task suspended under it on this thread, holds the lock at `at` in
 * any mode. A wait for that lock would then wait for the caller itself.
 */
export function heldBeneath(memory: SharedMemory, at: number): boolean {
  const words = memory.words;
  for (let slot = memory.heldNext - 1; slot >= memory.record + AGENT_HELD; slot--) {
    if (words[slot] !== at || heldMode(plainLoad(words, slot + TAG)) !== HELD_EXCLUSIVE) continue;
    if (isBeneath(plainLoad(words, slot + TASK))) return true;
  }
  return sharesBeneath(memory, at);
}

/** As {@link heldBeneath}, for shared holds alone. */
export function sharesBeneath(memory: SharedMemory, at: number): boolean {
  const key = memory.keyBase + at;
  if (currentTask.shared.includes(key)) return true;
  if (!currentTask.isBlocking) return false;
  for (let context = currentTask.beneath; context !== undefined; context = context.beneath) {
    if (context.shared.includes(key)) return true;
  }
  return false;
}

/** One slot of any agent's table, for the reaper. */
export interface HeldSlot {
  /** Word index of the slot; 0: it is the agent's reader word. */
  readonly slot: number;
  readonly at: number;
  readonly tag: number;
  /** How many holds; 1 for an exclusive lock. */
  readonly count: number;
}

/**
 * The used slots of an agent's table, and its reader word. Exact for a dead agent and for the
 * caller's own.
 */
export function heldSlots(memory: SharedMemory, record: number): HeldSlot[] {
  const { words } = memory;
  const slots: HeldSlot[] = [];
  const reads = readsOf(words, record);
  if (reads !== 0) {
    const tag = plainLoad(words, record + AGENT_READS_TAG);
    slots.push({ slot: 0, at: reads, tag, count: plainLoad(words, record + AGENT_READS_COUNT) });
  }
  for (let slot = record + AGENT_HELD; slot < record + AGENT_HELD + HELD_LIMIT; slot++) {
    const at = plainLoad(words, slot);
    if (at === 0) continue;
    const tag = plainLoad(words, slot + TAG);
    // A thread that died between storing the first word and the count leaves 0: it means 1.
    const mode = heldMode(tag);
    const isAlone = mode === HELD_EXCLUSIVE || mode === ENTERING_WRITE;
    slots.push({ slot, at, tag, count: isAlone ? 1 : Math.max(1, plainLoad(words, slot + COUNT)) });
  }
  return slots;
}

function useSlot(memory: SharedMemory, slot: number): void {
  memory.heldNext = slot + 1;
  if (slot + 1 === memory.record + AGENT_HELD + HELD_LIMIT) compact(memory);
}

/**
 * Closes the holes that slots freed out of order left. Copies before it clears, so that H1 holds at
 * every moment.
 */
function compact(memory: SharedMemory): void {
  const words = memory.words;
  const base = memory.record + AGENT_HELD;
  let next = base;
  for (let slot = base; slot < base + HELD_LIMIT; slot++) {
    if (words[slot] === 0) continue;
    if (slot !== next) {
      words[next + TAG] = plainLoad(words, slot + TAG);
      words[next + TASK] = plainLoad(words, slot + TASK);
      words[next] = plainLoad(words, slot);
      words[slot] = 0;
    }
    next++;
  }
  memory.heldNext = next;
  if (next === base + HELD_LIMIT)
    bug(`a thread holds more than ${HELD_LIMIT - 1} locks: the held table is full`);
}

/**
 * Asserts, in every mode, that the running task holds no lock and is in no read section. `what` is
 * what it is about to do, `why` the reason in the message. It costs one or two compares if nothing
 * is held.
 */
export function assertNoLockHeld(memory: SharedMemory, what: string, why: string): void {
  const words = memory.words;
  const base = memory.record + AGENT_HELD;
  for (let slot = memory.heldNext - 1; slot >= base; slot--) {
    if (words[slot] === 0 || plainLoad(words, slot + TASK) !== currentTask.serial) continue;
    const tag = plainLoad(words, slot + TAG);
    if (heldMode(tag) === HELD_EXCLUSIVE)
      bug(`${what} while holding ${heldClassName(tag)}: ${why}; release it first`);
  }
  if (currentTask.shared.length > 0)
    bug(`${what} inside a read section or holding a lock for reading: ${why}; leave it first`);
}
