/**
 * @module Small shared objects for explored programs that do not use HMM: atomic words, gates for
 * spawn and join, a condition variable. Like the primitives of sync/ they work with every runner,
 * so an explored program can also run. Locks, semaphores, reference counts, wait queues,
 * completions and SRCU are the shipped ones of sync/.
 */

import {
  atomicAdd,
  atomicCompareExchange,
  atomicExchange,
  atomicLoad,
  atomicStore,
  futexWake,
  plainLoad,
} from "../../sync/atomics.ts";
import { Completion } from "../../sync/primitives/completion.ts";
import { CONTROL_WORDS } from "../../sync/control-block.ts";
import { lockClass } from "../../sync/lock-class.ts";
import { Mutex } from "../../sync/primitives/mutex.ts";
import { noteExtraRead } from "../../sync/tasks/extra-reads.ts";
import { RefCount } from "../../sync/primitives/refcount.ts";
import { RwSem } from "../../sync/primitives/rwsem.ts";
import { SeqCount } from "../../sync/primitives/seqcount.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { Spinlock } from "../../sync/primitives/spinlock.ts";
import { Srcu } from "../../sync/primitives/srcu.ts";
import { isExploring } from "../../sync/runners/stepping/offered.ts";
import { TIMED_OUT, describe, goesOn, park, step } from "../../sync/tasks/task.ts";
import type { Task, Wait, WaitKind } from "../../sync/tasks/task.ts";
import { WaitQueue } from "../../sync/primitives/wait-queue.ts";
import { notePlainAccess } from "../watch/plain-accesses.ts";

/**
 * One word with atomic accesses. In an exploration each access is a step; otherwise it is an atomic
 * operation. A change wakes the tasks that wait for it.
 */
export class Cell {
  /** The memory that the word lies in. */
  readonly memory: SharedMemory;
  /** Index of the word. */
  readonly at: number;
  /** Its name in findings and timelines. */
  readonly label: string;

  constructor(memory: SharedMemory, at: number, label: string) {
    this.memory = memory;
    this.at = at;
    this.label = label;
  }

  /** Reads the word. One step. */
  *load(): Task<number> {
    const wait = this.#offered("read");
    if (wait !== undefined) yield wait;
    return atomicLoad(this.memory.words, this.at);
  }

  /** Writes the word, and wakes who waits for a change of it. One step. */
  *store(value: number): Task<void> {
    const wait = this.#offered("write");
    if (wait !== undefined) yield wait;
    atomicStore(this.memory.words, this.at, value);
    this.#changed();
  }

  /**
   * Stores `replacement` if the cell holds `expected`. Returns whether it did. A failure only
   * reads.
   */
  *compareExchange(expected: number, replacement: number): Task<boolean> {
    return (yield* this.compareExchangeValue(expected, replacement)) === expected;
  }

  /** As {@link compareExchange}, but returns the value from before. */
  *compareExchangeValue(expected: number, replacement: number): Task<number> {
    const { memory, at } = this;
    const wait = this.#offered("compareExchange", expected);
    if (wait !== undefined) yield wait;
    const before = atomicCompareExchange(memory.words, at, expected, replacement);
    if (before === expected) this.#changed();
    return before;
  }

  /** Stores, and returns the value from before. */
  *exchange(value: number): Task<number> {
    const wait = this.#offered("update");
    if (wait !== undefined) yield wait;
    const before = atomicExchange(this.memory.words, this.at, value);
    this.#changed();
    return before;
  }

  /** Adds, and returns the value from before. */
  *fetchAdd(value: number): Task<number> {
    const wait = this.#offered("update");
    if (wait !== undefined) yield wait;
    const before = atomicAdd(this.memory.words, this.at, value);
    this.#changed();
    return before;
  }

  /**
   * Adds, without a result. Two such additions commute, so they are explored in one order only.
   */
  *add(value: number): Task<void> {
    const wait = this.#offered("add");
    if (wait !== undefined) yield wait;
    atomicAdd(this.memory.words, this.at, value);
    this.#changed();
  }

  /**
   * Waits while the cell holds `value`, and returns its next value. It replaces a loop around a
   * load.
   */
  *waitWhile(value: number): Task<number> {
    const { memory, at, label } = this;
    const wait = this.#offered("waitWhile", value);
    if (wait !== undefined) yield wait;
    for (;;) {
      const found = atomicLoad(memory.words, at);
      if (found !== value) return found;
      yield park(memory, at, value, Infinity, label);
    }
  }

  /** The operation as a step to yield; undefined if it is none, or the task goes on at once. */
  #offered(kind: WaitKind, expected: number = 0): Wait | undefined {
    const { memory, at, label } = this;
    if (!isExploring(memory)) return undefined;
    const wait = describe(kind, memory, at, 1, label, expected);
    return goesOn(wait) ? undefined : wait;
  }

  /** The value, outside any task or as an extra read in the current step. */
  peek(): number {
    noteExtraRead(this.memory, this.at);
    return plainLoad(this.memory.words, this.at);
  }

  /** Sets the value. Only while no other task can use the cell. */
  init(value: number): void {
    this.memory.words[this.at] = value;
  }

  #changed(): void {
    if (!isExploring(this.memory)) futexWake(this.memory.words, this.at, Infinity);
  }
}

/** One word with plain accesses. They are no steps; two unordered ones are a data race. */
export class PlainCell {
  /** The memory that the word lies in. */
  readonly memory: SharedMemory;
  /** Index of the word. */
  readonly at: number;
  /** Its name in findings and timelines. */
  readonly label: string;

  constructor(memory: SharedMemory, at: number, label: string) {
    this.memory = memory;
    this.at = at;
    this.label = label;
  }

  /** Reads the word. No step. */
  load(): number {
    notePlainAccess(this.at, false, this.label);
    return plainLoad(this.memory.words, this.at);
  }

  /** Writes the word. No step. */
  store(value: number): void {
    notePlainAccess(this.at, true, this.label);
    this.memory.words[this.at] = value;
  }

  /** The value, outside any task. It is no access for the checker. */
  peek(): number {
    return plainLoad(this.memory.words, this.at);
  }
}

/**
 * A gate is opened once. A task that passes it earlier waits. To spawn a child, open a gate that
 * the child passes first; to join it, pass a gate that the child opens last.
 */
export class Gate {
  readonly #cell: Cell;

  constructor(memory: SharedMemory, at: number, label: string) {
    this.#cell = new Cell(memory, at, label);
  }

  /** Lets all tasks pass, now and later. */
  open(): Task<void> {
    return this.#cell.store(1);
  }

  /** Returns once the gate is open. */
  *pass(): Task<void> {
    yield* this.#cell.waitWhile(0);
  }
}

/**
 * A condition variable with its own mutex, in two words: {mutex, queue}. A wait releases the mutex
 * and queues in one step, parks, and takes the mutex again.
 */
export class Condition {
  /** Words that one takes. */
  static readonly WORDS = 2;
  /** The mutex that guards what the condition is about. */
  readonly mutex: Mutex;
  readonly #memory: SharedMemory;
  readonly #at: number;

  constructor(memory: SharedMemory, at: number, label: string) {
    this.#memory = memory;
    this.#at = at;
    this.mutex = new Mutex(memory, at, lockClass(label));
  }

  /**
   * The caller holds the mutex. False: `timeoutMs` have passed. It may return true without a
   * signal, so test the condition again.
   */
  *wait(timeoutMs: number = Infinity): Task<boolean> {
    const memory = this.#memory;
    const queue = this.#at + 1;
    yield* step(memory, "release", this.#at, Condition.WORDS, "condition");
    const sequence = atomicLoad(memory.words, queue);
    this.mutex.unlockNow();
    const wake = yield park(memory, queue, sequence, timeoutMs, "condition");
    yield* this.mutex.lock();
    return wake !== TIMED_OUT;
  }

  /** Wakes all waiting tasks. */
  broadcast(): Task<void> {
    return this.#wake("wakeAll");
  }

  /** Wakes one waiting task. */
  signal(): Task<void> {
    return this.#wake("wakeOne");
  }

  *#wake(kind: "wakeAll" | "wakeOne"): Task<void> {
    const queue = this.#at + 1;
    const isExplored = isExploring(this.#memory);
    if (isExplored) yield describe(kind, this.#memory, queue, 1, "condition");
    atomicAdd(this.#memory.words, queue, 1);
    if (!isExplored) futexWake(this.#memory.words, queue, kind === "wakeAll" ? Infinity : 1);
  }
}

/**
 * Allocates words of the memory in order, from the first free one, and makes objects of them. For
 * the set-up of a scenario. Findings and timelines show the labels.
 */
export class Places {
  /** The memory whose words are handed out. */
  readonly memory: SharedMemory;
  #next: number = CONTROL_WORDS;

  constructor(memory: SharedMemory) {
    this.memory = memory;
  }

  /** Takes `words` words. Returns the index of the first. Throws RangeError if too few are left. */
  take(words: number): number {
    const at = this.#next;
    const end = at + words;
    if (end > this.memory.words.length) this.memory.refresh();
    const { length } = this.memory.words;
    if (end > length) {
      const free = Math.max(length - CONTROL_WORDS, 0);
      throw new RangeError(
        `Cannot take ${words} words: of the memory's ${free}, ${at - CONTROL_WORDS} are taken; raise \`words\` of the scenario, or initialBytes of its own memory`,
      );
    }
    this.#next = end;
    return at;
  }

  /** A word for atomic accesses, with the value `value`. */
  cell(label: string, value: number = 0): Cell {
    const cell = new Cell(this.memory, this.take(1), label);
    cell.init(value);
    return cell;
  }

  /** A word for plain accesses, with the value 0. */
  plainCell(label: string): PlainCell {
    return new PlainCell(this.memory, this.take(1), label);
  }

  /** `count` words for atomic accesses, called `label[0]`, `label[1]`, ... */
  cells(label: string, count: number): Cell[] {
    return Array.from({ length: count }, (_, i) => this.cell(`${label}[${i}]`));
  }

  /** A mutex that nobody holds. */
  mutex(label: string): Mutex {
    return new Mutex(this.memory, this.take(Mutex.WORDS), lockClass(label));
  }

  /** `count` mutexes, called `label[0]`, `label[1]`, ..., each a lock class of its own. */
  mutexes(label: string, count: number): Mutex[] {
    return Array.from({ length: count }, (_, i) => this.mutex(`${label}[${i}]`));
  }

  /** A spinlock that nobody holds. */
  spinlock(label: string): Spinlock {
    return new Spinlock(this.memory, this.take(Spinlock.WORDS), lockClass(label));
  }

  /** A reader-writer semaphore that nobody holds. */
  rwsem(label: string): RwSem {
    const semaphore = new RwSem(this.memory, this.take(RwSem.WORDS), lockClass(label));
    semaphore.init();
    return semaphore;
  }

  /** An SRCU domain without readers. */
  srcu(label: string): Srcu {
    const domain = new Srcu(this.memory, this.take(Srcu.WORDS), lockClass(label));
    domain.init();
    return domain;
  }

  /** A reference count with this many references. */
  refCount(references: number = 1): RefCount {
    const count = new RefCount(this.memory, this.take(RefCount.WORDS));
    count.init(references);
    return count;
  }

  /** A sequence count that nobody writes under. */
  seqCount(label: string): SeqCount {
    const sequence = new SeqCount(this.memory, this.take(SeqCount.WORDS), { name: label });
    sequence.init();
    return sequence;
  }

  /** A wait queue without waiters. */
  waitQueue(label: string): WaitQueue {
    const queue = new WaitQueue(this.memory, this.take(WaitQueue.WORDS), { name: label });
    queue.init();
    return queue;
  }

  /** A completion that is not complete. */
  completion(label: string): Completion {
    const completion = new Completion(this.memory, this.take(Completion.WORDS), { name: label });
    completion.init();
    return completion;
  }

  /** A gate that is shut. */
  gate(label: string): Gate {
    return new Gate(this.memory, this.take(1), label);
  }

  /** A condition variable with its mutex. */
  condition(label: string): Condition {
    return new Condition(this.memory, this.take(Condition.WORDS), label);
  }
}
