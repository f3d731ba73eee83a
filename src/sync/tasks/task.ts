/**
 * @module Tasks: what everything that may wait is written as, and the seam where a scheduler comes
 * in.
 *
 * A task is a generator that yields {@link Wait}s and is sent {@link Wake}s. Everything blocks
 * through one thing, a futex-like wait on one word of the heap. `yield*` therefore marks every
 * place where another thread may come in between. Three runners execute the same code:
 * run-blocking.ts, run-async.ts, and a deterministic scheduler.
 *
 * REAL and DEBUG mode: the only kind of Wait is "park". An operation that need not wait returns
 * {@link DONE} (or DONE_TRUE, DONE_FALSE, {@link doneNumber}): one preallocated finished iterator,
 * because on Node 20 a fresh generator costs 16 ns and `yield*` of a finished iterator 4 ns. Such
 * an operation acts when it is CALLED, so always write `yield* lock.lock()`: never call an
 * operation and iterate it later.
 *
 * Measured on Node 20, uncontended, with the `yield*`: mutex or spinlock lock + unlock 35 ns, of
 * which two atomic operations are 18; RwSem read pair 53, write pair 60; Srcu read section 57;
 * refcount get + put 29; wakeAll that wakes nobody 18; seqcount read 18; both marks of a store 21;
 * a shootdown with nobody inside 23; runBlocking of a finished task 45. So a fast path is worth its
 * plain function (a generator would double it), and the atomic operations are what is left to save.
 *
 * EXPLORED mode: every operation first yields the Wait that describes what it is ABOUT to do, and
 * does it, as one atomic step, when the scheduler sends the next Wake. A blocking operation is
 * never a spin: it is not enabled until its predicate holds. step-kinds.ts has the table of kinds:
 * when each may run, what it does and what depends on it.
 */

import { monotonicMs } from "./clock.ts";
import { bug } from "../errors.ts";
import { EXPLORED } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";
import type { AccessKind, WaitKind } from "./step-kinds.ts";

export type { AccessKind, WaitKind } from "./step-kinds.ts";

/** Why a wait ended: {@link WOKEN} or {@link TIMED_OUT}. */
export type Wake = 0 | 1;
/** The word changed, somebody woke us, or no reason at all: the task looks again. */
export const WOKEN: Wake = 0;
/** The wait is over because its `timeoutMs` went by. */
export const TIMED_OUT: Wake = 1;

/** What a task yields: the one operation that it is about to do, or waits for. */
export interface Wait {
  readonly kind: WaitKind;
  readonly memory: SharedMemory;
  /** First word that the operation touches. */
  readonly index: number;
  /** How many words it touches. */
  readonly words: number;
  /** Park: sleep while `words[index]` is this. Other kinds: see step-kinds.ts. */
  readonly expected: number;
  /** Infinity: until woken. */
  readonly timeoutMs: number;
  /** For people: lock class, or what the caller named. */
  readonly label: string;
  /** Of testCondition: the words that the condition reads; undefined if nobody says. */
  readonly reads: WordRange | undefined;
}

/** A stretch of words of the memory. */
export interface WordRange {
  readonly at: number;
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

export const DONE: Task<void> = new Finished<void>(undefined);
export const DONE_TRUE: Task<boolean> = new Finished<boolean>(true);
export const DONE_FALSE: Task<boolean> = new Finished<boolean>(false);

export function doneBoolean(value: boolean): Task<boolean> {
  return value ? DONE_TRUE : DONE_FALSE;
}

const number = new Finished<number>(0);

/**
 * The task itself, or a copy of a finished one: for who runs something else first, which may reuse
 * that of {@link doneNumber}.
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
 * Tells `watcher` of every operation that is described from now on, while the code that is about to
 * do it is on the stack.
 */
export function watchDescriptions(watcher: ((wait: Wait) => void) | undefined): void {
  onDescribe = watcher;
}

/** The description of an explored operation. */
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
  const wait: Wait = { kind, memory, index, words, expected, timeoutMs, label, reads };
  if (onDescribe !== undefined) onDescribe(wait);
  return wait;
}

/**
 * The time by which a task waits. In EXPLORED mode no time passes: that a wait has taken too long
 * is the scheduler's choice, and {@link TIMED_OUT} alone says so.
 */
export function taskMs(memory: SharedMemory): number {
  return memory.mode === EXPLORED || memory.isSpelledOut ? 0 : monotonicMs();
}

/**
 * EXPLORED: the operation that `wait` describes has just been tried, by the code that runs in every
 * mode. It must have succeeded, since step-kinds.ts calls it enabled. If it has not, the table and
 * the code differ.
 */
export function mustSucceed(success: boolean, wait: Wait): void {
  if (!success)
    bug(`"${wait.kind}" of ${wait.label} was enabled by the table of step-kinds.ts, and failed`);
}

/**
 * EXPLORED: yields the description of what the caller does next. In other modes nothing. For the
 * bodies that are one for all modes.
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
 * As {@link step}, of the test of a condition: a step also where the primitives are spelled out
 * (stepping.ts), since it is the caller's own code, in which nothing else is one.
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

/** What is about to be tested, where the test says which words it reads. */
const conditions = new WeakMap<Wait, () => boolean>();

/**
 * The condition of a {@link conditionStep} that says what it reads: for an explorer, to see that it
 * says all.
 */
export function conditionOf(wait: Wait): (() => boolean) | undefined {
  return conditions.get(wait);
}

/**
 * Marks a scheduling point that is not an operation of this layer: an access to `words` words at
 * `index`, an allocation, a free. Costs nothing but a compare outside EXPLORED mode.
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
  yield wait;
}
