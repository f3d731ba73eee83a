/**
 * @module mm/source/requests
 * What a thread without a source's code asks of the threads that have it: to read a page, to write
 * pages back, to look at the size. The request is in the source's list, in shared memory; a thread
 * that serves takes it out (serve.ts). The same as Linux's userfaultfd, with the pages already
 * where they belong when the answer comes.
 *
 *     faulting thread                          thread that serves
 *     QUEUED, wakes serveQueue
 *     waits on doneQueue                       TAKEN
 *                                              reads into the cache: page UPTODATE
 *                                              DONE, wakes doneQueue
 *     takes the fault again
 */

import type { Machine } from "../../memory/machine.ts";
import { atomicLoad } from "../../sync/atomics.ts";
import { removeResourceUnder } from "../../sync/lockdep/resources.ts";
import { EAGAIN, EIO, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { PageCache } from "../vma/page-cache.ts";
import { type Source, addWork } from "../vma/source.ts";
import {
  IO_ABANDONED,
  IO_DONE,
  IO_OWN,
  IO_QUEUED,
  IO_TAKEN,
  SourceIo,
  ioEnd,
  leaveQueue,
  setIoStateUnder,
  thenCleanUp,
} from "./io.ts";

/**
 * Asks, and waits for the answer, at most `timeoutMs`: 0, or why it could not be done; EIO also
 * where no thread serves the source. EAGAIN: the time went by, and the request goes on; call again.
 * Holding no lock.
 */
export function* ask(machine: Machine, source: Source, at: number, timeoutMs: number): Task<Errno> {
  const { memory } = machine;
  const io = SourceIo.at(memory, at);
  if (io.state === IO_OWN && !(yield* enqueue(machine, source, io))) return EIO;
  const stateAt = at + SourceIo.offset.state;
  const isDone = (): boolean => atomicLoad(memory.words, stateAt) === IO_DONE;
  const reads = { at: stateAt, words: 1 };
  for (;;) {
    if (!(yield* source.doneQueue.waitEvent(isDone, timeoutMs, undefined, reads))) return EAGAIN;
    const answer = yield* takeAnswer(machine, io);
    if (answer !== undefined) return answer;
  }
}

/**
 * Of a request that was DONE. Undefined: the thread that answered has died before it let go of the
 * lock, and the answer is undone:
 *
 *     this thread             who serves           a third one
 *                             lock: DONE
 *     sees DONE
 *                             dies
 *                                                  undone: QUEUED again
 *     would take it for its own, and free what is in the list
 */
function* takeAnswer(machine: Machine, io: SourceIo): Task<Errno | undefined> {
  const { lock } = PageCache.at(machine.memory, io.cache);
  yield* lock.lock();
  const answer = io.state === IO_DONE ? io.errno : undefined;
  if (answer !== undefined) setIoStateUnder(lock.at, io, IO_OWN);
  yield* lock.unlock();
  return answer;
}

/** False: no thread serves the source. */
function* enqueue(machine: Machine, source: Source, io: SourceIo): Task<boolean> {
  const cache = PageCache.at(machine.memory, io.cache);
  yield* cache.lock.lock();
  const isServed = source.servers > 0;
  if (isServed) {
    setIoStateUnder(cache.lock.at, io, IO_QUEUED);
    source.requests.addTail(io.node, cache.lock.at);
    addWork(source);
  }
  yield* cache.lock.unlock();
  if (isServed) yield* source.serveQueue.wakeAll();
  return isServed;
}

/** Ends the wait, whether there is an answer or not, and frees the record. */
export function* endWait(machine: Machine, at: number): Task<void> {
  const io = SourceIo.at(machine.memory, at);
  const cache = PageCache.at(machine.memory, io.cache);
  yield* cache.lock.lock();
  const isTaken = io.state === IO_TAKEN;
  if (io.state === IO_QUEUED) leaveQueue(cache.lock.at, io);
  // Then the thread that serves frees it (O3 of io.ts), and this one has nothing left to release.
  if (isTaken) {
    removeResourceUnder(machine.memory, cache.lock.at, io.slot);
    setIoStateUnder(cache.lock.at, io, IO_ABANDONED);
  }
  yield* cache.lock.unlock();
  if (!isTaken) yield* ioEnd(machine, at);
}

/** Asks, waits for the answer however long that takes, and frees the record. */
export function askOnce(machine: Machine, source: Source, at: number): Task<Errno> {
  return thenCleanUp(ask(machine, source, at, Infinity), () => endWait(machine, at));
}
