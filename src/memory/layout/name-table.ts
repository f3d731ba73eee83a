/**
 * @module memory/layout/name-table
 * A small directory in shared words from a name to a few words of payload. All threads find an
 * entry without talking to each other. The heap keeps its slab caches and its well-known pointers
 * in one each, the mirrors of hmm/ the drivers in use. Open addressing, linear probing.
 *
 * Entry: READY (0 until the rest is written), HASH, LENGTH, NAME (Latin-1, four characters to a
 * word), payload.
 *
 *   D1  `find` takes no lock: READY is stored last (atomically) and never changes again, so whoever
 *       sees it sees the entry.
 *   D2  `add` holds the owner's lock, and looks once more before it adds.
 *   D3  An entry is not removed. An owner whose payloads may fall out of use can let `add` rename
 *       one of those, in a full table only: there no empty entry ends a search, so every entry is
 *       found by every name. Such an owner searches under its lock only.
 */

import { atomicLoad } from "../../sync/atomics.ts";
import { bug } from "../../sync/errors.ts";
import { nameHash } from "../../sync/name-registry.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { readWord, writeWord } from "../../sync/primitives/word-steps.ts";

const READY = 0;
const HASH = 1;
const LENGTH = 2;
const NAME = 3;

export interface NameTableShape {
  /** Entries. */
  readonly capacity: number;
  /** Longest name, in words of four characters. */
  readonly nameWords: number;
  readonly payloadWords: number;
}

export interface NamedPayload {
  readonly name: string;
  /** Word index of the payload. */
  readonly at: number;
}

function entryWords({ nameWords, payloadWords }: NameTableShape): number {
  return NAME + nameWords + payloadWords;
}

export class NameTable {
  readonly #memory: SharedMemory;
  readonly #at: number;
  readonly #shape: NameTableShape;
  /** From an entry to its payload. */
  readonly #payload: number;

  /**
   * Over `NameTable.wordsFor(shape)` words at `at`, zeroed when they were new. This thread's view
   * of the heap covers them.
   */
  constructor(memory: SharedMemory, at: number, shape: NameTableShape) {
    this.#memory = memory;
    this.#at = at;
    this.#shape = shape;
    this.#payload = NAME + shape.nameWords;
  }

  static wordsFor(shape: NameTableShape): number {
    return shape.capacity * entryWords(shape);
  }

  /** Word index of the payload of `name`, or 0 (D1). */
  *find(name: string): Task<number> {
    for (const entry of this.#probes(name)) {
      if ((yield* readWord(this.#memory, entry + READY, "name table")) === 0) return 0;
      if (this.#isNamed(entry, name)) return entry + this.#payload;
    }
    return 0;
  }

  /** As `find`, holding the owner's lock. */
  findLocked(name: string): number {
    const entry = this.#slotOf(name);
    return entry !== 0 && this.#isReady(entry) ? entry + this.#payload : 0;
  }

  /**
   * Adds `name` if it is not there yet; `init` fills the payload before anyone can find it, zeroed
   * unless it was another name's. Returns the payload's word index, or 0 when the table is full.
   * `isUnused` says which payloads may get another name (D3). Holding the owner's lock (D2).
   */
  *add(
    name: string,
    init?: (at: number) => void,
    isUnused?: (at: number) => boolean,
  ): Task<number> {
    const limit = this.#shape.nameWords * 4;
    if (name.length === 0 || name.length > limit) {
      bug(`Cannot enter the name "${name}": it has ${name.length} characters; use 1 to ${limit}`);
    }
    let entry = this.#slotOf(name);
    if (entry !== 0 && this.#isReady(entry)) return entry + this.#payload;
    if (entry === 0) entry = this.#unusedEntry(isUnused);
    if (entry === 0) return 0;
    const { words } = this.#memory;
    this.#memory.plainWatch?.note(entry + HASH, true, "name");
    words[entry + HASH] = nameHash(name);
    words[entry + LENGTH] = name.length;
    words.fill(0, entry + NAME, entry + this.#payload);
    for (let i = 0; i < name.length; i++)
      words[entry + NAME + (i >> 2)]! |= name.charCodeAt(i) << ((i & 3) * 8);
    init?.(entry + this.#payload);
    yield* writeWord(this.#memory, entry + READY, 1, "name table");
    return entry + this.#payload;
  }

  /** All entries, in table order. */
  entries(): NamedPayload[] {
    return this.#readyEntries().map((entry) => ({
      name: this.#nameOf(entry),
      at: entry + this.#payload,
    }));
  }

  #readyEntries(): number[] {
    const entries = Array.from({ length: this.#shape.capacity }, (_, slot) => this.#entry(slot));
    return entries.filter((entry) => this.#isReady(entry));
  }

  #isReady(entry: number): boolean {
    return atomicLoad(this.#memory.words, entry + READY) !== 0;
  }

  #entry(slot: number): number {
    return this.#at + slot * entryWords(this.#shape);
  }

  *#probes(name: string): Generator<number, void, undefined> {
    const { capacity } = this.#shape;
    const first = nameHash(name) % capacity;
    for (let i = 0; i < capacity; i++) yield this.#entry((first + i) % capacity);
  }

  /** The entry of `name`, or the empty one for it; 0 in a full table without it. */
  #slotOf(name: string): number {
    for (const entry of this.#probes(name))
      if (!this.#isReady(entry) || this.#isNamed(entry, name)) return entry;
    return 0;
  }

  #unusedEntry(isUnused: ((at: number) => boolean) | undefined): number {
    if (isUnused === undefined) return 0;
    return this.#readyEntries().find((entry) => isUnused(entry + this.#payload)) ?? 0;
  }

  #isNamed(entry: number, name: string): boolean {
    this.#memory.plainWatch?.note(entry + HASH, false, "name");
    return this.#memory.words[entry + HASH] === nameHash(name) && this.#nameOf(entry) === name;
  }

  #nameOf(entry: number): string {
    const { words } = this.#memory;
    // A damaged heap may say any length.
    const length = Math.min(words[entry + LENGTH]!, this.#shape.nameWords * 4);
    const codes = Array.from(
      { length },
      (_, i) => (words[entry + NAME + (i >> 2)]! >>> ((i & 3) * 8)) & 0xff,
    );
    return String.fromCharCode(...codes);
  }
}
