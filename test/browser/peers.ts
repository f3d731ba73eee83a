/**
 * @module The page's side of its scenarios: Workers that attach to the page's address space and do
 * what they are told, with blocking operations (peer-worker.ts); and what counts the turns of the
 * page's event loop meanwhile.
 */

import type { AddressSpace, ThreadPort } from "../../src/index.ts";
import { check } from "./page-cases.ts";
import type { PeerAnswer, PeerJobs, PeerOrder } from "./peer-worker.ts";

/** An error that a peer's job ended with. */
export class PeerFailure extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Workers that are attached to nothing: starting one anew takes longer than most tests. */
const idle: Peer[] = [];
let started = 0;

/** One Worker of a page, attached to an address space of the page's. */
export class Peer {
  readonly name: string;
  readonly #worker: WebWorker;
  readonly #waiting = new Map<number, Waiting>();
  #asked = 0;
  #onNote: ((note: string) => void) | undefined;

  private constructor(name: string) {
    check(Worker !== undefined, "browsers have Worker");
    this.name = name;
    this.#worker = new Worker(new URL("./peer-worker.js", import.meta.url), {
      type: "module",
      name,
    });
    this.#worker.addEventListener("message", ({ data }) => this.#hear(data as PeerAnswer));
    this.#worker.addEventListener("error", (event) =>
      this.#fail(new PeerFailure("ECRASHED", event.message)),
    );
  }

  /**
   * One that is attached; a new one, or one that has left. With `isConnected`, buffers that either
   * thread maps later reach the other.
   */
  static async start(space: AddressSpace, isConnected = true): Promise<Peer> {
    const peer = idle.pop() ?? new Peer(`peer ${++started}`);
    const { port1, port2 } = new MessageChannel();
    if (isConnected) space.connect(port1);
    await peer.#send(
      "attach",
      [space.handle, isConnected ? port2 : undefined],
      isConnected ? [port2] : [],
    );
    return peer;
  }

  /**
   * Has the Worker do a job; its result, or PeerFailure. Orders that come while it is busy wait.
   */
  do<K extends keyof PeerJobs>(
    job: K,
    ...args: Parameters<PeerJobs[K]>
  ): Promise<Awaited<ReturnType<PeerJobs[K]>>> {
    return this.#send(job, args, []);
  }

  /** Connects a Worker that was started without. */
  connect(port: object): Promise<void> {
    return this.#send("connect", [port as ThreadPort], [port]);
  }

  /** The next note that the Worker sends in the middle of a job. */
  nextNote(): Promise<string> {
    return new Promise((resolve) => {
      this.#onNote = resolve;
    });
  }

  /** Detaches it, in order. */
  async leave(): Promise<void> {
    await this.do("leave");
    idle.push(this);
  }

  /** Ends it wherever it is. */
  terminate(): void {
    this.#worker.terminate();
  }

  #send<K extends keyof PeerJobs>(
    job: K,
    args: Parameters<PeerJobs[K]>,
    transfer: readonly object[],
  ): Promise<Awaited<ReturnType<PeerJobs[K]>>> {
    const order: PeerOrder = { id: ++this.#asked, job, args };
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(order.id, { resolve, reject });
    });
    this.#worker.postMessage(order, transfer);
    return answer as Promise<Awaited<ReturnType<PeerJobs[K]>>>;
  }

  #hear(answer: PeerAnswer): void {
    if (answer.kind === "note") {
      this.#onNote?.(answer.note);
      return;
    }
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (answer.kind === "failed") waiting?.reject(new PeerFailure(answer.code, answer.message));
    else waiting?.resolve(answer.value);
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/**
 * Counts the turns of the page's event loop, one after the other, from when it is made until it is
 * stopped.
 */
export class TurnCounter {
  turns = 0;
  /**
   * The longest that one turn kept the next one waiting. To be shown, not judged: it depends on the
   * machine.
   */
  longestMs = 0;
  readonly #channel = new MessageChannel();
  #lastMs = performance.now();

  constructor() {
    const { port1, port2 } = this.#channel;
    port1.addEventListener("message", () => {
      const nowMs = performance.now();
      this.turns++;
      this.longestMs = Math.max(this.longestMs, nowMs - this.#lastMs);
      this.#lastMs = nowMs;
      port2.postMessage(0);
    });
    port1.start();
    port2.postMessage(0);
  }

  /** Resolves after so many further turns. */
  async pass(turns: number): Promise<void> {
    const end = this.turns + turns;
    while (this.turns < end) await nextTurn();
  }

  stop(): string {
    this.#channel.port1.close();
    return `${this.turns} turns of the page's event loop, the longest ${Math.round(this.longestMs)} ms`;
  }
}

/** Lets the event loop turn once. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

/**
 * Lets the event loop turn until the condition holds; the test's own time limit ends it otherwise.
 */
export async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await condition())) await nextTurn();
}

/** The code of the error that `body` ends with; fails if it ends without one. */
export async function codeOf(body: () => unknown): Promise<string> {
  return (await errorOf(body)).code;
}

/** The error with a code that `body` ends with; fails if it ends without one. */
export async function errorOf(body: () => unknown): Promise<Error & { readonly code: string }> {
  let result: unknown;
  try {
    result = await body();
  } catch (error) {
    check(error instanceof Error && "code" in error, `${String(error)} has no code`);
    return error as Error & { readonly code: string };
  }
  throw new Error(`nothing failed; the result is ${String(result)}`);
}
