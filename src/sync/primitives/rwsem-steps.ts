/**
 * @module What a thread does to the words of a reader-writer semaphore (rwsem.ts) without waiting:
 * it enters if it can, takes a place in a queue, leaves. What it holds afterwards it has noted in
 * its held table, in the same step as far as a death in between would matter (H1 of
 * lockdep/held-locks.ts).
 */

import { atomicAdd, atomicCompareExchange, atomicLoad, atomicSub } from "../atomics.ts";
import { assert, bug } from "../errors.ts";
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
  findHeld,
  heldTag,
  noteCounted,
  noteExclusive,
  popShared,
  pushShared,
} from "../lockdep/held-locks.ts";
import type { LockClass } from "../lock-class.ts";
import { enterWithWord, leaveWithWord, nextReader, readsOf } from "../words/reader-word.ts";
import { commitUndo, hasUndo } from "../words/undo-log.ts";
import {
  NOBODY,
  QUEUED_READERS,
  QUEUED_WRITER,
  QUEUED_WRITERS_MASK,
  READER,
  READERS_MASK,
  RWSEM_WORDS,
  STATE,
  WRITER,
  isQueueFull,
  leaveAsWriter,
  mayRead,
  mayWrite,
  wakeForState,
} from "../words/rwsem-words.ts";
import { EXPLORED } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";

/** The common part of readers and writers. */
export abstract class RwSemSteps {
  /** The memory that it lies in. */
  readonly memory: SharedMemory;
  /** Index of its first word. */
  readonly at: number;
  /** Its role, for reports and for the order of locks. */
  readonly lockClass: LockClass;
  protected readonly sharedTag: number;
  protected readonly exclusiveTag: number;
  protected readonly enteringTag: number;
  protected readonly queuedReadTag: number;
  protected readonly queuedWriteTag: number;

  constructor(memory: SharedMemory, at: number, ofClass: LockClass) {
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

  /** @spelled semaphore */
  protected state(): number {
    return atomicLoad(this.memory.words, this.at + STATE);
  }

  /** @spelled semaphore */
  protected tryEnterRead(): boolean {
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
  protected tryCountRead(): boolean {
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
  protected tryEnterWrite(): boolean {
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
  protected tryClaim(): boolean {
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
  protected tryEnterClaimed(): boolean {
    const { memory, at } = this;
    if (memory.mode !== EXPLORED && nextReader(memory.words, at) !== 0) return false;
    // The newest slot is the highest one in use (H2 of held-locks.ts).
    memory.words[memory.heldNext - 1 + TAG] = this.exclusiveTag;
    return true;
  }

  /** Gives up WRITER before it has entered. @spelled semaphore */
  protected dropClaim(): void {
    const { memory, at } = this;
    const slot = this.slotOf(this.enteringTag);
    const state = leaveAsWriter(memory.words, at, slot);
    dropHeld(memory, slot);
    wakeForState(memory.words, at, state);
  }

  /** The slot of this agent's held table with this tag. */
  protected slotOf(tag: number): number {
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
  protected enterReaderQueue(): void {
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
  protected tryQueueWrite(): boolean {
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
  protected tryEnterQueued(): boolean {
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

  /** @spelled semaphore */
  protected leaveRead(): void {
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
  protected leaveWrite(stay: number): void {
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
}

/** STATE with one more reader. There is room for 32767; more mean that read locks leak. */
function withReader(state: number): number {
  assert(
    (state & READERS_MASK) !== READERS_MASK,
    "too many readers inside a reader-writer semaphore",
  );
  return state + READER;
}
