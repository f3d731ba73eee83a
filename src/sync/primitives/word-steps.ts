/**
 * @module Accesses to single words of the heap that another thread may race with. Each is named,
 * for an explorer, and made in one place, so that the name cannot be of one word and the access to
 * another, and nothing comes in between.
 *
 * Outside EXPLORED mode they are the atomic operation and nothing else. Not here: the words of the
 * primitives, which name their own operations, and words outside the heap (memory/ram.ts).
 */

import { atomicCompareExchange, atomicLoad, atomicStore } from "../atomics.ts";
import { EXPLORED } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { DONE, describe, doneNumber } from "../tasks/task.ts";
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

/** @spelled word */
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
 * Stores `replacement` if the word is `expected`; the value from before, so success is `===
 * expected`. `yield*` it at once.
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
  yield describe("read", memory, index, 1, label);
  return atomicLoad(memory.words, index);
}

function* writeExplored(
  memory: SharedMemory,
  index: number,
  value: number,
  label: string,
): Task<void> {
  yield describe("write", memory, index, 1, label);
  atomicStore(memory.words, index, value);
}

function* compareExchangeExplored(
  memory: SharedMemory,
  index: number,
  expected: number,
  replacement: number,
  label: string,
): Task<number> {
  yield describe("compareExchange", memory, index, 1, label, expected);
  return atomicCompareExchange(memory.words, index, expected, replacement);
}
