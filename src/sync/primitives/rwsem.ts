/**
 * @module Reader-writer semaphore: many readers or one writer, fair in both directions.
 * rwsem-words.ts has the words, the states, the fairness rule and the races. The model is
 * kernel/locking/rwsem.c. Callers rely on two of its rules: a queued writer stops new readers (so
 * taking it for reading twice in one task can deadlock), and downgrade admits the waiting readers
 * at once.
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

import { atomicAdd, atomicCompareExchange, atomicLoad, atomicSub } from "../atomics.ts";
import { EDEADLK } from "../errno.ts";
import { HmmError, assert, bug } from "../errors.ts";
import {
  ENTERING_WRITE,
  HELD_EXCLUSIVE,
  HELD_SHARED,
  QUEUED_READ,
  QUEUED_WRITE,
  TAG,
  COUNT,
  countedSlot,
  dropHeld,
  heldBeneath,
  findHeld,
  heldTag,
  noteCounted,
  noteExclusive,
  popShared,
  pushShared,
} from "../lockdep/held-locks.ts";
import { lockClass } from "../lock-class.ts";
import type { LockClass } from "../lock-class.ts";
import { afterAcquire, beforeAcquire, beforeRelease, requireHeld } from "../lockdep/lockdep.ts";
import { enterWithWord, leaveWithWord, nextReader, readsOf } from "../words/reader-word.ts";
import { commitUndo, hasUndo } from "../words/undo-log.ts";
import {
  NOBODY,
  QUEUED_READERS,
  QUEUED_WRITER,
  QUEUED_WRITERS_MASK,
  READER,
  READERS_MASK,
  READER_SEQUENCE,
  RWSEM_WORDS,
  STATE,
  WRITER,
  WRITER_SEQUENCE,
  endEmptyPhase,
  isQueueFull,
  leaveAsWriter,
  leaveReaderQueue,
  mayRead,
  mayWrite,
  wakeForState,
} from "../words/rwsem-words.ts";
import { DEBUG, DETACHED, EXPLORED, REAL } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { DONE, DONE_FALSE, DONE_TRUE, describe, goesOn, mustSucceed, park } from "../tasks/task.ts";
import type { Task, Wait, WaitKind } from "../tasks/task.ts";

const unnamed = lockClass("rwsem");

/**
 * Many readers or one writer, who may wait while they hold it. A queued writer stops new readers.
 */
export class RwSem {
  /** Words that one takes. */
  static readonly WORDS: number = RWSEM_WORDS;
  /** The memory that it lies in. */
  readonly memory: SharedMemory;
  /** Index of its first word. */
  readonly at: number;
  /** Its role, for reports and for the order of locks. */
  readonly lockClass: LockClass;
  /** Who holds it may sleep. */
  readonly isSpinlock = false;
  private readonly sharedTag: number;
  private readonly exclusiveTag: number;
  private readonly enteringTag: number;
  private readonly queuedReadTag: number;
  private readonly queuedWriteTag: number;

  constructor(memory: SharedMemory, at: number, ofClass: LockClass = unnamed) {
    this.memory = memory;
    this.at = at;
    this.lockClass = ofClass;
    this.sharedTag = heldTag(ofClass, HELD_SHARED);
    this.exclusiveTag = heldTag(ofClass, HELD_EXCLUSIVE);
    this.enteringTag = heldTag(ofClass, ENTERING_WRITE);
    this.queuedReadTag = heldTag(ofClass, QUEUED_READ);
    this.queuedWriteTag = heldTag(ofClass, QUEUED_WRITE);
  }

  /** Free. Only while nobody else can know the words. */
  init(): void {
    this.memory.words.fill(0, this.at, this.at + RWSEM_WORDS);
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

  /** @spelled semaphore */
  private state(): number {
    return atomicLoad(this.memory.words, this.at + STATE);
  }

  /** @spelled semaphore */
  private tryEnterRead(): boolean {
    const { memory, at } = this;
    const { words, record } = memory;
    const reads = readsOf(words, record);
    if ((reads !== 0 && reads !== at) || memory.mode === EXPLORED) return this.tryCountRead();
    if (!enterWithWord(words, record, at, this.sharedTag)) return false;
    pushShared(memory, at);
    return true;
  }

  /**
   * Enters as a reader that STATE counts.
   *
   * @spelled semaphore
   */
  private tryCountRead(): boolean {
    const { memory, at } = this;
    const words = memory.words;
    const slot = countedSlot(memory, at, this.sharedTag);
    for (let state = atomicLoad(words, at); mayRead(state);) {
      const seen = atomicCompareExchange(words, at, state, withReader(state));
      if (seen === state) {
        words[slot] = at; // H1 of held-locks.ts
        noteCounted(memory, slot);
        pushShared(memory, at);
        return true;
      }
      state = seen;
    }
    return false;
  }

  /** Enters as the writer without waiting. @spelled semaphore */
  private tryEnterWrite(): boolean {
    if (!this.tryClaim()) return false;
    if (this.tryEnterClaimed()) return true;
    this.dropClaim();
    return false;
  }

  /**
   * Sets WRITER, unless STATE counts somebody.
   *
   * @spelled semaphore
   */
  private tryClaim(): boolean {
    const { memory, at } = this;
    const words = memory.words;
    words[memory.heldNext + TAG] = this.enteringTag;
    if (atomicCompareExchange(words, at, NOBODY, WRITER) !== NOBODY) return false;
    words[memory.heldNext] = at; // H1 of held-locks.ts
    noteExclusive(memory);
    return true;
  }

  /**
   * Directly after WRITER was set: enters, unless a thread is inside by its reader word.
   *
   * @spelled semaphore
   */
  private tryEnterClaimed(): boolean {
    const { memory, at } = this;
    if (memory.mode !== EXPLORED && nextReader(memory.words, at) !== 0) return false;
    // The newest slot is the highest one in use (H2 of held-locks.ts).
    memory.words[memory.heldNext - 1 + TAG] = this.exclusiveTag;
    return true;
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
      this.refuseSelfWait();
    }
    for (let word = nextReader(memory.words, at); word !== 0;) {
      yield park(memory, word, at, Infinity, this.lockClass.name);
      word = nextReader(memory.words, at, word);
    }
    memory.words[this.slotOf(this.enteringTag) + TAG] = this.exclusiveTag;
  }

  /** Gives up WRITER before it has entered. @spelled semaphore */
  private dropClaim(): void {
    const { memory, at } = this;
    const slot = this.slotOf(this.enteringTag);
    const state = leaveAsWriter(memory.words, at, slot);
    dropHeld(memory, slot);
    wakeForState(memory.words, at, state);
  }

  /** The slot of this agent's held table with this tag. */
  private slotOf(tag: number): number {
    const slot = findHeld(this.memory, this.at, tag);
    if (slot === 0)
      bug(
        `${this.lockClass.name} is released by a ${tag === this.sharedTag ? "reader" : "writer"} that does not hold it`,
      );
    return slot;
  }

  /**
   * A waiting reader counts itself in QUEUED_READERS before it reads STATE.
   *
   * @spelled semaphore
   */
  private enterReaderQueue(): void {
    const { memory, at } = this;
    const words = memory.words;
    const place = countedSlot(memory, at, this.queuedReadTag);
    atomicAdd(words, at + QUEUED_READERS, 1);
    words[place] = at; // H1 of held-locks.ts
    noteCounted(memory, place);
  }

  /**
   * A writer takes a place in the queue. False: the queue is full.
   *
   * @spelled semaphore
   */
  private tryQueueWrite(): boolean {
    const { memory, at } = this;
    const words = memory.words;
    const place = countedSlot(memory, at, this.queuedWriteTag);
    for (let state = atomicLoad(words, at); !isQueueFull(state);) {
      const seen = atomicCompareExchange(words, at, state, state + QUEUED_WRITER);
      if (seen === state) {
        words[place] = at; // H1 of held-locks.ts
        noteCounted(memory, place);
        return true;
      }
      state = seen;
    }
    return false;
  }

  /**
   * A queued writer sets WRITER if STATE allows it. Then it must see whether readers are inside.
   *
   * @spelled semaphore
   */
  private tryEnterQueued(): boolean {
    const { memory, at } = this;
    const words = memory.words;
    const place = findHeld(memory, at, this.queuedWriteTag);
    if (place === 0)
      bug(`${this.lockClass.name} is entered from the queue by a thread that is not in it`);
    for (let state = atomicLoad(words, at); mayWrite(state);) {
      const seen = atomicCompareExchange(words, at, state, state - QUEUED_WRITER + WRITER);
      if (seen === state) {
        words[memory.heldNext + TAG] = this.enteringTag;
        // H1 of held-locks.ts; it holds for giving up the place in the queue, too
        words[memory.heldNext] = at;
        if (--words[place + COUNT]! === 0) words[place] = 0;
        noteExclusive(memory);
        return true;
      }
      state = seen;
    }
    return false;
  }

  private *downReadSlow(): Task<void> {
    const { memory } = this;
    this.requireAgent();
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
    this.refuseSelfWait();
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
    this.requireAgent();
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
    this.refuseSelfWait();
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
    this.requireAgent();
    if (memory.mode === REAL) return false; // tryDownRead has tried
    if (memory.mode === EXPLORED) yield this.describe("tryDownRead");
    if (!this.tryEnterRead()) return false;
    afterAcquire(this, HELD_SHARED);
    return true;
  }

  private *tryDownWriteSlow(): Task<boolean> {
    const { memory } = this;
    this.requireAgent();
    if (memory.mode === EXPLORED) yield this.describe("tryDownWrite");
    if (!this.tryEnterWrite()) return false;
    afterAcquire(this, HELD_EXCLUSIVE);
    return true;
  }

  private *upChecked(mode: number): Task<void> {
    this.requireAgent();
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
    this.requireAgent();
    beforeRelease(this, HELD_EXCLUSIVE);
    if (this.memory.mode === EXPLORED) yield this.describe("downgrade");
    this.leaveWrite(READER);
    afterAcquire(this, HELD_SHARED);
  }

  private describe(kind: WaitKind): Wait {
    return describe(kind, this.memory, this.at, RWSEM_WORDS, this.lockClass.name);
  }

  /** @spelled semaphore */
  private leaveRead(): void {
    const { memory, at } = this;
    const { words, record } = memory;
    if (readsOf(words, record) === at) {
      leaveWithWord(words, record, at);
      popShared(memory, at);
      return;
    }
    const slot = this.slotOf(this.sharedTag);
    const state = atomicSub(words, at, READER) - READER;
    if (--words[slot + COUNT]! === 0) words[slot] = 0; // H1 of held-locks.ts
    dropHeld(memory, slot);
    popShared(memory, at);
    // Only the last reader may have to wake a waiter: readers wait only for writers.
    if ((state & QUEUED_WRITERS_MASK) !== 0 && mayWrite(state)) wakeForState(words, at, state);
  }

  /**
   * `stay`: READER to remain inside as a reader that STATE counts, 0 to leave. Waiting readers get
   * a reader phase.
   *
   * @spelled semaphore
   */
  private leaveWrite(stay: number): void {
    const { memory, at } = this;
    const words = memory.words;
    const slot = this.slotOf(this.exclusiveTag);
    if (hasUndo(memory)) commitUndo(memory, at);
    const readerSlot = stay === 0 ? 0 : countedSlot(memory, at, this.sharedTag);
    const state = leaveAsWriter(words, at, slot, stay, readerSlot);
    if (stay !== 0) {
      noteCounted(memory, readerSlot);
      pushShared(memory, at);
    }
    dropHeld(memory, slot);
    wakeForState(words, at, state);
  }

  private refuseSelfWait(): void {
    if (!heldBeneath(this.memory, this.at)) return;
    const { name } = this.lockClass;
    throw new HmmError(
      EDEADLK,
      "lock",
      `Cannot wait for ${name}: this task, or one that waits for it to return, holds it; release it first`,
    );
  }

  private requireAgent(): void {
    if (this.memory.mode === DETACHED)
      bug("this thread is not registered on the machine: call registerAgent first");
  }
}

/** STATE with one more reader. There is room for 32767; more mean that read locks leak. */
function withReader(state: number): number {
  assert(
    (state & READERS_MASK) !== READERS_MASK,
    "too many readers inside a reader-writer semaphore",
  );
  return state + READER;
}
