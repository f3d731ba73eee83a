/**
 * @module Mutex: for critical sections that may wait. One owner, not recursive, not fair. Its rules
 * are those of kernel/locking/mutex.c: only the owner unlocks, and a task does not end while it
 * holds one.
 */

import { lockClass } from "../lock-class.ts";
import type { LockClass } from "../lock-class.ts";
import { OwnedLock } from "./lock-word.ts";
import type { SharedMemory } from "../shared-memory.ts";

const SPINS = 40;
const unnamed = lockClass("mutex");

/**
 * One word: one owner at a time, who may wait while it holds it. Not recursive. See lock-word.ts
 * for the word.
 */
export class Mutex extends OwnedLock {
  /** Words that one takes. */
  static readonly WORDS = 1;
  /** Who holds it may sleep. */
  readonly isSpinlock = false;
  protected readonly spins: number = SPINS;

  constructor(memory: SharedMemory, at: number, ofClass: LockClass = unnamed) {
    super(memory, at, ofClass);
  }
}
