/**
 * @module memory/heap/shortage
 * Memory that runs out in the middle of an operation. Not for programs. On the machine of an
 * exploration with a shortage, each allocation of a task, of kernel heap or of frames, first reads
 * a word, and fails while the word says so. One task begins the shortage. The scheduler tries
 * all orders of that step and the allocations of other tasks.
 */

import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { compareExchangeWord, readWord, writeWord } from "../../sync/primitives/word-steps.ts";

const PLENTY = 0;
const SHORT = 1;
/** It has ended and does not begin again. */
const OVER = 2;

const LABEL = "shortage";

/** Whether the memory of an explored machine has run out. Shared by its tasks. */
export class Shortage {
  /** The memory of the explored machine. */
  readonly memory: SharedMemory;
  /** Index of the word that says it. */
  readonly at: number;

  /** `at`: a zeroed word of the heap with no other use. */
  constructor(memory: SharedMemory, at: number) {
    this.memory = memory;
    this.at = at;
  }

  /** From now on allocations fail, unless the shortage is over already. */
  *begin(): Task<void> {
    yield* compareExchangeWord(this.memory, this.at, PLENTY, SHORT, LABEL);
  }

  /** From now on they succeed. */
  end(): Task<void> {
    return writeWord(this.memory, this.at, OVER, LABEL);
  }

  /** Whether an allocation must fail now. */
  *isOn(): Task<boolean> {
    return (yield* readWord(this.memory, this.at, LABEL)) === SHORT;
  }
}
