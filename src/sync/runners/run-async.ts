/**
 * @module The async runner: tasks that wait without blocking their thread.
 *
 * A task runs synchronously until its first wait. While it waits, it is one of this thread's
 * suspended runs. Whichever of these comes first steps it:
 *
 * - the `waitAsync` waiter on its word;
 * - the ticker, a timer that the thread keeps while it has suspended runs (it also keeps a Node
 *   process alive);
 * - a blocking run of the same thread (run-blocking.ts, B2), which may wait for a lock that the
 *   suspended task holds.
 *
 * If a wait ends in another way, its `waitAsync` waiter remains. If that waiter then receives a
 * wake that was meant for another thread, it passes the wake on.
 */

import { atomicLoad, futexWaitAsync, futexWake, hasWaitAsync } from "../atomics.ts";
import { monotonicMs } from "../tasks/clock.ts";
import { ALERT } from "../control-block.ts";
import { enterTask, leaveTask, makeContext } from "../tasks/current-task.ts";
import type { TaskContext } from "../tasks/current-task.ts";
import { apartFromCall } from "../call-place.ts";
import { assert } from "../errors.ts";
import { armLiveness, probeAgents } from "../death/liveness.ts";
import { heldAtEnd } from "../lockdep/lockdep.ts";
import { checkPanic, hasPanicked, panicError } from "../death/panic.ts";
import { reapTask, shouldReap } from "../death/reaper.ts";
import { recoverTask, shouldRecover } from "../death/recovery.ts";
import { letGoOfMark } from "../primitives/shootdown.ts";
import { keepTask, refusedWait, TIMED_OUT, WOKEN } from "../tasks/task.ts";
import type { Task, Wait, Wake } from "../tasks/task.ts";
import type { SharedMemory } from "../shared-memory.ts";

/** A waiting task rechecks at least this often: B1 of run-blocking.ts. */
export const SLICE_MS = 200;
/** The slice where the host has no waitAsync: words are polled. */
const POLL_MS = 4;

/** Something that a runner can step: a task that has waited. */
interface SuspendedRun {
  readonly memory: SharedMemory;
  /** What it waits for. */
  readonly wait: Wait;
  /** When it rechecks at the latest, on this thread's monotonic clock. */
  readonly untilMs: number;
  /** It keeps no process alive. */
  readonly isDaemon: boolean;
  /** Runs it up to its next wait. */
  resume(wake: Wake): void;
  /** Throws into it; it may wait again while it cleans up. */
  abort(error: unknown): void;
}

const suspended = new Set<SuspendedRun>();
let ticker: ReturnType<typeof setTimeout> | undefined;

/** Runs `task`; the promise is settled with its result. Rejects if the machine has stopped. */
export function runAsync<T>(
  memory: SharedMemory,
  task: Task<T>,
  name: string = "async",
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    let kept = task;
    if (atomicLoad(memory.words, ALERT) !== 0) {
      kept = keepTask(task);
      checkPanic(memory);
      reapAsync(memory);
    }
    new AsyncRun(memory, kept, makeContext(memory, name, false), resolve, reject).resume(WOKEN);
  });
}

/**
 * As `runAsync`, for a task that serves others for as long as there is something to serve: it keeps
 * no process alive.
 */
export function runDaemon<T>(
  memory: SharedMemory,
  task: Task<T>,
  name: string = "daemon",
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const context = makeContext(memory, name, false);
    new AsyncRun(memory, keepTask(task), context, resolve, reject, true).resume(WOKEN);
  });
}

const drop = (): void => {};

/**
 * Lets a task that began under another runner go on under this one. It waits for `wait`. Its result
 * is dropped.
 */
export function adoptTask(task: Task<unknown>, context: TaskContext, wait: Wait): void {
  context.isBlocking = false;
  new AsyncRun(wait.memory, task, context, drop, drop).suspend(wait);
}

/** Whether this thread has suspended async tasks. */
export function hasSuspended(): boolean {
  return suspended.size > 0;
}

/** Steps every suspended task whose wait is over. */
export function pumpSuspended(): void {
  // A copy: a step removes its run from the set, and may add it or others again.
  for (const run of Array.from(suspended)) {
    if (suspended.has(run)) apartFromCall(() => stepIfDue(run));
  }
}

/** Reaps dead agents in the background, if there are any that this thread can reap. */
export function reapAsync(memory: SharedMemory): void {
  recoverAsync(memory);
  if (!shouldReap(memory)) return;
  memory.reaping = true;
  const finished = (): void => {
    memory.reaping = false;
  };
  // If it fails, it has declared a panic, and every other task throws that.
  new AsyncRun(
    memory,
    reapTask(memory),
    makeContext(memory, "reaper", false),
    finished,
    finished,
  ).resume(WOKEN);
}

/** Also while a reaper of this thread waits for what a dead thread keeps (death/recovery.ts). */
function recoverAsync(memory: SharedMemory): void {
  if (!shouldRecover(memory)) return;
  memory.recovering = true;
  const finished = (): void => {
    memory.recovering = false;
  };
  const context = makeContext(memory, "recovery", false);
  new AsyncRun(memory, recoverTask(memory), context, finished, finished).resume(WOKEN);
}

/**
 * Finds threads that have died, and releases in the background what they owned. Cheap, and
 * rate-limited for the whole machine.
 */
export function probeAndReapAsync(memory: SharedMemory): void {
  armLiveness(memory);
  probeAgents(memory);
  reapAsync(memory);
}

class AsyncRun<T> implements SuspendedRun {
  readonly isDaemon: boolean;
  readonly memory: SharedMemory;
  readonly #task: Task<T>;
  readonly #context: TaskContext;
  readonly #resolve: (value: T) => void;
  readonly #reject: (error: unknown) => void;
  #wait: Wait | undefined;
  /** Counts waits, so that the promise of an earlier wait is recognised when it settles late. */
  #epoch = 0;
  untilMs = 0;

  constructor(
    memory: SharedMemory,
    task: Task<T>,
    context: TaskContext,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
    isDaemon: boolean = false,
  ) {
    this.isDaemon = isDaemon;
    this.memory = memory;
    this.#task = task;
    this.#context = context;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  get wait(): Wait {
    assert(this.#wait !== undefined, "a running task waits for nothing");
    return this.#wait;
  }

  resume(wake: Wake): void {
    this.#step(() => this.#task.next(wake));
  }

  abort(error: unknown): void {
    this.#step(() => this.#task.throw(error));
  }

  #step(proceed: () => IteratorResult<Wait, T>): void {
    suspended.delete(this);
    this.#epoch++;
    letGoOfMark(this.memory);
    const previous = enterTask(this.#context);
    let result: IteratorResult<Wait, T>;
    try {
      result = proceed();
    } catch (error) {
      this.#reject(error);
      return;
    } finally {
      leaveTask(previous);
    }
    if (result.done !== true) {
      const refusal = refusedWait(result.value);
      if (refusal === undefined) this.suspend(result.value);
      else this.abort(refusal);
    } else if (this.#context.held.length > 0) this.#reject(heldAtEnd(this.#context));
    else this.#resolve(result.value);
  }

  suspend(wait: Wait): void {
    this.#wait = wait;
    this.untilMs = monotonicMs() + Math.min(wait.timeoutMs, SLICE_MS);
    suspended.add(this);
    keepTicking();
    this.addWaiter();
  }

  /** Adds a waiter on the word; again if the timer of the last one was early. */
  addWaiter(): void {
    const { memory, index, expected } = this.wait;
    const epoch = this.#epoch;
    const isCurrent = (): boolean => this.#epoch === epoch && suspended.has(this);
    if (hasPanicked(memory) || !hasWaitAsync) {
      if (hasPanicked(memory)) queueMicrotask(() => isCurrent() && stepIfDue(this));
      return;
    }
    const leftMs = Math.max(0, this.untilMs - monotonicMs());
    const waiter = futexWaitAsync(memory.words, index, expected, leftMs);
    if (!waiter.async) {
      queueMicrotask(
        () => isCurrent() && (waiter.value === "not-equal" ? this.resume(WOKEN) : stepIfDue(this)),
      );
      return;
    }
    void waiter.value.then((how) => {
      if (isCurrent()) this.#onWaiterEnd(how);
      else if (how === "ok") futexWake(memory.words, index, 1);
      return undefined;
    });
  }

  #onWaiterEnd(how: "ok" | "timed-out"): void {
    if (how === "ok") this.resume(WOKEN);
    else if (!stepIfDue(this)) this.addWaiter();
  }
}

/** Steps `run` if its wait is over. Returns whether it did. */
function stepIfDue(run: SuspendedRun): boolean {
  const { wait, memory } = run;
  if (hasPanicked(memory)) run.abort(panicError(memory));
  else if (atomicLoad(memory.words, wait.index) !== wait.expected) run.resume(WOKEN);
  else if (monotonicMs() >= run.untilMs) run.resume(wait.timeoutMs <= SLICE_MS ? TIMED_OUT : WOKEN);
  else return false;
  return true;
}

function keepTicking(): void {
  ticker ??= setTimeout(tick, hasWaitAsync ? SLICE_MS : POLL_MS);
  // In a browser a timer is a number, and there is nothing to keep alive.
  if (typeof ticker !== "object") return;
  for (const run of suspended) {
    if (run.isDaemon) continue;
    ticker.ref();
    return;
  }
  ticker.unref();
}

function tick(): void {
  ticker = undefined;
  const memories = new Set(Array.from(suspended, (run) => run.memory));
  pumpSuspended();
  for (const memory of memories) probeAndReapAsync(memory);
  if (suspended.size > 0) keepTicking();
}
