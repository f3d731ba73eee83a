/**
 * @module Reader-writer semaphore: many readers or one writer, fair in both directions.
 * rwsem-words.ts has the words, the states, the fairness rule and the races; rwsem-steps.ts what
 * needs no waiting. The model is kernel/locking/rwsem.c. Callers rely on two of its rules: a queued
 * writer stops new readers (so taking it for reading twice in one task can deadlock), and downgrade
 * admits the waiting readers at once.
 *
 * A reader enters by the reader word of its thread (words/reader-word.ts): two atomic operations on
 * words of its own, and reads of STATE. Only if that word is in use for another semaphore does it
 * count itself in STATE. A writer that has set WRITER is listed as ENTERING_WRITE until it has seen
 * that nobody is inside by a reader word. If it dies before, nothing has changed, and whoever finds
 * it dead clears WRITER.
 *
 * EXPLORED mode: readers are counted in STATE, which alone says what may run. That the reader
 * words mean the same is explored where the primitives are spelled out (stepping.ts). A writer
 * first queues ("queueWrite", always enabled), then enters ("downWrite"). A reader is enabled
 * while it may enter, so it never queues: QUEUED_READERS stays 0, and there is no reader phase. No
 * behaviour is lost: an execution in which a waiting reader enters before a queued writer equals
 * one in which the writer queued later.
 */

import { atomicLoad } from "../atomics.ts";
import { bug } from "../errors.ts";
import { HELD_EXCLUSIVE, HELD_SHARED, TAG, dropHeld, heldBeneath } from "../lockdep/held-locks.ts";
import { lockClass } from "../lock-class.ts";
import type { LockClass } from "../lock-class.ts";
import { afterAcquire, beforeAcquire, beforeRelease, requireHeld } from "../lockdep/lockdep.ts";
import { refuseSelfWait, requireAgent } from "./lock-refusals.ts";
import { nextReader, readsOf } from "../words/reader-word.ts";
import { RwSemSteps } from "./rwsem-steps.ts";
import {
  READER,
  READERS_MASK,
  READER_SEQUENCE,
  RWSEM_WORDS,
  WRITER,
  WRITER_SEQUENCE,
  endEmptyPhase,
  isQueueFull,
  leaveReaderQueue,
} from "../words/rwsem-words.ts";
import { DEBUG, EXPLORED, REAL } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { DONE, DONE_FALSE, DONE_TRUE, describe, goesOn, mustSucceed, park } from "../tasks/task.ts";
import type { Task, Wait, WaitKind } from "../tasks/task.ts";

const unnamed = lockClass("rwsem");

/**
 * Many readers or one writer, who may wait while they hold it. A queued writer stops new readers.
 */
export class RwSem extends RwSemSteps {
  /** Words that one takes. */
  static readonly WORDS: number = RWSEM_WORDS;
  /** Who holds it may sleep. */
  readonly isSpinlock = false;

  constructor(memory: SharedMemory, at: number, ofClass: LockClass = unnamed) {
    super(memory, at, ofClass);
  }

  /** Enters as a reader; waits while a writer is inside or queued. */
  downRead(): Task<void> {
    return this.memory.mode === REAL && this.tryEnterRead() ? DONE : this.downReadSlow();
  }

  /** Enters as a reader if that needs no waiting. */
  tryDownRead(): Task<boolean> {
    return this.memory.mode === REAL && this.tryEnterRead() ? DONE_TRUE : this.tryDownReadSlow();
  }

  /** Enters as the writer; waits until all readers and writers inside have left. */
  downWrite(): Task<void> {
    if (this.memory.mode !== REAL || !this.tryClaim()) return this.downWriteSlow();
    return this.tryEnterClaimed() ? DONE : this.awaitReaders();
  }

  /** Enters as the writer if nobody is inside or queued. */
  tryDownWrite(): Task<boolean> {
    if (this.memory.mode !== REAL) return this.tryDownWriteSlow();
    return this.tryEnterWrite() ? DONE_TRUE : DONE_FALSE;
  }

  /**
   * As {@link tryDownRead}, for plain code. Always false in a debug build: there the task must be
   * run, for its checks.
   */
  tryDownReadNow(): boolean {
    return this.memory.mode === REAL && this.tryEnterRead();
  }

  /** The stepping form of it (stepping.ts). */
  *tryDownReadNow$steps(): Task<boolean> {
    return yield* this.tryDownRead();
  }

  /** Pairs with {@link tryDownReadNow}. */
  upReadNow(): void {
    this.leaveRead();
  }

  /** The stepping form of it. */
  *upReadNow$steps(): Task<void> {
    yield* this.upRead();
  }

  /** Gives a reader's share back. By the thread that has it. */
  upRead(): Task<void> {
    if (this.memory.mode !== REAL) return this.upChecked(HELD_SHARED);
    this.leaveRead();
    return DONE;
  }

  /** Gives the semaphore back. By the thread that has it for writing. */
  upWrite(): Task<void> {
    if (this.memory.mode !== REAL) return this.upChecked(HELD_EXCLUSIVE);
    this.leaveWrite(0);
    return DONE;
  }

  /** The writer becomes a reader, without letting another writer in between. Ends with upRead. */
  downgradeWrite(): Task<void> {
    if (this.memory.mode !== REAL) return this.downgradeChecked();
    this.leaveWrite(READER);
    return DONE;
  }

  /**
   * Throws if this thread is not inside as a reader and STATE counts nobody; in DEBUG and EXPLORED
   * mode, if the running task is not inside.
   */
  assertHeld(): void {
    if (this.isChecked()) requireHeld(this, [HELD_SHARED, HELD_EXCLUSIVE]);
    else if (
      readsOf(this.memory.words, this.memory.record) !== this.at &&
      (this.state() & (READERS_MASK | WRITER)) === 0
    )
      bug(`${this.lockClass.name} must be held here`);
  }

  /** Throws if no writer is inside; in DEBUG and EXPLORED mode, if the running task is not it. */
  assertHeldWrite(): void {
    if (this.isChecked()) requireHeld(this, [HELD_EXCLUSIVE]);
    else if ((this.state() & WRITER) === 0)
      bug(`${this.lockClass.name} must be held for writing here`);
  }

  private isChecked(): boolean {
    return this.memory.mode === DEBUG || this.memory.mode === EXPLORED;
  }

  /**
   * After WRITER was set: waits until no thread is inside by its reader word, and enters.
   *
   * @spelled semaphore
   */
  private *awaitReaders(): Task<void> {
    const { memory, at } = this;
    if (heldBeneath(memory, at)) {
      this.dropClaim();
      refuseSelfWait(this.memory, this.at, this.lockClass);
    }
    for (let word = nextReader(memory.words, at); word !== 0;) {
      yield park(memory, word, at, Infinity, this.lockClass.name);
      word = nextReader(memory.words, at, word);
    }
    memory.words[this.slotOf(this.enteringTag) + TAG] = this.exclusiveTag;
  }

  private *downReadSlow(): Task<void> {
    const { memory } = this;
    requireAgent(this.memory);
    if (memory.mode !== REAL) beforeAcquire(this, HELD_SHARED);
    if (memory.mode === EXPLORED) {
      const wait = this.describe("downRead");
      if (!goesOn(wait)) yield wait;
      mustSucceed(this.tryEnterRead(), wait);
    } else if (!this.tryEnterRead()) {
      yield* this.queueRead();
    }
    if (memory.mode !== REAL) afterAcquire(this, HELD_SHARED);
  }

  /** @spelled semaphore */
  private *queueRead(): Task<void> {
    const { memory, at } = this;
    refuseSelfWait(this.memory, this.at, this.lockClass);
    this.enterReaderQueue();
    for (;;) {
      const sequence = atomicLoad(memory.words, at + READER_SEQUENCE);
      if (this.tryEnterRead()) break;
      yield park(memory, at + READER_SEQUENCE, sequence, Infinity, this.lockClass.name);
    }
    const place = this.slotOf(this.queuedReadTag);
    leaveReaderQueue(memory.words, at, 1, place);
    dropHeld(memory, place);
  }

  private *downWriteSlow(): Task<void> {
    const { memory } = this;
    requireAgent(this.memory);
    if (memory.mode !== REAL) beforeAcquire(this, HELD_EXCLUSIVE);
    if (memory.mode === EXPLORED) {
      const queueing = this.describe("queueWrite");
      if (!goesOn(queueing)) yield queueing;
      mustSucceed(this.tryQueueWrite(), queueing);
      const entering = this.describe("downWrite");
      if (!goesOn(entering)) yield entering;
      mustSucceed(this.tryEnterQueued(), entering);
    } else if (!this.tryClaim()) {
      yield* this.queueWrite();
    }
    if (!this.tryEnterClaimed()) yield* this.awaitReaders();
    if (memory.mode !== REAL) afterAcquire(this, HELD_EXCLUSIVE);
  }

  /** @spelled semaphore */
  private *queueWrite(): Task<void> {
    const { memory, at } = this;
    refuseSelfWait(this.memory, this.at, this.lockClass);
    while (!this.tryQueueWrite()) {
      const state = this.state();
      if (isQueueFull(state)) yield park(memory, at, state, Infinity, this.lockClass.name);
    }
    for (;;) {
      const sequence = atomicLoad(memory.words, at + WRITER_SEQUENCE);
      if (this.tryEnterQueued()) return;
      if (!endEmptyPhase(memory.words, at, this.state())) {
        yield park(memory, at + WRITER_SEQUENCE, sequence, Infinity, this.lockClass.name);
      }
    }
  }

  private *tryDownReadSlow(): Task<boolean> {
    const { memory } = this;
    requireAgent(this.memory);
    if (memory.mode === REAL) return false; // tryDownRead has tried
    if (memory.mode === EXPLORED) yield this.describe("tryDownRead");
    if (!this.tryEnterRead()) return false;
    afterAcquire(this, HELD_SHARED);
    return true;
  }

  private *tryDownWriteSlow(): Task<boolean> {
    const { memory } = this;
    requireAgent(this.memory);
    if (memory.mode === EXPLORED) yield this.describe("tryDownWrite");
    if (!this.tryEnterWrite()) return false;
    afterAcquire(this, HELD_EXCLUSIVE);
    return true;
  }

  private *upChecked(mode: number): Task<void> {
    requireAgent(this.memory);
    beforeRelease(this, mode);
    const isReader = mode === HELD_SHARED;
    if (this.memory.mode === EXPLORED) {
      const wait = this.describe(isReader ? "upRead" : "upWrite");
      if (!goesOn(wait)) yield wait;
    }
    if (isReader) this.leaveRead();
    else this.leaveWrite(0);
  }

  private *downgradeChecked(): Task<void> {
    requireAgent(this.memory);
    beforeRelease(this, HELD_EXCLUSIVE);
    if (this.memory.mode === EXPLORED) yield this.describe("downgrade");
    this.leaveWrite(READER);
    afterAcquire(this, HELD_SHARED);
  }

  private describe(kind: WaitKind): Wait {
    return describe(kind, this.memory, this.at, RWSEM_WORDS, this.lockClass.name);
  }
}
