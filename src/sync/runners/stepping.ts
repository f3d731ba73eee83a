/**
 * @module Stepping forms: a plain function is written once, and is still explored access by access.
 *
 * What must be fast (a page-table walk, a load that hits) is a plain function, which no scheduler
 * can interrupt. So a step of the build (scripts/derive-steps.mjs) derives a generator, the
 * stepping form, from each function marked `@stepped`. It has the same text, but every access to
 * memory that threads share is one of the functions below. Such a function offers the access to the
 * explorer as a step, and makes it when the explorer resumes the task. Only the checker runs the
 * derived graph of modules. Nobody writes a second body, so the two cannot differ.
 *
 * `@spelled` marks functions inside a primitive. An explorer normally performs an operation of a
 * primitive as one step. It uses their stepping forms only if the scenario asks for that.
 *
 * While no execution is in progress (a set-up, for example) nothing is offered, and every access is
 * made at once.
 */

import {
  atomicAdd as nativeAdd,
  atomicAnd as nativeAnd,
  atomicCompareExchange as nativeCompareExchange,
  atomicExchange as nativeExchange,
  atomicLoad as nativeLoad,
  atomicOr as nativeOr,
  atomicStore as nativeStore,
  atomicSub as nativeSub,
  atomicXor as nativeXor,
  compareExchangeNoted as nativeCompareExchangeNoted,
  decrementNoted as nativeDecrementNoted,
  exchangeNoted as nativeExchangeNoted,
  futexWaitAsync as nativeWaitAsync,
  futexWake as nativeWake,
  incrementNoted as nativeIncrementNoted,
  storeNoted as nativeStoreNoted,
  storePairNoted as nativeStorePairNoted,
  wakeAsyncWaiters as nativeWakeAsync,
} from "../atomics.ts";
import type { AtomicArray, FutexAsync } from "../atomics.ts";
import { bug } from "../errors.ts";
import { EXPLORED } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { describe, doneValue, goesOn } from "../tasks/task.ts";
import type { Task, Wait, WaitKind } from "../tasks/task.ts";

const WORD_SHIFT = 2;

let explored: SharedMemory | undefined;

/** Whether the primitives of sync/ are explored access by access, not as one step each. */
export function isSpelledOut(): boolean {
  return explored !== undefined && explored.isSpelledOut;
}

/**
 * Whether accesses to `memory` are offered to an explorer now. For code that describes its own
 * accesses.
 */
export function isExploring(memory: SharedMemory): boolean {
  return memory.mode === EXPLORED || memory === explored;
}

/** An execution on `memory` begins in this thread: its accesses are steps. Undefined: it ends. */
export function exploreSteps(memory: SharedMemory | undefined): void {
  explored = memory;
}

/**
 * Gives a word of a buffer other than the heap its number for explorers: negative, and unique.
 */
export type WordNumber = (wordIndex: number) => number;

const numbered = new WeakMap<ArrayBufferLike, WordNumber>();

/** Sets how the words of a buffer other than the heap are numbered. */
export function numberWords(buffer: SharedArrayBuffer, numbers: WordNumber): void {
  numbered.set(buffer, numbers);
}

type Elements = ArrayLike<number> & { [index: number]: number };

/**
 * The explorer's number of the word that has element `index`; undefined if no other thread can
 * access it.
 */
function numberOf(memory: SharedMemory, array: Elements, index: number): number | undefined {
  if (array === memory.words) return index;
  if (!ArrayBuffer.isView(array)) return undefined;
  const { buffer, byteOffset } = array;
  const { BYTES_PER_ELEMENT: elementBytes } = array as Int32Array;
  const word = (byteOffset + index * elementBytes) >>> WORD_SHIFT;
  if (buffer === memory.buffer) return word;
  return numbered.get(buffer)?.(word);
}

/**
 * The access as an explorer's step: yield it first. Undefined if it is no step, or if the task goes
 * on with it at once.
 */
function offered(
  kind: WaitKind,
  label: string,
  array: Elements,
  index: number,
  expected: number = 0,
  count: number = 1,
): Wait | undefined {
  const memory = explored;
  if (memory === undefined) return undefined;
  const number = numberOf(memory, array, index);
  if (number === undefined) return undefined;
  const wait = describe(kind, memory, number, count, label, expected);
  return goesOn(wait) ? undefined : wait;
}

/** The stepping form of plainLoad. */
export function* plainLoad(label: string, words: Int32Array, index: number): Task<number> {
  const wait = offered("read", label, words, index);
  if (wait !== undefined) yield wait;
  return words[index] as number; // in bounds by contract
}

/** The stepping form of speculativeLoad: to read freed memory is no error here. */
export function* speculativeLoad(label: string, words: Int32Array, index: number): Task<number> {
  const wait = offered("peek", label, words, index);
  if (wait !== undefined) yield wait;
  return words[index] as number; // in bounds by contract
}

export function* atomicLoad(label: string, array: AtomicArray, index: number): Task<number> {
  const wait = offered("read", label, array, index);
  if (wait !== undefined) yield wait;
  return nativeLoad(array, index);
}

export function* speculativeAtomicLoad(
  label: string,
  array: AtomicArray,
  index: number,
): Task<number> {
  const wait = offered("peek", label, array, index);
  if (wait !== undefined) yield wait;
  return nativeLoad(array, index);
}

export function* atomicStore(
  label: string,
  array: AtomicArray,
  index: number,
  value: number,
): Task<void> {
  const wait = offered("write", label, array, index);
  if (wait !== undefined) yield wait;
  nativeStore(array, index, value);
}

export function* atomicAdd(
  label: string,
  array: AtomicArray,
  index: number,
  value: number,
): Task<number> {
  const wait = offered("update", label, array, index);
  if (wait !== undefined) yield wait;
  return nativeAdd(array, index, value);
}

export function* atomicSub(
  label: string,
  array: AtomicArray,
  index: number,
  value: number,
): Task<number> {
  const wait = offered("update", label, array, index);
  if (wait !== undefined) yield wait;
  return nativeSub(array, index, value);
}

export function* atomicAnd(
  label: string,
  array: AtomicArray,
  index: number,
  value: number,
): Task<number> {
  const wait = offered("update", label, array, index);
  if (wait !== undefined) yield wait;
  return nativeAnd(array, index, value);
}

export function* atomicOr(
  label: string,
  array: AtomicArray,
  index: number,
  value: number,
): Task<number> {
  const wait = offered("update", label, array, index);
  if (wait !== undefined) yield wait;
  return nativeOr(array, index, value);
}

export function* atomicXor(
  label: string,
  array: AtomicArray,
  index: number,
  value: number,
): Task<number> {
  const wait = offered("update", label, array, index);
  if (wait !== undefined) yield wait;
  return nativeXor(array, index, value);
}

export function* atomicExchange(
  label: string,
  array: AtomicArray,
  index: number,
  value: number,
): Task<number> {
  const wait = offered("update", label, array, index);
  if (wait !== undefined) yield wait;
  return nativeExchange(array, index, value);
}

export function* atomicCompareExchange(
  label: string,
  array: AtomicArray,
  index: number,
  expected: number,
  replacement: number,
): Task<number> {
  // Whether it will write is known in advance only for words of the heap.
  const isWord = explored !== undefined && array === explored.words;
  // Of 64 bits: it is no word of the heap, and what is expected no number.
  const said = typeof expected === "number" ? expected : 0;
  const wait = offered(isWord ? "compareExchange" : "update", label, array, index, said);
  if (wait !== undefined) yield wait;
  return nativeCompareExchange(array, index, expected, replacement);
}

/** The stepping form of exchangeNoted: one step, for no thread dies in it. The note is its own. */
export function* exchangeNoted(
  label: string,
  words: Int32Array,
  index: number,
  value: number,
  notes: Int32Array,
  note: number,
  shift: number,
  bits: number,
): Task<number> {
  const wait = offered("update", label, words, index);
  if (wait !== undefined) yield wait;
  return nativeExchangeNoted(words, index, value, notes, note, shift, bits);
}

export function* compareExchangeNoted(
  label: string,
  words: Int32Array,
  index: number,
  expected: number,
  replacement: number,
  notes: Int32Array,
  note: number,
  noted: number,
): Task<number> {
  const kind = words === explored?.words ? "compareExchange" : "update"; // as above
  const wait = offered(kind, label, words, index, expected);
  if (wait !== undefined) yield wait;
  return nativeCompareExchangeNoted(words, index, expected, replacement, notes, note, noted);
}

export function* incrementNoted(
  label: string,
  words: Int32Array,
  index: number,
  notes: Int32Array,
  note: number,
  noted: number,
): Task<number> {
  const wait = offered("update", label, words, index);
  if (wait !== undefined) yield wait;
  return nativeIncrementNoted(words, index, notes, note, noted);
}

export function* decrementNoted(
  label: string,
  words: Int32Array,
  index: number,
  notes: Int32Array,
  note: number,
  last: number,
): Task<number> {
  const wait = offered("update", label, words, index);
  if (wait !== undefined) yield wait;
  return nativeDecrementNoted(words, index, notes, note, last);
}

export function* storePairNoted(
  label: string,
  words: Int32Array,
  index: number,
  first: number,
  second: number,
  notes: Int32Array,
  note: number,
): Task<void> {
  const wait = offered("write", label, words, index, 0, 2);
  if (wait !== undefined) yield wait;
  nativeStorePairNoted(words, index, first, second, notes, note);
}

export function* storeNoted(
  label: string,
  words: Int32Array,
  index: number,
  value: number,
  notes: Int32Array,
  note: number,
): Task<void> {
  const wait = offered("write", label, words, index);
  if (wait !== undefined) yield wait;
  nativeStoreNoted(words, index, value, notes, note);
}

/**
 * `array[index]`, for any array. A plain read outside the heap loads data of a program, through a
 * translation that may have been shot down. The reader then discards the value, so to read a freed
 * frame is no error.
 */
export function* get(label: string, array: Elements, index: number): Task<number> {
  const wait = offered(array === explored?.words ? "read" : "peek", label, array, index);
  if (wait !== undefined) yield wait;
  return array[index] as number; // as the plain form reads it
}

/**
 * The stepping form of futexWake. In an execution no thread really sleeps: the explorer wakes the
 * tasks that the step wakes.
 */
export function* futexWake(
  label: string,
  words: Int32Array,
  index: number,
  count: number,
): Task<number> {
  if (explored === undefined) return nativeWake(words, index, count);
  const wait = offered(count === 1 ? "wakeOne" : "wakeAll", label, words, index);
  if (wait !== undefined) yield wait;
  return 0;
}

/** In an execution: how many asynchronous waiters a word has. */
const asyncWaiters = new Map<number, number>();

/** An execution begins: no word has asynchronous waiters. */
export function clearAsyncWaiters(): void {
  if (asyncWaiters.size > 0) asyncWaiters.clear();
}

/** How many asynchronous waiters the word has. */
export function asyncWaitersAt(index: number): number {
  return asyncWaiters.get(index) ?? 0;
}

/**
 * Sets how many asynchronous waiters the word has: those of a thread that registered before the
 * execution began, or 0 for a thread that is gone.
 */
export function setAsyncWaiters(index: number, count: number): void {
  asyncWaiters.set(index, count);
}

/** The stepping form of futexWaitAsync. In an execution it counts the waiter, which never wakes. */
export function* futexWaitAsync(
  label: string,
  words: Int32Array,
  index: number,
  expected: number,
  timeoutMs: number,
): Task<FutexAsync> {
  if (explored === undefined) return nativeWaitAsync(words, index, expected, timeoutMs);
  const wait = offered("update", label, words, index);
  if (wait !== undefined) yield wait;
  if (words[index] !== expected) return { async: false, value: "not-equal" };
  setAsyncWaiters(index, asyncWaitersAt(index) + 1);
  return { async: true, value: new Promise(() => {}) };
}

/** The stepping form of wakeAsyncWaiters. Returns how many there were to wake. */
export function* wakeAsyncWaiters(
  label: string,
  words: Int32Array,
  index: number,
  count: number,
): Task<number> {
  if (explored === undefined) return nativeWakeAsync(words, index, count);
  const wait = offered("update", label, words, index);
  if (wait !== undefined) yield wait;
  const woken = Math.min(count, asyncWaitersAt(index));
  setAsyncWaiters(index, asyncWaitersAt(index) - woken);
  return woken;
}

/** `array[index] = value` */
export function* set(label: string, array: Elements, index: number, value: number): Task<number> {
  const wait = offered("write", label, array, index);
  if (wait !== undefined) yield wait;
  array[index] = value;
  return value;
}

/**
 * `array[index] op= operand`. Returns the new value, or the old one for `array[index]++`. The plain
 * read and write are one step.
 */
export function* change(
  label: string,
  array: Elements,
  index: number,
  operation: (old: number, operand: number) => number,
  operand: number,
  wantsNew: boolean,
): Task<number> {
  const wait = offered("update", label, array, index);
  if (wait !== undefined) yield wait;
  const old = array[index] as number; // as the plain form reads it
  const after = operation(old, operand);
  array[index] = after;
  return wantsNew ? after : old;
}

type Access = (
  label: string,
  array: AtomicArray,
  index: number,
  ...rest: number[]
) => Task<number | void>;

/** Stepping forms of the accesses that are passed around as values. */
const formOf = new Map<unknown, Access>([
  [nativeAdd, atomicAdd],
  [nativeSub, atomicSub],
  [nativeAnd, atomicAnd],
  [nativeOr, atomicOr],
  [nativeXor, atomicXor],
  [nativeExchange, atomicExchange],
]);

/** `operation(...)`, for a function that was passed in: by its stepping form, if it has one. */
export function* apply(
  label: string,
  operation: (...given: readonly unknown[]) => unknown,
  ...given: readonly unknown[]
): Task<unknown> {
  const form = formOf.get(operation);
  if (form === undefined) {
    // Made by the derivation, or undefined.
    const stepping = Reflect.get(operation, "$steps") as Stepping | undefined;
    return stepping === undefined ? operation(...given) : yield* stepping(...given);
  }
  // as every access takes them
  const [array, index, ...rest] = given as readonly [AtomicArray, number, ...number[]];
  return yield* form(label, array, index, ...rest);
}

type Method = (...rest: readonly unknown[]) => unknown;
type Stepping = (...rest: readonly unknown[]) => Task<unknown>;

/** By name of a method: that of its stepping form. */
const formNames = new Map<string, string>();

function formNameOf(name: string): string {
  let form = formNames.get(name);
  if (form === undefined) formNames.set(name, (form = `${name}$steps`));
  return form;
}

/** `object[name](...)`: by its stepping form, if it has one. */
export function call(object: object, name: string, ...given: readonly unknown[]): Task<unknown> {
  // Made by the derivation, or undefined.
  const stepping = Reflect.get(object, formNameOf(name)) as Stepping | undefined;
  if (stepping !== undefined) return stepping.apply(object, given as unknown[]);
  const plain = Reflect.get(object, name) as Method; // as the plain form calls it
  return doneValue(plain.apply(object, given as unknown[]));
}

type MethodsOf<O, R> = {
  [K in keyof O]: O[K] extends (...given: never[]) => R ? K : never;
}[keyof O] &
  string;
type Given<M> = M extends (...given: infer A) => unknown ? A : never;
type Result<M> = M extends (...given: never[]) => infer R ? R : never;

/**
 * For explored tasks: calls a method by its stepping form. Throws if the modules are not the
 * derived ones.
 *
 *     const value = yield* callInSteps(cache.u32, "load", address);
 */
export function callInSteps<O extends object, K extends MethodsOf<O, unknown>>(
  object: O,
  name: K,
  ...given: Given<O[K]>
): Task<Result<O[K]>> {
  const stepping = Reflect.get(object, `${name}$steps`) as
    | ((...given: Given<O[K]>) => Task<Result<O[K]>>)
    | undefined;
  if (stepping === undefined) bug(notDerived(name));
  return stepping.apply(object, given);
}

/** As {@link callInSteps}, for a function. */
export function runInSteps<A extends readonly unknown[], R>(
  operation: (...given: A) => R,
  ...given: A
): Task<R> {
  // Made by the derivation.
  const stepping = Reflect.get(operation, "$steps") as ((...given: A) => Task<R>) | undefined;
  if (stepping === undefined) bug(notDerived(operation.name));
  return stepping(...given);
}

/** The stepping form of runBlocking: the task becomes part of the task that runs it. */
export function* runBlocking<T>(_label: string, _memory: SharedMemory, task: Task<T>): Task<T> {
  return yield* task;
}

/**
 * Runs a task to its end inside an explored task. It takes the place of a thread's runner there.
 */
export class SteppingRunner {
  runToEnd<T>(_task: Task<T>): T {
    bug(notDerived("a task"));
  }

  *runToEnd$steps<T>(task: Task<T>): Task<T> {
    return yield* task;
  }
}

function notDerived(name: string): string {
  return `Cannot explore ${name} step by step: this is the plain build; run what "npm run build" derives in "stepped"`;
}
