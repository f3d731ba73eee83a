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

/** `worker_threads` of Node, Bun or Deno; undefined in a browser. */
export const workerThreads: WorkerThreads | undefined = findWorkerThreads();

/**
 * Whether this is Node itself. Bun and Deno have most of Node's modules too, but do not report the
 * Workers that a thread starts, and cannot receive from a broadcast channel without a turn of the
 * event loop.
 */
export const isNode: boolean =
  workerThreads !== undefined && !("bun" in process.versions) && !("deno" in process.versions);

/** Whether this is Deno. */
export const isDeno: boolean = workerThreads !== undefined && "deno" in process.versions;

/** `count` random 32-bit words, unsigned. */
export function randomWords(count: number): Uint32Array {
  return crypto.getRandomValues(new Uint32Array(count));
}

/**
 * In Node the id that a Worker's owner has of it. Others report no thread's end by number; there it
 * is a random number that no Node thread has.
 */
export const hostThreadId: number = isNode
  ? (workerThreads?.threadId ?? 0)
  : 2 ** 30 + (randomWords(1)[0]! >>> 3);

/**
 * Whether this thread began as the first of its program. Deno's web Workers say so too, but have a
 * Worker's scope.
 */
export const isMainThread: boolean =
  workerThreads === undefined
    ? typeof document !== "undefined"
    : workerThreads.isMainThread && typeof DedicatedWorkerGlobalScope === "undefined";

function nameThread(): string {
  if (isNode && workerThreads !== undefined)
    return isMainThread ? "main" : `worker ${workerThreads.threadId}`;
  if (isMainThread) return typeof document === "undefined" ? "main" : "page";
  const ownName = typeof self === "undefined" ? "" : self.name;
  return ownName === "" ? `worker ${hostThreadId.toString(36)}` : `worker ${ownName}`;
}

/** This thread's name in messages: "main", "page", "worker 3". */
export const threadName: string = nameThread();
