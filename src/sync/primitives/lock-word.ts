/**
 * @module The lock word of spinlocks and mutexes: 0 if free, otherwise the owner, with WAITERS set
 * if somebody may sleep.
 *
 *      bits 0..19   serial of the owning task
 *      bits 20..25  id of the owning agent
 *      bit 30       WAITERS: the releaser must wake one
 *
 *      free --CAS--> owned --CAS by a waiter--> owned+WAITERS --exchange 0, wake one--> free
 *
 * Owner and state are one word, so that one compare-exchange sets both. A waiter sleeps on the
 * value that it saw, so it does not sleep through a change of owner. A waiter that slept takes the
 * lock with WAITERS set, because it cannot know whether others still sleep; at worst one wake is
 * needless. This is the mutex of U. Drepper, "Futexes are tricky" (2011).
 *
 * Not fair: a running thread may overtake a sleeping one. RwSem is fair.
 */

import { atomicCompareExchange, atomicExchange, atomicLoad, futexWake } from "../atomics.ts";
import { currentTask } from "../tasks/current-task.ts";
import { bug } from "../errors.ts";
import {
  HELD_EXCLUSIVE,
  TAG,
  dropHeld,
  findHeld,
  heldTag,
  noteExclusive,
} from "../lockdep/held-locks.ts";
import type { LockClass } from "../lock-class.ts";
import { refuseSelfWait, requireAgent } from "./lock-refusals.ts";
import { afterAcquire, beforeAcquire, beforeRelease, requireHeld } from "../lockdep/lockdep.ts";
import { DEBUG, EXPLORED, REAL } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { DONE, DONE_TRUE, describe, goesOn, mustSucceed, park } from "../tasks/task.ts";
import type { Task } from "../tasks/task.ts";
import { commitUndo, hasUndo } from "../words/undo-log.ts";

export const WAITERS = 0x40000000;
const FREE = 0;
const OWNER_MASK = 0x3ffffff;
const OWNER_AGENT_SHIFT = 20;

/** Common part of Spinlock and Mutex. One word. */
export abstract class OwnedLock {
  readonly memory: SharedMemory;
  readonly at: number;
  readonly lockClass: LockClass;
  abstract readonly isSpinlock: boolean;
  /** How often it reads the word before it sleeps. */
  protected abstract readonly spins: number;
  protected readonly tag: number;

  constructor(memory: SharedMemory, at: number, lockClass: LockClass) {
    this.memory = memory;
    this.at = at;
    this.lockClass = lockClass;
    this.tag = heldTag(lockClass, HELD_EXCLUSIVE);
  }

  /** Free. Only while nobody else can know the word. */
  init(): void {
    this.memory.words[this.at] = 0;
  }

  /**
   * Takes the lock; waits while a task holds it. Throws EDEADLK if that is the caller, or a task
   * suspended under it.
   */
  lock(): Task<void> {
    return this.memory.mode === REAL && this.take(0) === FREE ? DONE : this.lockSlow();
  }

  /** Takes the lock if it is free; never waits. */
  tryLock(): Task<boolean> {
    return this.memory.mode === REAL && this.take(0) === FREE ? DONE_TRUE : this.tryLockSlow();
  }

  /** Releases the lock, which the running task holds. */
  unlock(): Task<void> {
    if (this.memory.mode !== REAL) return this.unlockChecked();
    this.release();
    return DONE;
  }

  /**
   * As {@link unlock}, as a part of the current step: for an operation that releases the lock and
   * does something else in one step.
   */
  unlockNow(): void {
    requireAgent(this.memory);
    if (this.memory.mode !== REAL) beforeRelease(this, HELD_EXCLUSIVE);
    this.release();
  }

  /**
   * Throws unless the running task holds the lock. Outside DEBUG and EXPLORED mode: unless this
   * thread does. For the first line of functions that need the lock.
   */
  assertHeld(): void {
    const { memory, at } = this;
    if (memory.mode === DEBUG || memory.mode === EXPLORED) {
      requireHeld(this, [HELD_EXCLUSIVE]);
    } else if (
      ownerAgent(atomicLoad(memory.words, at)) !== memory.agentId ||
      atomicLoad(memory.words, at) === 0
    ) {
      bug(`${this.lockClass.name} must be held here`);
    }
  }

  /** Whether it is held: for reports, never for decisions. */
  isLocked(): boolean {
    return atomicLoad(this.memory.words, this.at) !== 0;
  }

  private *lockSlow(): Task<void> {
    const { memory } = this;
    requireAgent(this.memory);
    if (memory.mode !== REAL) beforeAcquire(this, HELD_EXCLUSIVE);
    if (memory.mode === EXPLORED) {
      const wait = describe("lock", memory, this.at, 1, this.lockClass.name);
      if (!goesOn(wait)) yield wait;
      mustSucceed(this.take(0) === FREE, wait);
    } else {
      yield* this.lockContended();
    }
    if (memory.mode !== REAL) afterAcquire(this, HELD_EXCLUSIVE);
  }

  /** @spelled lock */
  private *lockContended(): Task<void> {
    const { memory, at } = this;
    this.spinWhileTaken();
    for (let mark = 0; ; mark = WAITERS) {
      const seen = this.take(mark);
      if (seen === FREE) return;
      refuseSelfWait(this.memory, this.at, this.lockClass);
      if (
        (seen & WAITERS) === 0 &&
        atomicCompareExchange(memory.words, at, seen, seen | WAITERS) !== seen
      )
        continue;
      yield park(memory, at, seen | WAITERS, Infinity, this.lockClass.name);
    }
  }

  /**
   * Takes the lock if it is free, with `mark` (0 or WAITERS) beside the owner. Returns the word
   * from before: FREE means success.
   *
   * @spelled lock
   */
  private take(mark: number): number {
    const { memory, at } = this;
    const { words } = memory;
    const seen = atomicCompareExchange(
      words,
      at,
      FREE,
      memory.ownerBase | currentTask.serial | mark,
    );
    if (seen === FREE) {
      words[memory.heldNext + TAG] = this.tag; // H1 of held-locks.ts
      words[memory.heldNext] = at;
      noteExclusive(memory);
    }
    return seen;
  }

  /** @spelled lock */
  private spinWhileTaken(): void {
    const { words } = this.memory;
    for (
      let spins = Math.min(this.spins, this.memory.spinsMax);
      spins > 0 && atomicLoad(words, this.at) !== 0;
      spins--
    );
  }

  private *tryLockSlow(): Task<boolean> {
    const { memory } = this;
    requireAgent(this.memory);
    if (memory.mode === REAL) return false; // tryLock has tried
    if (memory.mode === EXPLORED)
      yield describe("tryLock", memory, this.at, 1, this.lockClass.name);
    if (this.take(0) !== FREE) return false;
    afterAcquire(this, HELD_EXCLUSIVE);
    return true;
  }

  private *unlockChecked(): Task<void> {
    const { memory } = this;
    requireAgent(this.memory);
    beforeRelease(this, HELD_EXCLUSIVE);
    if (memory.mode === EXPLORED) {
      const wait = describe("unlock", memory, this.at, 1, this.lockClass.name);
      if (!goesOn(wait)) yield wait;
    }
    this.release();
  }

  /** @spelled lock */
  private release(): void {
    const { memory, at } = this;
    const words = memory.words;
    const slot =
      words[memory.heldNext - 1] === at ? memory.heldNext - 1 : findHeld(memory, at, this.tag);
    if (slot === 0) bug(`${this.lockClass.name} is released by a thread that does not hold it`);
    if (hasUndo(memory)) commitUndo(memory, at);
    const seen = atomicExchange(words, at, FREE);
    words[slot] = 0; // H1 of held-locks.ts
    dropHeld(memory, slot);
    if ((seen & WAITERS) !== 0) futexWake(words, at, 1);
  }
}

/**
 * The holder has died, and what the lock guards is as it was before it took it. `slot` of its held
 * table says that it holds the lock.
 *
 * @spelled lock
 */
export function releaseOfDead(words: Int32Array, at: number, slot: number): void {
  const seen = atomicExchange(words, at, FREE);
  words[slot] = 0; // H1 of held-locks.ts
  if ((seen & WAITERS) !== 0) futexWake(words, at, 1);
}

function ownerAgent(word: number): number {
  return (word & OWNER_MASK) >>> OWNER_AGENT_SHIFT;
}
