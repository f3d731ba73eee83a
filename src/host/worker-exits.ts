/**
 * @module host/worker-exits
 * Reports which threads have ended, where the host says so: in Node, every Worker that this thread
 * starts while there is a watcher. Browsers, Bun and Deno say nothing. There, and for Workers that
 * were started before, a thread's end is found by probing (sync/death/liveness.ts). A thread that
 * waits probes. There a thread also probes in intervals, so that a death is noticed when no thread
 * waits.
 *
 * Node reports a Worker to the thread that started it. So each thread watches its own Workers, and
 * reports to the machines that it is attached to. This keeps neither the process nor a Worker
 * alive.
 */

import { isNode, workerThreads } from "./thread-identity.ts";

/** What to do when threads may have ended. */
export interface ExitWatcher {
  /** Called with the host's thread id of a Worker that has ended. */
  onExit(hostThreadId: number): void;
  /** Called in intervals where the host reports nothing. */
  onLook(): void;
}

/**
 * The interval of `onLook`. In a browser a terminated Worker may run on for two seconds, and is to
 * be noticed within half a second after that.
 */
const LOOK_INTERVAL_MS = 400;

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

function lookInIntervals(watcher: ExitWatcher): () => void {
  const look = (): void => watcher.onLook();
  if (workerThreads === undefined) {
    const timer = setInterval(look, LOOK_INTERVAL_MS);
    return () => clearInterval(timer);
  }
  // Deno's own timers are numbers, which cannot be let go.
  const timers = process.getBuiltinModule("node:timers");
  const timer = timers.setInterval(look, LOOK_INTERVAL_MS).unref();
  return () => timers.clearInterval(timer);
}

/** Calls `watcher` until the function that is returned is called. */
export function watchWorkerExits(watcher: ExitWatcher): () => void {
  if (!isNode) return lookInIntervals(watcher);
  if (watchers.size === 0) process.on("worker", onWorkerStarted);
  watchers.add(watcher);
  return () => {
    if (watchers.delete(watcher) && watchers.size === 0) process.off("worker", onWorkerStarted);
  };
}
