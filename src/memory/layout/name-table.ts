/**
 * @module memory/layout/name-table
 * A small directory in shared words from a name to a few words of payload, found by all threads
 * without talking to each other: the heap keeps its slab caches and its well-known pointers in one
 * each. Entries are never removed. Open addressing, linear probing.
 *
 * Entry: READY (0 until the rest is written), HASH, LENGTH, NAME (`NAME_WORDS` words, Latin-1),
 * payload.
 *
 *   D1  Looking up takes no lock: READY is stored last (atomically) and never changes again, so who
 *       sees it sees the entry.
 *   D2  Adding holds the owner's lock (heapLock) and looks once more before it adds.
 */

import { atomicLoad } from "../../sync/atomics.ts";
import { bug } from "../../sync/errors.ts";
import { nameHash } from "../../sync/lock-class.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { readWord, writeWord } from "../../sync/primitives/word-steps.ts";

const READY = 0;
const HASH = 1;
const LENGTH = 2;
const NAME = 3;
const NAME_WORDS = 8;
const PAYLOAD: number = NAME + NAME_WORDS;
const NAME_LIMIT: number = NAME_WORDS * 4;

export interface NamedPayload {
  readonly name: string;
  /** Word index of the payload. */
  readonly at: number;
}

export class NameTable {
  readonly #memory: SharedMemory;
  readonly #at: number;
  readonly #capacity: number;
  readonly #entryWords: number;

  /**
   * Over `NameTable.wordsFor(...)` zeroed words at `at`, which lie in the part of the heap that
   * every view covers.
   */
  constructor(memory: SharedMemory, at: number, capacity: number, payloadWords: number) {
    this.#memory = memory;
    this.#at = at;
    this.#capacity = capacity;
    this.#entryWords = PAYLOAD + payloadWords;
  }

  static wordsFor(capacity: number, payloadWords: number): number {
    return capacity * (PAYLOAD + payloadWords);
  }

  /** Word index of the payload of `name`, or 0 (D1). */
  *find(name: string): Task<number> {
    for (const entry of this.#probes(name)) {
      if ((yield* readWord(this.#memory, entry + READY, "name table")) === 0) return 0;
      if (this.#isNamed(entry, name)) return entry + PAYLOAD;
    }
    return 0;
  }

  /**
   * Adds `name` if it is not there yet; `init` fills the zeroed payload before anyone can find it.
   * Holding the owner's lock (D2).
   */
  *add(name: string, init?: (at: number) => void): Task<number> {
    if (name.length === 0 || name.length > NAME_LIMIT) {
      bug(
        `Cannot enter the name "${name}": it has ${name.length} characters; use 1 to ${NAME_LIMIT}`,
      );
    }
    const { words } = this.#memory;
    for (const entry of this.#probes(name)) {
      if (atomicLoad(words, entry + READY) !== 0) {
        if (this.#isNamed(entry, name)) return entry + PAYLOAD;
        continue;
      }
      this.#memory.plainWatch?.note(entry + HASH, true, "name");
      words[entry + HASH] = nameHash(name);
      words[entry + LENGTH] = name.length;
      for (let i = 0; i < name.length; i++)
        words[entry + NAME + (i >> 2)]! |= name.charCodeAt(i) << ((i & 3) * 8);
      init?.(entry + PAYLOAD);
      yield* writeWord(this.#memory, entry + READY, 1, "name table");
      return entry + PAYLOAD;
    }
    return bug(
      `Cannot enter the name "${name}": all ${this.#capacity} entries are taken; use fewer names`,
    );
  }

  /** All entries, in table order. */
  entries(): NamedPayload[] {
    const { words } = this.#memory;
    const found: NamedPayload[] = [];
    for (let slot = 0; slot < this.#capacity; slot++) {
      const entry = this.#at + slot * this.#entryWords;
      if (atomicLoad(words, entry + READY) !== 0)
        found.push({ name: this.#nameOf(entry), at: entry + PAYLOAD });
    }
    return found;
  }

  *#probes(name: string): Generator<number, void, undefined> {
    const first = nameHash(name) % this.#capacity;
    for (let i = 0; i < this.#capacity; i++)
      yield this.#at + ((first + i) % this.#capacity) * this.#entryWords;
  }

  #isNamed(entry: number, name: string): boolean {
    this.#memory.plainWatch?.note(entry + HASH, false, "name");
    return this.#memory.words[entry + HASH] === nameHash(name) && this.#nameOf(entry) === name;
  }

  #nameOf(entry: number): string {
    const { words } = this.#memory;
    const codes = Array.from(
      { length: words[entry + LENGTH]! },
      (_, i) => (words[entry + NAME + (i >> 2)]! >>> ((i & 3) * 8)) & 0xff,
    );
    return String.fromCharCode(...codes);
  }
}
