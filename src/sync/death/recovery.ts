/**
 * @module Finishes what dead threads had begun (words/operations.ts), and then gives up the
 * semaphores under which they did it. It takes no semaphore, so a thread does it even in the middle
 * of a wait for one, whatever semaphores it holds itself; but not while it holds a spinlock, which
 * finishing may need.
 */

import {
  AGENTS_USED,
  AGENT_DEAD,
  AGENT_FINDERS,
  AGENT_OPERATIONS,
  AGENT_RECOVERER,
  AGENT_STATE,
  AGENT_STATE_MASK,
  ALERT,
  ALERT_DEAD,
  DEATHS,
  agentRecord,
} from "../control-block.ts";
import {
  atomicAdd,
  atomicCompareExchange,
  atomicLoad,
  atomicStore,
  plainLoad,
} from "../atomics.ts";
import {
  HELD_SHARED,
  type HeldSlot,
  QUEUED_READ,
  heldClassName,
  heldMode,
  heldSlots,
} from "../lockdep/held-locks.ts";
import { undoneKind } from "../lockdep/lock-order.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { hasAgentDied, liveAgent } from "../tasks/identity.ts";
import { access, park, step } from "../tasks/task.ts";
import type { Task } from "../tasks/task.ts";
import { freeOperation, operationsOf } from "../words/operations.ts";
import { clearReaderWord } from "../words/reader-word.ts";
import { RWSEM_WORDS, leaveAsReaders, leaveAsWriter, wakeForState } from "../words/rwsem-words.ts";
import { hasPanicked } from "./panic.ts";

/**
 * Finishes the operation at word `at` of a dead thread's record. Takes no semaphore. It may have
 * been finished in part, by a recoverer that died.
 */
export type Finisher = (memory: SharedMemory, at: number) => Task<void>;

/** How often a task looks for a free operation. */
const RECHECK_MS = 1;

let finisher: Finisher | undefined;

/** Sets how this thread finishes operations. When the module that begins them is loaded. */
export function registerFinisher(finish: Finisher): void {
  finisher = finish;
}

/** Waits until another task of this thread ends an operation: none of them waits for long. */
export function* awaitOperation(memory: SharedMemory): Task<number> {
  for (;;) {
    const first = memory.record + AGENT_OPERATIONS;
    yield park(memory, first, plainLoad(memory.words, first), RECHECK_MS, "an operation");
    const at = freeOperation(memory);
    if (at !== 0) return at;
  }
}

/**
 * Whether there may be something that this thread can finish. Cheap if no thread is dead.
 *
 * @spelled reaper
 */
export function shouldRecover(memory: SharedMemory): boolean {
  const isAlerted = (atomicLoad(memory.words, ALERT) & ALERT_DEAD) !== 0;
  if (!isAlerted || memory.recovering || finisher === undefined || hasPanicked(memory))
    return false;
  for (let agentId = 0, end = atomicLoad(memory.words, AGENTS_USED); agentId < end; agentId++)
    if (isLeft(memory, agentRecord(agentId))) return true;
  return false;
}

/** Whether this thread may finish operations now: it holds nothing that this may need. */
export function mayRecover(memory: SharedMemory): boolean {
  return heldSlots(memory, memory.record).every(
    ({ tag }) => heldMode(tag) >= QUEUED_READ || undoneKind(heldClassName(tag)) === "rwsem",
  );
}

/** The record's thread is dead, all that found it so are done, and it has left operations. */
function isLeft({ words }: SharedMemory, record: number): boolean {
  const isDead = (atomicLoad(words, record + AGENT_STATE) & AGENT_STATE_MASK) === AGENT_DEAD;
  if (!isDead || atomicLoad(words, record + AGENT_FINDERS) !== 0) return false; // D1 of death.ts
  return operationsOf(words, record).length > 0;
}

/** Finishes what all dead threads have left. The caller sets and clears `memory.recovering`. */
export function* recoverTask(memory: SharedMemory): Task<void> {
  for (let agentId = 0, end = atomicLoad(memory.words, AGENTS_USED); agentId < end; agentId++)
    yield* recover(memory, agentRecord(agentId));
}

/** R3. True: the record's thread, which is dead, has left nothing, or nothing any more. */
export function* recover(memory: SharedMemory, record: number): Task<boolean> {
  const { words } = memory;
  if (operationsOf(words, record).length === 0) return true;
  const finish = finisher;
  if (finish === undefined || !isLeft(memory, record) || !(yield* claim(memory, record)))
    return false;
  const operations = operationsOf(memory.words, record);
  for (const at of operations) yield* finish(memory, at);
  yield* giveUpSemaphores(memory, record);
  for (const at of operations) memory.words[at] = 0;
  atomicStore(words, record + AGENT_RECOVERER, 0);
  // Who reaps may have passed by the record meanwhile.
  yield* access(memory, "update", DEATHS, 1, "deaths");
  atomicAdd(words, DEATHS, 1);
  return true;
}

/** Whether this thread is the one that finishes what is left in the record. */
function* claim(memory: SharedMemory, record: number): Task<boolean> {
  const at = record + AGENT_RECOVERER;
  yield* access(memory, "update", at, 1, "recoverer");
  const owner = atomicLoad(memory.words, at);
  if (owner !== 0 && !(yield* hasAgentDied(memory, owner >>> 0))) return false;
  return atomicCompareExchange(memory.words, at, owner, liveAgent(memory) | 0) === owner;
}

/** What the dead thread still holds: all else was given up when it was found. */
function* giveUpSemaphores(memory: SharedMemory, record: number): Task<void> {
  for (const held of heldSlots(memory, record)) {
    const name = heldClassName(held.tag);
    const kind = heldMode(held.tag) === HELD_SHARED ? "upRead" : "upWrite";
    yield* step(memory, kind, held.at, RWSEM_WORDS, name);
    leave(memory, record, held);
  }
}

/** @spelled semaphore */
function leave(memory: SharedMemory, record: number, { slot, at, tag, count }: HeldSlot): void {
  memory.ensure(at + RWSEM_WORDS);
  const { words } = memory;
  if (slot === 0) clearReaderWord(words, record);
  else if (heldMode(tag) === HELD_SHARED) leaveAsReaders(words, at, count, slot);
  else wakeForState(words, at, leaveAsWriter(words, at, slot));
}
