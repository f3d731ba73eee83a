/**
 * @module host/section-channel
 * How a user's buffer that one thread adds to a machine reaches the machine's other threads: a SharedArrayBuffer travels by message only, so it
 * is broadcast, on a channel that is named after the machine.
 *
 *   C1  Whoever adds or extends a section announces it. A thread that begins to listen asks for what was announced before; whoever
 *       knows more than its question says answers.
 *   C2  A thread that meets a frame of a section it does not have looks for messages that have arrived. In Node that can be done at once, in the middle
 *       of anything; in a browser a message arrives with a later turn of the event loop only, and until then the access fails (ENXIO).
 *   C3  If none has arrived it asks for that section and looks for a short while: the thread that has it answers when it turns its event loop,
 *       or looks for messages itself.
 *
 * The channel keeps no Node process alive. Messages are not trusted: what is not of the right shape is dropped.
 */

import type { BroadcastChannel as NodeChannel, MessagePort as NodePort } from "node:worker_threads";
import type { RamSectionHandle } from "../memory/ram-section.ts";
import { futexWait, mayBlock } from "../sync/atomics.ts";
import { workerThreads } from "./thread-identity.ts";

/** Where sections come from and go to: the part of the machine's RAM that this module needs. */
export interface SectionStore {
  readonly handles: readonly RamSectionHandle[];
  adoptSection(handle: RamSectionHandle): void;
}

/** All sections that somebody knows, or a question for those that are not in `known`. */
type ChannelMessage =
  | { readonly kind: "sections"; readonly handles: readonly RamSectionHandle[] }
  | { readonly kind: "question"; readonly known: readonly string[] };

/** How long a thread that may block looks for an answer, a millisecond at a time. */
const LOOK_LIMIT_MS = 250;

/** Names one state of one section: its record, the record's use, and how long it is. */
function keyOf(handle: RamSectionHandle): string {
  return `${handle.recordAt}/${handle.serial}/${handle.buffer.byteLength}`;
}

function isHandle(value: unknown): value is RamSectionHandle {
  if (typeof value !== "object" || value === null) return false;
  const { recordAt, serial, basePfn, buffer, frames } = value as Partial<RamSectionHandle>;
  const areNumbers = [recordAt, serial, basePfn].every((number) => Number.isInteger(number));
  return areNumbers && buffer instanceof SharedArrayBuffer && frames instanceof SharedArrayBuffer;
}

function parseMessage(data: unknown): ChannelMessage | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const { kind, handles, known } = data as { kind?: unknown; handles?: unknown; known?: unknown };
  if (kind === "sections" && Array.isArray(handles) && handles.every(isHandle)) return { kind, handles };
  if (kind === "question" && Array.isArray(known)) return { kind, known: known.map(String) };
  return undefined;
}

/** One thread's end of a machine's channel. */
export class SectionChannel {
  readonly #store: SectionStore;
  readonly #channel: NodeChannel;
  /** Called after every message. */
  readonly #watchers = new Set<() => void>();
  /** A word of our own to sleep on. */
  readonly #pause: Int32Array = new Int32Array(new SharedArrayBuffer(4));

  /** Begins to listen, and asks for what this thread was not given (C1). */
  constructor(machineId: string, store: SectionStore) {
    this.#store = store;
    this.#channel = new BroadcastChannel(`hmm-ts/${machineId}`);
    this.#channel.onmessage = (event: unknown) => this.#receive((event as { data: unknown }).data);
    // Browsers' channels have no unref, and need none.
    if (workerThreads !== undefined) this.#channel.unref();
    this.#ask();
  }

  /** Gives a section to all other threads (C1). */
  announce(handle: RamSectionHandle): void {
    this.#send({ kind: "sections", handles: [handle] });
  }

  /** The section that begins at `basePfn`, if it has arrived or arrives within a moment; else undefined (C2, C3). */
  find(basePfn: number): RamSectionHandle | undefined {
    const findKnown = (): RamSectionHandle | undefined =>
      this.#store.handles.findLast((handle) => handle.basePfn === basePfn);
    this.lookUntil(() => findKnown() !== undefined);
    return findKnown();
  }

  /** Receives until `isDone`, at most for a moment; returns whether it is (C2, C3). */
  lookUntil(isDone: () => boolean): boolean {
    if (workerThreads === undefined) return isDone();
    this.#lookNow(workerThreads);
    if (isDone()) return true;
    if (!mayBlock()) return false;
    this.#ask();
    for (let waitedMs = 0; waitedMs < LOOK_LIMIT_MS; waitedMs++) {
      futexWait(this.#pause, 0, 0, 1);
      this.#lookNow(workerThreads);
      if (isDone()) return true;
    }
    return false;
  }

  /** As {@link lookUntil}, without blocking: resolves with false after `timeoutMs`. */
  waitUntil(isDone: () => boolean, timeoutMs: number): Promise<boolean> {
    if (workerThreads !== undefined) this.#lookNow(workerThreads);
    if (isDone()) return Promise.resolve(true);
    this.#ask();
    return new Promise((resolve) => {
      const finish = (result: boolean): void => {
        clearTimeout(timer);
        this.#watchers.delete(watch);
        resolve(result);
      };
      const watch = (): void => {
        if (isDone()) finish(true);
      };
      const timer = setTimeout(() => finish(isDone()), timeoutMs);
      this.#watchers.add(watch);
    });
  }

  /** Stops listening. */
  close(): void {
    this.#channel.close();
  }

  #ask(): void {
    this.#send({ kind: "question", known: this.#store.handles.map(keyOf) });
  }

  #send(message: ChannelMessage): void {
    this.#channel.postMessage(message);
  }

  #receive(data: unknown): void {
    const message = parseMessage(data);
    if (message?.kind === "sections") {
      for (const handle of message.handles) if (this.#isNews(handle)) this.#store.adoptSection(handle);
    } else if (message?.kind === "question") {
      const known = new Set(message.known);
      const handles = this.#store.handles.filter((handle) => !known.has(keyOf(handle)));
      if (handles.length > 0) this.#send({ kind: "sections", handles });
    }
    for (const watch of Array.from(this.#watchers)) watch();
  }

  /** False for what this thread has, or has in a longer state: messages of several threads may overtake each other. */
  #isNews({ recordAt, serial, buffer }: RamSectionHandle): boolean {
    const isThisSection = (own: RamSectionHandle): boolean => own.recordAt === recordAt && own.serial === serial;
    return !this.#store.handles.some((own) => isThisSection(own) && own.buffer.byteLength >= buffer.byteLength);
  }

  /** Receives what has arrived, without a turn of the event loop. */
  #lookNow({ receiveMessageOnPort }: typeof import("node:worker_threads")): void {
    for (;;) {
      // Documented to take a BroadcastChannel too, but typed for ports only.
      const arrived = receiveMessageOnPort(this.#channel as unknown as NodePort);
      if (arrived === undefined) return;
      this.#receive(arrived.message);
    }
  }
}
