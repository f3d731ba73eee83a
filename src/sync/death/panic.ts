/**
 * @module The machine's panic: one clear error everywhere instead of a hang or a corrupted heap.
 *
 * Only the first panic counts. From then on every task that starts or waits on this machine throws
 * the same HmmError. No running code is interrupted. Threads that are known to block are woken; any
 * other wait sees the panic after its slice.
 *
 * Z1. A reason is complete before anybody can hear of it. Whoever has one writes it into a record
 * of its own, then competes for PANIC_FIRST, then sets ALERT_PANIC. The simpler way, to claim one
 * record and then write it, leaves a moment in which the machine stops and nobody can say why:
 *
 * ```
 * A, finds a dead owner        B, at a wait
 * claims the panic
 *                              sees the claim, throws: but what?
 * writes the reason
 * ```
 *
 * Z2. Who loses sets ALERT_PANIC too. So the machine stops although the winner dies in between, and
 * whoever returns from {@link declarePanic} finds it stopped.
 */

import {
  atomicAdd,
  atomicCompareExchange,
  atomicLoad,
  atomicOr,
  atomicStore,
  futexWake,
  plainLoad,
} from "../atomics.ts";
import {
  AGENT_WAITING_ON,
  ALERT,
  ALERT_PANIC,
  PANIC_AGENT,
  PANIC_CODE,
  PANIC_FIRST,
  PANIC_LOCK,
  PANIC_RECORDS,
  PANIC_RECORDS_TAKEN,
  PANIC_RECORD_LIMIT,
  PANIC_RECORD_WORDS,
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
  const index = atomicAdd(words, PANIC_RECORDS_TAKEN, 1);
  // Beyond the limit a reason has no record, see panicInfo.
  if (index < PANIC_RECORD_LIMIT) {
    const record = panicRecord(index);
    atomicStore(words, record + PANIC_CODE, code);
    atomicStore(words, record + PANIC_LOCK, lock);
    atomicStore(words, record + PANIC_AGENT, agent);
    const bytes = storeText(memory, record + PANIC_TEXT, PANIC_TEXT_WORDS, message);
    atomicStore(words, record + PANIC_TEXT_BYTES, bytes);
  }
  const first = Math.min(index, PANIC_RECORD_LIMIT) + 1;
  const isFirst = atomicCompareExchange(words, PANIC_FIRST, 0, first) === 0;
  atomicOr(words, ALERT, ALERT_PANIC);
  if (!isFirst) return false;
  for (let agentId = 0, end = atomicLoad(memory.words, AGENTS_USED); agentId < end; agentId++) {
    const waitingOn = atomicLoad(words, agentRecord(agentId) + AGENT_WAITING_ON);
    if (waitingOn > 0 && waitingOn < words.length) futexWake(words, waitingOn, Infinity);
  }
  return true;
}

function panicRecord(index: number): number {
  return PANIC_RECORDS + index * PANIC_RECORD_WORDS;
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

/**
 * Whether the machine has stopped: every task throws then, and nothing is left to be given back.
 */
export function hasPanicked(memory: SharedMemory): boolean {
  return (atomicLoad(memory.words, ALERT) & ALERT_PANIC) !== 0;
}

/**
 * Why the machine stopped; undefined while it runs.
 *
 * @stepped panic
 */
export function panicInfo(memory: SharedMemory): PanicInfo | undefined {
  const words = memory.words;
  // Not hasPanicked: that one is no step of the explorer.
  if ((atomicLoad(words, ALERT) & ALERT_PANIC) === 0) return undefined;
  const index = plainLoad(words, PANIC_FIRST) - 1;
  if (index === PANIC_RECORD_LIMIT) {
    const message = "Cannot go on: the machine has stopped, for more reasons than it can keep";
    return { code: ENOTRECOVERABLE, message, lock: 0, agent: -1 };
  }
  const record = panicRecord(index);
  return {
    code: plainLoad(words, record + PANIC_CODE),
    message: loadText(memory, record + PANIC_TEXT, plainLoad(words, record + PANIC_TEXT_BYTES)),
    lock: plainLoad(words, record + PANIC_LOCK),
    agent: plainLoad(words, record + PANIC_AGENT),
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
