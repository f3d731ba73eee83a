/**
 * @module An allocator for scenarios without a heap of their own. Each task has an arena, so that two allocations are
 * independent, and no address is handed out twice in one execution, so that a use after free is always seen.
 */

import { POISON_FREE } from "../../memory/poison.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { describe } from "../../sync/task.ts";
import type { Task } from "../../sync/task.ts";

/** A heap of its own for a scenario: what is freed is poisoned, and every use of it from then on is a finding. */
export class Objects {
  readonly #memory: SharedMemory;
  readonly #at: number;
  readonly #arenaWords: number;

  /** Of a scenario's set-up: `tasks` arenas of `arenaWords` words each, from `at` on. */
  constructor(memory: SharedMemory, at: number, arenaWords: number) {
    this.#memory = memory;
    this.#at = at;
    this.#arenaWords = arenaWords;
  }

  /** `words` zeroed words. The arena's first word counts those in use. Throws RangeError when it is full. */
  *alloc(words: number, label: string): Task<number> {
    const arena = this.#at + (this.#memory.agentId - 1) * this.#arenaWords;
    const used = this.#memory.words[arena]! + 1;
    if (used + words > this.#arenaWords) throw new RangeError(`Cannot allocate ${label}: raise arenaWords`);
    this.#memory.words[arena] = used + words - 1;
    const at = arena + used;
    yield describe("alloc", this.#memory, at, words, label);
    this.#memory.words.fill(0, at, at + words);
    return at;
  }

  /** Poisons them. A second free, or a use from now on, is a finding. */
  *free(at: number, words: number, label: string): Task<void> {
    yield describe("free", this.#memory, at, words, label);
    this.#memory.words.fill(POISON_FREE, at, at + words);
  }
}
