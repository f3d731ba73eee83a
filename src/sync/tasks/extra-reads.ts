/**
 * @module Extra reads: code reads a word that its own step has just changed, and the read is no
 * step of its own. The reader learns what other tasks did to the word before. So an explorer must
 * not treat such a step as a blind update (`blind` of step-kinds.ts).
 */

import { EXPLORED } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";

let onExtraRead: ((word: number) => void) | undefined;

/** Calls `watcher` at each extra read in explored mode; undefined removes it. */
export function watchExtraReads(watcher: ((word: number) => void) | undefined): void {
  onExtraRead = watcher;
}

/** Word `at` is read as a part of the current step. */
export function noteExtraRead(memory: SharedMemory, at: number): void {
  if (memory.mode === EXPLORED) onExtraRead?.(at);
}
