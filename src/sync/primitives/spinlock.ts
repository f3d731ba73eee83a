/**
 * @module Spinlock: for a few words and a few instructions. A task that holds one must wait for
 * nothing but another spinlock (lockdep checks this). A JS thread may lose its processor at any
 * instruction, so a waiter spins for a bounded time and then sleeps. The name stands for this rule,
 * not for the way of waiting.
 */

import { lockClass } from "../lock-class.ts";
import type { LockClass } from "../lock-class.ts";
import { OwnedLock } from "./lock-word.ts";
import type { SharedMemory } from "../shared-memory.ts";

const SPINS = 200;
const unnamed = lockClass("spinlock");

/**
 * One word: one owner at a time, who must not wait while it holds it. See lock-word.ts for the
 * word.
 */
export class Spinlock extends OwnedLock {
  /** Words that one takes. */
  static readonly WORDS = 1;
  /** Who holds it may not sleep. */
  readonly isSpinlock = true;
  protected readonly spins: number = SPINS;

  constructor(memory: SharedMemory, at: number, ofClass: LockClass = unnamed) {
    super(memory, at, ofClass);
  }
}
