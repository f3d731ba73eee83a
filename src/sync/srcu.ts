/**
 * @module SRCU: readers that may wait, and writers that wait for them. What a reader found inside its section stays
 * allocated until the section ends, if whoever takes it away waits for a grace period before freeing it. After
 * include/linux/srcu.h; the words and the grace periods are in srcu-words.ts, deferred calls in srcu-callbacks.ts.
 *
 * Who may do what:
 *
 * | | in a read section | holding locks | holding a spinlock |
 * | --- | --- | --- | --- |
 * | readLock | yes, nests | yes | yes |
 * | readUnlock | - | yes, but none that a deferred call takes | no |
 * | call | yes | yes, but none that a deferred call takes | no |
 * | synchronize, barrier | no: it would wait for itself | none that a reader may wait for | no |
 *
 * readUnlock, call and synchronize may run deferred calls (whoever ends the grace period does), never while holding the
 * internal lock. A deferred call runs as a critical section: a thread that dies inside one stops the machine.
 */

import { atomicAdd, atomicLoad, atomicSub, futexWake } from "./atomics.ts";
import { EDEADLK } from "./errno.ts";
import { HmmError, bug } from "./errors.ts";
import {
  HELD_CALLBACK,
  HELD_SRCU,
  COUNT,
  countedSlot,
  dropHeld,
  findHeld,
  heldTag,
  noteCounted,
  popShared,
  pushShared,
  sharesBeneath,
} from "./held-locks.ts";
import { lockClass } from "./lock-class.ts";
import type { LockClass } from "./lock-class.ts";
import { afterAcquire, beforeAcquire, beforeRelease, beforeSleep } from "./lockdep.ts";
import { DETACHED, EXPLORED, REAL } from "./shared-memory.ts";
import type { SharedMemory } from "./shared-memory.ts";
import { Spinlock } from "./spinlock.ts";
import { callKind, hasCalls, queueCall, sortCalls, srcuCallback, takeReady } from "./srcu-callbacks.ts";
import {
  ACTIVE,
  PENDING,
  QUEUE_LOCK,
  SRCU_WORDS,
  STATE,
  WANTED,
  drive,
  hasCompleted,
  isIdle,
  readerIndex,
  requestGracePeriod,
} from "./srcu-words.ts";
import { DONE, describe, doneNumber, park } from "./task.ts";
import type { Task, Wait } from "./task.ts";

const unnamed = lockClass("srcu");
const queueLockClass = lockClass("srcuQueueLock");

/** Readers that may wait, and grace periods: what a reader found in its section lives until the section ends. */
export class Srcu {
  static readonly WORDS: number = SRCU_WORDS;
  readonly memory: SharedMemory;
  readonly at: number;
  readonly lockClass: LockClass;
  readonly isSpinlock = false;
  private readonly tag: number;
  private readonly queueLock: Spinlock;

  constructor(memory: SharedMemory, at: number, ofClass: LockClass = unnamed) {
    this.memory = memory;
    this.at = at;
    this.lockClass = ofClass;
    this.tag = heldTag(ofClass, HELD_SRCU);
    this.queueLock = new Spinlock(memory, at + QUEUE_LOCK, queueLockClass);
  }

  /** No readers, nothing queued. Only while nobody else can know the words. */
  init(): void {
    this.memory.words.fill(0, this.at, this.at + SRCU_WORDS);
  }

  /** Begins a read section; the result is for {@link readUnlock}, in the same thread. Never waits. */
  readLock(): Task<number> {
    return this.memory.mode === REAL ? doneNumber(this.enter()) : this.readLockChecked();
  }

  /** Ends a read section. May run deferred calls. */
  readUnlock(index: number): Task<void> {
    if (this.memory.mode !== REAL) return this.readUnlockChecked(index);
    return this.leave(index) ? this.settle() : DONE;
  }

  /** Waits until every read section that is under way now has ended. */
  *synchronize(): Task<void> {
    const { memory, at } = this;
    this.refuseSelfWait();
    if (memory.mode !== REAL) beforeSleep(this.lockClass.name);
    if (memory.mode === EXPLORED) yield describe("srcuStart", memory, at, SRCU_WORDS, this.lockClass.name);
    const target = requestGracePeriod(memory.words, at);
    drive(memory.words, at);
    if (memory.mode === EXPLORED) {
      yield describe("srcuWait", memory, at, SRCU_WORDS, this.lockClass.name, target);
    }
    for (;;) {
      const state = atomicLoad(memory.words, at + STATE);
      if (hasCompleted(state, target)) break;
      yield park(memory, at + STATE, state, Infinity, this.lockClass.name);
      drive(memory.words, at);
    }
    yield* this.settle();
  }

  /**
   * Runs the callback registered as `kind` with `head` after a grace period. `head` is the first of SRCU_CALL_WORDS
   * words that the caller embeds in the object; they belong to the queue until the callback runs.
   */
  *call(kind: number, head: number): Task<void> {
    const { memory, at } = this;
    if (memory.mode === EXPLORED) yield this.describePending();
    atomicAdd(memory.words, at + PENDING, 1);
    if (memory.mode === EXPLORED) yield describe("srcuCall", memory, at, SRCU_WORDS, this.lockClass.name, head);
    else yield* this.queueLock.lock();
    queueCall(memory, at, head, kind);
    yield* this.unlockQueue();
    yield* this.settle();
  }

  /** Waits until no deferred call is queued or running. */
  *barrier(): Task<void> {
    const { memory, at } = this;
    for (;;) {
      yield* this.synchronize();
      if (memory.mode === EXPLORED) yield describe("srcuBarrier", memory, at + PENDING, 1, this.lockClass.name);
      const pending = atomicLoad(memory.words, at + PENDING);
      if (pending === 0) return;
      yield park(memory, at + PENDING, pending, Infinity, this.lockClass.name);
    }
  }

  /** Deferred calls queued and not finished: for leak checks. */
  pendingCalls(): number {
    return atomicLoad(this.memory.words, this.at + PENDING);
  }

  /** Throws unless this thread is in a read section. */
  assertReadHeld(): void {
    if (findHeld(this.memory, this.at, this.tag) === 0) {
      bug(`a read section of ${this.lockClass.name} is needed here`);
    }
  }

  private enter(): number {
    const { memory, at } = this;
    const words = memory.words;
    const slot = countedSlot(memory, at, this.tag);
    const index = readerIndex(atomicLoad(words, at + STATE));
    atomicAdd(words, at + ACTIVE + index, 1);
    words[slot] = at; // H1
    noteCounted(memory, slot);
    pushShared(memory, at);
    return index;
  }

  /** True: this was the last reader of its index, and a grace period is under way. */
  private leave(index: number): boolean {
    const { memory, at } = this;
    const words = memory.words;
    const slot = findHeld(memory, at, this.tag);
    if (slot === 0) bug(`a read section of ${this.lockClass.name} is ended by a thread that is in none`);
    const before = atomicSub(words, at + ACTIVE + index, 1);
    if (--words[slot + COUNT]! === 0) words[slot] = 0; // H1
    dropHeld(memory, slot);
    popShared(memory, at);
    return before === 1 && !isIdle(atomicLoad(words, at + STATE));
  }

  private *readLockChecked(): Task<number> {
    const { memory, at } = this;
    if (memory.mode === DETACHED) bug("this thread is not registered on the machine: call registerAgent first");
    beforeAcquire(this, HELD_SRCU);
    if (memory.mode === EXPLORED) yield describe("srcuReadLock", memory, at, WANTED, this.lockClass.name);
    const index = this.enter();
    afterAcquire(this, HELD_SRCU);
    return index;
  }

  private *readUnlockChecked(index: number): Task<void> {
    const { memory, at } = this;
    beforeRelease(this, HELD_SRCU);
    if (memory.mode === EXPLORED) yield describe("srcuReadUnlock", memory, at, WANTED, this.lockClass.name);
    if (this.leave(index)) yield* this.settle();
  }

  /** Pushes grace periods and deferred calls as far as they go, and runs those that are ready. */
  private *settle(): Task<void> {
    const { memory, at } = this;
    drive(memory.words, at);
    while (this.mayHaveCalls()) {
      yield* this.lockQueue();
      const hasAsked = sortCalls(memory, at);
      const head = hasAsked ? 0 : takeReady(memory, at);
      yield* this.unlockQueue();
      if (hasAsked) drive(memory.words, at);
      else if (head === 0) return;
      else yield* this.runCall(head);
    }
  }

  private *runCall(head: number): Task<void> {
    const { memory, at } = this;
    const kind = callKind(memory, head);
    if (memory.mode === EXPLORED) yield describe("srcuCallback", memory, at, SRCU_WORDS, this.lockClass.name, head);
    const tag = heldTag(this.lockClass, HELD_CALLBACK);
    const place = countedSlot(memory, at, tag);
    memory.words[place] = at;
    noteCounted(memory, place);
    try {
      yield* srcuCallback(kind)(memory, head);
      if (memory.mode === EXPLORED) yield this.describePending();
    } finally {
      const slot = findHeld(memory, at, tag);
      if (--memory.words[slot + COUNT]! === 0) memory.words[slot] = 0;
      dropHeld(memory, slot);
      if (atomicSub(memory.words, at + PENDING, 1) === 1) futexWake(memory.words, at + PENDING, Infinity);
    }
  }

  /** EXPLORED: what is done with the lists under the lock is one step. */
  private *lockQueue(): Task<void> {
    if (this.memory.mode === EXPLORED) yield describe("update", this.memory, this.at, 1, this.lockClass.name);
    else yield* this.queueLock.lock();
  }

  /** EXPLORED: PENDING changes in steps of its own, so a step of the first word looks at the lists instead. */
  private mayHaveCalls(): boolean {
    const { memory, at } = this;
    return memory.mode === EXPLORED ? hasCalls(memory, at) : atomicLoad(memory.words, at + PENDING) > 0;
  }

  private describePending(): Wait {
    return describe("update", this.memory, this.at + PENDING, 1, this.lockClass.name);
  }

  private unlockQueue(): Task<void> {
    return this.memory.mode === EXPLORED ? DONE : this.queueLock.unlock();
  }

  private refuseSelfWait(): void {
    if (!sharesBeneath(this.memory, this.at)) return;
    const { name } = this.lockClass;
    throw new HmmError(
      EDEADLK,
      "synchronize",
      `Cannot wait for the readers of ${name}: this task is one of them; end the read section first`,
    );
  }
}
