/**
 * @module The blocking runner: runs a task to its end on this thread. The thread sleeps while the
 * task waits.
 *
 * B1. Every wait is cut into slices. After a slice the runner checks for a panic, probes the other
 *     threads, and wakes the task, which rechecks its condition. This covers the one wake that a
 *     lock cannot guarantee: the releaser was terminated after the release and before the wake.
 * B2. While this thread has suspended async tasks, the slices are short, and the runner steps those
 *     tasks in between. So they can release a lock that this task waits for. A task that is
 *     suspended BENEATH this one can not: the primitives refuse such a wait with EDEADLK before it
 *     begins (held-locks.ts, heldBeneath). Code inside a task must never start a blocking run of
 *     its own: it would run on top of any task that happened to step it.
 * B3. Where the host forbids blocking (the main thread of a browser page), a wait spins for a
 *     bounded time. Then the unfinished task goes on under the async runner, and the caller gets
 *     EAGAIN.
 */

import { atomicLoad, atomicStore, futexWait, mayBlock } from "../atomics.ts";
import { monotonicMs } from "../tasks/clock.ts";
import { AGENT_WAITING_ON, ALERT } from "../control-block.ts";
import { currentTask, enterTask, leaveTask, makeContext } from "../tasks/current-task.ts";
import type { TaskContext } from "../tasks/current-task.ts";
import { EAGAIN } from "../errno.ts";
import { HmmError, assert } from "../errors.ts";
import { holdsNothing } from "../lockdep/held-locks.ts";
import { probeAgents, rearmLiveness } from "../death/liveness.ts";
import { heldAtEnd } from "../lockdep/lockdep.ts";
import { checkPanic } from "../death/panic.ts";
import { reapTask, shouldReap } from "../death/reaper.ts";
import { mayRecover, recoverTask, shouldRecover } from "../death/recovery.ts";
import { letGoOfMark } from "../primitives/shootdown.ts";
import { SLICE_MS, adoptTask, hasSuspended, pumpSuspended } from "./run-async.ts";
import { keepTask, refusedWait, TIMED_OUT, WOKEN } from "../tasks/task.ts";
import type { Task, Wait, Wake } from "../tasks/task.ts";
import { DETACHED } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";

/** Slice while async tasks of this thread are suspended. */
const PUMP_SLICE_MS = 1;
/**
 * How long a wait may spin where the host forbids blocking; below SLICE_MS. A wait is a few
 * microseconds long, unless the host has stopped the thread that is waited for: then it is some
 * slices of the host's scheduler. A frame that is late is better than an access that throws. With
 * 30 ms, 1 access in 20,000 threw on a machine with four busy threads for each processor; with 200,
 * 1 in 700,000.
 */
const SPIN_LIMIT_MS = 180;

/** Learns what a task has thrown, while what it holds is still known to be its own. */
type OnThrow = (memory: SharedMemory, error: unknown) => void;

/**
 * Runs `task` and returns its result. Throws what the task throws, or the machine's error if the
 * machine has stopped. `onThrow` is told before.
 */
export function runBlocking<T>(
  memory: SharedMemory,
  task: Task<T>,
  name: string = "blocking",
  onThrow?: OnThrow,
): T {
  if (atomicLoad(memory.words, ALERT) !== 0) {
    const kept = keepTask(task);
    checkPanic(memory);
    reapBlocking(memory);
    return runNow(memory, kept, name, onThrow);
  }
  return runNow(memory, task, name, onThrow);
}

function runNow<T>(memory: SharedMemory, task: Task<T>, name: string, onThrow?: OnThrow): T {
  letGoOfMark(memory);
  const context = makeContext(memory, name, true);
  const previous = enterTask(context);
  try {
    const result = runSteps(memory, task, context, onThrow);
    if (context.held.length > 0) throw heldAtEnd(context);
    return result;
  } finally {
    leaveTask(previous);
  }
}

function runSteps<T>(
  memory: SharedMemory,
  task: Task<T>,
  context: TaskContext,
  onThrow?: OnThrow,
): T {
  try {
    let result = task.next(WOKEN);
    while (result.done !== true) {
      const outcome = waitOrFail(result.value, task, context);
      result = typeof outcome === "number" ? task.next(outcome) : task.throw(outcome.error);
    }
    return result.value;
  } catch (error) {
    onThrow?.(memory, error);
    throw error;
  }
}

/**
 * If the wait fails, the caller throws the error into the task, so that its finally blocks run.
 * These may wait, too.
 */
function waitOrFail(
  wait: Wait,
  task: Task<unknown>,
  context: TaskContext,
): Wake | { readonly error: unknown } {
  const refusal = refusedWait(wait);
  if (refusal !== undefined) return { error: refusal };
  if (!mayBlock()) return waitSpinning(wait, task, context);
  try {
    return waitSleeping(wait);
  } catch (error) {
    return { error };
  }
}

function waitSleeping(wait: Wait): Wake {
  const { memory, index, expected } = wait;
  assert(
    memory.mode !== DETACHED,
    "this thread is not registered on the machine: call registerAgent first",
  );
  const startMs = monotonicMs();
  const timeoutMs = Math.min(wait.timeoutMs, SLICE_MS);
  if (memory.nextProbeMs === 0) memory.nextProbeMs = startMs + SLICE_MS;
  for (;;) {
    if (hasSuspended()) pumpSuspended();
    checkPanic(memory);
    if (atomicLoad(memory.words, index) !== expected) return WOKEN;
    const leftMs = startMs + timeoutMs - monotonicMs();
    if (leftMs <= 0) return wait.timeoutMs <= SLICE_MS ? TIMED_OUT : WOKEN;
    const waitingOn = memory.record + AGENT_WAITING_ON;
    atomicStore(memory.words, waitingOn, index);
    const how = futexWait(
      memory.words,
      index,
      expected,
      hasSuspended() ? Math.min(leftMs, PUMP_SLICE_MS) : leftMs,
    );
    atomicStore(memory.words, waitingOn, 0);
    // By the clock and not once for each wait: a caller may wait in many short steps.
    if (monotonicMs() >= memory.nextProbeMs) probeAndReap(memory);
    checkPanic(memory);
    if (how !== "timed-out") return WOKEN;
  }
}

function probeAndReap(memory: SharedMemory): void {
  memory.nextProbeMs = monotonicMs() + SLICE_MS;
  rearmLiveness(memory);
  probeAgents(memory);
  checkPanic(memory);
  reapBlocking(memory);
}

/** Only if this thread holds nothing that a releaser may need (see reaper.ts). */
function reapBlocking(memory: SharedMemory): void {
  recoverBlocking(memory);
  if (!shouldReap(memory) || !(currentTask.memory === undefined || holdsNothing(memory))) return;
  memory.reaping = true;
  try {
    runBlocking(memory, reapTask(memory), "reaper");
  } finally {
    memory.reaping = false;
  }
}

/** A wait for a semaphore that a dead thread keeps ends by this (see recovery.ts). */
function recoverBlocking(memory: SharedMemory): void {
  if (!shouldRecover(memory) || !mayRecover(memory)) return;
  memory.recovering = true;
  try {
    runBlocking(memory, recoverTask(memory), "recovery");
  } finally {
    memory.recovering = false;
  }
}

/** B3. Throws EAGAIN to the caller; the task goes on under the async runner. */
function waitSpinning(wait: Wait, task: Task<unknown>, context: TaskContext): Wake {
  const { memory, index, expected } = wait;
  const startMs = monotonicMs();
  for (;;) {
    if (hasSuspended()) pumpSuspended();
    checkPanic(memory);
    if (atomicLoad(memory.words, index) !== expected) return WOKEN;
    const waitedMs = monotonicMs() - startMs;
    if (waitedMs >= wait.timeoutMs) return TIMED_OUT; // SPIN_LIMIT_MS is below a slice
    if (waitedMs >= SPIN_LIMIT_MS) {
      adoptTask(task, context, wait);
      throw new HmmError(
        EAGAIN,
        context.name,
        `Cannot wait for ${wait.label}: this thread may not block; the operation goes on by itself, use the form that returns a promise`,
      );
    }
  }
}
