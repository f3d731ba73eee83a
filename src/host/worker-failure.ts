/**
 * @module host/worker-failure
 * Why a Worker did not start, as far as the host says it. Browsers report a module that they cannot
 * load by an event without any text, so its URL is asked once more, and the answer is looked at.
 */

import { workerThreads } from "./thread-identity.ts";

/** What `make` returned, and the URL of the Worker that it made. */
export interface Made<T> {
  /** What `make` returned. */
  readonly made: T;
  /** Undefined where it cannot be known: in Node, whose own messages name the module. */
  readonly url: string | undefined;
}

/**
 * Calls `make`, which starts a Worker. A Worker does not tell its URL, so the constructor is
 * watched during the call.
 */
export function watchConstruction<T>(make: () => T): Made<T> {
  const scope = globalThis as { Worker?: WebWorkerConstructor };
  const { Worker: WorkerClass } = scope;
  const isPlain =
    Object.getOwnPropertyDescriptor(scope, "Worker")?.writable === true && !Object.isFrozen(scope);
  if (workerThreads !== undefined || WorkerClass === undefined || !isPlain)
    return { made: make(), url: undefined };
  let url: string | undefined;
  scope.Worker = new Proxy(WorkerClass, {
    construct(target, args: [URL | string]) {
      const [given] = args;
      url = new URL(given, typeof location === "undefined" ? undefined : location.href).href;
      return Reflect.construct(target, args);
    },
  });
  try {
    const made = make();
    return { made, url };
  } finally {
    scope.Worker = WorkerClass;
  }
}

/**
 * What is known of a failed start: `said` by the host, or else what becomes of a request for `url`.
 */
export async function whyNotStarted(url: string | undefined, said: string): Promise<string> {
  if (said !== "") return `the host said: ${said}`;
  return `the host gave no reason${url === undefined ? "" : `; ${await answerOf(url)}`}`;
}

async function answerOf(url: string): Promise<string> {
  let response: Response;
  try {
    response = await fetch(url);
  } catch (error) {
    return `a request for the URL fails: ${String(error)}`;
  }
  const type = response.headers.get("content-type") ?? "no type";
  if (!response.ok)
    return `the server answers a request for the URL with status ${response.status}`;
  if (!/javascript|ecmascript/.test(type))
    return `the server answers a request for the URL with ${type}, which is no JavaScript`;
  const lacksPolicy =
    url.startsWith("http") && !response.headers.has("cross-origin-embedder-policy");
  if (typeof crossOriginIsolated !== "undefined" && crossOriginIsolated && lacksPolicy)
    return "the server answers a request for the URL without the header Cross-Origin-Embedder-Policy";
  return "the server has it: it, or a module that it imports, does not parse or is missing; the browser's console says more";
}
