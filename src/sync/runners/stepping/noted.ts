/**
 * @module The stepping forms of accesses that write a note beside them. Each is one step, for no
 * thread dies in it. The note is its own.
 */

import {
  compareExchangeNoted as nativeCompareExchangeNoted,
  decrementNoted as nativeDecrementNoted,
  exchangeNoted as nativeExchangeNoted,
  incrementNoted as nativeIncrementNoted,
  storeNoted as nativeStoreNoted,
  storePairNoted as nativeStorePairNoted,
} from "../../atomics.ts";
import type { Task } from "../../tasks/task.ts";
import { isExploredHeap, offered } from "./offered.ts";

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
  // Whether it will write is known in advance only for words of the heap.
  const kind = isExploredHeap(words) ? "compareExchange" : "update";
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
  by: number = 1,
): Task<number> {
  const wait = offered("update", label, words, index);
  if (wait !== undefined) yield wait;
  return nativeIncrementNoted(words, index, notes, note, noted, by);
}

export function* decrementNoted(
  label: string,
  words: Int32Array,
  index: number,
  notes: Int32Array,
  note: number,
  last: number,
  times: number = 1,
): Task<number> {
  const wait = offered("update", label, words, index);
  if (wait !== undefined) yield wait;
  return nativeDecrementNoted(words, index, notes, note, last, times);
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
  noted: number = 0,
): Task<void> {
  const wait = offered("write", label, words, index);
  if (wait !== undefined) yield wait;
  nativeStoreNoted(words, index, value, notes, note, noted);
}
