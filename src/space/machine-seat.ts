/**
 * @module space/machine-seat
 * This thread's place on a machine, shared by all that it has there (L1 of space-hold.ts). A thread
 * is registered once on a machine, however many handles of it arrive.
 *
 *   S1  `#users` counts what uses the seat. At 0 the thread is unregistered, and it listens no more
 *       to its host and to other threads for this machine.
 *   S2  A machine is known by its id, not by its buffer: each message brings a new buffer object
 *       for the same memory.
 *
 * No locks: a seat belongs to one thread.
 */

import { SectionChannel, type ThreadPort } from "../host/section-channel.ts";
import { hostThreadId, randomWords, threadName } from "../host/thread-identity.ts";
import { watchWorkerExits } from "../host/worker-exits.ts";
import { DriverCode, driverDirectorySlot, missingMirrorOps } from "../hmm/mirror/mirror-ops.ts";
import { Machine, type MachineHandle } from "../memory/machine.ts";
// Loaded for its notifier: any thread may change a mapping that a debug build watches.
import "../mm/view/view-watch.ts";
import { agentDied } from "../sync/runners/agents.ts";
import { EINVAL } from "../sync/errno.ts";
import { HmmError } from "../sync/errors.ts";
import { hasPanicked } from "../sync/death/panic.ts";
import { probeAndReapAsync, runDaemon } from "../sync/runners/run-async.ts";
import { runBlocking } from "../sync/runners/run-blocking.ts";
import { customFailure, lacksDrivers } from "./failures.ts";
import { type SpaceTable, createSpaceTable, findSpaceTable, machineIdOf } from "./space-table.ts";
import { Sources } from "./sources.ts";
import { UserBuffers } from "./user-buffers.ts";

export interface SeatOptions {
  readonly ramBytes: number;
  readonly heapBytes: number;
  readonly debug: boolean;
}

/** What a hold of an address space needs of its seat. */
export interface Seat {
  readonly machine: Machine;
  readonly table: SpaceTable;
  /** The user's buffers that this thread has mapped. */
  readonly buffers: UserBuffers;
  /** The sources that this thread has mapped and serves. */
  readonly sources: Sources;
  /** What this thread has of the code of drivers. */
  readonly driverCode: DriverCode;
  /** One user less; the last one takes the thread off the machine (S1). Pairs with `use`. */
  drop(): void;
  /**
   * Lets the event loop turn until the section that begins at `basePfn` has arrived, but not for
   * ever; returns whether it has.
   */
  awaitSection(basePfn: number): Promise<boolean>;
}

const seats = new Map<string, MachineSeat>();

/** Until a thread that reaps for others tries again to leave the machine. */
const LEAVE_AGAIN_MS = 5;
/** How long a thread that may not block waits for a buffer that another thread has mapped. */
const SECTION_WAIT_MS = 5000;

export class MachineSeat implements Seat {
  readonly machine: Machine;
  readonly machineId: string;
  readonly table: SpaceTable;
  readonly buffers: UserBuffers;
  readonly sources: Sources;
  readonly driverCode: DriverCode;
  readonly #channel: SectionChannel;
  readonly #stopWatching: () => void;
  #users = 0;

  private constructor(machine: Machine, table: SpaceTable) {
    const { memory, ram } = machine;
    this.machine = machine;
    this.table = table;
    this.machineId = machineIdOf(table);
    this.buffers = new UserBuffers(machine);
    this.driverCode = new DriverCode(machine, runBlocking(memory, driverDirectorySlot(machine)));
    this.sources = new Sources(machine, {
      use: () => this.use(),
      drop: () => this.drop(),
      runServing: (task) => runDaemon(memory, task, "source"),
    });
    const channel = new SectionChannel(this.machineId, ram.sections);
    this.#channel = channel;
    ram.sections.onSection = (handle) => channel.announce(handle);
    ram.sections.receive = (isHere) => void channel.lookUntil(isHere);
    this.#stopWatching = watchWorkerExits({
      onExit: (threadId) => {
        if (!hasPanicked(memory)) agentDied(memory, threadId);
      },
      onLook: () => {
        if (!hasPanicked(memory)) probeAndReapAsync(memory);
      },
    });
    seats.set(this.machineId, this);
  }

  /** A new machine with this thread on it. Call `use` at once. */
  static create(options: SeatOptions): MachineSeat {
    const machine = Machine.create({ ...options, name: threadName, hostThreadId });
    // Until the first handle is taken (S5 of sync/primitives/shootdown.ts).
    machine.memory.isAlone = true;
    return detachIfThrown(machine, () => {
      const table = runBlocking(
        machine.memory,
        createSpaceTable(machine, randomWords(2)),
        "create",
      );
      return new MachineSeat(machine, table);
    });
  }

  /**
   * The seat on another thread's machine, or the one that this thread has there already. Call
   * `use` at once. Throws HmmError EINVAL for a handle that does not fit together, EMFILE when the
   * machine has too many threads, ENODEV when a driver is in use whose code this thread has not
   * loaded: a thread that changes a mapping calls the code of every driver in use.
   */
  static attach(handle: MachineHandle, machineId: string): MachineSeat {
    const known = seats.get(machineId);
    if (known !== undefined) {
      for (const section of handle.sections) known.machine.ram.sections.adopt(section);
      return known;
    }
    const machine = attachMachine(handle);
    return detachIfThrown(machine, () => {
      const table = runBlocking(machine.memory, findSpaceTable(machine), "attach");
      if (table === undefined || machineIdOf(table) !== machineId) {
        throw customFailure(
          "attach",
          EINVAL,
          "its handle names another machine; pass on space.handle as it was given",
        );
      }
      const missing = runBlocking(machine.memory, missingMirrorOps(machine), "attach");
      if (missing.length > 0) throw lacksDrivers("attach", missing, "before attaching");
      return new MachineSeat(machine, table);
    });
  }

  /** One more user. Pairs with `drop`. */
  use(): void {
    this.#users++;
  }

  drop(): void {
    this.#users--;
    if (this.#users === 0) this.#leave();
  }

  awaitSection(basePfn: number): Promise<boolean> {
    return this.#channel.waitUntil(
      () => this.machine.ram.sections.isHere(basePfn),
      SECTION_WAIT_MS,
    );
  }

  /**
   * Connects this thread with the one that has the port's other end. The port belongs to the seat
   * from now on.
   */
  connect(port: ThreadPort): void {
    this.#channel.connect(port);
  }

  #leave(): void {
    const { memory, ram } = this.machine;
    if (memory.reaping && !hasPanicked(memory)) {
      // This thread is releasing what a dead one owned, and may hold locks meanwhile.
      setTimeout(() => this.#users === 0 && this.#leave(), LEAVE_AGAIN_MS);
      return;
    }
    if (seats.get(this.machineId) !== this) return;
    seats.delete(this.machineId);
    this.#stopWatching();
    this.#channel.close();
    ram.sections.onSection = undefined;
    ram.sections.receive = undefined;
    // On a machine that has stopped, this thread may still hold a lock. Nobody waits for it there.
    if (!hasPanicked(memory)) this.machine.detach();
  }
}

/**
 * Throws HmmError EINVAL, with the reason as its cause, where the words of the heap are not what a
 * machine's are. Not all damage can be seen: docs/SECURITY.md.
 */
function attachMachine(handle: MachineHandle): Machine {
  try {
    return Machine.attach(handle, { name: threadName, hostThreadId });
  } catch (error) {
    if (error instanceof HmmError && error.syscall !== "ensure") throw error;
    const damaged = customFailure(
      "attach",
      EINVAL,
      "the heap in its handle is damaged (see cause); pass on space.handle as it was given",
    );
    damaged.cause = error;
    throw damaged;
  }
}

function detachIfThrown(machine: Machine, open: () => MachineSeat): MachineSeat {
  try {
    return open();
  } catch (error) {
    if (!hasPanicked(machine.memory)) machine.detach();
    throw error;
  }
}
