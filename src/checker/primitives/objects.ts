/**
 * @module An allocator for scenarios without a machine. Each task has an arena, so that two
 * allocations are independent. No address is reused in one execution, so that a use after free is
 * always found.
 */

import { POISON_FREE } from "../../memory/layout/poison.ts";
import { lockClass } from "../../sync/lock-class.ts";
import { Mutex } from "../../sync/primitives/mutex.ts";
import { RefCount } from "../../sync/primitives/refcount.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { describe } from "../../sync/tasks/task.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { Cell, PlainCell } from "./program.ts";
import type { Places } from "./program.ts";

/**
 * The heap of a scenario. A free poisons the object, and every later use of it is a finding.
 */
export class Objects {
  readonly #memory: SharedMemory;
  readonly #at: number;
  readonly #arenaWords: number;

  /** For the set-up of a scenario: `tasks` arenas of `arenaWords` words each, from `at` on. */
  constructor(memory: SharedMemory, at: number, arenaWords: number) {
    this.#memory = memory;
    this.#at = at;
    this.#arenaWords = arenaWords;
  }

  /** The same, with words from `places`. Any task of the scenario may allocate. */
  static from(places: Places, tasks: number, arenaWords: number): Objects {
    return new Objects(places.memory, places.take(tasks * arenaWords), arenaWords);
  }

  /** A new object of zeroed words. A pointer to it holds its {@link HeapObject.at}. */
  *create(label: string, words: number): Task<HeapObject> {
    return this.object(yield* this.alloc(words, label), label, words);
  }

  /**
   * The object at a pointer. It was made by {@link create} with the same label and size.
   */
  object(at: number, label: string, words: number): HeapObject {
    return new HeapObject(this, this.#memory, { at, label, words });
  }

  /**
   * Allocates `words` zeroed words. The first word of the arena counts those in use. Throws
   * RangeError if the arena is full.
   */
  *alloc(words: number, label: string): Task<number> {
    const arena = this.#at + (this.#memory.agentId - 1) * this.#arenaWords;
    const used = this.#memory.words[arena]! + 1;
    if (used + words > this.#arenaWords)
      throw new RangeError(`Cannot allocate ${label}: raise arenaWords`);
    this.#memory.words[arena] = used + words - 1;
    const at = arena + used;
    yield describe("alloc", this.#memory, at, words, label);
    this.#memory.words.fill(0, at, at + words);
    return at;
  }

  /** Poisons the words. A second free, or a later use, is a finding. */
  *free(at: number, words: number, label: string): Task<void> {
    yield describe("free", this.#memory, at, words, label);
    this.#memory.words.fill(POISON_FREE, at, at + words);
  }
}

/**
 * The words of an object of a heap; word 0 is the first. It may be used only until it is freed.
 */
export class HeapObject {
  /** Index of its first word. */
  readonly at: number;
  /** The number of its words. */
  readonly words: number;
  /** Its name in findings and timelines. */
  readonly label: string;
  readonly #objects: Objects;
  readonly #memory: SharedMemory;

  /** Use {@link Objects.object}. */
  constructor(
    objects: Objects,
    memory: SharedMemory,
    what: { readonly at: number; readonly label: string; readonly words: number },
  ) {
    this.#objects = objects;
    this.#memory = memory;
    this.at = what.at;
    this.label = what.label;
    this.words = what.words;
  }

  /** Word `word` for atomic accesses. */
  cell(word: number, name: string): Cell {
    return new Cell(this.#memory, this.#wordAt(word), `${this.label}.${name}`);
  }

  /** Word `word` for plain accesses. */
  plainCell(word: number, name: string): PlainCell {
    return new PlainCell(this.#memory, this.#wordAt(word), `${this.label}.${name}`);
  }

  /** Word `word` as a reference count. In a new object it is 0: the creator calls its `init`. */
  refCount(word: number): RefCount {
    return new RefCount(this.#memory, this.#wordAt(word));
  }

  /** Word `word` as a mutex. Mutexes of one name are of one lock class. */
  mutex(word: number, name: string): Mutex {
    return new Mutex(this.#memory, this.#wordAt(word), lockClass(`${this.label}.${name}`));
  }

  /** Frees the object. A second free, or a later use, is a finding. */
  free(): Task<void> {
    return this.#objects.free(this.at, this.words, this.label);
  }

  #wordAt(word: number): number {
    if (Number.isInteger(word) && word >= 0 && word < this.words) return this.at + word;
    throw new RangeError(
      `Cannot use word ${word} of ${this.label}: it has ${this.words}, the first is 0`,
    );
  }
}
