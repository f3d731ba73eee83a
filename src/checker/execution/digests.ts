/**
 * @module A digest of the state that an execution has reached, updated with each step. It reveals
 * an execution that does not repeat its beginning although it does the same operations. The digest
 * covers the words that steps named, the words that watched plain stores wrote, and the pending
 * operation of each task.
 *
 * D1. It is a sum. Each word adds the hash of its value minus the hash of its initial value, and
 *     each task adds the hash of its pending operation. So an unchanged word adds nothing, and
 *     equal states have equal digests.
 * D2. It does not cover plain stores that are not watched, nor what tasks keep in JavaScript. These
 *     show when they affect a covered word or an operation. determinism-check.ts compares the whole
 *     memory.
 */

import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Wait } from "../../sync/tasks/task.ts";
import { otherOutcome, otherStart } from "./divergence.ts";
import type { Compared } from "./divergence.ts";

/** A step that names more words allocates or frees an object: its first words are enough. */
const WORDS_AT_ONCE = 16;

export class Digests {
  value = 0;
  /** The digest at the beginning of every execution. */
  #first: number | undefined;
  readonly #memory: SharedMemory;
  /** The words when an execution begins. */
  readonly #initial: Int32Array;
  /**
   * The values that the digest counts, each as its difference from the initial one. Most stay 0: a
   * new array costs nothing where it is not written, and a copy of the memory does.
   */
  #counted: Int32Array;
  /** The words whose counted value has changed in this execution. */
  readonly #changed: number[] = [];
  /** Words that watched plain stores have written since the latest step. */
  readonly #stored: number[] = [];
  /** What each task adds to the digest. */
  readonly #ofTasks: Int32Array;

  constructor(memory: SharedMemory, tasks: number, initial: Int32Array) {
    this.#memory = memory;
    this.#initial = initial;
    this.#counted = new Int32Array(initial.length);
    this.#ofTasks = new Int32Array(tasks);
  }

  /** A new execution begins. */
  reset(): void {
    for (const word of this.#changed) this.#counted[word] = 0;
    this.#changed.length = 0;
    this.#stored.length = 0;
    this.#ofTasks.fill(0);
    this.value = 0;
  }

  /** A task is about to write a word by a plain store. Its value is counted after the step. */
  noteStore(word: number): void {
    this.#stored.push(word);
  }

  /** The pending operation of the task is `wait`; undefined: the task is over. */
  setPending(task: number, code: number, wait: Wait | undefined): void {
    const ofTasks = this.#ofTasks;
    const part =
      wait === undefined
        ? 0
        : mix(task * 64 + code + Math.imul(wait.index, 0x85ebca6b), wait.expected);
    this.value = (this.value + part - ofTasks[task]!) | 0;
    ofTasks[task] = part;
  }

  /** The next executions are of other tasks: nothing is known about how they begin. */
  forget(): void {
    this.#first = undefined;
  }

  /** This is the first execution. */
  get isFirst(): boolean {
    return this.#first === undefined;
  }

  /**
   * Each task has its first operation pending. Throws UncontrolledNondeterminism if an earlier
   * execution began differently.
   */
  started(run: Compared): void {
    this.#countStores();
    this.#first ??= this.value;
    if (this.#first !== this.value) throw otherStart(run);
  }

  /**
   * A step of the trace was performed. Throws UncontrolledNondeterminism if it repeats an earlier
   * one with a different outcome.
   */
  stepped(run: Compared, step: number, isRepeated: boolean): void {
    const { trace } = run;
    const wait = trace.waits[step]!;
    this.#countWords(wait);
    if (!isRepeated) trace.digest[step] = this.value;
    else if (trace.digest[step] !== this.value)
      throw otherOutcome(run, step, this.#memory.words[wait.index]!);
  }

  #countWords({ index, words }: Wait): void {
    if (words === 1 && index >= 0) this.#count(index);
    else {
      const end = index + Math.min(words, WORDS_AT_ONCE);
      for (let word = Math.max(index, 0); word < end; word++) this.#count(word);
    }
    if (this.#stored.length > 0) this.#countStores();
  }

  /** Counts the words that plain stores have written. */
  #countStores(): void {
    for (const word of this.#stored) this.#count(word);
    this.#stored.length = 0;
  }

  #count(word: number): void {
    if (word >= this.#counted.length) this.#grow(word);
    const value = this.#memory.words[word]!;
    const initial = this.#initial[word] ?? 0;
    const before = (initial + this.#counted[word]!) | 0;
    if (value === before) return;
    this.#counted[word] = value - initial;
    this.#changed.push(word);
    this.value = (this.value + mix(word, value) - mix(word, before)) | 0;
  }

  #grow(word: number): void {
    const wider = new Int32Array(Math.max(word + 1, this.#memory.words.length));
    wider.set(this.#counted);
    this.#counted = wider;
  }
}

function mix(a: number, b: number): number {
  let mixed = Math.imul(a, 0x9e3779b1) ^ Math.imul(b + 0x7f4a7c15, 0x27d4eb2f);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0xc2b2ae35);
  return mixed ^ (mixed >>> 13);
}
