/**
 * @module host/worker-scope
 * The inside of a Worker that spawn-worker.ts started or took over: its start data, and messages to
 * and from the thread that started it (worker-envelope.ts).
 */

import { isMainThread, workerThreads } from "./thread-identity.ts";
import { type Envelope, openEnvelope } from "./worker-envelope.ts";

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

/** What a host gives a Worker for messages to and from its owner. */
interface OwnerPort {
  send(envelope: Envelope): void;
  /** Calls `listener` with every message. Once. */
  listen(listener: (message: unknown) => void): void;
  onUnhandledRejection(listener: (reason: unknown) => void): void;
  /** Whether messages that may come keep the Worker from ending by itself. */
  stayAlive(isNeeded: boolean): void;
}

/** Begins to listen, and says so to the owner. Once in a Worker; throws in any other thread. */
export function enterWorker(): WorkerScope {
  const port = ownerPort();
  const waiting: unknown[] = [];
  const listeners: ((message: unknown) => void)[] = [];
  const start = new Promise<unknown>((resolve) => {
    port.listen((message) => {
      const envelope = openEnvelope(message);
      if (envelope === undefined) return;
      if (envelope["hmm-ts"] === "start") {
        port.stayAlive(listeners.length > 0);
        resolve(envelope.data);
      } else if (listeners.length === 0) waiting.push(envelope.data);
      else for (const listener of listeners) listener(envelope.data);
    });
  });
  port.send({ "hmm-ts": "hello" });
  return {
    start,
    post: (message) => port.send({ "hmm-ts": "item", data: message }),
    onMessage: (listener) => {
      port.stayAlive(true);
      listeners.push(listener);
      for (const message of waiting.splice(0)) listener(message);
    },
    onUnhandledRejection: (listener) => port.onUnhandledRejection(listener),
  };
}

/** Deno has `parentPort` for Node's Workers only, and the web's Workers too. */
function ownerPort(): OwnerPort {
  const parentPort = workerThreads?.parentPort ?? undefined;
  if (parentPort !== undefined) {
    return {
      send: (envelope) => parentPort.postMessage(envelope),
      listen: (listener) => void parentPort.on("message", listener),
      onUnhandledRejection: (listener) => void process.on("unhandledRejection", listener),
      stayAlive: (isNeeded) => (isNeeded ? parentPort.ref() : parentPort.unref()),
    };
  }
  if (typeof self === "undefined" || isMainThread)
    throw new Error(
      "Cannot enter the Worker: this thread is none; start its module with spawnWorker, or by the option `worker` of a device",
    );
  return webPort(self);
}

function webPort(scope: WebWorkerScope): OwnerPort {
  return {
    send: (envelope) => scope.postMessage(envelope),
    listen: (listener) => scope.addEventListener("message", ({ data }) => listener(data)),
    onUnhandledRejection: (listener) =>
      scope.addEventListener("unhandledrejection", (event) => {
        event.preventDefault();
        listener(event.reason);
      }),
    stayAlive: () => {},
  };
}
