/**
 * @module space/operation-gate
 * The door between an AddressSpace object and the core: who may come in, and who is inside.
 *
 *   G1  A task inside holds the object's mm user (R2): closing the door waits, in effect, until all
 *       are out, and only then the user is dropped.
 *   G2  Only operations that read or write a user's buffer need it in this thread, and find out
 *       that it is not there holding no lock (memory/frames/sections.ts). The promise forms then
 *       wait for it outside, and begin again.
 *   G3  A task that is thrown out while it holds a lock stops the machine: what the lock guards may
 *       be half changed, and everyone who wants it would wait for ever.
 */

import { BufferNotHere } from "../memory/frames/sections.ts";
import { mayBlock } from "../sync/atomics.ts";
import { EBADF, ENOSYS, ENOTRECOVERABLE, ENXIO, EOPNOTSUPP } from "../sync/errno.ts";
import { assertNoLockHeld } from "../sync/lockdep/held-locks.ts";
import { declarePanic, hasPanicked } from "../sync/death/panic.ts";
import { runAsync } from "../sync/runners/run-async.ts";
import { runBlocking } from "../sync/runners/run-blocking.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import type { Task } from "../sync/tasks/task.ts";
import { type Syscall, customFailure, failure } from "./failures.ts";
import type { MachineSeat } from "./machine-seat.ts";

/**
 * Throws unless this host shares memory between threads: a browser does so on cross-origin isolated
 * pages only.
 */
export function requireSharedMemory(syscall: Syscall): void {
  if (typeof SharedArrayBuffer === "function") return;
  throw customFailure(
    syscall,
    ENOSYS,
    "this page is not cross-origin isolated, so the browser gives it no SharedArrayBuffer; send the page and the scripts of its Workers with the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp",
  );
}

/** Throws unless this thread may block. */
export function requireBlocking(syscall: Syscall): void {
  requireSharedMemory(syscall);
  if (mayBlock()) return;
  throw customFailure(
    syscall,
    EOPNOTSUPP,
    "this thread may not block; use the form that returns a promise",
  );
}

/** G3: runs the task; if it throws while this thread holds a lock, the machine stops. */
export function* stopIfLockHeld<T>(memory: SharedMemory, task: Task<T>): Task<T> {
  try {
    return yield* task;
  } catch (error) {
    if (!hasPanicked(memory)) {
      try {
        assertNoLockHeld(
          memory,
          "an operation that fails",
          "what the lock guards may be half changed",
        );
      } catch (held) {
        declarePanic(
          memory,
          ENOTRECOVERABLE,
          `Cannot go on: ${String(held)}; it failed with ${String(error)}`,
        );
      }
    }
    throw error;
  }
}

export class OperationGate {
  readonly #seat: MachineSeat;
  readonly #memory: SharedMemory;
  #isClosed = false;
  #inside = 0;
  #onEmpty: (() => void) | undefined;

  constructor(seat: MachineSeat) {
    this.#seat = seat;
    this.#memory = seat.machine.memory;
  }

  /**
   * Runs the task that `makeTask` gives, on the async runner; it begins at once. Rejects, never
   * throws.
   */
  async run<T>(syscall: Syscall, makeTask: () => Task<T>): Promise<T> {
    this.check(syscall);
    return runAsync(this.#memory, this.#guard(makeTask()), syscall);
  }

  /**
   * As `run`, for a task that reads or writes memory at `address`, and may be begun again when it
   * threw BufferNotHere (G2).
   */
  async runOnMemory<T>(syscall: Syscall, address: number, makeTask: () => Task<T>): Promise<T> {
    try {
      return await this.run(syscall, makeTask);
    } catch (error) {
      if (!(error instanceof BufferNotHere)) throw error;
      if (!(await this.#seat.awaitSection(error.basePfn))) throw failure(syscall, ENXIO, address);
    }
    return await this.run(syscall, makeTask);
  }

  /**
   * Runs the task that `makeTask` gives to its end. Throws EOPNOTSUPP where the thread may not
   * block.
   */
  runSync<T>(syscall: Syscall, makeTask: () => Task<T>): T {
    this.check(syscall);
    requireBlocking(syscall);
    return this.runNow(syscall, makeTask());
  }

  /**
   * As `runOnMemory`, blocking; what is not there after a moment will not come while the thread
   * blocks.
   */
  runOnMemorySync<T>(syscall: Syscall, address: number, makeTask: () => Task<T>): T {
    try {
      return this.runSync(syscall, makeTask);
    } catch (error) {
      throw error instanceof BufferNotHere ? failure(syscall, ENXIO, address) : error;
    }
  }

  /**
   * As `runSync`, but where the thread may not block it waits for a moment all the same, then
   * throws EAGAIN: for single loads and stores.
   */
  runNow<T>(syscall: Syscall, task: Task<T>): T {
    this.check(syscall);
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

  /**
   * Nobody comes in any more. Returns whether nobody is inside; else calls `onEmpty` when the last
   * one has left.
   */
  close(onEmpty: () => void): boolean {
    this.#isClosed = true;
    if (this.#inside === 0) return true;
    this.#onEmpty = onEmpty;
    return false;
  }

  /**
   * G1. The body begins when the runner takes the first step, so a task that never begins never
   * counts.
   */
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
