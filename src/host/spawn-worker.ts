/**
 * @module host/spawn-worker
 * Starts a Worker from the URL of its module, or takes one over that the program has started, the
 * same way in Node and in browsers. worker-scope.ts is the Worker's end of the connection,
 * worker-envelope.ts what the two say to each other.
 */

import { workerThreads } from "./thread-identity.ts";
import { type Envelope, openEnvelope } from "./worker-envelope.ts";

/** A Worker, as seen by the thread that started it. */
export interface SpawnedWorker {
  /** The host's id of the thread; -1 in browsers, which have none. */
  readonly hostThreadId: number;
  /** Whether the Worker's module has been entered: it runs, and gets what is sent. */
  readonly hasEntered: boolean;
  /** Sends a message; SharedArrayBuffers in it are shared, not copied. */
  post(message: unknown): void;
  /** Calls `listener` with every message from the Worker. */
  onMessage(listener: (message: unknown) => void): void;
  /**
   * Calls `listener` when the Worker ends by an uncaught error, or cannot be loaded. An empty
   * message: the host gives no reason, as browsers do when a module cannot be loaded.
   */
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

/**
 * A Worker that a program makes: the web's, or that of `node:worker_threads`. These are the members
 * that the two have in common.
 */
export interface HostWorker {
  /** Sends a message to the thread. */
  postMessage(message: unknown): void;
  /** Ends the thread, wherever it is. */
  terminate(): unknown;
}

/** The further members of Node's. */
interface NodeWorker extends HostWorker {
  readonly threadId: number;
  on(event: "message" | "error" | "messageerror", listener: (value: unknown) => void): unknown;
  once(event: "exit", listener: () => void): unknown;
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
  if (workerThreads !== undefined) return adoptWorker(new workerThreads.Worker(url, options), data);
  if (typeof Worker === "undefined") throw new Error("Cannot start a Worker: this host has none");
  return adoptWorker(new Worker(url, { type: "module", ...options }), data);
}

/** Whether it is a Worker that {@link adoptWorker} can take over. */
export function isHostWorker(value: unknown): value is HostWorker {
  if (typeof value !== "object" || value === null) return false;
  const { postMessage, terminate, on, addEventListener } = value as Record<string, unknown>;
  return [postMessage, terminate, on ?? addEventListener].every(
    (member) => typeof member === "function",
  );
}

/** Takes a Worker over that has just been started. `data` becomes its start data. */
export function adoptWorker(worker: HostWorker, data: unknown): SpawnedWorker {
  return "on" in worker
    ? new AdoptedNodeWorker(worker as NodeWorker, data)
    : new AdoptedWebWorker(worker as WebWorker, data);
}

/** The messages of both kinds of Workers. */
class Mailbox {
  readonly #worker: HostWorker;
  readonly #start: unknown;
  /** What was sent before the Worker has entered; undefined from then on. */
  #waiting: unknown[] | undefined = [];
  readonly #listeners: ((message: unknown) => void)[] = [];

  constructor(worker: HostWorker, start: unknown) {
    this.#worker = worker;
    this.#start = start;
  }

  get hasEntered(): boolean {
    return this.#waiting === undefined;
  }

  hear(message: unknown): void {
    const envelope = openEnvelope(message);
    if (envelope?.["hmm-ts"] === "hello") this.#enter();
    else if (envelope !== undefined)
      for (const listener of this.#listeners) listener(envelope.data);
  }

  onMessage(listener: (message: unknown) => void): void {
    this.#listeners.push(listener);
  }

  post(message: unknown): void {
    if (this.#waiting === undefined) this.#send({ "hmm-ts": "item", data: message });
    else this.#waiting.push(message);
  }

  #enter(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    this.#send({ "hmm-ts": "start", data: this.#start });
    for (const message of waiting) this.post(message);
  }

  #send(envelope: Envelope): void {
    this.#worker.postMessage(envelope);
  }
}

/** What both kinds have. */
abstract class AdoptedWorker {
  abstract readonly hostThreadId: number;
  protected readonly mailbox: Mailbox;

  constructor(worker: HostWorker, data: unknown) {
    this.mailbox = new Mailbox(worker, data);
  }

  get hasEntered(): boolean {
    return this.mailbox.hasEntered;
  }

  post(message: unknown): void {
    this.mailbox.post(message);
  }

  onMessage(listener: (message: unknown) => void): void {
    this.mailbox.onMessage(listener);
  }
}

class AdoptedNodeWorker extends AdoptedWorker implements SpawnedWorker {
  readonly hostThreadId: number;
  readonly #worker: NodeWorker;

  constructor(worker: NodeWorker, data: unknown) {
    super(worker, data);
    this.hostThreadId = worker.threadId;
    this.#worker = worker;
    worker.on("message", (message) => this.mailbox.hear(message));
  }

  onError(listener: (error: Error) => void): void {
    for (const event of ["error", "messageerror"] as const)
      this.#worker.on(event, (error) => listener(toError(error)));
  }

  onExit(listener: () => void): void {
    this.#worker.once("exit", () => listener());
  }

  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  unref(): void {
    this.#worker.unref();
  }
}

/** A Worker may throw anything. */
function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(`a Worker threw ${String(thrown)}`);
}

class AdoptedWebWorker extends AdoptedWorker implements SpawnedWorker {
  readonly hostThreadId: number = -1;
  readonly #worker: WebWorker;
  readonly #exitListeners: (() => void)[] = [];

  constructor(worker: WebWorker, data: unknown) {
    super(worker, data);
    this.#worker = worker;
    worker.addEventListener("message", (event) => this.mailbox.hear(event.data));
  }

  onError(listener: (error: Error) => void): void {
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      listener(new Error(textOfErrorEvent(event)));
    });
    this.#worker.addEventListener("messageerror", () =>
      listener(new Error("a message of a Worker could not be read")),
    );
  }

  onExit(listener: () => void): void {
    this.#exitListeners.push(listener);
  }

  terminate(): Promise<void> {
    this.#worker.terminate();
    for (const listener of this.#exitListeners.splice(0)) listener();
    return Promise.resolve();
  }

  unref(): void {
    // A browser's page does not end by itself.
  }
}

/** A module that cannot be loaded is reported by an event without any text. */
function textOfErrorEvent({ message, filename, lineno }: Partial<WebErrorEvent>): string {
  if (message === undefined || message === "") return "";
  return filename === undefined || filename === "" ? message : `${message} (${filename}:${lineno})`;
}
