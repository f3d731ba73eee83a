/**
 * @module The kinds of steps: one row for each, with all that an exploring scheduler must know of
 * it. What is asked for elsewhere is made from this table: explored.ts (may it run, does it
 * succeed), the checker's steps/kinds.ts (arrays by code), steps/access-modes.ts (what commutes)
 * and replay/phrases.ts (words).
 *
 * In EXPLORED mode a task yields the description of its next operation and performs it, in one
 * atomic step, when it is resumed. Between two yields no other task comes in. So the order of the
 * resumptions is the interleaving.
 *
 * Beside the order there are choices. A wait with `timeout` may be resumed with TIMED_OUT although
 * it is not enabled. A park may be resumed with WOKEN for no reason (a spurious wake). The code
 * must stand both. A waiter that timed out got nothing from any waker. A task that could time out
 * is never part of a deadlock. A thread may also die before any operation of its task. It is then
 * declared dead (death.ts), and each waiter may look up once, as the runners do after a slice: it
 * throws if the machine has stopped; a parked one is woken for no reason.
 */

import { mayRead, mayWrite, mayWriteAtOnce } from "../words/rwsem-words.ts";
import { hasCompleted, isIdle } from "../words/srcu-words.ts";
import { isComplete, mayReadAt, mayTake } from "../words/word-states.ts";

/**
 * How a step touches its words. Two steps that touch a common word depend on each other, except
 * where both only look (`read`) and in the cases that the words below name.
 *
 * - `read`: it looks. Commutes with `read` and `test`.
 * - `write`: commutes with nothing.
 * - `share`: it goes in or out of what many may be in. Commutes with itself.
 * - `test`: it tests a condition, after which its task may park. Commutes with `test`, `read` and
 *   `queue`: what it depends on at the queue's word is a wake of one.
 * - `queue`: it joins or leaves a queue, or wakes all of it. Commutes with `test`.
 * - `count`: it adds to a word and is not told what the word held. Commutes with itself.
 * - `call`, `return`: a recorded operation begins, ends. Calls commute, and so do returns.
 */
export type Touch = "read" | "write" | "share" | "test" | "queue" | "count" | "call" | "return";

/**
 * What a row says. `word` is what the operation's first word holds; `expected` is the operation's
 * own.
 */
export interface StepKind {
  /** Whether it can be performed now. Left out: always. */
  readonly enabled?: (word: number, expected: number) => boolean;
  /**
   * Whether it will succeed, where that makes a difference to what it touches. Left out: always.
   */
  readonly succeeds?: (word: number, expected: number) => boolean;
  /** How it touches its words if it succeeds. */
  readonly touch: Touch;
  /** The same if it does not succeed. Left out: as `touch`. */
  readonly touchFailing?: Touch;
  /**
   * The same while no execution has shown that the word is strict (dependence.ts of the checker).
   */
  readonly touchLenient?: Touch;
  /** The same once one has. */
  readonly touchStrict?: Touch;
  /**
   * It touches every word that it names. Left out: the first one, which stands for the primitive.
   */
  readonly whole?: true;
  /** A condition may see what it writes. */
  readonly data?: true;
  /** It waits, and its wait may have a timeout. */
  readonly timeout?: true;
  /** It takes or gives back a reference. */
  readonly refcount?: true;
  /** Its task queues, or sleeps in a queue. */
  readonly queues?: true;
  /** It commutes with its like unless its task looks at the word in the same step. */
  readonly blind?: true;
  /** It takes a lock (if it succeeds), and how its task then holds it. */
  readonly takes?: "exclusive" | "shared" | "srcu";
  /** It gives one back. */
  readonly releases?: true;
  /** Which of those that are parked on its word it wakes: the one that parked first, or all. */
  readonly wakes?: "one" | "all";
  /**
   * The step in words. `{kind}`, `{label}`, and the values `{before}` and `{after}` are filled in.
   * Left out: `{kind} {label}`.
   */
  readonly says?: string;
  /** The same of a step that did not succeed. */
  readonly saysFailing?: string;
  /** The same of a step that names one word. */
  readonly saysOfWord?: string;
  /** The same of a step that names one word and changed it. */
  readonly saysOfChange?: string;
  /**
   * The wait in words. `{held}` becomes who holds the lock, or who is queued before; `{readers}`
   * who reads. Left out: `waits for {label}{held}`.
   */
  readonly waits?: string;
}

const rows = {
  /**
   * Sleeps until a wake of its word. Wakes are events and not states, so the word does not enable
   * it: the scheduler notes who was woken. The step itself does nothing; the task queues again and
   * tests again.
   */
  park: {
    enabled: (): boolean => false,
    touch: "read",
    timeout: true,
    queues: true,
    says: "wakes up on {label}",
    waits: "sleeps on {label}",
  },
  /** word = owner. */
  lock: { enabled: (word: number): boolean => mayTake(word), touch: "write", takes: "exclusive" },
  /** Success: word = owner. */
  tryLock: {
    succeeds: (word: number): boolean => mayTake(word),
    touch: "write",
    touchFailing: "read",
    takes: "exclusive",
    saysFailing: "{kind} {label}: busy",
  },
  unlock: { touch: "write", releases: true },
  /** Waits while a writer is inside or queued. Readers + 1. */
  downRead: { enabled: (word: number): boolean => mayRead(word), touch: "share", takes: "shared" },
  /** Queued writers + 1: from here on no reader comes in. */
  queueWrite: { touch: "write" },
  /** Waits while anybody is inside. Queued writers - 1, writer inside. */
  downWrite: {
    enabled: (word: number): boolean => mayWrite(word),
    touch: "write",
    takes: "exclusive",
  },
  /** Success: readers + 1. */
  tryDownRead: {
    succeeds: (word: number): boolean => mayRead(word),
    touch: "share",
    touchFailing: "read",
    takes: "shared",
    saysFailing: "{kind} {label}: busy",
  },
  /** Success: writer inside. */
  tryDownWrite: {
    succeeds: (word: number): boolean => mayWriteAtOnce(word),
    touch: "write",
    touchFailing: "read",
    takes: "exclusive",
    saysFailing: "{kind} {label}: busy",
  },
  upRead: { touch: "share", releases: true },
  upWrite: { touch: "write", releases: true },
  /** Writer no longer inside, readers + 1. */
  downgrade: { touch: "write" },
  /** Count + 1. A reference that is taken from nothing leaves a spoilt count. */
  refGet: {
    succeeds: (word: number): boolean => word > 0,
    touch: "count",
    touchFailing: "write",
    data: true,
    refcount: true,
    says: "{kind} {label} {before} → {after}",
  },
  /** Success: count + 1. */
  refGetNotZero: {
    succeeds: (word: number): boolean => word !== 0,
    touch: "count",
    touchFailing: "read",
    data: true,
    refcount: true,
    says: "{kind} {label} {before} → {after}",
    saysFailing: "{kind} {label}: is 0",
  },
  /** Count - 1. */
  refPut: {
    touch: "write",
    touchLenient: "count",
    data: true,
    refcount: true,
    blind: true,
    says: "{kind} {label} {before} → {after}",
  },
  /** Reads the queue's sequence, waiters + 1. */
  enqueue: { touch: "queue", queues: true },
  /**
   * Reads the words that the operation names in `reads`; if it names none, whatever the condition
   * reads.
   */
  testCondition: { touch: "test", queues: true, says: "tests the condition of {label}" },
  /** Waiters - 1. */
  dequeue: { touch: "queue" },
  /** Sequence + 1. */
  wakeOne: { touch: "write", touchLenient: "count", wakes: "one" },
  /** Sequence + 1. */
  wakeAll: { touch: "queue", touchLenient: "count", wakes: "all" },
  /** Count + 1. */
  complete: {
    touch: "count",
    touchStrict: "write",
    data: true,
    blind: true,
    says: "{kind} {label} {before} → {after}",
  },
  /** Count = all. */
  completeAll: { touch: "write", data: true, says: "{kind} {label} {before} → {after}" },
  /** Uses one up. */
  completionWait: {
    enabled: (word: number): boolean => isComplete(word),
    touch: "write",
    timeout: true,
    waits: "waits for {label} to be completed",
  },
  /**
   * Readers + 1. It succeeds where no grace period is under way: then sections have nothing to do
   * with each other. Inside a grace period it matters which index a section takes and which section
   * is the last one.
   */
  srcuReadLock: {
    succeeds: (word: number): boolean => isIdle(word),
    touch: "share",
    touchFailing: "write",
    takes: "srcu",
  },
  /** Readers - 1; pushes the grace period on. Success as of srcuReadLock. */
  srcuReadUnlock: {
    succeeds: (word: number): boolean => isIdle(word),
    touch: "share",
    touchFailing: "write",
    releases: true,
  },
  /** Asks for a grace period. */
  srcuStart: { touch: "write" },
  /** Waits until grace period number `expected` is over. */
  srcuWait: {
    enabled: (word: number, expected: number): boolean => hasCompleted(word, expected),
    touch: "read",
    waits: "waits for readers of {label}{readers}",
  },
  /** Waits while a call is pending. */
  srcuBarrier: {
    enabled: (word: number): boolean => word === 0,
    touch: "read",
    waits: "waits for the calls of {label}",
  },
  /** Begins to run the deferred call at its words. */
  srcuCallback: { touch: "write", data: true },
  /** Sequence + 1. */
  seqWriteBegin: { touch: "write", data: true, takes: "exclusive" },
  /** Sequence + 1. */
  seqWriteEnd: { touch: "write", data: true, releases: true },
  /** Waits while the sequence is odd; reads it. */
  seqReadBegin: { enabled: (word: number): boolean => mayReadAt(word), touch: "read" },
  /** Generations + 1. */
  shootdownBump: { touch: "write", whole: true, data: true },
  /** Waits while the agent's mark is `expected`. */
  shootdownWait: {
    enabled: (word: number, expected: number): boolean => word !== expected,
    touch: "read",
    waits: "waits for stores under way",
  },
  /** The agent's mark + 1. */
  shootdownEnter: { touch: "write" },
  /** The agent's mark + 1. */
  shootdownLeave: { touch: "write" },
  /** Waits while the word is `expected`. */
  waitWhile: {
    enabled: (word: number, expected: number): boolean => word !== expected,
    touch: "read",
    says: "has seen {label} = {before}",
    waits: "waits for {label} to change",
  },
  /** Writes the word if it is `expected`. */
  compareExchange: {
    succeeds: (word: number, expected: number): boolean => word === expected,
    touch: "write",
    touchFailing: "read",
    whole: true,
    data: true,
    says: "exchange {label} {before} → {after}",
    saysFailing: "exchange {label}: is {before}",
  },
  /** An operation of a recorded history begins. */
  opCall: { touch: "call" },
  /** It ends. */
  opReturn: { touch: "return" },
  /** Of a condition variable: its mutex = 0, and its task queues at the word behind it. */
  release: { touch: "write", whole: true, releases: true },
  /**
   * The scheduler's, not the task's: a park begins with it unless the task's last step queued at
   * its word. It compares the word. If that is not `expected`, the wait is over; else the task is
   * parked, in the order of these steps.
   */
  sleep: {
    succeeds: (word: number, expected: number): boolean => word === expected,
    touch: "queue",
    touchFailing: "read",
    queues: true,
    says: "goes to sleep on {label}",
    saysFailing: "does not sleep on {label}: it has changed",
  },
  // From here on: what callers of access() name.
  read: { touch: "read", whole: true, says: "read {label}", saysOfWord: "read {label} = {before}" },
  /**
   * Reads a word whose memory may have been freed. The reader finds that out, and throws the value
   * away.
   */
  peek: { touch: "read", whole: true, says: "read {label}", saysOfWord: "read {label} = {before}" },
  write: { touch: "write", whole: true, data: true, saysOfWord: "write {label} = {after}" },
  update: {
    touch: "write",
    whole: true,
    data: true,
    saysOfChange: "update {label} {before} → {after}",
  },
  /** Adds to the word. Its task does not learn what the word held. */
  add: { touch: "count", touchStrict: "write", whole: true, data: true, blind: true },
  alloc: { touch: "write", whole: true, data: true },
  free: { touch: "write", whole: true, data: true },
} as const;

/** What a task waits for, or (EXPLORED) is about to do. */
export type WaitKind = keyof typeof rows;

/** The table, in a fixed order: the place of a row is the code of its kind. */
export const STEP_KINDS: Readonly<Record<WaitKind, StepKind>> = rows;

/** Scheduling points that upper layers mark by `access` of task.ts. */
export type AccessKind = "read" | "peek" | "write" | "update" | "add" | "alloc" | "free";
