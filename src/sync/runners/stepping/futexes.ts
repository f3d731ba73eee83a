/**
 * @module The stepping forms of futexes. In an execution no thread really sleeps: the explorer
 * wakes the tasks that a step wakes, and asynchronous waiters are only counted.
 */

import {
  futexWaitAsync as nativeWaitAsync,
  futexWake as nativeWake,
  wakeAsyncWaiters as nativeWakeAsync,
} from "../../atomics.ts";
import type { FutexAsync } from "../../atomics.ts";
import type { Task } from "../../tasks/task.ts";
import { isOffering, offered } from "./offered.ts";

export function* futexWake(
  label: string,
  words: Int32Array,
  index: number,
  count: number,
): Task<number> {
  if (!isOffering()) return nativeWake(words, index, count);
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
  if (!isOffering()) return nativeWaitAsync(words, index, expected, timeoutMs);
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
  if (!isOffering()) return nativeWakeAsync(words, index, count);
  const wait = offered("update", label, words, index);
  if (wait !== undefined) yield wait;
  const woken = Math.min(count, asyncWaitersAt(index));
  setAsyncWaiters(index, asyncWaitersAt(index) - woken);
  return woken;
}
