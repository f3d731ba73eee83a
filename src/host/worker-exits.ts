/**
 * @module host/worker-exits
 * Tells which threads have ended, where the host says so: in Node, of every Worker that this thread
 * starts while somebody watches. Browsers say nothing; there, and for Workers that were started
 * before, a thread's end is found by probing (sync/death/liveness.ts). Whoever waits probes; so
 * that a death is noticed also when nobody waits, a browser's thread does it now and then.
 *
 * Node reports a Worker to the thread that started it, so each thread watches for its own children,
 * and those who are attached to a machine tell it. The watching keeps nothing alive: neither the
 * process nor a Worker.
 */

import { workerThreads } from "./thread-identity.ts";

/** What is to be done about threads that may have ended. */
export interface ExitWatcher {
  /** Told the host's thread id of a Worker that has ended. */
  onExit(hostThreadId: number): void;
  /** Called now and then where the host tells nothing. */
  onLook(): void;
}

/**
 * How often, where the host tells nothing. A browser takes up to two seconds to let a terminated
 * Worker die.
 */
const LOOK_INTERVAL_MS = 1000;

interface StartedWorker {
  readonly threadId: number;
  once(event: "exit", listener: () => void): unknown;
}

const watchers = new Set<ExitWatcher>();

function onWorkerStarted(worker: StartedWorker): void {
  // Read now: by the time of the exit event it is -1.
  const { threadId } = worker;
  worker.once("exit", () => {
    for (const watcher of Array.from(watchers)) watcher.onExit(threadId);
  });
}

/** Calls `watcher` until the function that is returned is called. */
export function watchWorkerExits(watcher: ExitWatcher): () => void {
  if (workerThreads === undefined) {
    const timer = setInterval(() => watcher.onLook(), LOOK_INTERVAL_MS);
    return () => clearInterval(timer);
  }
  if (watchers.size === 0) process.on("worker", onWorkerStarted);
  watchers.add(watcher);
  return () => {
    if (watchers.delete(watcher) && watchers.size === 0) process.off("worker", onWorkerStarted);
  };
}
