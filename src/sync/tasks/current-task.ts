/**
 * @module Which task this thread is running now. The runners set it around every step. Its readers
 * are locks (owner ids), lockdep (what is held), and the check whether a wait would wait for its
 * own thread.
 *
 * Contexts stack: a runBlocking called from within a task suspends that task until it returns. So
 * nothing that a context `beneath` holds can be released while the upper one waits.
 */

import type { LockClass } from "../lock-class.ts";
import { DETACHED } from "../shared-memory.ts";
import type { Mode, SharedMemory } from "../shared-memory.ts";

/** A lock as lockdep sees it: which one, its class, and whether its waiters spin. */
export interface LockIdentity {
  readonly memory: SharedMemory;
  readonly at: number;
  readonly lockClass: LockClass;
  readonly isSpinlock: boolean;
}

/**
 * A place in the code: an error that is never thrown. Its stack is formatted only for a report.
 */
export type Site = Error;

/** An entry of a task's list of held locks. */
export interface HeldLock {
  readonly lock: LockIdentity;
  /** HELD_EXCLUSIVE, HELD_SHARED ... of held-locks.ts. */
  readonly mode: number;
  /** Where it was taken. */
  readonly site: Site;
  readonly taskName: string;
}

export interface TaskContext {
  /** 1 .. 2^20 - 1; `memory.ownerBase | serial` is what lock words hold. Wraps around. */
  readonly serial: number;
  readonly name: string;
  readonly memory: SharedMemory | undefined;
  readonly mode: Mode;
  /** Whether its waits block the thread, and so all tasks suspended under it. */
  isBlocking: boolean;
  /** Locks held, innermost last. Kept by lockdep in DEBUG and EXPLORED mode only. */
  readonly held: HeldLock[];
  /** Its shared holds (RwSem readers, Srcu read sections) as keys, in all modes: held-locks.ts. */
  readonly shared: number[];
  /** The context suspended under this one on the JS stack while this one runs. */
  beneath: TaskContext | undefined;
}

const SERIAL_LIMIT = 1 << 20;
const OUTSIDE_SERIAL = 1;

/** The context of code that no runner started. */
const outside: TaskContext = {
  serial: OUTSIDE_SERIAL,
  name: "outside any task",
  memory: undefined,
  mode: DETACHED,
  isBlocking: true,
  held: [],
  shared: [],
  beneath: undefined,
};

let nextSerial = OUTSIDE_SERIAL + 1;

/** The running task's context. */
export let currentTask: TaskContext = outside;

/** A context for a new task on `memory`. */
export function makeContext(memory: SharedMemory, name: string, isBlocking: boolean): TaskContext {
  const serial = nextSerial++;
  if (nextSerial === SERIAL_LIMIT) nextSerial = OUTSIDE_SERIAL + 1;
  return {
    serial,
    name,
    memory,
    mode: memory.mode,
    isBlocking,
    held: [],
    shared: [],
    beneath: undefined,
  };
}

/**
 * Makes `context` current and returns the one that was: pass that to {@link leaveTask} in a
 * finally.
 */
export function enterTask(context: TaskContext): TaskContext {
  const previous = currentTask;
  context.beneath = previous;
  currentTask = context;
  return previous;
}

/** Undoes the matching {@link enterTask}. */
export function leaveTask(previous: TaskContext): void {
  currentTask.beneath = undefined;
  currentTask = previous;
}

/**
 * Whether task `serial` of this thread is the running task, or is suspended under it until it
 * returns. If so, a wait of the running task for what that task holds would never end. The wait of
 * an async task suspends only itself.
 */
export function isBeneath(serial: number): boolean {
  if (serial === currentTask.serial) return true;
  if (!currentTask.isBlocking) return false;
  for (let context = currentTask.beneath; context !== undefined; context = context.beneath) {
    if (context.serial === serial) return true;
  }
  return false;
}
