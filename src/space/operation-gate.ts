/**
 * @module space/operation-gate
 * The door between an AddressSpace object and the core: who may come in, and who is inside.
 *
 *   G1  A task inside holds the object's mm user (R2): closing the door waits, in effect, until all are out, and only then the user is dropped.
 *   G2  A thread that may lack a user's buffer receives it before it comes in: inside it would find out holding a lock.
 *   G3  A task that is thrown out while it holds a lock stops the machine: what the lock guards may be half changed, and everyone who wants it
 *       would wait for ever.
 */

import { mayBlock } from "../sync/atomics.ts";
import { EBADF, ENOTRECOVERABLE, ENXIO, EOPNOTSUPP } from "../sync/errno.ts";
import { assertNoLockHeld } from "../sync/held-locks.ts";
import { declarePanic, hasPanicked } from "../sync/panic.ts";
import { runAsync } from "../sync/run-async.ts";
import { runBlocking } from "../sync/run-blocking.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import type { Task } from "../sync/task.ts";
import { type Syscall, customFailure, failure } from "./failures.ts";
import type { MachineSeat } from "./machine-seat.ts";
import { type SpaceHold, bufferEpochOf } from "./space-table.ts";

/** Throws unless this thread may block. */
export function requireBlocking(syscall: Syscall): void {
  if (mayBlock()) return;
  throw customFailure(syscall, EOPNOTSUPP, "this thread may not block; use the form that returns a promise");
}

/** G3. */
function* stopIfLockHeld<T>(memory: SharedMemory, task: Task<T>): Task<T> {
  try {
    return yield* task;
  } catch (error) {
    if (!hasPanicked(memory)) {
      try {
        assertNoLockHeld(memory, "an operation that fails", "what the lock guards may be half changed");
      } catch (held) {
        declarePanic(memory, ENOTRECOVERABLE, `Cannot go on: ${String(held)}; it failed with ${String(error)}`);
      }
    }
    throw error;
  }
}

export class OperationGate {
  readonly #seat: MachineSeat;
  readonly #hold: SpaceHold;
  readonly #memory: SharedMemory;
  #isClosed = false;
  #inside = 0;
  #bufferEpoch = 0;
  #onEmpty: (() => void) | undefined;

  constructor(seat: MachineSeat, hold: SpaceHold) {
    this.#seat = seat;
    this.#hold = hold;
    this.#memory = seat.machine.memory;
  }

  /** Runs the task that `makeTask` gives, on the async runner; it begins at once. Rejects, never throws. */
  async run<T>(syscall: Syscall, makeTask: () => Task<T>): Promise<T> {
    this.check(syscall);
    if (this.#mayLackSections()) {
      if (!(await this.#seat.awaitSections())) throw failure(syscall, ENXIO);
      this.check(syscall);
    }
    return runAsync(this.#memory, this.#guard(makeTask()), syscall);
  }

  /** Runs the task that `makeTask` gives to its end. Throws EOPNOTSUPP where the thread may not block. */
  runSync<T>(syscall: Syscall, makeTask: () => Task<T>): T {
    this.check(syscall);
    requireBlocking(syscall);
    return this.runNow(syscall, makeTask());
  }

  /** As `runSync`, but where the thread may not block it waits for a moment all the same, then throws EAGAIN: for single loads and stores. */
  runNow<T>(syscall: Syscall, task: Task<T>): T {
    this.check(syscall);
    this.receiveSections(syscall);
    return runBlocking(this.#memory, this.#guard(task), syscall);
  }

  /** Throws EBADF after `close`. */
  check(syscall: Syscall): void {
    if (this.#isClosed) {
      throw customFailure(
        syscall,
        EBADF,
        "the address space has been disposed of; create another, or attach while it lives",
      );
    }
  }

  /** G2, where there is no time to let the event loop turn. Throws ENXIO. */
  receiveSections(syscall: Syscall): void {
    if (this.#mayLackSections() && !this.#seat.receiveSections()) throw failure(syscall, ENXIO);
  }

  /** Nobody comes in any more. Returns whether nobody is inside; else calls `onEmpty` when the last one has left. */
  close(onEmpty: () => void): boolean {
    this.#isClosed = true;
    if (this.#inside === 0) return true;
    this.#onEmpty = onEmpty;
    return false;
  }

  /** G2. After the first look that finds everything this is one load and one compare. */
  #mayLackSections(): boolean {
    const epoch = bufferEpochOf(this.#hold);
    if (epoch === this.#bufferEpoch) return false;
    if (this.#seat.lacksSections) return true;
    this.#bufferEpoch = epoch;
    return false;
  }

  /** G1. The body begins when the runner takes the first step, so a task that never begins never counts. */
  *#guard<T>(task: Task<T>): Task<T> {
    this.#inside++;
    try {
      return yield* stopIfLockHeld(this.#memory, task);
    } finally {
      this.#inside--;
      // Not from in here: this task is still running.
      if (this.#inside === 0 && this.#onEmpty !== undefined) queueMicrotask(this.#onEmpty);
    }
  }
}
