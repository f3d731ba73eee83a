/**
 * @module host/thread-identity
 * The identity of this JS thread: the number by which its host reports its end, a name for
 * messages, and Node's own modules where this is Node.
 *
 * No module that a browser loads imports a `node:` module statically. It gets them at run time
 * (`process.getBuiltinModule`, Node 20.16). That needs no await, so a thread can attach to a
 * machine synchronously.
 */

type WorkerThreads = typeof import("node:worker_threads");

function findWorkerThreads(): WorkerThreads | undefined {
  if (typeof process !== "object" || typeof process.getBuiltinModule !== "function")
    return undefined;
  return process.getBuiltinModule("node:worker_threads");
}

/** Node's `worker_threads`, or undefined in a browser. */
export const workerThreads: WorkerThreads | undefined = findWorkerThreads();

/** `count` random 32-bit words, unsigned. */
export function randomWords(count: number): Uint32Array {
  return crypto.getRandomValues(new Uint32Array(count));
}

/**
 * In Node the id that a Worker's owner has of it. Browsers report no thread's end by number; there
 * it is a random number that no Node thread has.
 */
export const hostThreadId: number = workerThreads?.threadId ?? 2 ** 30 + (randomWords(1)[0]! >>> 3);

function nameThread(): string {
  if (workerThreads !== undefined)
    return workerThreads.isMainThread ? "main" : `worker ${workerThreads.threadId}`;
  if (typeof document !== "undefined") return "page";
  const ownName = typeof self === "undefined" ? "" : self.name;
  return ownName === "" ? `worker ${hostThreadId.toString(36)}` : `worker ${ownName}`;
}

/** This thread's name in messages: "main", "page", "worker 3". */
export const threadName: string = nameThread();
