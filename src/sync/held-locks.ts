/**
 * @module The held table: which locks each agent holds, in its record, in all modes, so that the others can tell how it
 * died (reaper.ts). It also holds read sections of an Srcu and places in an RwSem's queue.
 *
 * H1. A slot's first word is nonzero from directly after the acquiring atomic operation until directly after the
 *     releasing one, with no call in between. JavaScript engines stop a terminated thread only at function entries and
 *     loop ends, and returning from the small function around an atomic operation is neither; so no thread dies
 *     between taking a lock and saying so. This is why callers store the first word themselves:
 *
 *       if (atomicCompareExchange(words, at, 0, owner) === 0) {
 *         words[memory.heldNext] = at;
 *         noteHeld(memory, tag);
 *       }
 *
 *     and release as: find the slot; release; `words[slot] = 0`; {@link dropHeld}.
 *     A slot that changes its manner (queued to held) is found before, and `words[slot + TAG]` stored after, likewise.
 * H2. All used slots lie below `memory.heldNext`, and the slot there is free.
 *
 * Only the agent itself writes its table (plain stores); others read it after it died.
 */

import { plainLoad } from "./atomics.ts";
import { AGENT_HELD, HELD_LIMIT } from "./control-block.ts";
import { currentTask, isBeneath } from "./current-task.ts";
import { bug } from "./errors.ts";
import { lockClassName } from "./lock-class.ts";
import type { LockClass } from "./lock-class.ts";
import type { SharedMemory } from "./shared-memory.ts";

/** How a slot holds its lock: bits 24.. of its tag. */
export const HELD_EXCLUSIVE = 0;
export const HELD_SHARED = 1;
export const HELD_SRCU = 2;
export const HELD_CALLBACK = 3;
/** Not held: a place in an RwSem's queue, given back by the reaper. */
export const QUEUED_READ = 4;
export const QUEUED_WRITE = 5;

const MANNER_SHIFT = 24;
const CLASS_MASK = 0xffffff;
/** From a slot's first word to its tag. */
export const TAG: number = HELD_LIMIT;
const TASK: number = HELD_LIMIT * 2;

export function heldTag(lock: LockClass, manner: number): number {
  return (manner << MANNER_SHIFT) | lock.id;
}

export function heldManner(tag: number): number {
  return tag >>> MANNER_SHIFT;
}

export function heldClassName(tag: number): string {
  return lockClassName(tag & CLASS_MASK);
}

/** Completes the slot whose first word the caller has just stored (H1). */
export function noteHeld(memory: SharedMemory, tag: number): void {
  const slot = memory.heldNext;
  const words = memory.words;
  words[slot + TAG] = tag;
  words[slot + TASK] = currentTask.serial;
  memory.heldNext = slot + 1;
  if (slot + 1 === memory.record + AGENT_HELD + HELD_LIMIT) compact(memory);
}

/** The slot of a lock that this agent holds, the running task's first; 0 if there is none. */
export function heldSlot(memory: SharedMemory, at: number, tag: number): number {
  const words = memory.words;
  const base = memory.record + AGENT_HELD;
  let found = 0;
  for (let slot = memory.heldNext - 1; slot >= base; slot--) {
    if (words[slot] !== at || words[slot + TAG] !== tag) continue;
    if (words[slot + TASK] === currentTask.serial) return slot;
    if (found === 0) found = slot;
  }
  return found;
}

/** Gives back a slot whose first word the caller has just cleared (H1). */
export function dropHeld(memory: SharedMemory, slot: number): void {
  if (slot + 1 !== memory.heldNext) return;
  const words = memory.words;
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

/** Whether this agent holds (or queues for) anything at all. */
export function holdsNothing(memory: SharedMemory): boolean {
  return memory.heldNext === memory.record + AGENT_HELD;
}

/**
 * Whether the running task or one suspended under it on this thread holds the lock at `at` in any manner: then a wait
 * for that lock would wait for the caller itself.
 */
export function heldBeneath(memory: SharedMemory, at: number): boolean {
  const words = memory.words;
  for (let slot = memory.heldNext - 1; slot >= memory.record + AGENT_HELD; slot--) {
    if (words[slot] !== at) continue;
    const manner = heldManner(plainLoad(words, slot + TAG));
    if (manner < QUEUED_READ && isBeneath(plainLoad(words, slot + TASK))) return true;
  }
  return false;
}

/** The running task holds no lock and is in no read section. `why` completes "..., because <why>". Always on: one compare when nothing is held. */
export function assertNoLockHeld(memory: SharedMemory, what: string, why: string): void {
  const first = memory.record + AGENT_HELD;
  for (let slot = memory.heldNext - 1; slot >= first; slot--) {
    const tag = plainLoad(memory.words, slot + TAG);
    const isHeld = memory.words[slot] !== 0 && heldManner(tag) < QUEUED_READ;
    if (isHeld && plainLoad(memory.words, slot + TASK) === currentTask.serial) {
      bug(`${what} must be called holding no lock, because ${why}: the task holds ${heldClassName(tag)}`);
    }
  }
}

/** One slot of any agent's table, for the reaper. */
export interface HeldSlot {
  readonly at: number;
  readonly tag: number;
}

/** What an agent's table says. Call it for a dead agent or for one's own. */
export function heldSlots(memory: SharedMemory, record: number): HeldSlot[] {
  const slots: HeldSlot[] = [];
  for (let slot = record + AGENT_HELD; slot < record + AGENT_HELD + HELD_LIMIT; slot++) {
    const at = plainLoad(memory.words, slot);
    if (at !== 0) slots.push({ at, tag: plainLoad(memory.words, slot + TAG) });
  }
  return slots;
}

/** Slots freed out of order leave holes: closes them. Copies before it clears, so that H1 holds throughout. */
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
  if (next === base + HELD_LIMIT) bug(`a thread holds more than ${HELD_LIMIT - 1} locks: the held table is full`);
}
