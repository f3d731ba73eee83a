/**
 * @module Tasks: all code that may wait is written as a task. It is the seam where a scheduler
 * takes control.
 *
 * A task is a generator that yields {@link Wait}s and is sent {@link Wake}s. There is one way to
 * block: a futex-like wait on one word of the heap. So `yield*` marks every place where another
 * thread may run in between. Three runners execute the same code: run-blocking.ts, run-async.ts,
 * and a deterministic scheduler.
 *
 * REAL and DEBUG mode: the only kind of Wait is "park". An operation that need not wait returns
 * {@link DONE} (or DONE_TRUE, DONE_FALSE, {@link doneNumber}), a preallocated finished iterator: on
 * Node 20 a fresh generator costs 16 ns, and `yield*` of a finished iterator 4 ns. Such an
 * operation takes effect when it is CALLED. So always write `yield* lock.lock()`; never call an
 * operation and iterate it later.
 *
 * Measured on Node 20, uncontended, with the `yield*`: mutex or spinlock lock + unlock 35 ns, of
 * which two atomic operations are 18; RwSem read pair 53, write pair 78 and 7 more for each
 * further thread; Srcu read section 57; refcount get + put 29; wakeAll that wakes nobody 18;
 * seqcount read 18; both marks of a store 21; a shootdown with nobody inside 23; runBlocking of a
 * finished task 45. So a fast path is a plain function: a generator would double its cost, and
 * most of the rest is atomic operations.
 *
 * EXPLORED mode: every operation first yields the Wait that describes what it is ABOUT to do. It
 * does it, as one atomic step, when the scheduler sends the next Wake. A blocking operation never
 * spins: it is not enabled until its predicate holds. step-kinds.ts has the table of kinds: when
 * each may run, what it does and what depends on it.
 */

import { monotonicMs } from "./clock.ts";
import { formatValue } from "../argument-rules.ts";
import { AssertionFailure, bug } from "../errors.ts";
import { EXPLORED, SharedMemory } from "../shared-memory.ts";
import type { AccessKind, WaitKind } from "./step-kinds.ts";

export type { AccessKind, WaitKind } from "./step-kinds.ts";

/** Why a wait ended: {@link WOKEN} or {@link TIMED_OUT}. */
export type Wake = 0 | 1;
/** The word changed, somebody woke the task, or the wake is spurious: the task rechecks. */
export const WOKEN: Wake = 0;
/** The wait is over because its `timeoutMs` went by. */
export const TIMED_OUT: Wake = 1;

/** What a task yields: the operation that it is about to do or waits for. */
export interface Wait {
  /** What it is: see step-kinds.ts. */
  readonly kind: WaitKind;
  /** The memory that it is about. */
  readonly memory: SharedMemory;
  /** First word that the operation touches. */
  readonly index: number;
  /** How many words it touches. */
  readonly words: number;
  /** Park: sleep while `words[index]` is this. Other kinds: see step-kinds.ts. */
  readonly expected: number;
  /** Infinity: until woken. */
  readonly timeoutMs: number;
  /** For reports: the lock class, or the name that the caller gave. */
  readonly label: string;
  /** Of testCondition: the words that the condition reads; undefined if they are not declared. */
  readonly reads: WordRange | undefined;
}

/** A span of words of the memory. */
export interface WordRange {
  /** Index of the first word. */
  readonly at: number;
  /** The number of words. */
  readonly words: number;
}

/** A thread of control. Run it with runBlocking or runAsync, or `yield*` it from another task. */
export type Task<T> = Generator<Wait, T, Wake>;

/** An iterator that has already returned. Shared by all callers; iterating it changes nothing. */
class Finished<T> implements Generator<Wait, T, Wake> {
  readonly [Symbol.toStringTag]: string = "Generator";
  readonly result: { done: true; value: T };

  constructor(value: T) {
    this.result = { done: true, value };
  }

  next(): IteratorResult<Wait, T> {
    return this.result;
  }

  return(value: T): IteratorResult<Wait, T> {
    return { done: true, value };
  }

  throw(error: unknown): IteratorResult<Wait, T> {
    throw error;
  }

  [Symbol.iterator](): Generator<Wait, T, Wake> {
    return this;
  }

  [Symbol.dispose](): void {}
}

/** The finished task of an operation that had nothing to wait for. Shared. */
export const DONE: Task<void> = new Finished<void>(undefined);
/** A task that is over, with the result true. */
export const DONE_TRUE: Task<boolean> = new Finished<boolean>(true);
export const DONE_FALSE: Task<boolean> = new Finished<boolean>(false);

export function doneBoolean(value: boolean): Task<boolean> {
  return value ? DONE_TRUE : DONE_FALSE;
}

const number = new Finished<number>(0);

/**
 * The task itself, or a copy of it if it has finished. For callers that run other code before they
 * iterate it: that code may reuse the object of {@link doneNumber}.
 */
export function keepTask<T>(task: Task<T>): Task<T> {
  // a task of T that has finished holds a T
  return task instanceof Finished ? new Finished<T>(task.result.value as T) : task;
}

/** One reused object: the caller must `yield*` it at once. */
export function doneNumber(value: number): Task<number> {
  number.result.value = value;
  return number;
}

/** A task that is over, with any result. */
export function doneValue<T>(value: T): Task<T> {
  return new Finished<T>(value);
}

/** A wait on one word: sleep while `words[index] === expected`. */
export function park(
  memory: SharedMemory,
  index: number,
  expected: number,
  timeoutMs: number,
  label: string,
): Wait {
  return describe("park", memory, index, 1, label, expected, timeoutMs);
}

let onDescribe: ((wait: Wait) => void) | undefined;

/**
 * Calls `watcher` with every operation that is described from now on. The code that is about to do
 * it is then on the stack.
 */
export function watchDescriptions(watcher: ((wait: Wait) => void) | undefined): void {
  onDescribe = watcher;
}

let performer: ((wait: Wait) => boolean) | undefined;

/** While a task of an explorer runs: who is asked by {@link goesOn}. */
export function askToGoOn(next: ((wait: Wait) => boolean) | undefined): void {
  performer = next;
}

/**
 * Whether the explorer lets the task go on at once with the operation that it is about to do. Then
 * the task does not yield it, and the dozen generators that it consists of are not left and entered
 * again.
 */
export function goesOn(wait: Wait): boolean {
  return performer !== undefined && performer(wait);
}

/**
 * The description of an operation that the caller is about to do: yield it, then do it. For a
 * primitive of one's own, in EXPLORED mode; step-kinds.ts has a row for each kind. Throws
 * AssertionFailure on the memory of another copy of the library: the explorer would know neither
 * the locks nor the drivers of this one.
 */
export function describe(
  kind: WaitKind,
  memory: SharedMemory,
  index: number,
  words: number,
  label: string,
  expected: number = 0,
  timeoutMs: number = Infinity,
  reads?: WordRange,
): Wait {
  if (!(memory instanceof SharedMemory)) ofOtherCopy(label);
  const wait: Wait = { kind, memory, index, words, expected, timeoutMs, label, reads };
  if (onDescribe !== undefined) onDescribe(wait);
  return wait;
}

function ofOtherCopy(label: string): never {
  bug(
    `Cannot explore ${label}: it is of another copy of hmm-ts than the checker, the one for programs that run; start Node with --conditions=hmm-explore`,
  );
}

/**
 * The clock of a task's deadlines. In EXPLORED mode no time passes: the scheduler chooses which
 * waits time out, and sends them {@link TIMED_OUT}.
 */
export function taskMs(memory: SharedMemory): number {
  return memory.mode === EXPLORED || memory.isSpelledOut ? 0 : monotonicMs();
}

/**
 * EXPLORED: the operation that `wait` describes has just been tried, by the code that runs in every
 * mode. It must have succeeded, because the table of step-kinds.ts says that it is enabled. If it
 * has failed, the table and the code differ.
 */
export function mustSucceed(success: boolean, wait: Wait): void {
  if (!success)
    bug(`"${wait.kind}" of ${wait.label} was enabled by the table of step-kinds.ts, and failed`);
}

/**
 * EXPLORED: yields the description of what the caller does next. In other modes it does nothing.
 * For code that all modes share.
 */
export function step(
  memory: SharedMemory,
  kind: WaitKind,
  index: number,
  words: number,
  label: string,
  reads?: WordRange,
): Task<void> {
  return memory.mode === EXPLORED
    ? offer(describe(kind, memory, index, words, label, 0, Infinity, reads))
    : DONE;
}

/**
 * As {@link step}, for the test of a condition. It is a step even where the primitives are spelled
 * out (stepping.ts): the condition is code of the caller, in which no access is a step.
 */
export function conditionStep(
  memory: SharedMemory,
  index: number,
  label: string,
  condition: () => boolean,
  reads?: WordRange,
): Task<void> {
  if (memory.mode !== EXPLORED && !memory.isSpelledOut) return DONE;
  const wait = describe("testCondition", memory, index, 0, label, 0, Infinity, reads);
  if (reads !== undefined) conditions.set(wait, condition);
  return offer(wait);
}

/** The conditions about to be tested, of those tests that declare which words they read. */
const conditions = new WeakMap<Wait, () => boolean>();

/**
 * The condition of a {@link conditionStep} that declares what it reads. An explorer checks that the
 * declaration is complete.
 */
export function conditionOf(wait: Wait): (() => boolean) | undefined {
  return conditions.get(wait);
}

/**
 * Marks a scheduling point that is not an operation of this layer: an access to `words` words at
 * `index`, an allocation, a free. Outside EXPLORED mode it costs one compare.
 */
export function access(
  memory: SharedMemory,
  kind: AccessKind,
  index: number,
  words: number,
  label: string,
): Task<void> {
  return step(memory, kind, index, words, label);
}

function* offer(wait: Wait): Task<void> {
  if (!goesOn(wait)) yield wait;
}

/**
 * What a runner that waits is to throw into a task which has yielded `wait`; undefined: it is a
 * wait that the runner knows.
 */
export function refusedWait(wait: unknown): AssertionFailure | undefined {
  const kind: unknown = typeof wait === "object" && wait !== null && "kind" in wait && wait.kind;
  if (kind === "park") return undefined;
  const why =
    kind === false
      ? `a task yielded ${formatValue(wait)}, which is no wait: call what may wait by yield*, and yield nothing`
      : "a task yielded an explored operation to a runner that waits: is memory.mode right?";
  return new AssertionFailure(why);
}
