/**
 * @module space/driver-thread
 * How a driver comes from an AddressSpace to the mm that its mirror is registered on, and runs its
 * tasks on that machine. Everything else that a driver calls takes a Machine, a mirror or a range.
 *
 *   T1  A DriverThread keeps this thread on the machine, and nothing alive: no mm user, no
 *       reference. So the address space can die while the driver is there, and `release` tells it.
 *   T2  The mm is handed out to a task alone (`runOnSpace`), which begins holding the
 *       AddressSpace object's mm user and is waited for before that user is dropped (R2). Who needs
 *       the mm outside of such a task has a registered range, which holds a user of its own
 *       (`mmOfRange`).
 */

import type { Machine } from "../memory/machine.ts";
import type { Mm } from "../mm/mm-struct.ts";
import { EBADF } from "../sync/errno.ts";
import { HmmError } from "../sync/errors.ts";
import { runAsync } from "../sync/runners/run-async.ts";
import { runBlocking } from "../sync/runners/run-blocking.ts";
import type { Task } from "../sync/tasks/task.ts";
import type { AddressSpace } from "./address-space.ts";
import { stopIfLockHeld } from "./space-hold.ts";

/** What errors and debuggers call a driver's task. */
const TASK_NAME = "driver";

/**
 * One thread of a driver, on the machine of an address space. Open one in each thread that
 * registers mirrors, serves faults, or touches the driver's state; a thread that only changes
 * mappings needs none, but must have loaded the driver's module (`registerMirrorOps`) before it
 * attaches.
 *
 * It keeps the thread on the machine, not the address space alive: dispose of the AddressSpace
 * object if the space shall be able to die while the driver is there. Close it last, when this
 * thread's mirrors are unregistered and its ranges are freed.
 */
export class DriverThread implements Disposable {
  /** The machine: its `heap` for the driver's structs, and the first argument of most calls. */
  readonly machine: Machine;
  readonly #releaseThread: () => void;
  #isOpen = true;

  private constructor(machine: Machine, releaseThread: () => void) {
    this.machine = machine;
    this.#releaseThread = releaseThread;
  }

  /** This thread, on the machine of `space`. Throws HmmError EBADF when `space` is disposed of. */
  static open(space: AddressSpace): DriverThread {
    const releaseThread = space.retainThread();
    return new DriverThread(space.machine, releaseThread);
  }

  /**
   * Runs a task of the driver to its end without blocking the thread. Any number of them run side
   * by side. Rejects with what the task throws, and with HmmError EBADF after `close`. A task that
   * throws while it holds a lock stops the machine: what the lock guards may be half changed.
   */
  async run<T>(task: Task<T>): Promise<T> {
    this.#check();
    const { memory } = this.machine;
    return await runAsync(memory, stopIfLockHeld(memory, task), TASK_NAME);
  }

  /**
   * As {@link DriverThread.run}, blocking the thread: in Workers, and on Node's main thread. Where
   * the thread may not block (a page's main thread), it waits for a moment, then throws HmmError
   * EAGAIN.
   */
  runSync<T>(task: Task<T>): T {
    this.#check();
    const { memory } = this.machine;
    return runBlocking(memory, stopIfLockHeld(memory, task), TASK_NAME);
  }

  /**
   * Runs a task that needs `space` alive, such as the registration of a mirror. The mm has a user
   * for as long as the task runs (R2); do not keep it longer. `space` is on this machine: to
   * register a mirror on another one's is EINVAL. Rejects as `run`, and with HmmError EBADF when
   * `space` is disposed of.
   */
  async runOnSpace<T>(space: AddressSpace, use: (mm: Mm) => Task<T>): Promise<T> {
    this.#check();
    return await space.run(use(space.mm));
  }

  /**
   * As {@link DriverThread.runOnSpace}, blocking. Throws HmmError EOPNOTSUPP where the thread may
   * not block.
   */
  runOnSpaceSync<T>(space: AddressSpace, use: (mm: Mm) => Task<T>): T {
    this.#check();
    return space.runSync(use(space.mm));
  }

  /** Ends the thread's stay. Its tasks have ended. A second time does nothing. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#releaseThread();
  }

  /** At the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }

  #check(): void {
    if (this.#isOpen) return;
    throw new HmmError(
      EBADF,
      TASK_NAME,
      "Cannot run a task of the driver: its thread has been closed; open another, or close it last",
    );
  }
}
