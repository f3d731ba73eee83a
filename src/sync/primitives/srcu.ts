/**
 * @module SRCU: readers that may wait, and updaters that wait for them. An updater unlinks an
 * object, waits for a grace period, and then frees the object. So what a reader finds in its read
 * section stays allocated until the section ends. After include/linux/srcu.h. The words and the
 * grace periods are in srcu-words.ts, deferred calls in srcu-callbacks.ts.
 *
 * What may be called where:
 *
 * | | in a read section | holding locks | holding a spinlock |
 * | --- | --- | --- | --- |
 * | readLock | yes, nests | yes | yes |
 * | readUnlock | - | yes, but none that a deferred call takes | no |
 * | call | yes | yes, but none that a deferred call takes | no |
 * | synchronize, barrier | no: it would wait for itself | none that a reader may wait for | no |
 *
 * The thread that ends a grace period runs the deferred calls that are ready. So readUnlock, call
 * and synchronize may run deferred calls; they never hold the queue's lock while they do.
 *
 * No thread exists only to advance grace periods. The thread that requests one advances it; so does
 * the last reader that it waits for.
 *
 * What a thread changes of the queue is undone if it dies with the queue's lock. PENDING, which is
 * read without the lock, is not: what a thread has added for a call is a resource of the thread, in
 * the step that adds it, until the call is queued. A deferred call that it runs is two of its
 * resources, from the change that takes it off the list: the call, until the callback has freed the
 * object, and its share of PENDING, up to the step that lowers it. Who finds the thread dead queues
 * the call once more, as one that is ready. A thread whose list is full undoes PENDING as well, and
 * runs a call as a critical section: it stops the machine if it dies there.
 *
 * The read sections of a thread that dies go on until a recoverer ends them (death/recovery.ts). So
 * who finishes what the thread was doing finds all that it could see. The count of the held table
 * tells both indexes apart: bits 0.. are sections of index 0, bits 16.. of index 1.
 */

import { atomicAdd, atomicLoad, atomicStore, atomicSub, futexWake } from "../atomics.ts";
import {
  addResourceUnder,
  kindWord,
  registerHeir,
  removeResourceUnder,
  reserveResource,
  resourceKind,
} from "../lockdep/resources.ts";
import { EDEADLK } from "../errno.ts";
import { HmmError, bug } from "../errors.ts";
import {
  HELD_CALLBACK,
  HELD_SRCU,
  COUNT,
  countedSlot,
  dropHeld,
  enterCritical,
  findHeld,
  heldTag,
  leaveCritical,
  noteUsed,
  popShared,
  pushShared,
  sharesBeneath,
} from "../lockdep/held-locks.ts";
import { lockClass } from "../lock-class.ts";
import type { LockClass } from "../lock-class.ts";
import { afterAcquire, beforeAcquire, beforeRelease, beforeSleep } from "../lockdep/lockdep.ts";
import { DETACHED, EXPLORED, REAL } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { Spinlock } from "./spinlock.ts";
import {
  SRCU_CALL_WORDS,
  callKind,
  queueCall,
  queueReady,
  advanceCalls,
  srcuCallbacks,
  srcuOf,
  takeReady,
} from "./srcu-callbacks.ts";
import {
  ACTIVE,
  PENDING,
  QUEUE_LOCK,
  SRCU_WORDS,
  STATE,
  WANTED,
  advanceGracePeriods,
  hasCompleted,
  isIdle,
  readerIndex,
  requestGracePeriod,
} from "../words/srcu-words.ts";
import { DONE, describe, doneNumber, goesOn, mustSucceed, park, step } from "../tasks/task.ts";
import type { Task } from "../tasks/task.ts";
import { noteUndo, undoStore } from "../words/undo-log.ts";

/** A deferred call that this thread has taken, and whose object is not freed yet. */
const CALL: number = resourceKind("deferred call");
/** One of PENDING, of a call that this thread queues, or has taken. */
const RUNNING: number = resourceKind("count of a deferred call");

/** A call that this thread runs, and its places in the list of what the thread owns. */
interface Taken {
  readonly head: number;
  /** Of the kinds above; both -1: the list is full. */
  readonly call: number;
  readonly running: number;
}

const unnamed = lockClass("srcu");
const queueLockClass = lockClass("srcuQueueLock");
/** From the bits that count sections of index 0 to those of index 1. */
const INDEX_SHIFT = 16;

/**
 * Readers that may wait, and grace periods: what a reader finds in its read section stays allocated
 * until the section ends.
 */
export class Srcu {
  /** Words that one takes. */
  static readonly WORDS: number = SRCU_WORDS;
  /** The memory that it lies in. */
  readonly memory: SharedMemory;
  /** Index of its first word. */
  readonly at: number;
  /** Its role, for reports and for the order of locks. */
  readonly lockClass: LockClass;
  /** A read section of it may sleep. */
  readonly isSpinlock = false;
  private readonly tag: number;
  private readonly callTag: number;
  private readonly queueLock: Spinlock;

  constructor(memory: SharedMemory, at: number, ofClass: LockClass = unnamed) {
    this.memory = memory;
    this.at = at;
    this.lockClass = ofClass;
    this.tag = heldTag(ofClass, HELD_SRCU);
    this.callTag = heldTag(ofClass, HELD_CALLBACK);
    this.queueLock = new Spinlock(memory, at + QUEUE_LOCK, queueLockClass);
  }

  /** No readers, nothing queued. Only while nobody else can know the words. */
  init(): void {
    this.memory.words.fill(0, this.at, this.at + SRCU_WORDS);
  }

  /**
   * Begins a read section; the result is for {@link readUnlock}, in the same thread. Never waits.
   */
  readLock(): Task<number> {
    return this.memory.mode === REAL ? doneNumber(this.beginSection()) : this.readLockChecked();
  }

  /** Ends a read section. May run deferred calls. */
  readUnlock(index: number): Task<void> {
    if (this.memory.mode !== REAL) return this.readUnlockChecked(index);
    return this.endSection(index) ? this.advanceAndRunCalls() : DONE;
  }

  /**
   * Waits until every read section that has begun before this call has ended.
   *
   * @spelled srcu
   */
  *synchronize(): Task<void> {
    const { memory, at } = this;
    const { name } = this.lockClass;
    this.refuseSelfWait();
    if (memory.mode !== REAL) beforeSleep(name);
    yield* step(memory, "srcuStart", at, SRCU_WORDS, name);
    const target = requestGracePeriod(memory.words, at, atomicLoad(memory.words, at + STATE));
    advanceGracePeriods(memory.words, at);
    if (memory.mode === EXPLORED) {
      const wait = describe("srcuWait", memory, at, SRCU_WORDS, name, target);
      if (!goesOn(wait)) yield wait;
      mustSucceed(hasCompleted(atomicLoad(memory.words, at + STATE), target), wait);
    } else yield* this.waitForGracePeriod(target);
    yield* this.runReadyCalls();
  }

  /**
   * Runs the callback registered as `kind` with `head` after a grace period. `head` is the first of
   * SRCU_CALL_WORDS words that the caller embeds in the object; they belong to the queue until the
   * callback runs. The word `note` of the heap becomes 0 in the change that queues it, if there is
   * such a word.
   */
  *call(kind: number, head: number, note: number = 0): Task<void> {
    const { memory, at } = this;
    yield* this.queueLock.lock();
    const counted = yield* this.countCall();
    queueCall(memory, at, head, kind);
    if (note !== 0) undoStore(memory, this.queueLock.at, note, 0);
    if (yield* this.runNext(counted)) yield* this.runReadyCalls();
  }

  /**
   * Queues a call that a dead thread had taken, with what is left of it. `slot`: of the call among
   * this thread's resources, or -1.
   */
  *callAgain(head: number, slot: number): Task<void> {
    const { memory, at } = this;
    yield* this.queueLock.lock();
    const counted = yield* this.countCall();
    queueReady(memory, at, head);
    if (slot >= 0) removeResourceUnder(memory, this.queueLock.at, slot);
    if (yield* this.runNext(counted)) yield* this.runReadyCalls();
  }

  /** A call is over, or the thread that ran it is dead. `running`: of its count; -1: none. */
  *endCall(running: number): Task<void> {
    const { memory, at } = this;
    const { words } = memory;
    yield* this.queueLock.lock();
    yield* step(memory, "update", at + PENDING, 1, this.lockClass.name);
    const kindAt = kindWord(memory, running);
    const pending = this.pendingCalls() - 1;
    this.setPending(pending);
    if (kindAt !== 0) words[kindAt] = 0; // in a row (H1 of held-locks.ts)
    if (pending === 0) this.wakeForNone(); // who dies before this is found by those who wait
    yield* this.queueLock.unlock();
  }

  /** Waits until no deferred call is queued and none is running. */
  *barrier(): Task<void> {
    const { memory, at } = this;
    const { name } = this.lockClass;
    for (;;) {
      yield* this.synchronize();
      if (memory.mode === EXPLORED) {
        const wait = describe("srcuBarrier", memory, at + PENDING, 1, name);
        if (!goesOn(wait)) yield wait;
        mustSucceed(this.pendingCalls() === 0, wait);
      }
      const pending = this.pendingCalls();
      if (pending === 0) return;
      yield park(memory, at + PENDING, pending, Infinity, name);
    }
  }

  /**
   * The number of deferred calls that have been queued and have not finished. For leak checks.
   *
   * @spelled srcu
   */
  pendingCalls(): number {
    return atomicLoad(this.memory.words, this.at + PENDING);
  }

  /** Throws unless this thread is in a read section. */
  assertReadHeld(): void {
    if (findHeld(this.memory, this.at, this.tag) === 0) {
      bug(`a read section of ${this.lockClass.name} is needed here`);
    }
  }

  /** @spelled srcu */
  private beginSection(): number {
    const { memory, at } = this;
    const words = memory.words;
    const slot = countedSlot(memory, at, this.tag);
    const index = readerIndex(atomicLoad(words, at + STATE));
    const one = 1 << (index * INDEX_SHIFT);
    atomicAdd(words, at + ACTIVE + index, 1);
    words[slot + COUNT]! += one; // H1 of held-locks.ts
    words[slot] = at;
    noteUsed(memory, slot);
    pushShared(memory, at);
    return index;
  }

  /**
   * True: this was the last reader of its index, and a grace period is in progress.
   *
   * @spelled srcu
   */
  private endSection(index: number): boolean {
    const { memory, at } = this;
    const words = memory.words;
    const slot = findHeld(memory, at, this.tag);
    if (slot === 0)
      bug(`a read section of ${this.lockClass.name} is ended by a thread that is in none`);
    const one = 1 << (index * INDEX_SHIFT);
    const before = atomicSub(words, at + ACTIVE + index, 1);
    if ((words[slot + COUNT]! -= one) === 0) words[slot] = 0; // H1 of held-locks.ts
    dropHeld(memory, slot);
    popShared(memory, at);
    return before === 1 && !isIdle(atomicLoad(words, at + STATE));
  }

  /**
   * Ends the read sections that a dead thread has left, of which `slot` of its held table has the
   * `count`. May run deferred calls. May be done again, by who finds the caller dead.
   */
  *endForDead(slot: number, count: number): Task<void> {
    for (const index of [0, 1]) {
      const sections = (count >>> (index * INDEX_SHIFT)) & ((1 << INDEX_SHIFT) - 1);
      if (sections === 0) continue;
      yield* step(this.memory, "srcuReadUnlock", this.at, WANTED, this.lockClass.name);
      this.leaveForDead(index, sections, slot);
    }
    yield* this.runReadyCalls();
  }

  /** @spelled srcu */
  private leaveForDead(index: number, sections: number, slot: number): void {
    const { words } = this.memory;
    atomicSub(words, this.at + ACTIVE + index, sections);
    if ((words[slot + COUNT]! -= sections << (index * INDEX_SHIFT)) === 0) words[slot] = 0;
    advanceGracePeriods(words, this.at);
  }

  private *readLockChecked(): Task<number> {
    const { memory, at } = this;
    if (memory.mode === DETACHED)
      bug("this thread is not registered on the machine: call registerAgent first");
    beforeAcquire(this, HELD_SRCU);
    yield* step(memory, "srcuReadLock", at, WANTED, this.lockClass.name);
    const index = this.beginSection();
    afterAcquire(this, HELD_SRCU);
    return index;
  }

  private *readUnlockChecked(index: number): Task<void> {
    beforeRelease(this, HELD_SRCU);
    yield* step(this.memory, "srcuReadUnlock", this.at, WANTED, this.lockClass.name);
    if (this.endSection(index)) yield* this.advanceAndRunCalls();
  }

  /** @spelled srcu */
  private *waitForGracePeriod(target: number): Task<void> {
    const { memory, at } = this;
    for (;;) {
      const state = atomicLoad(memory.words, at + STATE);
      if (hasCompleted(state, target)) return;
      yield park(memory, at + STATE, state, Infinity, this.lockClass.name);
      advanceGracePeriods(memory.words, at);
    }
  }

  /**
   * The last reader has left: advances the grace period that waited for it, and runs the calls that
   * are then ready.
   */
  private *advanceAndRunCalls(): Task<void> {
    advanceGracePeriods(this.memory.words, this.at); // part of the reader's step
    yield* this.runReadyCalls();
  }

  /** Runs the deferred calls that are ready. */
  private *runReadyCalls(): Task<void> {
    for (;;) {
      yield* step(this.memory, "read", this.at + PENDING, 1, this.lockClass.name);
      if (this.pendingCalls() === 0) return;
      yield* this.queueLock.lock();
      if (!(yield* this.runNext())) return;
    }
  }

  /**
   * The caller holds the queue's lock; this releases it. Advances the calls as far as the readers
   * allow, and runs one that is ready. False: none is ready that this thread can run. `counted`: of
   * a call that it has counted and queued; that share is then the queue's, or of the call that it
   * runs.
   */
  private *runNext(counted: number = -1): Task<boolean> {
    const { memory, at } = this;
    yield* step(memory, "update", at, 1, this.lockClass.name);
    while (advanceCalls(memory, at)) advanceGracePeriods(memory.words, at);
    const taken = this.listCall(takeReady(memory, at), counted);
    yield* this.queueLock.unlock();
    if (taken !== undefined) yield* this.runCall(taken);
    return taken !== undefined;
  }

  /** Of a call that was just taken. Before the unlock: it is always some thread's. */
  private listCall(head: number, counted: number): Taken | undefined {
    const { memory, at } = this;
    const lock = this.queueLock.at;
    const call = head === 0 ? -1 : addResourceUnder(memory, lock, CALL, head);
    const isOwn = call >= 0 && counted < 0;
    const running = isOwn ? addResourceUnder(memory, lock, RUNNING, at) : counted;
    if (call >= 0 && running >= 0) return { head, call, running };
    if (call >= 0) removeResourceUnder(memory, lock, call);
    if (counted >= 0) removeResourceUnder(memory, lock, counted);
    if (head === 0) return undefined;
    enterCritical(memory, at, this.callTag);
    return { head, call: -1, running: -1 };
  }

  private *runCall({ head, call, running }: Taken): Task<void> {
    const { memory, at } = this;
    yield* step(memory, "srcuCallback", head, SRCU_CALL_WORDS, this.lockClass.name);
    yield* srcuCallbacks.get(callKind(memory, head))(memory, head, call);
    yield* this.endCall(running);
    if (running < 0) leaveCritical(memory, at, this.callTag);
  }

  /**
   * One more call, which is a resource of this thread. Returns its slot; -1: the list is full, and
   * the count is undone with the queue. Holding the queue's lock.
   */
  protected *countCall(): Task<number> {
    const { memory, at } = this;
    const { words } = memory;
    yield* step(memory, "update", at + PENDING, 1, this.lockClass.name);
    const pending = this.pendingCalls();
    const slot = reserveResource(memory, at);
    const kindAt = kindWord(memory, slot);
    if (slot < 0) noteUndo(memory, this.queueLock.at, at + PENDING, pending);
    this.setPending(pending + 1);
    if (kindAt !== 0) words[kindAt] = RUNNING; // in a row (H1 of held-locks.ts)
    return slot;
  }

  /** Holding the queue's lock. It is read without. @spelled srcu */
  private setPending(calls: number): void {
    atomicStore(this.memory.words, this.at + PENDING, calls);
  }

  /** @spelled srcu */
  private wakeForNone(): void {
    futexWake(this.memory.words, this.at + PENDING, Infinity);
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

registerHeir(CALL, (memory, head, slot) =>
  new Srcu(memory, srcuOf(memory, head)).callAgain(head, slot),
);
registerHeir(RUNNING, (memory, at, slot) => new Srcu(memory, at).endCall(slot));
