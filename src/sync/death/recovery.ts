/**
 * @module Finishes what dead threads had begun (words/operations.ts), and then gives up what they
 * did it under: semaphores, read sections of an Srcu. Before that it repairs what the locks of the
 * dead guard (repair.ts), and releases these. It waits for no semaphore, so a thread does it even
 * in the middle of a wait for one, whatever semaphores it holds itself; but not while it holds
 * another lock, which finishing may need.
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
import { lockClass } from "../lock-class.ts";
import {
  HELD_SHARED,
  HELD_SRCU,
  type HeldSlot,
  QUEUED_READ,
  heldClassName,
  heldMode,
  heldSlots,
} from "../lockdep/held-locks.ts";
import { undoneKind } from "../lockdep/lock-order.ts";
import { releaseOfDead } from "../primitives/lock-word.ts";
import { Srcu } from "../primitives/srcu.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { hasAgentDied, liveAgent } from "../tasks/identity.ts";
import { DONE, access, park, step } from "../tasks/task.ts";
import type { Task } from "../tasks/task.ts";
import { freeOperation, noticesOf, operationsOf } from "../words/operations.ts";
import { clearReaderWord } from "../words/reader-word.ts";
import { RWSEM_WORDS, leaveAsReaders, leaveAsWriter, wakeForState } from "../words/rwsem-words.ts";
import { isKept, isRepaired, keepsAny } from "./kept.ts";
import { hasPanicked } from "./panic.ts";
import { repairerOf } from "./repair.ts";

/**
 * Finishes the operation, or the notice, at word `at` of a dead thread's record. Waits for no
 * semaphore. It may have been finished in part, by a recoverer that died. False: it would have to
 * wait, and is to be tried again later.
 */
type Finisher = (memory: SharedMemory, at: number) => Task<boolean>;

/** How often a task looks for a free operation. */
const RECHECK_MS = 1;

let finisher: Finisher | undefined;
let noticeFinisher: Finisher | undefined;

/** Sets how this thread finishes operations. When the module that begins them is loaded. */
export function registerFinisher(finish: Finisher): void {
  finisher = finish;
}

/** The same of notices. */
export function registerNoticeFinisher(finish: Finisher): void {
  noticeFinisher = finish;
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
  if (!isAlerted || memory.recovering || hasPanicked(memory)) return false;
  for (let agentId = 0, end = atomicLoad(memory.words, AGENTS_USED); agentId < end; agentId++)
    if (isLeft(memory, agentRecord(agentId))) return true;
  return false;
}

/** Whether this thread may recover now: it holds nothing that this may need. */
export function mayRecover(memory: SharedMemory): boolean {
  return heldSlots(memory, memory.record).every(({ tag }) => {
    const mode = heldMode(tag);
    const isReader = mode === HELD_SHARED || mode === HELD_SRCU;
    return isReader || mode >= QUEUED_READ || undoneKind(heldClassName(tag)) === "rwsem";
  });
}

/** The record's thread is dead, all that found it so are done, and it keeps something. */
function isLeft(memory: SharedMemory, record: number): boolean {
  const { words } = memory;
  const isDead = (atomicLoad(words, record + AGENT_STATE) & AGENT_STATE_MASK) === AGENT_DEAD;
  if (!isDead || atomicLoad(words, record + AGENT_FINDERS) !== 0) return false; // D1 of death.ts
  return keepsAny(memory, record);
}

/** Finishes what all dead threads have left. The caller sets and clears `memory.recovering`. */
export function* recoverTask(memory: SharedMemory): Task<void> {
  for (let agentId = 0, end = atomicLoad(memory.words, AGENTS_USED); agentId < end; agentId++)
    yield* recover(memory, agentRecord(agentId));
}

/** R3. True: the record's thread, which is dead, has left nothing, or nothing any more. */
export function* recover(memory: SharedMemory, record: number): Task<boolean> {
  if (!keepsAny(memory, record)) return true;
  if (!isLeft(memory, record) || !(yield* claim(memory, record))) return false;
  if (!isLeft(memory, record)) return yield* endClaim(memory, record, false); // another was faster
  yield* repairLocks(memory, record);
  const isFinished = yield* finishAll(memory, record);
  if (isFinished) {
    yield* giveUpRest(memory, record);
    const { words } = memory;
    for (const at of operationsOf(words, record)) words[at] = 0;
    for (const at of noticesOf(words, record)) words[at] = 0;
  }
  return yield* endClaim(memory, record, isFinished);
}

/** Pairs with {@link claim}. Returns `isFinished`. */
function* endClaim(memory: SharedMemory, record: number, isFinished: boolean): Task<boolean> {
  atomicStore(memory.words, record + AGENT_RECOVERER, 0);
  // Who reaps may have passed by the record meanwhile.
  yield* access(memory, "update", DEATHS, 1, "deaths");
  if (isFinished) atomicAdd(memory.words, DEATHS, 1);
  return isFinished;
}

/** Operations first: they lie within notices. */
function* finishAll(memory: SharedMemory, record: number): Task<boolean> {
  let isFinished = true;
  for (const at of operationsOf(memory.words, record))
    isFinished = finisher !== undefined && (yield* finisher(memory, at)) && isFinished;
  for (const at of noticesOf(memory.words, record))
    isFinished = isFinished && noticeFinisher !== undefined && (yield* noticeFinisher(memory, at));
  return isFinished;
}

/** Locks that are repaired: what they guard is made anew, and they are released. */
function* repairLocks(memory: SharedMemory, record: number): Task<void> {
  for (const held of heldSlots(memory, record)) {
    if (!isRepaired(held)) continue;
    const name = heldClassName(held.tag);
    yield* repairerOf(name)?.(memory, held.at) ?? DONE;
    yield* step(memory, "unlock", held.at, 1, name);
    memory.ensure(held.at + 1);
    releaseOfDead(memory.words, held.at, held.slot);
  }
}

/** Whether this thread is the one that finishes what is left in the record. */
function* claim(memory: SharedMemory, record: number): Task<boolean> {
  const at = record + AGENT_RECOVERER;
  yield* access(memory, "update", at, 1, "recoverer");
  const owner = atomicLoad(memory.words, at);
  if (owner !== 0) {
    if (!(yield* hasAgentDied(memory, owner >>> 0))) return false;
    yield* access(memory, "update", at, 1, "recoverer");
  }
  return atomicCompareExchange(memory.words, at, owner, liveAgent(memory) | 0) === owner;
}

/**
 * What the dead thread still holds: all else was given up when it was found. Read sections last:
 * what they keep from being freed has semaphores in it.
 */
function* giveUpRest(memory: SharedMemory, record: number): Task<void> {
  const kept = heldSlots(memory, record).filter((held) => isKept(memory, record, held));
  for (const held of kept) {
    if (heldMode(held.tag) === HELD_SRCU) continue;
    const kind = heldMode(held.tag) === HELD_SHARED ? "upRead" : "upWrite";
    yield* step(memory, kind, held.at, RWSEM_WORDS, heldClassName(held.tag));
    leave(memory, record, held);
  }
  for (const { at, tag, slot, count } of kept) {
    if (heldMode(tag) !== HELD_SRCU) continue;
    memory.ensure(at + Srcu.WORDS);
    yield* new Srcu(memory, at, lockClass(heldClassName(tag))).endForDead(slot, count);
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
