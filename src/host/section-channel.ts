/**
 * @module host/section-channel
 * How a user's buffer that one thread adds to a machine reaches the machine's other threads: a
 * SharedArrayBuffer travels by message only. There are two roads. A broadcast channel that is named
 * after the machine reaches every thread in Node; Chromium's loses what has a SharedArrayBuffer in
 * it, so there messages take the ports by which the program has joined its threads.
 *
 *   C1  Whoever adds or extends a section announces it. A thread that begins to listen, on either
 *       road, asks for what was announced before; whoever knows more than its question says
 *       answers.
 *   C2  A thread that needs a section that it does not have looks for messages that have arrived.
 *       In Node that can be done at once, in the middle of anything; in a browser a message arrives
 *       with a later turn of the event loop only, and until then the access fails (ENXIO).
 *   C3  If none has arrived it asks for that section and looks for a short while: the thread that
 *       has it answers when it turns its event loop, or looks for messages itself.
 *   C4  What a port brings that is news goes on to all other ports, so it reaches all threads that
 *       are joined through each other, however they are; what is no news ends.
 *
 * Neither road keeps a Node process alive. Messages are not trusted: what is not of the right
 * shape, or of another machine, is dropped.
 */

import type { BroadcastChannel as NodeChannel, MessagePort as NodePort } from "node:worker_threads";
import type { RamSectionHandle } from "../memory/frames/ram-section.ts";
import { futexWait, mayBlock } from "../sync/atomics.ts";
import { workerThreads } from "./thread-identity.ts";

/** The sections that this thread knows: what this module needs of memory/frames/sections.ts. */
export interface SectionStore {
  readonly handles: readonly RamSectionHandle[];
  /** Whether it was news. */
  adopt(handle: RamSectionHandle): boolean;
}

/**
 * A MessagePort, one end of a MessageChannel: of it only what the declarations for browsers and for
 * Node agree on.
 */
export interface ThreadPort {
  postMessage(message: unknown): void;
  start(): void;
  close(): void;
  unref?(): void;
}

/** A port, where messages are listened to. */
interface ListeningPort extends ThreadPort {
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
}

/** All sections that somebody knows, or a question for those that are not in `known`. */
type ChannelMessage =
  | {
      readonly kind: "sections";
      readonly machineId: string;
      readonly handles: readonly RamSectionHandle[];
    }
  | { readonly kind: "question"; readonly machineId: string; readonly known: readonly string[] };

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
  const areBuffers =
    buffer instanceof SharedArrayBuffer &&
    (frames === undefined || frames instanceof SharedArrayBuffer);
  return areNumbers && areBuffers;
}

function parseMessage(data: unknown, machineId: string): ChannelMessage | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const message = data as {
    kind?: unknown;
    machineId?: unknown;
    handles?: unknown;
    known?: unknown;
  };
  const { kind, handles, known } = message;
  if (message.machineId !== machineId) return undefined;
  if (kind === "sections" && Array.isArray(handles) && handles.every(isHandle))
    return { kind, machineId, handles };
  if (kind === "question" && Array.isArray(known))
    return { kind, machineId, known: known.map(String) };
  return undefined;
}

/** Something that messages can be sent on. */
interface Road {
  postMessage(message: ChannelMessage): void;
}

/** One thread's end of both of a machine's roads. */
export class SectionChannel {
  readonly #machineId: string;
  readonly #store: SectionStore;
  readonly #channel: NodeChannel;
  readonly #ports = new Set<ThreadPort>();
  /** Called after every message. */
  readonly #watchers = new Set<() => void>();
  /** A word of our own to sleep on. */
  readonly #pause: Int32Array = new Int32Array(new SharedArrayBuffer(4));

  /** Begins to listen, and asks for what this thread was not given (C1). */
  constructor(machineId: string, store: SectionStore) {
    this.#machineId = machineId;
    this.#store = store;
    const channel = new BroadcastChannel(`hmm-ts/${machineId}`);
    this.#channel = channel;
    channel.onmessage = (event: unknown) =>
      this.#receive((event as { data: unknown }).data, channel);
    // Browsers' channels have no unref, and need none.
    if (workerThreads !== undefined) channel.unref();
    this.#ask(channel);
  }

  /** Listens to one more thread, and asks it (C1, C4). */
  connect(port: ThreadPort): void {
    this.#ports.add(port);
    (port as ListeningPort).addEventListener("message", ({ data }) => this.#receive(data, port));
    port.start();
    port.unref?.(); // Node's only
    this.#ask(port);
  }

  /** Gives a section to all other threads (C1). */
  announce(handle: RamSectionHandle): void {
    this.#tell([handle], undefined);
  }

  /** Receives until `isDone`, at most for a moment; returns whether it is (C2, C3). */
  lookUntil(isDone: () => boolean): boolean {
    if (workerThreads === undefined) return isDone();
    this.#lookNow(workerThreads);
    if (isDone()) return true;
    if (!mayBlock()) return false;
    this.#askAll();
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
    this.#askAll();
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
    for (const port of this.#ports) port.close();
    this.#ports.clear();
  }

  #askAll(): void {
    this.#ask(this.#channel);
    for (const port of this.#ports) this.#ask(port);
  }

  #ask(road: Road): void {
    road.postMessage({
      kind: "question",
      machineId: this.#machineId,
      known: this.#store.handles.map(keyOf),
    });
  }

  /**
   * On every road but the one that it came by; what came by a broadcast has reached all whom one
   * reaches.
   */
  #tell(handles: readonly RamSectionHandle[], from: Road | undefined): void {
    const message: ChannelMessage = { kind: "sections", machineId: this.#machineId, handles };
    if (from === undefined) this.#channel.postMessage(message);
    for (const port of this.#ports) if (port !== from) port.postMessage(message);
  }

  #receive(data: unknown, from: Road): void {
    const message = parseMessage(data, this.#machineId);
    if (message?.kind === "sections") {
      const news = message.handles.filter((handle) => this.#store.adopt(handle));
      if (news.length > 0) this.#tell(news, from);
    } else if (message?.kind === "question") {
      const known = new Set(message.known);
      const handles = this.#store.handles.filter((handle) => !known.has(keyOf(handle)));
      if (handles.length > 0)
        from.postMessage({ kind: "sections", machineId: this.#machineId, handles });
    }
    for (const watch of Array.from(this.#watchers)) watch();
  }

  /** Receives what has arrived, without a turn of the event loop. */
  #lookNow({ receiveMessageOnPort }: typeof import("node:worker_threads")): void {
    // Documented to be received from as a port is, but typed for ports only.
    const channel: object = this.#channel;
    for (;;) {
      const arrived = receiveMessageOnPort(channel as NodePort);
      if (arrived === undefined) return;
      this.#receive(arrived.message, this.#channel);
    }
  }
}
