/**
 * @module Stepping forms: how a plain function is explored access by access, although it is written
 * once and runs as it is.
 *
 * What must be fast (a page-table walk, a load that hits) is a plain function, in which no
 * scheduler can come in. So a step of the build (scripts/derive-steps.mjs) derives from each
 * function marked `@stepped` a generator made of the same text, in which every access to memory
 * that threads share is one of the functions below: it offers the access to the explorer as a step,
 * and makes it when the explorer resumes the task. The derived graph of modules is what the checker
 * runs; nobody else loads it. There is no second body to keep in step with the first.
 *
 * Where no execution is under way (a set-up, a thread of its own), nothing is offered and every
 * access is made at once.
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
  futexWaitAsync as nativeWaitAsync,
  futexWake as nativeWake,
  wakeListeners as nativeListeners,
} from "../atomics.ts";
import type { AtomicArray, FutexAsync } from "../atomics.ts";
import { bug } from "../errors.ts";
import { EXPLORED } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { describe } from "../tasks/task.ts";
import type { Task, WaitKind } from "../tasks/task.ts";

const WORD_SHIFT = 2;

let explored: SharedMemory | undefined;

/** Whether the primitives of sync/ are explored access by access, instead of as one step each. */
export function isSpelledOut(): boolean {
  return explored !== undefined && explored.isSpelledOut;
}

/**
 * Whether an access to `memory` is offered to an explorer now, for those who name theirs
 * themselves.
 */
export function isExploring(memory: SharedMemory): boolean {
  return memory.mode === EXPLORED || memory === explored;
}

/** Whose execution is under way in this thread: accesses are steps until it is undefined again. */
export function exploreSteps(memory: SharedMemory | undefined): void {
  explored = memory;
}

/**
 * The number by which an explorer knows a word of a buffer beside the heap: below 0, and of no
 * other word.
 */
export type WordNumber = (wordIndex: number) => number;

const numbered = new WeakMap<ArrayBufferLike, WordNumber>();

/** Gives the words of a buffer that is not the heap their numbers. */
export function numberWords(buffer: SharedArrayBuffer, numbers: WordNumber): void {
  numbered.set(buffer, numbers);
}

type Elements = ArrayLike<number> & { [index: number]: number };

/**
 * The explorer's number of the word in which element `index` lies; undefined if no other thread can
 * reach it.
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

function* offer(
  kind: WaitKind,
  label: string,
  array: Elements,
  index: number,
  expected: number = 0,
): Task<void> {
  const memory = explored;
  if (memory === undefined) return;
  const number = numberOf(memory, array, index);
  if (number !== undefined) yield describe(kind, memory, number, 1, label, expected);
}

/** Of plainLoad. */
export function* plainLoad(label: string, words: Int32Array, index: number): Task<number> {
  yield* offer("read", label, words, index);
  return words[index] as number; // in bounds by contract
}

/** Of speculativeLoad: memory that may have been freed is no mistake here. */
export function* speculativeLoad(label: string, words: Int32Array, index: number): Task<number> {
  yield* offer("peek", label, words, index);
  return words[index] as number; // in bounds by contract
}

export function* atomicLoad(label: string, array: AtomicArray, index: number): Task<number> {
  yield* offer("read", label, array, index);
  return nativeLoad(array, index);
}

export function* speculativeAtomicLoad(
  label: string,
  array: AtomicArray,
  index: number,
): Task<number> {
  yield* offer("peek", label, array, index);
  return nativeLoad(array, index);
}

export function* atomicStore(
  label: string,
  array: AtomicArray,
  index: number,
  value: number,
): Task<void> {
  yield* offer("write", label, array, index);
  nativeStore(array, index, value);
}

export function* atomicAdd(
  label: string,
  array: AtomicArray,
  index: number,
  value: number,
): Task<number> {
  yield* offer("update", label, array, index);
  return nativeAdd(array, index, value);
}

export function* atomicSub(
  label: string,
  array: AtomicArray,
  index: number,
  value: number,
): Task<number> {
  yield* offer("update", label, array, index);
  return nativeSub(array, index, value);
}

export function* atomicAnd(
  label: string,
  array: AtomicArray,
  index: number,
  value: number,
): Task<number> {
  yield* offer("update", label, array, index);
  return nativeAnd(array, index, value);
}

export function* atomicOr(
  label: string,
  array: AtomicArray,
  index: number,
  value: number,
): Task<number> {
  yield* offer("update", label, array, index);
  return nativeOr(array, index, value);
}

export function* atomicXor(
  label: string,
  array: AtomicArray,
  index: number,
  value: number,
): Task<number> {
  yield* offer("update", label, array, index);
  return nativeXor(array, index, value);
}

export function* atomicExchange(
  label: string,
  array: AtomicArray,
  index: number,
  value: number,
): Task<number> {
  yield* offer("update", label, array, index);
  return nativeExchange(array, index, value);
}

export function* atomicCompareExchange(
  label: string,
  array: AtomicArray,
  index: number,
  expected: number,
  replacement: number,
): Task<number> {
  // Whether it will write can be foretold of words of the heap alone.
  const isWord = explored !== undefined && array === explored.words;
  yield* offer(isWord ? "compareExchange" : "update", label, array, index, expected);
  return nativeCompareExchange(array, index, expected, replacement);
}

/**
 * `array[index]`, of whatever array. Plain reads beside the heap are loads of a program's data
 * through a translation that may have been shot down: a value that comes of that is thrown away, so
 * a frame that has been freed is no mistake.
 */
export function* get(label: string, array: Elements, index: number): Task<number> {
  yield* offer(array === explored?.words ? "read" : "peek", label, array, index);
  return array[index] as number; // as the plain form reads it
}

/**
 * Of futexWake: nobody sleeps for real while things are explored. The explorer wakes whom the step
 * wakes.
 */
export function* futexWake(
  label: string,
  words: Int32Array,
  index: number,
  count: number,
): Task<number> {
  if (explored === undefined) return nativeWake(words, index, count);
  yield* offer(count === 1 ? "wakeOne" : "wakeAll", label, words, index);
  return 0;
}

/** Of an execution: how many listen to a word, for ever, as {@link futexWaitAsync} makes them. */
const listeners = new Map<number, number>();

/** An execution begins: nobody listens. */
export function forgetListeners(): void {
  if (listeners.size > 0) listeners.clear();
}

/** How many listen to the word. */
export function listenersAt(index: number): number {
  return listeners.get(index) ?? 0;
}

/**
 * So many listen to the word from now on: of a thread that has joined before the execution began,
 * or (none) that is gone.
 */
export function setListeners(index: number, count: number): void {
  listeners.set(index, count);
}

/** Of futexWaitAsync: while things are explored, listeners are counted, and hear nothing. */
export function* futexWaitAsync(
  label: string,
  words: Int32Array,
  index: number,
  expected: number,
  timeoutMs: number,
): Task<FutexAsync> {
  if (explored === undefined) return nativeWaitAsync(words, index, expected, timeoutMs);
  yield* offer("update", label, words, index);
  if (words[index] !== expected) return { async: false, value: "not-equal" };
  setListeners(index, listenersAt(index) + 1);
  return { async: true, value: new Promise(() => {}) };
}

/** Of wakeListeners: how many there were to wake. */
export function* wakeListeners(
  label: string,
  words: Int32Array,
  index: number,
  count: number,
): Task<number> {
  if (explored === undefined) return nativeListeners(words, index, count);
  yield* offer("update", label, words, index);
  const woken = Math.min(count, listenersAt(index));
  setListeners(index, listenersAt(index) - woken);
  return woken;
}

/** `array[index] = value` */
export function* set(label: string, array: Elements, index: number, value: number): Task<number> {
  yield* offer("write", label, array, index);
  array[index] = value;
  return value;
}

/**
 * `array[index] op= operand`; the new value, or the old one for `array[index]++`. A plain read and
 * write: one step.
 */
export function* change(
  label: string,
  array: Elements,
  index: number,
  operation: (old: number, operand: number) => number,
  operand: number,
  wantsNew: boolean,
): Task<number> {
  yield* offer("update", label, array, index);
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

/** `operation(...)`, of a function that was passed in: by its stepping form, if it has one. */
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

/** `object[name](...)`: by its stepping form where it has one. The name alone says that it may. */
export function* call(object: object, name: string, ...given: readonly unknown[]): Task<unknown> {
  // Made by the derivation, or undefined.
  const stepping = Reflect.get(object, `${name}$steps`) as Stepping | undefined;
  if (stepping !== undefined) return yield* stepping.apply(object, [...given]);
  const plain = Reflect.get(object, name) as Method; // as the plain form calls it
  return plain.apply(object, [...given]);
}

type MethodsOf<O, R> = {
  [K in keyof O]: O[K] extends (...given: never[]) => R ? K : never;
}[keyof O] &
  string;
type Given<M> = M extends (...given: infer A) => unknown ? A : never;
type Result<M> = M extends (...given: never[]) => infer R ? R : never;

/**
 * For explored tasks: calls a method by its stepping form. Throws where the modules are not those
 * that were derived.
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

/** As {@link callInSteps}, of a function. */
export function runInSteps<A extends readonly unknown[], R>(
  operation: (...given: A) => R,
  ...given: A
): Task<R> {
  // Made by the derivation.
  const stepping = Reflect.get(operation, "$steps") as ((...given: A) => Task<R>) | undefined;
  if (stepping === undefined) bug(notDerived(operation.name));
  return stepping(...given);
}

/** Of runBlocking: the task becomes part of the one that runs it. */
export function* runBlocking<T>(_label: string, _memory: SharedMemory, task: Task<T>): Task<T> {
  return yield* task;
}

/**
 * Stands for a thread's way to run a task to its end, where the task is part of an explored one.
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
