/**
 * @module What an exploring scheduler must know about each kind of operation: when it may run, and what it depends on.
 *
 * In EXPLORED mode a task yields the description of its next operation and performs it, in one atomic step, when it is
 * resumed. So between two yields nothing of another task comes in, and the order of the resumptions is the interleaving.
 *
 * | kind | enabled when | its step |
 * | --- | --- | --- |
 * | lock | the word is 0 | word = owner |
 * | tryLock, tryDownRead, tryDownWrite, refGetNotZero | always | success writes the word, failure only reads it |
 * | compareExchange | always | writes the word if it is `expected`, else only reads it |
 * | opCall, opReturn | always | none: an operation of a recorded history begins, ends; calls commute, and so do returns |
 * | waitWhile | the word is not `expected` | none |
 * | unlock, upRead, upWrite, downgrade | always | gives back |
 * | downRead | no writer inside or queued | readers + 1 |
 * | queueWrite | always | queued writers + 1: from here on no reader comes in |
 * | downWrite | nobody inside | queued writers - 1, writer inside |
 * | refGet, refPut | always | count + 1, - 1 |
 * | enqueue | always | reads the queue's sequence, waiters + 1 |
 * | testCondition | always | reads whatever the condition reads |
 * | release | always | of a condition variable: its mutex = 0, and its task queues at the word behind it |
 * | sleep | always | the scheduler's, not the task's: what a park begins with, unless the task's last step queued at its word. It |
 * | | | compares the word: not `expected`, and the wait is over; else the task is parked, in the order of these steps |
 * | park | a wake of its word was performed since it was yielded | none; the task enqueues again, tests again |
 * | wakeAll, wakeOne | always | sequence + 1; enables all parked tasks, or the one parked longest of those not yet woken |
 * | dequeue | always | waiters - 1 |
 * | complete, completeAll | always | count + 1, count = all |
 * | completionWait | count > 0 | uses one up |
 * | srcuReadLock, srcuReadUnlock | always | readers + 1, - 1; the unlock pushes the grace period on |
 * | srcuStart | always | asks for a grace period |
 * | srcuWait | grace period number `expected` is over | none |
 * | srcuCallback | always | begins to run the deferred call at its words |
 * | srcuBarrier | no call is pending (its word is 0) | none |
 * | seqWriteBegin, seqWriteEnd | always | sequence + 1 |
 * | seqReadBegin | the sequence is even | reads it |
 * | shootdownBump | always | generations + 1 |
 * | shootdownEnter, shootdownLeave | always | the agent's mark + 1 |
 * | shootdownWait | the agent's mark is no longer `expected` | none |
 * | read, write, update, alloc, free | always | as named by the caller of access() |
 * | add | always | adds to the word; its task does not learn what the word held |
 * | peek | always | reads a word whose memory may have been freed: the reader finds that out, and throws the value away |
 *
 * Choices beside the order: a park or completionWait with a finite timeout may be resumed with TIMED_OUT although it is
 * not enabled, a park with WOKEN for no reason (a spurious wake); the code must stand both. A timed-out task got
 * nothing from any waker. A task that could time out is never part of a deadlock.
 * A thread may also die before any operation of its task: it is then declared dead (death.ts), and those that wait may look
 * up once, as the runners do after a slice: they throw if the machine has stopped; a parked one is woken for no reason.
 *
 * Of two steps that touch a common word at least one of which writes, the order matters; so it does between a wake and
 * every enqueue or park of the same queue, which share its sequence word.
 */

import { atomicLoad } from "./atomics.ts";
import { isComplete } from "./completion.ts";
import { mayTake } from "./lock-word.ts";
import { mayRead, mayWrite, mayWriteAtOnce } from "./rwsem-words.ts";
import { mayReadAt } from "./seqcount.ts";
import { hasCompleted, isIdle } from "./srcu-words.ts";
import type { Wait, WaitKind } from "./task.ts";

/** What a step does to the words `[index, index + words)`. `"condition"`: it reads unnamed words. */
export type Footprint = "none" | "read" | "write" | "success-writes" | "condition";

/** The footprint of each kind, for partial-order reduction. */
export const FOOTPRINTS: Readonly<Record<WaitKind, Footprint>> = {
  park: "read",
  lock: "write",
  tryLock: "success-writes",
  unlock: "write",
  downRead: "write",
  queueWrite: "write",
  downWrite: "write",
  tryDownRead: "success-writes",
  tryDownWrite: "success-writes",
  upRead: "write",
  upWrite: "write",
  downgrade: "write",
  refGet: "write",
  refGetNotZero: "success-writes",
  refPut: "write",
  enqueue: "write",
  testCondition: "condition",
  dequeue: "write",
  wakeOne: "write",
  wakeAll: "write",
  complete: "write",
  completeAll: "write",
  completionWait: "write",
  srcuReadLock: "write",
  srcuReadUnlock: "write",
  srcuStart: "write",
  srcuWait: "read",
  srcuBarrier: "read",
  srcuCallback: "write",
  seqWriteBegin: "write",
  seqWriteEnd: "write",
  seqReadBegin: "read",
  shootdownBump: "write",
  shootdownWait: "read",
  shootdownEnter: "write",
  shootdownLeave: "write",
  waitWhile: "read",
  compareExchange: "success-writes",
  opCall: "write",
  opReturn: "write",
  release: "write",
  sleep: "success-writes",
  read: "read",
  peek: "read",
  write: "write",
  update: "write",
  add: "write",
  alloc: "write",
  free: "write",
};

/**
 * Whether the operation may be performed now, by its words. Always false for "park": wakes are events, not states, and
 * the scheduler performs them; see {@link wakesParked}.
 */
export function isEnabled(wait: Wait): boolean {
  return allows(wait.kind, atomicLoad(wait.memory.words, wait.index), wait.expected);
}

/** {@link isEnabled} as a function of the value of the operation's first word. */
export function allows(kind: WaitKind, value: number, expected: number): boolean {
  switch (kind) {
    case "park":
      return false;
    case "lock":
      return mayTake(value);
    case "srcuBarrier":
      return value === 0;
    case "downRead":
      return mayRead(value);
    case "downWrite":
      return mayWrite(value);
    case "completionWait":
      return isComplete(value);
    case "srcuWait":
      return hasCompleted(value, expected);
    case "seqReadBegin":
      return mayReadAt(value);
    case "shootdownWait":
    case "waitWhile":
      return value !== expected;
    default:
      return true;
  }
}

/**
 * Whether a "success-writes" operation succeeds, and so writes, where its first word has this value. A refGet always
 * writes; it succeeds where there is a reference to take another one of. Of a read section: whether no grace period is
 * under way, so that sections have nothing to do with each other.
 */
export function succeeds(kind: WaitKind, value: number, expected: number): boolean {
  switch (kind) {
    case "tryLock":
      return mayTake(value);
    case "tryDownWrite":
      return mayWriteAtOnce(value);
    case "tryDownRead":
      return mayRead(value);
    case "refGetNotZero":
      return value !== 0;
    case "refGet":
      return value > 0;
    case "compareExchange":
    case "sleep":
      return value === expected;
    case "srcuReadLock":
    case "srcuReadUnlock":
      return isIdle(value);
    default:
      return true;
  }
}

/** Whether the scheduler may resume it with TIMED_OUT instead of waiting until it is enabled. */
export function mayTimeOut(wait: Wait): boolean {
  return (wait.kind === "park" || wait.kind === "completionWait") && wait.timeoutMs !== Infinity;
}

/** How many tasks parked on the same index performing `wait` enables: the longest parked first, those already woken not counted. */
export function wakesParked(wait: Wait): number {
  if (wait.kind === "wakeAll") return Infinity;
  return wait.kind === "wakeOne" ? 1 : 0;
}
