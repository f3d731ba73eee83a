/**
 * @module Operations that another thread finishes if the one that does them dies. Some changes
 * under a semaphore cannot be taken back, as those of words are (undo-log.ts): an entry of a page
 * table has been cleared, and others still use what it named. But they can be brought to an end. So
 * the record of a thread says what it is about to do before it begins.
 *
 *   R1  An operation is complete before its first word, LOCK, is stored, and ends when that is 0
 *       again. LOCK is the semaphore that is held all the time.
 *   R2  A dead thread keeps the semaphores that its operations name, for reading or writing, as it
 *       had them. So nobody sees more of the operation than while its thread lived: to others it is
 *       a slow thread.
 *   R3  The recoverer (death/recovery.ts) finishes all operations of the record, then gives up the
 *       semaphores, then ends the operations. There is one: who claims RECOVERER. If it dies, who
 *       comes next does it all again, so each step of a finish may be done twice.
 *   R4  Finishing waits for no semaphore. So a thread that waits for one can do it.
 *   R5  A notice is an operation of a kind of its own, which others may be nested in. A task that
 *       finds no place for a notice does not wait for one. So no task waits for a place while it
 *       has what another one of its thread waits for. A notice may name a second semaphore, ALSO.
 *
 *     thread that dies                recoverer                      another thread
 *     semaphore held
 *     operation noted
 *     entry cleared
 *     [dead]
 *                                                                    waits for the semaphore
 *                                     finds it dead; flushes, puts
 *                                     the frames
 *                                     gives up the semaphore
 *                                     operation ended                goes on
 *
 * What the other words mean is the owner's business.
 */

import {
  AGENT_NOTICES,
  AGENT_OPERATIONS,
  NOTICE_LIMIT,
  NOTICE_WORDS,
  OPERATION_LIMIT,
  OPERATION_WORDS,
} from "../control-block.ts";
import type { SharedMemory } from "../shared-memory.ts";

/** The place of an operation that is not noted yet, in this thread's record; 0: there is none. */
export function freeOperation({ words, record }: SharedMemory): number {
  const first = record + AGENT_OPERATIONS;
  for (let at = first; at < first + OPERATION_LIMIT * OPERATION_WORDS; at += OPERATION_WORDS)
    if (words[at] === 0) return at;
  return 0;
}

/** The word of a notice that names its second semaphore, or 0. */
export const NOTICE_ALSO = 1;

/** The place of a notice that is not noted yet, in this thread's record; 0: there is none. */
export function freeNotice({ words, record }: SharedMemory): number {
  const first = record + AGENT_NOTICES;
  for (let at = first; at < first + NOTICE_LIMIT * NOTICE_WORDS; at += NOTICE_WORDS)
    if (words[at] === 0) return at;
  return 0;
}

/** The operations of a record that have begun and not ended, but for its notices. */
export function operationsOf(words: Int32Array, record: number): number[] {
  return begun(words, record + AGENT_OPERATIONS, OPERATION_LIMIT, OPERATION_WORDS);
}

/** The notices of a record that have begun and not ended. */
export function noticesOf(words: Int32Array, record: number): number[] {
  return begun(words, record + AGENT_NOTICES, NOTICE_LIMIT, NOTICE_WORDS);
}

function begun(words: Int32Array, first: number, limit: number, size: number): number[] {
  const found: number[] = [];
  for (let at = first; at < first + limit * size; at += size) if (words[at] !== 0) found.push(at);
  return found;
}

/** Whether an operation of the record goes on under this semaphore (R2). */
export function hasOperationUnder(words: Int32Array, record: number, lock: number): boolean {
  return (
    operationsOf(words, record).some((at) => words[at] === lock) ||
    noticesOf(words, record).some((at) => words[at] === lock || words[at + NOTICE_ALSO] === lock)
  );
}
