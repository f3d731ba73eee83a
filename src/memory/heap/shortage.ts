/**
 * @module memory/heap/shortage
 * Memory that runs out in the middle of an operation. Not for programs: on the machine of an
 * exploration that has a shortage, each allocation of a task, of kernel heap or of frames,
 * reads a word first and fails while it says so. One task begins the shortage; when that is,
 * before which allocation of another one, is then a choice of the scheduler like any other
 * order of two steps, and all of them are tried.
 */

import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { compareExchangeWord, readWord, writeWord } from "../../sync/primitives/word-steps.ts";

const PLENTY = 0;
const SHORT = 1;
/** It has been, and will not be again. */
const OVER = 2;

const LABEL = "shortage";

/** Whether the memory of a machine that is explored has run out. Shared by its tasks. */
export class Shortage {
  readonly memory: SharedMemory;
  readonly at: number;

  /** `at`: a zeroed word of the heap that nobody else uses. */
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

  /** Whether an allocation that is asked for now must fail. */
  *isOn(): Task<boolean> {
    return (yield* readWord(this.memory, this.at, LABEL)) === SHORT;
  }
}
