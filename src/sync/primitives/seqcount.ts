/**
 * @module Sequence count: readers never write. They check whether a writer came in between, and
 * then read again. After include/linux/seqlock.h. Writers exclude each other by a lock that they
 * hold around writeBegin and writeEnd.
 *
 * | word | name | meaning |
 * | --- | --- | --- |
 * | 0 | SEQUENCE | odd while a writer is inside |
 * | 1 | WAITERS | readers that may sleep until it is even |
 *
 * What is read in between may be inconsistent: use it only after {@link SeqCount.readRetry}
 * returned false. The reads in between may be plain reads of 32-bit words.
 */

import { atomicAdd, atomicLoad, atomicSub, futexWake } from "../atomics.ts";
import { bug } from "../errors.ts";
import { beforeSleep } from "../lockdep/lockdep.ts";
import { EXPLORED, REAL } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { DONE, describe, doneBoolean, doneNumber, mustSucceed, park } from "../tasks/task.ts";
import type { Task } from "../tasks/task.ts";
import { mayReadAt } from "../words/word-states.ts";

const SEQUENCE = 0;
const WAITERS = 1;
const SPINS = 100;

/**
 * Two words. Readers never write, and read again if a writer came in between. Writers exclude each
 * other by a lock.
 */
export class SeqCount {
  /** Words that one takes. */
  static readonly WORDS = 2;
  /** The memory that it lies in. */
  readonly memory: SharedMemory;
  /** Index of its first word. */
  readonly at: number;
  /** Its name in reports. */
  readonly label: string;

  constructor(
    memory: SharedMemory,
    at: number,
    label: { readonly name: string } = { name: "seqcount" },
  ) {
    this.memory = memory;
    this.at = at;
    this.label = label.name;
  }

  /** No writer inside. Only while nobody else can know the words. */
  init(): void {
    this.memory.words.fill(0, this.at, this.at + SeqCount.WORDS);
  }

  /** Before the first change. The caller holds the writers' lock. */
  writeBegin(): Task<void> {
    if (this.memory.mode !== REAL) return this.writeInSteps("seqWriteBegin");
    this.step(0);
    return DONE;
  }

  /** After the last change. */
  writeEnd(): Task<void> {
    if (this.memory.mode !== REAL) return this.writeInSteps("seqWriteEnd");
    this.step(1);
    return DONE;
  }

  /** Waits while a writer is inside; the result is for {@link readRetry}. */
  readBegin(): Task<number> {
    if (this.memory.mode === REAL) {
      const sequence = this.sequence();
      if (mayReadAt(sequence)) return doneNumber(sequence);
    }
    return this.readBeginSlow();
  }

  /** Whether a writer came since {@link readBegin} returned `sequence`. If so, read again. */
  readRetry(sequence: number): Task<boolean> {
    if (this.memory.mode !== REAL) return this.retryInSteps(sequence);
    return doneBoolean(this.hasChanged(sequence));
  }

  /** @spelled sequence */
  private sequence(): number {
    return atomicLoad(this.memory.words, this.at + SEQUENCE);
  }

  /** @spelled sequence */
  private hasChanged(sequence: number): boolean {
    return this.sequence() !== sequence;
  }

  /** @spelled sequence */
  private step(parity: number): void {
    const { at } = this;
    const words = this.memory.words;
    const before = atomicAdd(words, at + SEQUENCE, 1);
    if ((before & 1) !== parity)
      bug(`${this.label}: two writers inside, or begin and end do not match`);
    if (parity === 1 && atomicLoad(words, at + WAITERS) > 0)
      futexWake(words, at + SEQUENCE, Infinity);
  }

  /** @spelled sequence */
  private *readBeginSlow(): Task<number> {
    const { memory, at, label } = this;
    if (memory.mode !== REAL) beforeSleep(label);
    if (memory.mode === EXPLORED) {
      const wait = describe("seqReadBegin", memory, at, 1, label);
      yield wait;
      const sequence = this.sequence();
      mustSucceed(mayReadAt(sequence), wait);
      return sequence;
    }
    for (let spins = Math.min(SPINS, memory.spinsMax); spins > 0; spins--) {
      const sequence = this.sequence();
      if (mayReadAt(sequence)) return sequence;
    }
    atomicAdd(memory.words, at + WAITERS, 1);
    try {
      for (;;) {
        const sequence = this.sequence();
        if (mayReadAt(sequence)) return sequence;
        yield park(memory, at, sequence, Infinity, label);
      }
    } finally {
      atomicSub(memory.words, at + WAITERS, 1);
    }
  }

  private *retryInSteps(sequence: number): Task<boolean> {
    if (this.memory.mode === EXPLORED) yield describe("read", this.memory, this.at, 1, this.label);
    return this.hasChanged(sequence);
  }

  private *writeInSteps(kind: "seqWriteBegin" | "seqWriteEnd"): Task<void> {
    if (this.memory.mode === EXPLORED) yield describe(kind, this.memory, this.at, 1, this.label);
    this.step(kind === "seqWriteEnd" ? 1 : 0);
  }
}
