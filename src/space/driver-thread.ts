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
import { formatValue } from "../sync/argument-rules.ts";
import { EBADF, EINVAL } from "../sync/errno.ts";
import { HmmError } from "../sync/errors.ts";
import { runAsync } from "../sync/runners/run-async.ts";
import { runBlocking } from "../sync/runners/run-blocking.ts";
import type { Task } from "../sync/tasks/task.ts";
import type { AddressSpace } from "./address-space.ts";
import { type DriverHandle, makeDriverHandle, parseDriverHandle } from "./handle.ts";
import { MachineSeat } from "./machine-seat.ts";
import { stopIfLockHeld } from "./space-hold.ts";
import { insideOf } from "./space-inside.ts";

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
 *
 * A Worker of the driver's own needs no address space. It gets the `handle` of a thread that has
 * one, and attaches to the machine alone: the device's mirror leads to the space, and a registered
 * range keeps that alive during a fault.
 *
 * @example
 * ```ts
 * import { AddressSpace } from "hmm-ts";
 * import { DriverThread } from "hmm-ts/driver";
 *
 * await using space = await AddressSpace.create({ ramBytes: 2 ** 20 });
 * using driver = DriverThread.open(space);
 * const users = await driver.runOnSpace(space, function* (mm) {
 *   return mm.users.read();
 * });
 * console.log(users); // 1
 * ```
 */
export class DriverThread implements Disposable {
  /** The machine: its `heap` for the driver's structs, and the first argument of most calls. */
  readonly machine: Machine;
  readonly #seat: MachineSeat;
  #isOpen = true;

  /** Owns one use of the seat from now on. */
  private constructor(seat: MachineSeat) {
    this.machine = seat.machine;
    this.#seat = seat;
  }

  /** This thread, on the machine of `space`. Throws HmmError EBADF when `space` is disposed of. */
  static open(space: AddressSpace): DriverThread {
    const { seat, hold } = insideOf(space);
    hold.requireOpen("run");
    seat.use();
    return new DriverThread(seat);
  }

  /**
   * This thread, on the machine of the thread that `handle` came from: for a Worker of the driver's
   * own. Throws HmmError EINVAL for anything but a handle, EMFILE when the machine has 64 threads,
   * ENODEV when a driver is in use there whose module this thread has not loaded.
   */
  static attach(handle: DriverHandle): DriverThread {
    const { machine, machineId } = parseDriverHandle(handle);
    const seat = MachineSeat.attach(machine, machineId);
    seat.use();
    return new DriverThread(seat);
  }

  /**
   * Names the machine to another thread of the driver, for {@link DriverThread.attach} or {@link
   * DriverThread.adopt} there. Structured-cloneable. It contains the users' buffers that this
   * thread knows when it is taken. Throws HmmError EBADF after `close`.
   */
  get handle(): DriverHandle {
    this.#check();
    return makeDriverHandle(this.machine.handle, this.#seat.machineId);
  }

  /**
   * Makes the users' buffers of a later handle of this machine known in this thread: those that
   * were mapped since it attached, and may not have reached it by themselves. Throws HmmError
   * EINVAL for the handle of another machine, EBADF after `close`.
   */
  adopt(handle: DriverHandle): void {
    this.#check();
    const { machine, machineId } = parseDriverHandle(handle);
    if (machineId !== this.#seat.machineId)
      throw new HmmError(
        EINVAL,
        TASK_NAME,
        "Cannot adopt the handle: it is of another machine; send that of a thread on this one",
      );
    for (const section of machine.sections) this.machine.ram.sections.adopt(section);
  }

  /**
   * Runs a task of the driver to its end without blocking the thread. Any number of them run side
   * by side. Rejects with what the task throws, and with HmmError EBADF after `close`. A task that
   * throws while it holds a lock stops the machine: what the lock guards may be half changed.
   */
  async run<T>(task: Task<T>): Promise<T> {
    this.#check();
    requireTask(task);
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
    requireTask(task);
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
    const { hold } = insideOf(space);
    return await hold.run("run", () => requireTask(use(hold.mm)));
  }

  /**
   * As {@link DriverThread.runOnSpace}, blocking. Throws HmmError EOPNOTSUPP where the thread may
   * not block.
   */
  runOnSpaceSync<T>(space: AddressSpace, use: (mm: Mm) => Task<T>): T {
    this.#check();
    const { hold } = insideOf(space);
    return hold.runSync("run", () => requireTask(use(hold.mm)));
  }

  /**
   * As {@link DriverThread.runOnSpace}, for a task that reads or writes memory at `address` for a
   * program, such as a command of the device. If it meets a page of a user's buffer that has not
   * arrived in this thread, it is ended there, and begun again once the buffer is here: `use` is
   * called twice then, so what it did before may be done again. `access` and `address` (bytes) are
   * for the error, HmmError ENXIO when the buffer does not come.
   */
  async runOnMemory<T>(
    space: AddressSpace,
    access: "read" | "write",
    address: number,
    use: (mm: Mm) => Task<T>,
  ): Promise<T> {
    this.#check();
    const { hold } = insideOf(space);
    return await hold.runOnMemory(access, address, () => requireTask(use(hold.mm)));
  }

  /** Ends the thread's stay. Its tasks have ended. A second time does nothing. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#seat.drop();
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

/** Throws HmmError EINVAL for what is no task. */
function requireTask<T>(task: Task<T>): Task<T> {
  const given: unknown = task;
  if (typeof given === "object" && given !== null && Symbol.iterator in given) return task;
  const remedy =
    typeof given === "function" ? "call it" : "give what the call of a generator function returns";
  const text = `Cannot run a task of the driver: it is ${formatValue(given)}; ${remedy}`;
  throw new HmmError(EINVAL, TASK_NAME, text);
}
