/**
 * @module Looking at a word that one's own step has just changed, without a step for it. Whoever
 * looks learns what others did to the word before, so an explorer must not take such a step for one
 * that need not know.
 */

import { EXPLORED } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";

let onPeek: ((word: number) => void) | undefined;

/** Tells `watcher` of each look in explored mode; nobody any more if it is undefined. */
export function watchPeeks(watcher: ((word: number) => void) | undefined): void {
  onPeek = watcher;
}

/** Word `at` is looked at, as part of whatever is under way. */
export function notePeek(memory: SharedMemory, at: number): void {
  if (memory.mode === EXPLORED) onPeek?.(at);
}
