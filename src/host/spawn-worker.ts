/**
 * @module host/spawn-worker
 * Starts a Worker from the URL of its module, the same way in Node and in browsers. worker-scope.ts
 * is the Worker's end of the connection.
 *
 * The first message to a Worker is its start data (in Node it is `workerData`).
 */

import { workerThreads } from "./thread-identity.ts";

/** A Worker, as seen by the thread that started it. */
export interface SpawnedWorker {
  /** The host's id of the thread; -1 in browsers, which have none. */
  readonly hostThreadId: number;
  /** Sends a message; SharedArrayBuffers in it are shared, not copied. */
  post(message: unknown): void;
  /** Calls `listener` with every message from the Worker. */
  onMessage(listener: (message: unknown) => void): void;
  /** Calls `listener` when the Worker ends by an uncaught error, or cannot be loaded. */
  onError(listener: (error: Error) => void): void;
  /**
   * Calls `listener` when the Worker has ended. In browsers only for those that `terminate` ended.
   */
  onExit(listener: () => void): void;
  /**
   * Ends the Worker at any point of its code. Resolves when it has ended; in browsers, at once.
   */
  terminate(): Promise<void>;
  /** Lets a Node process end although this Worker runs. */
  unref(): void;
}

/** Options of {@link spawnWorker}. */
export interface SpawnOptions {
  /** For debuggers. */
  readonly name?: string;
}

/**
 * Starts a Worker that runs the ES module at `url`, with `data` (structured-cloneable) as its start
 * data.
 */
export function spawnWorker(url: URL, data: unknown, options: SpawnOptions = {}): SpawnedWorker {
  if (workerThreads !== undefined) return spawnNodeWorker(workerThreads, url, data, options);
  if (typeof Worker === "undefined") throw new Error("Cannot start a Worker: this host has none");
  return spawnWebWorker(Worker, url, data, options);
}

function spawnNodeWorker(
  threads: typeof import("node:worker_threads"),
  url: URL,
  data: unknown,
  { name }: SpawnOptions,
): SpawnedWorker {
  const worker = new threads.Worker(url, {
    workerData: data,
    ...(name === undefined ? {} : { name }),
  });
  return {
    hostThreadId: worker.threadId,
    post: (message) => worker.postMessage(message),
    onMessage: (listener) => void worker.on("message", listener),
    onError: (listener) => {
      worker.on("error", (error: unknown) => listener(toError(error)));
      worker.on("messageerror", listener);
    },
    onExit: (listener) => void worker.once("exit", () => listener()),
    terminate: async () => {
      await worker.terminate();
    },
    unref: () => worker.unref(),
  };
}

/** A Worker may throw anything. */
function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(`a Worker threw ${String(thrown)}`);
}

function spawnWebWorker(
  WorkerClass: WebWorkerConstructor,
  url: URL,
  data: unknown,
  { name }: SpawnOptions,
): SpawnedWorker {
  const worker = new WorkerClass(url, { type: "module", ...(name === undefined ? {} : { name }) });
  const exitListeners: (() => void)[] = [];
  worker.postMessage(data);
  return {
    hostThreadId: -1,
    post: (message) => worker.postMessage(message),
    onMessage: (listener) => worker.addEventListener("message", (event) => listener(event.data)),
    onError: (listener) => {
      worker.addEventListener("error", (event) => {
        event.preventDefault();
        listener(new Error(`${event.message} (${event.filename}:${event.lineno})`));
      });
      worker.addEventListener("messageerror", () =>
        listener(new Error("a message of a Worker could not be read")),
      );
    },
    onExit: (listener) => void exitListeners.push(listener),
    terminate: () => {
      worker.terminate();
      for (const listener of exitListeners.splice(0)) listener();
      return Promise.resolve();
    },
    unref: () => {},
  };
}
