/**
 * @module Deferred calls of an Srcu: the code of each kind, and the three lists that a call passes
 * through.
 *
 * A call is two words that its caller embeds in the object concerned: {next, kind}. The lists link
 * those words, so queueing allocates nothing and cannot fail. Each thread registers the code of a
 * kind by name. A thread that lacks a kind leaves such calls to other threads.
 *
 *      NEXT --(WAITING is empty: moves all, requests a grace period)--> WAITING
 *      WAITING --(the grace period is over)--> READY --> run
 *
 * The lists are changed under the queue's lock, and undone with it if the thread dies
 * (words/undo-log.ts).
 */

import { atomicLoad, plainLoad } from "../atomics.ts";
import { NameRegistry } from "../name-registry.ts";
import type { SharedMemory } from "../shared-memory.ts";
import {
  NEXT,
  QUEUE_LOCK,
  READY,
  STATE,
  WAITING,
  WAITING_TARGET,
  hasCompleted,
  requestGracePeriod,
} from "../words/srcu-words.ts";
import type { Task } from "../tasks/task.ts";
import { undoStore } from "../words/undo-log.ts";

/** Words that an object embeds to be the subject of a deferred call: {next, kind}. */
export const SRCU_CALL_WORDS = 2;

/**
 * `head`: the word index that was given to Srcu.call. The callback may take leaf spinlocks. It must
 * not wait for the same Srcu. `slot`: of the call among the resources of this thread, which the
 * callback removes in the step that frees the object (`Heap.free`), or gives up what else it is
 * for; -1: there is none. If the thread dies before that, the callback is called again, in another
 * one: what it does before must be such that it can be done twice.
 */
export type SrcuCallback = (memory: SharedMemory, head: number, slot: number) => Task<void>;

const KIND = 1;
const TAIL = 1;

/** The code of deferred calls, by kind. */
export const srcuCallbacks: NameRegistry<SrcuCallback> = new NameRegistry(
  "deferred calls",
  "import the module that queues them",
);

/**
 * Registers the code of a deferred call under a fixed name. Returns its kind, which is the same in
 * all threads.
 */
export function registerSrcuCallback(name: string, callback: SrcuCallback): number {
  return srcuCallbacks.register(name, callback);
}

/** Queues the call at `head`. The caller of this and of all below holds the queue's lock. */
export function queueCall(memory: SharedMemory, at: number, head: number, kind: number): void {
  memory.words[head + KIND] = kind;
  append(memory, at, NEXT, head, head);
}

/** Queues the call at `head`, which a thread has taken and not finished, as one that is ready. */
export function queueReady(memory: SharedMemory, at: number, head: number): void {
  append(memory, at, READY, head, head);
}

/**
 * Moves calls from list to list. True: it requested a grace period, and the caller must call
 * advanceGracePeriods.
 *
 * @spelled grace period
 */
export function advanceCalls(memory: SharedMemory, at: number): boolean {
  const { words } = memory;
  const state = atomicLoad(words, at + STATE);
  if (words[at + WAITING] !== 0 && hasCompleted(state, plainLoad(words, at + WAITING_TARGET))) {
    move(memory, at, WAITING, READY);
  }
  if (words[at + WAITING] !== 0 || words[at + NEXT] === 0) return false;
  move(memory, at, NEXT, WAITING);
  const target = requestGracePeriod(words, at, state);
  undoStore(memory, at + QUEUE_LOCK, at + WAITING_TARGET, target);
  return true;
}

/**
 * Unlinks the first ready call that this thread can run; 0 if there is none. Its first word names
 * the Srcu then ({@link srcuOf}).
 */
export function takeReady(memory: SharedMemory, at: number): number {
  let previous = 0;
  for (let head = plainLoad(memory.words, at + READY); head !== 0;) {
    memory.ensure(head + SRCU_CALL_WORDS);
    const { words } = memory;
    const next = plainLoad(words, head);
    if (srcuCallbacks.find(plainLoad(words, head + KIND)) !== undefined) {
      const lock = at + QUEUE_LOCK;
      undoStore(memory, lock, previous === 0 ? at + READY : previous, next);
      if (next === 0) undoStore(memory, lock, at + READY + TAIL, previous);
      undoStore(memory, lock, head, at);
      return head;
    }
    previous = head;
    head = next;
  }
  return 0;
}

/** The kind that {@link queueCall} stored. */
export function callKind(memory: SharedMemory, head: number): number {
  return plainLoad(memory.words, head + KIND);
}

/** The Srcu of a call that has been taken and not finished. */
export function srcuOf(memory: SharedMemory, head: number): number {
  memory.ensure(head + SRCU_CALL_WORDS);
  return plainLoad(memory.words, head);
}

function move(memory: SharedMemory, at: number, from: number, to: number): void {
  const { words } = memory;
  append(memory, at, to, plainLoad(words, at + from), plainLoad(words, at + from + TAIL));
  undoStore(memory, at + QUEUE_LOCK, at + from, 0);
  undoStore(memory, at + QUEUE_LOCK, at + from + TAIL, 0);
}

/** The calls from `first` to `last`, which are linked. */
function append(memory: SharedMemory, at: number, list: number, first: number, last: number): void {
  const lock = at + QUEUE_LOCK;
  const tail = plainLoad(memory.words, at + list + TAIL);
  memory.ensure(Math.max(tail, last) + SRCU_CALL_WORDS);
  undoStore(memory, lock, last, 0);
  undoStore(memory, lock, tail === 0 ? at + list : tail, first);
  undoStore(memory, lock, at + list + TAIL, last);
}
