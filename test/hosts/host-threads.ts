/**
 * @module Threads of the host test, on any host: Workers that attach to an address space and do
 * what they are told. Each is of one of two kinds, Node's or the web's; Bun and Deno have both.
 */

import type { Worker as NodeWorker } from "node:worker_threads";
import type { AddressSpace, AddressSpaceHandle, HostWorker, ThreadPort } from "../../src/index.ts";

/** What a thread is told to do; `ThreadJobs` has what each does. */
export interface ThreadOrder {
  readonly job: "attach" | "add" | "mapBuffer" | "read" | "storeForEver" | "leave";
  readonly args: readonly unknown[];
}

/** What it answers: one answer for each order, but for what never ends. */
export type ThreadAnswer =
  | { readonly kind: "begun" }
  | { readonly kind: "done"; readonly value: unknown }
  | { readonly kind: "failed"; readonly message: string };

export type WorkerKind = "node" | "web";

type WorkerThreads = typeof import("node:worker_threads");

/** Node's, Bun's and Deno's. */
export function findWorkerThreads(): WorkerThreads | undefined {
  return typeof process === "object"
    ? process.getBuiltinModule?.("node:worker_threads")
    : undefined;
}

/** The kinds of Workers that this host has. */
export function workerKinds(): WorkerKind[] {
  const kinds: WorkerKind[] = [];
  if (findWorkerThreads() !== undefined) kinds.push("node");
  if (typeof Worker !== "undefined") kinds.push("web");
  return kinds;
}

export function startWorker(kind: WorkerKind, url: URL): HostWorker {
  const threads = findWorkerThreads();
  if (kind === "node" && threads !== undefined) return new threads.Worker(url);
  if (typeof Worker === "undefined") throw new Error(`there is no Worker of the kind ${kind}`);
  return new Worker(url, { type: "module" });
}

/** Calls `listener` with every message and with what the Worker fails with. */
function listen(worker: HostWorker, listener: (answer: ThreadAnswer) => void): void {
  const fail = (message: string): void => listener({ kind: "failed", message });
  if ("on" in worker) {
    const ofNode = worker as NodeWorker;
    ofNode.on("message", listener);
    ofNode.on("error", (error) => fail(String(error)));
  } else {
    const ofWeb = worker as WebWorker;
    ofWeb.addEventListener("message", ({ data }) => listener(data as ThreadAnswer));
    ofWeb.addEventListener("error", ({ message }) => fail(message));
  }
}

/** A thread that is attached. */
export class HostThread {
  readonly #worker: HostWorker;
  readonly #arrived: ThreadAnswer[] = [];
  #onAnswer: (() => void) | undefined;

  private constructor(kind: WorkerKind) {
    this.#worker = startWorker(kind, new URL("./host-worker.js", import.meta.url));
    listen(this.#worker, (answer) => {
      this.#arrived.push(answer);
      this.#onAnswer?.();
    });
  }

  /** Where threads have to be connected for buffers to reach them, they are. */
  static async start(
    kind: WorkerKind,
    space: AddressSpace,
    isConnected: boolean,
  ): Promise<HostThread> {
    const thread = new HostThread(kind);
    await thread.#expect("begun");
    if (isConnected) {
      const { port1, port2 } = new MessageChannel();
      space.connect(port1);
      await thread.#send("attach", [space.handle, port2], [port2]);
    } else await thread.#send("attach", [space.handle], []);
    return thread;
  }

  do(job: ThreadOrder["job"], ...args: readonly unknown[]): Promise<unknown> {
    return this.#send(job, args, []);
  }

  /** Has it begin what never ends. */
  async begin(job: ThreadOrder["job"], ...args: readonly unknown[]): Promise<void> {
    this.#post({ job, args }, []);
    await this.#expect("begun");
  }

  /** Detaches it in order, and ends it. */
  async leave(): Promise<void> {
    await this.do("leave");
    await this.terminate();
  }

  /** Ends it wherever it is. */
  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  async #send(
    job: ThreadOrder["job"],
    args: readonly unknown[],
    transfer: readonly object[],
  ): Promise<unknown> {
    this.#post({ job, args }, transfer);
    return await this.#expect("done");
  }

  #post(order: ThreadOrder, transfer: readonly object[]): void {
    const post: (message: unknown, transfer: readonly object[]) => void =
      this.#worker.postMessage.bind(this.#worker);
    post(order, transfer);
  }

  async #expect(kind: ThreadAnswer["kind"]): Promise<unknown> {
    while (this.#arrived.length === 0) {
      await new Promise<void>((resolve) => {
        this.#onAnswer = resolve;
      });
    }
    const answer = this.#arrived.shift();
    if (answer?.kind === "failed") throw new Error(`in a thread: ${answer.message}`);
    if (answer?.kind !== kind) throw new Error(`expected ${kind}, got ${JSON.stringify(answer)}`);
    return answer.kind === "done" ? answer.value : undefined;
  }
}

/** What a Worker needs of its place in `attach`. */
export type AttachArgs = readonly [handle: AddressSpaceHandle, port: ThreadPort | undefined];
