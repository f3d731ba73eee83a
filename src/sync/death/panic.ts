/**
 * @module The machine's panic: one clear error everywhere instead of a hang or a corrupted heap.
 *
 * Only the first panic is recorded. From then on every task that starts or waits on this machine
 * throws the same HmmError. No running code is interrupted. Threads that are known to block are
 * woken; any other wait sees the panic after its slice.
 */

import { atomicLoad, atomicOr, atomicStore, futexWake, plainLoad } from "../atomics.ts";
import {
  AGENT_WAITING_ON,
  ALERT,
  ALERT_DEAD,
  ALERT_PANIC,
  ALERT_PANIC_CLAIMED,
  PANIC_AGENT,
  PANIC_CODE,
  PANIC_LOCK,
  PANIC_TEXT,
  PANIC_TEXT_BYTES,
  PANIC_TEXT_WORDS,
  agentRecord,
  AGENTS_USED,
} from "../control-block.ts";
import { ENOTRECOVERABLE } from "../errno.ts";
import type { Errno } from "../errno.ts";
import { HmmError } from "../errors.ts";
import { loadText, storeText } from "../shared-text.ts";
import type { SharedMemory } from "../shared-memory.ts";

/** Why the machine stopped. */
export interface PanicInfo {
  readonly code: Errno;
  readonly message: string;
  /** Word index of the lock concerned, 0 none. */
  readonly lock: number;
  /** Id of the agent concerned, -1 none. */
  readonly agent: number;
}

/**
 * Whether a thread has died or the machine has stopped. Then no fast path is taken: a runner must
 * handle it first.
 */
export function isAlerted(memory: SharedMemory): boolean {
  return atomicLoad(memory.words, ALERT) !== 0;
}

/**
 * Stops the machine, unless it has already stopped. Returns whether this call stopped it. Does not
 * throw.
 *
 * @stepped panic
 */
export function declarePanic(
  memory: SharedMemory,
  code: Errno,
  message: string,
  lock: number = 0,
  agent: number = -1,
): boolean {
  const words = memory.words;
  if ((atomicOr(words, ALERT, ALERT_PANIC_CLAIMED) & ALERT_PANIC_CLAIMED) !== 0) return false;
  atomicStore(words, PANIC_CODE, code);
  atomicStore(words, PANIC_LOCK, lock);
  atomicStore(words, PANIC_AGENT, agent);
  atomicStore(words, PANIC_TEXT_BYTES, storeText(memory, PANIC_TEXT, PANIC_TEXT_WORDS, message));
  atomicOr(words, ALERT, ALERT_PANIC);
  for (let agentId = 0, end = atomicLoad(memory.words, AGENTS_USED); agentId < end; agentId++) {
    const waitingOn = atomicLoad(words, agentRecord(agentId) + AGENT_WAITING_ON);
    if (waitingOn > 0 && waitingOn < words.length) futexWake(words, waitingOn, Infinity);
  }
  return true;
}

/**
 * Stops the machine and throws its error.
 *
 * @stepped panic
 */
export function panic(
  memory: SharedMemory,
  code: Errno,
  message: string,
  lock: number = 0,
  agent: number = -1,
): never {
  declarePanic(memory, code, message, lock, agent);
  throw panicError(memory);
}

/** Throws if the machine has stopped. One atomic load when it has not. */
export function checkPanic(memory: SharedMemory): void {
  if (hasPanicked(memory)) throw panicError(memory);
}

export function hasPanicked(memory: SharedMemory): boolean {
  return (atomicLoad(memory.words, ALERT) & ~ALERT_DEAD) !== 0;
}

/**
 * Why the machine stopped; undefined while it runs.
 *
 * @stepped panic
 */
export function panicInfo(memory: SharedMemory): PanicInfo | undefined {
  const words = memory.words;
  const alert = atomicLoad(words, ALERT);
  if ((alert & ~ALERT_DEAD) === 0) return undefined;
  if ((alert & ALERT_PANIC) === 0) {
    return {
      code: ENOTRECOVERABLE,
      message: "Cannot go on: the machine is stopping",
      lock: 0,
      agent: -1,
    };
  }
  return {
    code: plainLoad(words, PANIC_CODE),
    message: loadText(memory, PANIC_TEXT, plainLoad(words, PANIC_TEXT_BYTES)),
    lock: plainLoad(words, PANIC_LOCK),
    agent: plainLoad(words, PANIC_AGENT),
  };
}

/** The error of a machine that has stopped. */
export function panicError(memory: SharedMemory): HmmError {
  const info = panicInfo(memory);
  return new HmmError(
    info?.code ?? ENOTRECOVERABLE,
    "panic",
    info?.message ?? "Cannot go on: the machine has stopped",
  );
}
