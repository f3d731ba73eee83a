/**
 * @module Accesses to single words of the heap that other threads may access at the same time. One
 * function describes the access to an explorer and makes it. So description and access cannot name
 * different words, and no other step comes in between.
 *
 * Outside EXPLORED mode they are the atomic operation alone. Not here: the words of the primitives,
 * which describe their own operations, and words outside the heap (memory/frames/).
 */

import { atomicCompareExchange, atomicLoad, atomicStore } from "../atomics.ts";
import { EXPLORED } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { DONE, describe, doneNumber, goesOn } from "../tasks/task.ts";
import type { Task } from "../tasks/task.ts";

/**
 * The value of a word. `yield*` it at once.
 *
 * @spelled word
 */
export function readWord(memory: SharedMemory, index: number, label: string): Task<number> {
  if (memory.mode === EXPLORED) return readExplored(memory, index, label);
  return doneNumber(atomicLoad(memory.words, index));
}

/**
 * Stores a word. `yield*` it at once.
 *
 * @spelled word
 */
export function writeWord(
  memory: SharedMemory,
  index: number,
  value: number,
  label: string,
): Task<void> {
  if (memory.mode === EXPLORED) return writeExplored(memory, index, value, label);
  atomicStore(memory.words, index, value);
  return DONE;
}

/**
 * Stores `replacement` if the word is `expected`. Returns the value from before, so success is
 * `=== expected`. `yield*` it at once.
 *
 * @spelled word
 */
export function compareExchangeWord(
  memory: SharedMemory,
  index: number,
  expected: number,
  replacement: number,
  label: string,
): Task<number> {
  if (memory.mode === EXPLORED)
    return compareExchangeExplored(memory, index, expected, replacement, label);
  return doneNumber(atomicCompareExchange(memory.words, index, expected, replacement));
}

function* readExplored(memory: SharedMemory, index: number, label: string): Task<number> {
  const wait = describe("read", memory, index, 1, label);
  if (!goesOn(wait)) yield wait;
  return atomicLoad(memory.words, index);
}

function* writeExplored(
  memory: SharedMemory,
  index: number,
  value: number,
  label: string,
): Task<void> {
  const wait = describe("write", memory, index, 1, label);
  if (!goesOn(wait)) yield wait;
  atomicStore(memory.words, index, value);
}

function* compareExchangeExplored(
  memory: SharedMemory,
  index: number,
  expected: number,
  replacement: number,
  label: string,
): Task<number> {
  const wait = describe("compareExchange", memory, index, 1, label, expected);
  if (!goesOn(wait)) yield wait;
  return atomicCompareExchange(memory.words, index, expected, replacement);
}
