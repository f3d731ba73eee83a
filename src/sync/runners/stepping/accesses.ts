/**
 * @module The stepping forms of accesses: of those of sync/atomics.ts, and of the elements of
 * arrays. Each offers the access as a step, and makes it when the explorer resumes the task.
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
} from "../../atomics.ts";
import type { AtomicArray } from "../../atomics.ts";
import type { Task } from "../../tasks/task.ts";
import { isExploredHeap, offered } from "./offered.ts";
import type { Elements } from "./offered.ts";

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
  const isWord = isExploredHeap(array);
  // Of 64 bits: it is no word of the heap, and what is expected no number.
  const said = typeof expected === "number" ? expected : 0;
  const wait = offered(isWord ? "compareExchange" : "update", label, array, index, said);
  if (wait !== undefined) yield wait;
  return nativeCompareExchange(array, index, expected, replacement);
}

/**
 * `array[index]`, for any array. A plain read outside the heap loads data of a program, through a
 * translation that may have been shot down. The reader then discards the value, so to read a freed
 * frame is no error.
 */
export function* get(label: string, array: Elements, index: number): Task<number> {
  const wait = offered(isExploredHeap(array) ? "read" : "peek", label, array, index);
  if (wait !== undefined) yield wait;
  return array[index] as number; // as the plain form reads it
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
