/**
 * @module One number for the state that an execution has come to, updated with each step. It shows
 * an execution that does not repeat its beginning although it does the same operations. The number
 * covers the words that steps named, the words that watched plain stores wrote, and what each task
 * is about to do.
 *
 * D1. It is a sum: one number for each word, less what the word's value at the beginning would
 *     give, and one for each task. So what is as it was at the beginning adds nothing, and two
 *     equal states have one number.
 * D2. Plain stores that nobody watches are not in it, nor what tasks keep in JavaScript. They show
 *     when they get into a word or an operation. A second look (second-looks.ts) compares the whole
 *     memory.
 */

import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Wait } from "../../sync/tasks/task.ts";
import { otherOutcome, otherStart } from "./divergence.ts";
import type { Compared } from "./divergence.ts";

/** A step that names more is the allocation or the end of an object: its first words will do. */
const WORDS_AT_ONCE = 16;

export class Digests {
  value = 0;
  /** What every execution begins with. */
  #first: number | undefined;
  readonly #memory: SharedMemory;
  /** The words when an execution begins. */
  readonly #initial: Int32Array;
  /** As they have been counted. */
  #counted: Int32Array;
  /** Which of them are not as at the beginning, or were not. */
  readonly #changed: number[] = [];
  /** Watched plain stores since the latest step. */
  readonly #stored: number[] = [];
  /** What each task adds. */
  readonly #ofTasks: Int32Array;

  constructor(memory: SharedMemory, tasks: number, initial: Int32Array) {
    this.#memory = memory;
    this.#initial = initial;
    this.#counted = initial.slice();
    this.#ofTasks = new Int32Array(tasks);
  }

  /** A new execution begins. */
  forget(): void {
    for (const word of this.#changed) this.#counted[word] = this.#initial[word] ?? 0;
    this.#changed.length = 0;
    this.#stored.length = 0;
    this.#ofTasks.fill(0);
    this.value = 0;
  }

  /** A task writes a word plainly; what it writes is looked at after the step. */
  stores(word: number): void {
    this.#stored.push(word);
  }

  /** The task is about to do `wait` now, or is over. */
  isAbout(task: number, code: number, wait: Wait | undefined): void {
    const ofTasks = this.#ofTasks;
    const part =
      wait === undefined
        ? 0
        : mix(task * 64 + code + Math.imul(wait.index, 0x85ebca6b), wait.expected);
    this.value = (this.value + part - ofTasks[task]!) | 0;
    ofTasks[task] = part;
  }

  /** No execution has begun before this one. */
  get isFirst(): boolean {
    return this.#first === undefined;
  }

  /**
   * Each task is about to do its first operation. Throws UncontrolledNondeterminism if that was
   * otherwise before.
   */
  started(run: Compared): void {
    this.#settle();
    this.#first ??= this.value;
    if (this.#first !== this.value) throw otherStart(run);
  }

  /**
   * A step of the trace is done. Throws UncontrolledNondeterminism if it is repeated and was
   * otherwise before.
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
    if (this.#stored.length > 0) this.#settle();
  }

  /** Looks at what was stored plainly. */
  #settle(): void {
    for (const word of this.#stored) this.#count(word);
    this.#stored.length = 0;
  }

  #count(word: number): void {
    if (word >= this.#counted.length) this.#grow(word);
    const value = this.#memory.words[word]!;
    const before = this.#counted[word]!;
    if (value === before) return;
    this.#counted[word] = value;
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
