/**
 * @module host/worker-scope
 * The inside of a Worker that spawn-worker.ts started: its start data, and messages to and from the
 * thread that started it.
 *
 * A browser drops a message that comes before there is a listener. So a Worker's module calls
 * {@link enterWorker} while it loads, before its first await.
 */

import { workerThreads } from "./thread-identity.ts";

/** This Worker's connection to the thread that started it. */
export interface WorkerScope {
  /** The data that was passed to `spawnWorker`. */
  readonly start: Promise<unknown>;
  /** Sends a message to the thread that started this one. */
  post(message: unknown): void;
  /**
   * Calls `listener` with every message after the start data. Earlier messages are kept for the
   * first listener.
   */
  onMessage(listener: (message: unknown) => void): void;
  /**
   * Calls `listener` with the reason of every unhandled rejection, which then does not end the
   * Worker.
   */
  onUnhandledRejection(listener: (reason: unknown) => void): void;
}

/** Begins to listen. Once in a Worker; throws in any other thread. */
export function enterWorker(): WorkerScope {
  if (workerThreads !== undefined) return enterNodeWorker(workerThreads);
  if (typeof self === "undefined" || typeof document !== "undefined") throw notInWorker();
  return enterWebWorker(self);
}

function notInWorker(): Error {
  return new Error(
    "Cannot enter the Worker: this thread is none; start its module with spawnWorker",
  );
}

function enterNodeWorker({
  parentPort,
  workerData,
}: typeof import("node:worker_threads")): WorkerScope {
  if (parentPort === null) throw notInWorker();
  return {
    start: Promise.resolve<unknown>(workerData),
    post: (message) => parentPort.postMessage(message),
    onMessage: (listener) => void parentPort.on("message", listener),
    onUnhandledRejection: (listener) => void process.on("unhandledRejection", listener),
  };
}

function enterWebWorker(scope: WebWorkerScope): WorkerScope {
  const waiting: unknown[] = [];
  let listeners: ((message: unknown) => void)[] = [];
  const start = new Promise<unknown>((resolve) => {
    let isFirst = true;
    scope.addEventListener("message", ({ data }) => {
      if (isFirst) {
        isFirst = false;
        resolve(data);
      } else if (listeners.length === 0) {
        waiting.push(data);
      } else {
        for (const listener of listeners) listener(data);
      }
    });
  });
  return {
    start,
    post: (message) => scope.postMessage(message),
    onMessage: (listener) => {
      listeners = [...listeners, listener];
      for (const message of waiting.splice(0)) listener(message);
    },
    onUnhandledRejection: (listener) =>
      scope.addEventListener("unhandledrejection", (event) => {
        event.preventDefault();
        listener(event.reason);
      }),
  };
}
