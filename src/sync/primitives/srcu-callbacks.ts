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
 */

import { atomicLoad, plainLoad } from "../atomics.ts";
import { NameRegistry } from "../name-registry.ts";
import type { SharedMemory } from "../shared-memory.ts";
import {
  NEXT,
  READY,
  STATE,
  WAITING,
  WAITING_TARGET,
  hasCompleted,
  requestGracePeriod,
} from "../words/srcu-words.ts";
import type { Task } from "../tasks/task.ts";

/** Words that an object embeds to be the subject of a deferred call: {next, kind}. */
export const SRCU_CALL_WORDS = 2;

/**
 * `head`: the word index that was given to Srcu.call. The callback may take leaf spinlocks. It must
 * not wait for the same Srcu.
 */
export type SrcuCallback = (memory: SharedMemory, head: number) => Task<void>;

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
  memory.words[head] = 0;
  memory.words[head + KIND] = kind;
  append(memory, at + NEXT, head, head);
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
    move(memory, at + WAITING, at + READY);
  }
  if (words[at + WAITING] !== 0 || words[at + NEXT] === 0) return false;
  move(memory, at + NEXT, at + WAITING);
  words[at + WAITING_TARGET] = requestGracePeriod(words, at, state);
  return true;
}

/** Unlinks the first ready call that this thread can run; 0 if there is none. */
export function takeReady(memory: SharedMemory, at: number): number {
  let previous = 0;
  for (let head = plainLoad(memory.words, at + READY); head !== 0;) {
    memory.ensure(head + SRCU_CALL_WORDS);
    const { words } = memory;
    const next = plainLoad(words, head);
    if (srcuCallbacks.find(plainLoad(words, head + KIND)) !== undefined) {
      words[previous === 0 ? at + READY : previous] = next;
      if (next === 0) words[at + READY + TAIL] = previous;
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

function move(memory: SharedMemory, from: number, to: number): void {
  const { words } = memory;
  append(memory, to, plainLoad(words, from), plainLoad(words, from + TAIL));
  words[from] = 0;
  words[from + TAIL] = 0;
}

function append(memory: SharedMemory, list: number, first: number, last: number): void {
  const { words } = memory;
  const tail = plainLoad(words, list + TAIL);
  memory.ensure(Math.max(tail, last) + SRCU_CALL_WORDS);
  memory.words[tail === 0 ? list : tail] = first;
  memory.words[list + TAIL] = last;
}
