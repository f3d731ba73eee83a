/**
 * @module host/worker-exits
 * Tells which threads have ended, where the host says so: in Node, of every Worker that this thread starts while somebody watches.
 * Browsers say nothing; there, and for Workers that were started before, a thread's end is found by probing (sync/liveness.ts).
 *
 * Node reports a Worker to the thread that started it, so each thread watches for its own children, and those who are attached to a
 * machine tell it. The watching keeps nothing alive: neither the process nor a Worker.
 */

import { workerThreads } from "./thread-identity.ts";

/** Told the host's thread id of a Worker that has ended. */
export type ExitListener = (hostThreadId: number) => void;

interface StartedWorker {
  readonly threadId: number;
  once(event: "exit", listener: () => void): unknown;
}

const listeners = new Set<ExitListener>();

function onWorkerStarted(worker: StartedWorker): void {
  // Read now: by the time of the exit event it is -1.
  const { threadId } = worker;
  worker.once("exit", () => {
    for (const listener of Array.from(listeners)) listener(threadId);
  });
}

/** Calls `listener` whenever a Worker of this thread has ended, until the function that is returned is called. */
export function watchWorkerExits(listener: ExitListener): () => void {
  if (workerThreads === undefined) return () => {};
  if (listeners.size === 0) process.on("worker", onWorkerStarted);
  listeners.add(listener);
  return () => {
    if (listeners.delete(listener) && listeners.size === 0) process.off("worker", onWorkerStarted);
  };
}
