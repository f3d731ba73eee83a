/**
 * @module What the stepping forms have in common: an access to memory that threads share is offered
 * to the explorer as a step. While no execution is in progress (a set-up, for example) nothing is
 * offered, and every access is made at once.
 */

import { EXPLORED } from "../../shared-memory.ts";
import type { SharedMemory } from "../../shared-memory.ts";
import { describe, goesOn } from "../../tasks/task.ts";
import type { Wait, WaitKind } from "../../tasks/task.ts";

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

/** Whether an execution is in progress: its accesses are steps. */
export function isOffering(): boolean {
  return explored !== undefined;
}

/** Whether the array is the heap of an execution: there it is known what a word holds. */
export function isExploredHeap(array: unknown): boolean {
  return explored !== undefined && array === explored.words;
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

export type Elements = ArrayLike<number> & { [index: number]: number };

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
export function offered(
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
