/**
 * @module Reference count that saturates instead of wrapping, after Linux's refcount_t
 * (include/linux/refcount.h).
 *
 * One word:
 *
 * | value | meaning |
 * | --- | --- |
 * | 0 | dead: the object is being freed |
 * | 1 .. 2^31 - 1 | references |
 * | negative | saturated: the object is never freed. A leak is better than a use after free |
 *
 * Misuse (get on 0, put on 0) saturates the count, too. It is an assertion failure that names the
 * word.
 */

import {
  atomicAdd,
  atomicCompareExchange,
  atomicLoad,
  atomicStore,
  atomicSub,
  compareExchangeNoted,
  decrementNoted,
  incrementNoted,
} from "../atomics.ts";
import { bug } from "../errors.ts";
import { noteExtraRead } from "../tasks/extra-reads.ts";
import { REAL } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { DONE, doneBoolean, step } from "../tasks/task.ts";
import type { Task } from "../tasks/task.ts";

/** Far from both ends of the negative numbers: concurrent adds and subtracts do not leave them. */
const SATURATED = -0x40000000;

/**
 * One word that counts references. A get on 0 and a put on 0 are errors. A count that would wrap
 * saturates.
 */
export class RefCount {
  /** Words that one takes. */
  static readonly WORDS = 1;
  /** The memory that it lies in. */
  readonly memory: SharedMemory;
  /** Index of its first word. */
  readonly at: number;

  constructor(memory: SharedMemory, at: number) {
    this.memory = memory;
    this.at = at;
  }

  /** Only while nobody else can know the word. */
  init(references: number): void {
    atomicStore(this.memory.words, this.at, references);
  }

  /**
   * One more reference; the caller already has one. In the same step the word `note` of the heap
   * becomes `noted`, if there is such a word.
   */
  get(note: number = 0, noted: number = 0): Task<void> {
    if (this.memory.mode !== REAL) return this.getInSteps(note, noted);
    this.increment(note, noted);
    return DONE;
  }

  /**
   * One more reference, unless the count is 0. False: the object is being freed. With it, in the
   * same step, the word `note` of the heap becomes `noted`, if there is such a word.
   */
  getNotZero(note: number = 0, noted: number = 0): Task<boolean> {
    if (this.memory.mode !== REAL) return this.getNotZeroInSteps(note, noted);
    return doneBoolean(this.incrementNotZero(note, noted));
  }

  /**
   * One reference less. True: that was the last one, and the caller frees the object. In the same
   * step the word `note` of the heap becomes `last` then, else 0, if there is such a word.
   */
  put(note: number = 0, last: number = 0): Task<boolean> {
    if (this.memory.mode !== REAL) return this.putInSteps(note, last);
    return doneBoolean(this.decrement(note, last));
  }

  /** A momentary value, for reports and assertions. */
  read(): number {
    noteExtraRead(this.memory, this.at);
    return atomicLoad(this.memory.words, this.at);
  }

  private *getInSteps(note: number, noted: number): Task<void> {
    yield* step(this.memory, "refGet", this.at, 1, "refcount");
    this.increment(note, noted);
  }

  private *getNotZeroInSteps(note: number, noted: number): Task<boolean> {
    yield* step(this.memory, "refGetNotZero", this.at, 1, "refcount");
    return this.incrementNotZero(note, noted);
  }

  private *putInSteps(note: number, last: number): Task<boolean> {
    yield* step(this.memory, "refPut", this.at, 1, "refcount");
    return this.decrement(note, last);
  }

  /** @spelled refcount */
  private increment(note: number, noted: number): void {
    const { words } = this.memory;
    const before =
      note === 0
        ? atomicAdd(words, this.at, 1)
        : incrementNoted(words, this.at, words, note, noted);
    if (before > 0 && before !== 0x7fffffff) return;
    atomicStore(this.memory.words, this.at, SATURATED);
    if (before === 0)
      bug(`refcount at word ${this.at}: get on 0, the object is already being freed`);
  }

  /** @spelled refcount */
  private incrementNotZero(note: number, noted: number): boolean {
    const { at } = this;
    const words = this.memory.words;
    for (let seen = atomicLoad(words, at); seen !== 0;) {
      if (seen < 0 && note === 0) return true;
      const next = seen === 0x7fffffff ? SATURATED : seen + 1;
      const before =
        note === 0
          ? atomicCompareExchange(words, at, seen, next)
          : compareExchangeNoted(words, at, seen, next, words, note, noted);
      if (before === seen) return true;
      seen = before;
    }
    return false;
  }

  /** @spelled refcount */
  private decrement(note: number, last: number): boolean {
    const { words } = this.memory;
    const before =
      note === 0 ? atomicSub(words, this.at, 1) : decrementNoted(words, this.at, words, note, last);
    if (before > 1) return false;
    if (before === 1) return true;
    atomicStore(this.memory.words, this.at, SATURATED);
    if (before === 0)
      bug(`refcount at word ${this.at}: put on 0, somebody gave back a reference too many`);
    return false;
  }
}
