/**
 * @module The reader word: each agent has one word in its record, READS, with which its tasks are
 * inside one semaphore as readers. No other agent writes it. So threads that read one semaphore at
 * the same time write no common word, and do not take its cache line from each other. A writer
 * pays: it looks at the word of every agent. The model is kernel/locking/percpu-rwsem.c; that the
 * word names the lock, so that one word serves all locks, is as in hazard pointers.
 *
 * | READS | meaning |
 * | --- | --- |
 * | 0 | free |
 * | index of a semaphore | READS_COUNT tasks of this thread are inside it as readers, or one announces itself and then looks at STATE |
 *
 * A thread whose word is in use for another semaphore, and an explored operation, count themselves
 * in STATE instead (rwsem-words.ts). Both kinds of readers are inside in the same way.
 *
 * W1. A reader writes its word first and reads STATE after. A writer sets WRITER first and
 *     reads the words after. Both are sequentially consistent, so one of the two sees the other.
 * W2. While a writer looks at the words, WRITER is set, so no new reader comes in: it looks at
 *     each word once.
 * W3. The writer sleeps on the reader's own word. So a reader that leaves need not know who
 *     waits, and a change between the look and the sleep ends the sleep at once.
 * W4. A thread that dies leaves its word as it is. Whoever finds it dead clears the word and
 *     wakes the writer, and a writer does not wait for the word of a dead thread. So the share is
 *     given up once, also if the finder dies. But a dead thread that had begun an operation under
 *     the semaphore stays inside until another one has finished that (R2 of operations.ts).
 *
 *      reader                                   writer
 *      READS = semaphore
 *      STATE: may I? yes -> in
 *                                               STATE: WRITER on
 *                                               READS? semaphore -> waits until it changes
 *      READS = 0
 *      STATE? WRITER -> wakes the word
 *                                               READS? 0 -> next agent ... in
 *
 *      reader                                   writer
 *                                               STATE: WRITER on
 *      READS = semaphore
 *      STATE: may I? no
 *                                               READS? semaphore -> waits
 *      READS = 0
 *      STATE? WRITER -> wakes the word, queues
 *                                               READS? 0 -> next agent ... in
 *
 * Why a word for each agent, and not a row of them for each semaphore: a row costs 4 KiB (64
 * agents, a cache line each), which small spaces cannot pay, and a writer reads as many lines
 * either way. A blocked thread is inside one semaphore at a time in nearly all of its life, so one
 * word is enough: another of its tasks, or a lock inside a lock, is counted.
 */

import { atomicExchange, atomicLoad, atomicStore, futexWake } from "../atomics.ts";
import {
  AGENTS_USED,
  AGENT_DEAD,
  AGENT_FREE,
  AGENT_READS,
  AGENT_READS_COUNT,
  AGENT_READS_TAG,
  AGENT_STATE,
  AGENT_STATE_MASK,
  AGENT_WORDS,
  agentRecord,
} from "../control-block.ts";
import { hasOperationUnder } from "./operations.ts";
import { STATE, WRITER, mayRead } from "./rwsem-words.ts";

/** The semaphore that this agent's reader word is used for, 0 for none. */
export function readsOf(words: Int32Array, record: number): number {
  return words[record + AGENT_READS] as number; // in bounds: a record
}

/**
 * Enters with the reader word, which is free or in use for this semaphore already. False: readers
 * may not enter now.
 *
 * @spelled semaphore
 */
export function enterWithWord(
  words: Int32Array,
  record: number,
  at: number,
  sharedTag: number,
): boolean {
  if (readsOf(words, record) === at) {
    // A second task of the thread. No writer is inside, but one may wait: it goes first.
    if (!mayRead(atomicLoad(words, at + STATE))) return false;
    words[record + AGENT_READS_COUNT]!++;
    return true;
  }
  words[record + AGENT_READS_TAG] = sharedTag;
  words[record + AGENT_READS_COUNT] = 1;
  atomicStore(words, record + AGENT_READS, at);
  if (mayRead(atomicLoad(words, at + STATE))) return true;
  leaveWithWord(words, record, at);
  return false;
}

/**
 * One task fewer is inside by the reader word. The last one clears it, and wakes a writer that
 * waits for that.
 *
 * @spelled semaphore
 */
export function leaveWithWord(words: Int32Array, record: number, at: number): void {
  if (--words[record + AGENT_READS_COUNT]! > 0) return;
  atomicStore(words, record + AGENT_READS, 0);
  // At most one writer waits for it: the one that has set WRITER.
  if ((atomicLoad(words, at + STATE) & WRITER) !== 0) futexWake(words, record + AGENT_READS, 1);
}

/**
 * The thread of the record died: whatever it was inside of by its reader word, it is no more.
 *
 * @spelled semaphore
 */
export function clearReaderWord(words: Int32Array, record: number): void {
  if (atomicExchange(words, record + AGENT_READS, 0) !== 0)
    futexWake(words, record + AGENT_READS, 1);
}

/** The reader word of the first agent. */
const FIRST_WORD: number = agentRecord(0) + AGENT_READS;

/**
 * The first reader word, from that at `from` on, whose thread is inside; 0 if none is. WRITER is
 * set. A dead thread is not inside (W4): nobody need clear its word for that.
 *
 * @spelled semaphore
 */
export function nextReader(words: Int32Array, at: number, from: number = FIRST_WORD): number {
  const end = agentRecord(atomicLoad(words, AGENTS_USED));
  for (let word = from; word < end; word += AGENT_WORDS) {
    if (atomicLoad(words, word) !== at) continue;
    const record = word - AGENT_READS;
    const state = atomicLoad(words, record + AGENT_STATE) & AGENT_STATE_MASK;
    const isInside = state !== AGENT_DEAD || hasOperationUnder(words, record, at);
    if (state !== AGENT_FREE && isInside) return word;
  }
  return 0;
}
