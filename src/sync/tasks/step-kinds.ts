/**
 * @module The kinds of steps, one row for each, with all that the scheduler of an explorer must
 * know about it. Other files derive what they need from this table: explored.ts (may it run, does
 * it succeed), and in the checker steps/kinds.ts (arrays by code), steps/access-modes.ts (what
 * commutes) and replay/phrases.ts (words).
 *
 * In EXPLORED mode a task yields the description of its next operation. When it is resumed it
 * performs the operation, in one atomic step. Between two yields no other task runs. So the order
 * of the resumptions is the interleaving.
 *
 * The scheduler has further choices:
 *
 * - It may resume a wait that has a `timeout` with TIMED_OUT although the wait is not enabled. A
 *   waiter that timed out took nothing from any waker. A task that could time out is never part of
 *   a deadlock.
 * - It may resume a park with WOKEN without a wake (a spurious wake).
 * - It may let a thread die before any operation of its task. The thread is then declared dead
 *   (death.ts). Each waiter may recheck once, as the runners do after a slice: it throws if the
 *   machine has stopped, and a parked one gets a spurious wake.
 */

import { mayRead, mayWrite, mayWriteAtOnce } from "../words/rwsem-words.ts";
import { hasCompleted, isIdle } from "../words/srcu-words.ts";
import { isComplete, mayReadAt, mayTake } from "../words/word-states.ts";

/**
 * How a step touches its words. Two steps that touch a common word depend on each other, except
 * where this list says that they commute.
 *
 * - `read`: reads the word. Commutes with `read` and `test`.
 * - `write`: commutes with nothing.
 * - `share`: enters or leaves a shared section. Commutes with itself.
 * - `test`: tests a condition, after which its task may park. Commutes with `test`, `read` and
 *   `queue`: at the queue's word it depends only on a wake of one.
 * - `queue`: joins or leaves a queue, or wakes all of it. Commutes with `test`.
 * - `count`: adds to a word and does not learn what the word held. Commutes with itself.
 * - `call`, `return`: a recorded operation begins or ends. Calls commute with calls, and returns
 *   with returns.
 */
export type Touch = "read" | "write" | "share" | "test" | "queue" | "count" | "call" | "return";

/**
 * One row. `word` is the value of the operation's first word; `expected` is that of the operation.
 */
export interface StepKind {
  /** Whether it can be performed now. Left out: always. */
  readonly enabled?: (word: number, expected: number) => boolean;
  /**
   * Whether it will succeed, where the way in which it touches its words depends on that. Left out:
   * always.
   */
  readonly succeeds?: (word: number, expected: number) => boolean;
  /** How it touches its words if it succeeds. */
  readonly touch: Touch;
  /** The same if it does not succeed. Left out: as `touch`. */
  readonly touchFailing?: Touch;
  /**
   * The same as long as no execution has shown that the word is strict (see dependence.ts of the
   * checker).
   */
  readonly touchCommuting?: Touch;
  /** The same after one has. */
  readonly touchOrdering?: Touch;
  /**
   * It touches all words that it names. Left out: the first one alone, which stands for the whole
   * primitive.
   */
  readonly whole?: true;
  /** A condition may read what it writes. */
  readonly data?: true;
  /** It waits, and its wait may have a timeout. */
  readonly timeout?: true;
  /** It takes or gives back a reference. */
  readonly refcount?: true;
  /** Its task queues, or sleeps in a queue. */
  readonly queues?: true;
  /** It commutes with itself unless its task reads the word in the same step (extra-reads.ts). */
  readonly blind?: true;
  /** It takes a lock (if it succeeds), and how its task then holds it. */
  readonly takes?: "exclusive" | "shared" | "srcu";
  /** It releases a lock. */
  readonly releases?: true;
  /** Which tasks parked on its word it wakes: the one that parked first, or all. */
  readonly wakes?: "one" | "all";
  /**
   * The step in words. `{kind}`, `{label}`, and the values `{before}` and `{after}` are filled in.
   * Left out: `{kind} {label}`.
   */
  readonly says?: string;
  /** The same of a step that did not succeed. */
  readonly textFailing?: string;
  /** The same of a step that names one word. */
  readonly textOfWord?: string;
  /** The same of a step that names one word and changed it. */
  readonly textOfChange?: string;
  /**
   * The wait in words. `{held}` becomes who holds the lock, or who is queued before; `{readers}`
   * who reads. Left out: `waits for {label}{held}`.
   */
  readonly waits?: string;
}

const rows = {
  /**
   * Sleeps until a wake of its word. A wake is an event and not a state, so no value of the word
   * enables it: the scheduler records which tasks were woken. The step itself does nothing; then
   * the task queues again and rechecks.
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
    textFailing: "{kind} {label}: busy",
  },
  unlock: { touch: "write", releases: true },
  /** Waits while a writer is inside or queued. Readers + 1. */
  downRead: { enabled: (word: number): boolean => mayRead(word), touch: "share", takes: "shared" },
  /** Queued writers + 1: from now on no reader enters. */
  queueWrite: { touch: "write" },
  /** Waits while any reader or writer is inside. Queued writers - 1, writer inside. */
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
    textFailing: "{kind} {label}: busy",
  },
  /** Success: writer inside. */
  tryDownWrite: {
    succeeds: (word: number): boolean => mayWriteAtOnce(word),
    touch: "write",
    touchFailing: "read",
    takes: "exclusive",
    textFailing: "{kind} {label}: busy",
  },
  upRead: { touch: "share", releases: true },
  upWrite: { touch: "write", releases: true },
  /** Writer no longer inside, readers + 1. */
  downgrade: { touch: "write" },
  /** Count + 1. A get on a count of 0 leaves a saturated count. */
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
    textFailing: "{kind} {label}: is 0",
  },
  /** Count - 1. */
  refPut: {
    touch: "write",
    touchCommuting: "count",
    data: true,
    refcount: true,
    blind: true,
    says: "{kind} {label} {before} → {after}",
  },
  /** Reads the queue's sequence, waiters + 1. */
  enqueue: { touch: "queue", queues: true },
  /**
   * Reads the words that the operation names in `reads`. If it names none, it may read any word.
   */
  testCondition: { touch: "test", queues: true, says: "tests the condition of {label}" },
  /** Waiters - 1. */
  dequeue: { touch: "queue" },
  /** Sequence + 1. */
  wakeOne: { touch: "write", touchCommuting: "count", wakes: "one" },
  /** Sequence + 1. */
  wakeAll: { touch: "queue", touchCommuting: "count", wakes: "all" },
  /** Count + 1. */
  complete: {
    touch: "count",
    touchOrdering: "write",
    data: true,
    blind: true,
    says: "{kind} {label} {before} → {after}",
  },
  /** Count = all. */
  completeAll: { touch: "write", data: true, says: "{kind} {label} {before} → {after}" },
  /** Count - 1, unless it is that of completeAll. */
  completionWait: {
    enabled: (word: number): boolean => isComplete(word),
    touch: "write",
    timeout: true,
    waits: "waits for {label} to be completed",
  },
  /**
   * Readers + 1. Here "succeeds" means that no grace period is in progress: then sections commute
   * with each other. During a grace period it matters which index a section takes, and which
   * section is the last one.
   */
  srcuReadLock: {
    succeeds: (word: number): boolean => isIdle(word),
    touch: "share",
    touchFailing: "write",
    takes: "srcu",
  },
  /** Readers - 1; advances the grace period. "Succeeds" as for srcuReadLock. */
  srcuReadUnlock: {
    succeeds: (word: number): boolean => isIdle(word),
    touch: "share",
    touchFailing: "write",
    releases: true,
  },
  /** Requests a grace period. */
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
  /** Starts the deferred call at its words. */
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
    textFailing: "exchange {label}: is {before}",
  },
  /** An operation of a recorded history begins. */
  opCall: { touch: "call" },
  /** It ends. */
  opReturn: { touch: "return" },
  /** Of a condition variable: its mutex = 0, and its task queues at the word behind it. */
  release: { touch: "write", whole: true, releases: true },
  /**
   * A step of the scheduler, not of the task. A park begins with it, unless the last step of the
   * task queued at its word. It compares the word with `expected`. If they differ, the wait is
   * over; otherwise the task is parked. Tasks are parked in the order of these steps.
   */
  sleep: {
    succeeds: (word: number, expected: number): boolean => word === expected,
    touch: "queue",
    touchFailing: "read",
    queues: true,
    says: "goes to sleep on {label}",
    textFailing: "does not sleep on {label}: it has changed",
  },
  // The kinds that callers of access() name.
  read: { touch: "read", whole: true, says: "read {label}", textOfWord: "read {label} = {before}" },
  /**
   * Speculative read: the memory of the word may have been freed. The reader checks that
   * afterwards, and then discards the value.
   */
  peek: { touch: "read", whole: true, says: "read {label}", textOfWord: "read {label} = {before}" },
  write: { touch: "write", whole: true, data: true, textOfWord: "write {label} = {after}" },
  update: {
    touch: "write",
    whole: true,
    data: true,
    textOfChange: "update {label} {before} → {after}",
  },
  /** Adds to the word; its task does not learn what the word held. */
  add: { touch: "count", touchOrdering: "write", whole: true, data: true, blind: true },
  alloc: { touch: "write", whole: true, data: true },
  free: { touch: "write", whole: true, data: true },
} as const;

/** What a task waits for, or (EXPLORED) is about to do. */
export type WaitKind = keyof typeof rows;

/** The table, in a fixed order: the position of a row is the code of its kind. */
export const STEP_KINDS: Readonly<Record<WaitKind, StepKind>> = rows;

/** Scheduling points that upper layers mark by `access` of task.ts. */
export type AccessKind = "read" | "peek" | "write" | "update" | "add" | "alloc" | "free";
