/**
 * @module space/space-hold
 * One thread's use of one address space, which an AddressSpace object owns. Here are the lifetime
 * rules of all that a thread has on a machine.
 *
 *     AddressSpace ---> SpaceHold ---> MachineSeat ---> the thread's registration (sync/runners)
 *                          |               ^
 *                          v               |
 *                       mm user       View, device
 *
 *   L1  A thread is registered on a machine exactly while its MachineSeat has users: holds of
 *       address spaces, open views, devices.
 *   L2  A hold owns one mm user (R2), from `enlistSpace` or `holdSpace` to `releaseSpace`. The
 *       space lives as long as it has users.
 *   L3  A hold is listed among its thread's resources: when the thread dies, the reaper releases
 *       it.
 *   L4  Every operation of the AddressSpace object runs inside its hold. `end` admits no further
 *       operation, waits until all that are inside have ended, releases the hold, and drops the
 *       seat. In this order: an operation needs the mm, and the release needs a registered thread.
 *   L5  Single loads and stores are not counted. The AddressSpace object forgets its translations
 *       and closes its translator before `end`, in the same turn of the event loop.
 *   L6  A view and a device outlive the AddressSpace object that opened them: each uses the seat
 *       itself. A view has an mm user of its own; of a device, its ranges have (R2).
 *
 *   L9  Of the promise forms that may wait for a source, WAITING_MAX wait at a time; the others
 *       begin when one of these has ended, in the order of their calls. For what waits takes places
 *       in the list of what the thread owns, and a program may read a thousand pages at once.
 *
 * Two kinds of failure inside a hold:
 *
 *   L7  An operation that reads or writes a user's buffer may find that the buffer has not arrived
 *       in this thread. It holds no lock then (memory/frames/sections.ts). The promise forms leave
 *       the hold, wait for the buffer, and begin again.
 *   L8  A task that throws while it holds a lock stops the machine: what the lock guards may be
 *       half changed, and whoever waits for the lock would wait for ever.
 */

import { Machine } from "../memory/machine.ts";
import { undoField } from "../memory/layout/undo-field.ts";
import { BufferNotHere } from "../memory/frames/sections.ts";
import type { TaskRunner } from "../mm/fault/cpu-fault.ts";
import { mmput } from "../mm/lifetime/mm.ts";
import { MM_USER, Mm } from "../mm/mm-struct.ts";
import {
  EBADF,
  EMFILE,
  ENOMEM,
  ENOTRECOVERABLE,
  ENXIO,
  type Errno,
  ESTALE,
} from "../sync/errno.ts";
import type { HmmError } from "../sync/errors.ts";
import { assertNoLockHeld } from "../sync/lockdep/held-locks.ts";
import { declarePanic, hasPanicked } from "../sync/death/panic.ts";
import {
  addResourceUnder,
  changeResourceUnder,
  findResource,
  kindWord,
  registerHeir,
  removeResourceUnder,
  reserveResource,
  resourceKind,
} from "../sync/lockdep/resources.ts";
import { runAsync } from "../sync/runners/run-async.ts";
import { runBlocking } from "../sync/runners/run-blocking.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import type { Task } from "../sync/tasks/task.ts";
import { type Syscall, customFailure, failure, lacksDrivers } from "./failures.ts";
import type { Seat } from "./machine-seat.ts";
import { requireBlocking } from "./requirements.ts";
import { SpaceRecord, SpaceTable, findSpaceTable, recordOfNumber } from "./space-table.ts";

const SPACE_RESOURCE: number = resourceKind("address space");

/** Operations of an AddressSpace object that may wait for a source at a time (L9). */
const WAITING_MAX = 100;

/** A hold in shared memory. */
export interface HoldPlace {
  readonly mm: Mm;
  /** The space's number on its machine. */
  readonly number: number;
  /** Pointer of the space's record. */
  readonly record: number;
  /** Slot in the thread's list of resources. */
  readonly slot: number;
}

export class SpaceHold implements TaskRunner {
  readonly seat: Seat;
  readonly place: HoldPlace;
  readonly mm: Mm;
  readonly #memory: SharedMemory;
  #inside = 0;
  /** Promise forms that wait, of those that may wait for a source, and who is next (L9). */
  #waiting = 0;
  readonly #turns: (() => void)[] = [];
  #onEmpty: (() => void) | undefined;
  #ending: Promise<void> | undefined;

  constructor(seat: Seat, place: HoldPlace) {
    this.seat = seat;
    this.place = place;
    this.mm = place.mm;
    this.#memory = seat.machine.memory;
  }

  /**
   * Runs the task that `makeTask` gives, on the async runner; it begins at once. Rejects, never
   * throws.
   */
  async run<T>(syscall: Syscall, makeTask: () => Task<T>): Promise<T> {
    this.requireOpen(syscall);
    return this.#start(syscall, makeTask());
  }

  #start<T>(syscall: Syscall, task: Task<T>): Promise<T> {
    return runAsync(this.#memory, this.#counted(syscall, task), syscall);
  }

  /** As `run`, for a task that may wait for a source: it begins when it has its turn (L9). */
  async runInTurn<T>(syscall: Syscall, makeTask: () => Task<T>): Promise<T> {
    this.requireOpen(syscall);
    const isLate = this.#waiting >= WAITING_MAX || this.#turns.length > 0;
    if (isLate) {
      this.#inside++;
      await new Promise<void>((resolve) => this.#turns.push(resolve));
    }
    try {
      return await this.#start(syscall, this.#countedWaiting(makeTask()));
    } finally {
      if (isLate) this.#leave();
      this.#turns.shift()?.();
    }
  }

  *#countedWaiting<T>(task: Task<T>): Task<T> {
    this.#waiting++;
    try {
      return yield* task;
    } finally {
      this.#waiting--;
    }
  }

  /**
   * As `runInTurn`, for a task that reads or writes memory at `address`, and that may begin again
   * after BufferNotHere (L7).
   */
  async runOnMemory<T>(syscall: Syscall, address: number, makeTask: () => Task<T>): Promise<T> {
    try {
      return await this.runInTurn(syscall, makeTask);
    } catch (error) {
      if (!(error instanceof BufferNotHere)) throw error;
      if (!(await this.seat.awaitSection(error.basePfn))) throw failure(syscall, ENXIO, address);
    }
    return await this.runInTurn(syscall, makeTask);
  }

  /**
   * Runs the task that `makeTask` gives to its end. Throws EOPNOTSUPP where the thread may not
   * block.
   */
  runSync<T>(syscall: Syscall, makeTask: () => Task<T>): T {
    this.requireOpen(syscall);
    requireBlocking(syscall);
    this.#inside++;
    const { failures } = this.seat.sources;
    const failed = failures.count;
    try {
      if (this.seat.driverCode.mayLack)
        runBlocking(this.#memory, this.#requireDrivers(syscall), syscall);
      return runBlocking(this.#memory, makeTask(), syscall, stopIfLockIsHeld);
    } catch (error) {
      failures.explain(error, failed);
      throw error;
    } finally {
      this.#leave();
    }
  }

  /**
   * As `runOnMemory`, blocking. It does not begin again: a buffer that has not arrived by then does
   * not arrive while the thread blocks.
   */
  runOnMemorySync<T>(syscall: Syscall, address: number, makeTask: () => Task<T>): T {
    try {
      return this.runSync(syscall, makeTask);
    } catch (error) {
      throw error instanceof BufferNotHere ? failure(syscall, ENXIO, address) : error;
    }
  }

  /**
   * The fault of a single load or store. Where the thread may not block it waits for a moment all
   * the same, then throws EAGAIN. Not after `end`: the translator has been closed (L5).
   */
  runToEnd<T>(task: Task<T>): T {
    return runBlocking(this.#memory, this.#counted("access", task), "access");
  }

  /** Throws EBADF once `end` has been called. */
  requireOpen(syscall: Syscall): void {
    if (this.#ending !== undefined) throw endedFailure(syscall);
  }

  get isEnding(): boolean {
    return this.#ending !== undefined;
  }

  /** Ends the hold (L4). Called again, it does nothing more. */
  end(): Promise<void> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  /**
   * As `end`, blocking. Where promise forms of operations are inside, the hold ends after them, in
   * the background.
   */
  endSync(): void {
    if (this.#inside > 0) void this.end();
    if (this.#ending !== undefined) return;
    this.#ending = Promise.resolve();
    // A machine that has stopped takes its spaces with it: nothing is left to be given back.
    const failed = hasPanicked(this.#memory)
      ? undefined
      : runBlocking(this.#memory, releaseSpace(this), "dispose");
    this.seat.drop();
    if (failed !== undefined) throw failed;
  }

  async #end(): Promise<void> {
    if (this.#inside > 0) await new Promise<void>((resolve) => (this.#onEmpty = resolve));
    const failed = hasPanicked(this.#memory)
      ? undefined
      : await runAsync(this.#memory, releaseSpace(this), "dispose");
    this.seat.drop();
    if (failed !== undefined) throw failed;
  }

  /** The body begins with the runner's first step: a task that never begins never counts. */
  *#counted<T>(syscall: Syscall, task: Task<T>): Task<T> {
    this.#inside++;
    const { failures } = this.seat.sources;
    const failed = failures.count;
    try {
      if (this.seat.driverCode.mayLack) yield* this.#requireDrivers(syscall);
      return yield* task;
    } catch (error) {
      stopIfLockIsHeld(this.#memory, error);
      failures.explain(error, failed);
      throw error;
    } finally {
      this.#leave();
    }
  }

  /** Throws ENODEV if this thread could not tell every driver of a change. */
  *#requireDrivers(syscall: Syscall): Task<void> {
    const missing = yield* this.seat.driverCode.lacking();
    if (missing.length > 0) throw lacksDrivers(syscall, missing, "in this thread first");
  }

  #leave(): void {
    this.#inside--;
    // Not from in here: the task may still be running.
    if (this.#inside === 0 && this.#onEmpty !== undefined) queueMicrotask(this.#onEmpty);
  }
}

/** The error of whoever uses an AddressSpace object that has been disposed of. */
export function endedFailure(syscall: Syscall): Error {
  return customFailure(
    syscall,
    EBADF,
    "the address space has been disposed of; create another, or attach while it lives",
  );
}

/** L8: runs the task; if it throws while this thread holds a lock, the machine stops. */
export function* stopIfLockHeld<T>(memory: SharedMemory, task: Task<T>): Task<T> {
  try {
    return yield* task;
  } catch (error) {
    stopIfLockIsHeld(memory, error);
    throw error;
  }
}

/** L8, of an operation that has thrown `error`. Inside its task. */
function stopIfLockIsHeld(memory: SharedMemory, error: unknown): void {
  if (hasPanicked(memory)) return;
  try {
    assertNoLockHeld(memory, "an operation that fails", "what the lock guards may be half changed");
  } catch (held) {
    declarePanic(
      memory,
      ENOTRECOVERABLE,
      `Cannot go on: ${String(held)}; it failed with ${String(error)}`,
    );
  }
}

/** A record that no list has. */
const RECORD_RESOURCE: number = resourceKind("record of an address space");
registerHeir(RECORD_RESOURCE, (memory, at, slot) =>
  Machine.of(memory).heap.free(SpaceRecord, at, slot),
);

const HOLDERS = undoField(SpaceRecord, "holders");
const LAST_NUMBER = undoField(SpaceTable, "lastNumber");

/**
 * Lists a new mm. The hold owns its one user from now on; on ENOMEM and EMFILE the user is dropped.
 * If the user is a resource of this thread (MM_USER), the hold takes its slot.
 */
export function* enlistSpace(seat: Seat, mmAt: number): Task<SpaceHold | Errno> {
  const { machine, table } = seat;
  const { memory, heap } = machine;
  const mm = Mm.at(memory, mmAt);
  const userSlot = findResource(memory, MM_USER, mmAt);
  const at = yield* heap.alloc(SpaceRecord, RECORD_RESOURCE);
  if (at === 0) {
    yield* mmput(machine, mm, userSlot);
    return ENOMEM;
  }
  const recordSlot = findResource(memory, RECORD_RESOURCE, at);
  const record = SpaceRecord.at(memory, at);
  record.mm = mmAt;
  yield* table.lock.lock();
  const slot = addHolder(seat, record, userSlot);
  if (slot >= 0) {
    LAST_NUMBER.store(memory, table.at, table.lastNumber + 1);
    record.number = table.lastNumber;
    table.live.addTail(record.node, table.lock.at);
    if (recordSlot >= 0) removeResourceUnder(memory, table.lock.at, recordSlot);
  }
  yield* table.lock.unlock();
  if (slot >= 0) return new SpaceHold(seat, { mm, number: record.number, record: at, slot });
  yield* heap.free(SpaceRecord, at, recordSlot);
  yield* mmput(machine, mm, userSlot);
  return EMFILE;
}

/**
 * Counts a holder and lists it among this thread's resources (L3), in the slot of its user if that
 * has one: the slot, or -1 when the list is full. Holding spacesLock, and a user for the holder.
 */
function addHolder({ machine, table }: Seat, record: SpaceRecord, userSlot: number): number {
  const { memory } = machine;
  memory.undoLock = table.lock.at;
  const slot = changeResourceUnder(memory, table.lock.at, userSlot, SPACE_RESOURCE, record.at);
  if (slot >= 0) HOLDERS.store(memory, record.at, record.holders + 1);
  return slot;
}

/** A further hold on a listed space. ESTALE when it is gone (T2 of space-table.ts), EMFILE. */
export function* holdSpace(seat: Seat, number: number): Task<SpaceHold | Errno> {
  yield* seat.table.lock.lock();
  const result = yield* holdLocked(seat, number);
  yield* seat.table.lock.unlock();
  return result;
}

/**
 * The record's holders have users, so the mm's count is not 0 (T1 of space-table.ts). Holding
 * spacesLock.
 */
function* holdLocked(seat: Seat, number: number): Task<SpaceHold | Errno> {
  const { memory } = seat.machine;
  const record = recordOfNumber(seat.table, number);
  if (record === undefined) return ESTALE;
  const mm = Mm.at(memory, record.mm);
  const userSlot = reserveResource(memory, mm.at);
  if (userSlot < 0) return EMFILE;
  yield* mm.users.get(kindWord(memory, userSlot), MM_USER);
  const slot = addHolder(seat, record, userSlot);
  return new SpaceHold(seat, { mm, number, record: record.at, slot });
}

/**
 * Releases a hold: drops its user, which with the last hold ends the address space, and removes
 * buffers and sources of this thread that are not mapped any more. Once for each hold, with no
 * operation inside. The error of a write-back that failed.
 */
export function* releaseSpace({ seat, place }: SpaceHold): Task<HmmError | undefined> {
  const { machine, buffers, sources } = seat;
  yield* dropHolder(machine, place.record, place.slot);
  yield* buffers.sweep();
  return yield* sources.settle();
}

/**
 * `slot`: of the hold among this thread's resources; -1: the list is full. What is left of the hold
 * after each step is a resource of this thread.
 */
function* dropHolder(machine: Machine, at: number, slot: number): Task<void> {
  const table = yield* findSpaceTable(machine);
  if (table === undefined) return;
  const { memory, heap } = machine;
  const record = SpaceRecord.at(memory, at);
  const mm = Mm.at(memory, record.mm);
  const lock = table.lock.at;
  yield* table.lock.lock();
  memory.undoLock = lock;
  const userSlot = changeResourceUnder(memory, lock, slot, MM_USER, mm.at);
  HOLDERS.store(memory, at, record.holders - 1);
  const isLast = record.holders === 0;
  if (isLast) record.node.del(lock);
  const recordSlot = isLast ? addResourceUnder(memory, lock, RECORD_RESOURCE, at) : -1;
  yield* table.lock.unlock();
  if (isLast) yield* heap.free(SpaceRecord, at, recordSlot);
  yield* mmput(machine, mm, userSlot);
}

/** L3. */
registerHeir(SPACE_RESOURCE, (memory, at, slot) => dropHolder(Machine.of(memory), at, slot));
