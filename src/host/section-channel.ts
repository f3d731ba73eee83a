/**
 * @module host/section-channel
 * How a user's buffer that one thread adds to a machine reaches the machine's other threads. A
 * SharedArrayBuffer can be passed by message only. There are two routes. In Node and Bun a
 * broadcast channel that is named after the machine reaches every thread. Chromium's drops messages
 * that contain a SharedArrayBuffer, and Deno's keeps its process alive; there, messages take the
 * ports by which the program has connected its threads.
 *
 *   C1  A thread that adds or extends a section announces it. A thread that begins to listen, on
 *       either route, sends a question with the sections that it knows; every thread that knows
 *       others answers.
 *   C2  A thread that lacks a section that it needs first receives the messages that have arrived.
 *       In Node, and in Deno by ports, it can do so at any time. Elsewhere a message arrives only
 *       with a later turn of the event loop; until then the access fails (ENXIO).
 *   C3  If the section is not among them, it sends a question and receives for a short time. The
 *       thread that has the section answers when its event loop turns, or when it receives.
 *   C4  A section that is new to a thread is forwarded to all its other ports. So it reaches all
 *       threads that are connected through each other. A section that is known is not forwarded.
 *
 * Neither route keeps a Node process alive. Messages are not trusted: a message of another shape,
 * or of another machine, is dropped.
 */

import type { BroadcastChannel as NodeChannel, MessagePort as NodePort } from "node:worker_threads";
import { type RamSectionHandle, readSectionHandle } from "../memory/frames/ram-section.ts";
import { type ArgumentRule, ruleOf } from "../sync/argument-rules.ts";
import { futexWait, mayBlock } from "../sync/atomics.ts";
import { isDeno, isNode, workerThreads } from "./thread-identity.ts";

/** The sections that this thread knows: what this module needs of memory/frames/sections.ts. */
export interface SectionStore {
  readonly handles: readonly RamSectionHandle[];
  /** Whether the section was new to this thread. */
  adopt(handle: RamSectionHandle): boolean;
}

/**
 * A MessagePort, one end of a MessageChannel: the members that the declarations for browsers and
 * for Node have in common.
 */
export interface ThreadPort {
  /** Sends a message to the other end. */
  postMessage(message: unknown): void;
  /** Begins to hand out messages. */
  start(): void;
  /** Ends the channel, at both ends. */
  close(): void;
  /** Node: the port alone does not keep the process alive. */
  unref?(): void;
}

/** A port with events. */
interface ListeningPort extends ThreadPort {
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
}

/** What `AddressSpace.connect` takes. */
export const aPort: ArgumentRule = ruleOf("a MessagePort, one end of a MessageChannel", (value) => {
  const methods = ["postMessage", "start", "close", "addEventListener"] as const;
  const port = (value ?? {}) as Partial<ListeningPort>;
  return methods.every((method) => typeof port[method] === "function");
});

/** Sections that the sender knows, or a question for those that are not in `known`. */
type ChannelMessage =
  | {
      readonly kind: "sections";
      readonly machineId: string;
      readonly handles: readonly RamSectionHandle[];
    }
  | { readonly kind: "question"; readonly machineId: string; readonly known: readonly string[] };

/** How long a thread that may block waits for an answer. It receives once a millisecond. */
const LOOK_LIMIT_MS = 250;

/** Identifies a section in one length: its record, the record's serial, the length. */
function keyOf(handle: RamSectionHandle): string {
  return `${handle.recordAt}/${handle.serial}/${handle.buffer.byteLength}`;
}

/** Undefined for what has not the shape of a message, or cannot be read at all. */
function parseMessage(data: unknown, machineId: string): ChannelMessage | undefined {
  try {
    return readMessage(data, machineId);
  } catch {
    return undefined; // an object of this thread, with code of its own
  }
}

function readMessage(data: unknown, machineId: string): ChannelMessage | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const message = data as Partial<Record<"kind" | "machineId" | "handles" | "known", unknown>>;
  const { kind, handles, known } = message;
  if (message.machineId !== machineId) return undefined;
  if (kind === "question" && Array.isArray(known)) {
    const keys = Array.from(known).filter((key) => typeof key === "string");
    return keys.length === known.length ? { kind, machineId, known: keys } : undefined;
  }
  if (kind !== "sections" || !Array.isArray(handles)) return undefined;
  const read = Array.from(handles, readSectionHandle).filter((one) => one !== undefined);
  return read.length === handles.length ? { kind, machineId, handles: read } : undefined;
}

/** Something that messages can be sent on. */
interface Route {
  postMessage(message: ChannelMessage): void;
}

/** Browsers' channels have no unref. */
function unref(channel: { readonly unref?: () => void }): void {
  channel.unref?.();
}

/** One thread's end of both routes of a machine. */
export class SectionChannel {
  readonly #machineId: string;
  readonly #store: SectionStore;
  /** Undefined in Deno. */
  readonly #channel: NodeChannel | undefined;
  readonly #ports = new Set<ThreadPort>();
  /** Called after every message. */
  readonly #watchers = new Set<() => void>();
  /** A private word to sleep on. */
  readonly #pause: Int32Array = new Int32Array(new SharedArrayBuffer(4));

  /** Begins to listen, and asks for the sections that this thread lacks (C1). */
  constructor(machineId: string, store: SectionStore) {
    this.#machineId = machineId;
    this.#store = store;
    if (isDeno) return;
    const channel = new BroadcastChannel(`hmm-ts/${machineId}`);
    this.#channel = channel;
    channel.onmessage = (event: unknown) =>
      this.#receive((event as { data: unknown }).data, channel);
    unref(channel);
    this.#ask(channel);
  }

  /** Listens to one more port, and sends a question on it (C1, C4). */
  connect(port: ThreadPort): void {
    this.#ports.add(port);
    (port as ListeningPort).addEventListener("message", ({ data }) => this.#receive(data, port));
    port.start();
    port.unref?.(); // Node's only
    this.#ask(port);
  }

  /** Sends a section to all other threads (C1). */
  announce(handle: RamSectionHandle): void {
    this.#tell([handle], undefined);
  }

  /** Receives until `isDone`, at most for a short time; returns whether it is done (C2, C3). */
  lookUntil(isDone: () => boolean): boolean {
    this.#lookNow();
    if (isDone()) return true;
    if (!(isNode || isDeno) || !mayBlock()) return false;
    this.#askAll();
    for (let waitedMs = 0; waitedMs < LOOK_LIMIT_MS; waitedMs++) {
      futexWait(this.#pause, 0, 0, 1);
      this.#lookNow();
      if (isDone()) return true;
    }
    return false;
  }

  /** As {@link lookUntil}, without blocking: resolves with false after `timeoutMs`. */
  waitUntil(isDone: () => boolean, timeoutMs: number): Promise<boolean> {
    this.#lookNow();
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
    this.#channel?.close();
    for (const port of this.#ports) port.close();
    this.#ports.clear();
  }

  #askAll(): void {
    if (this.#channel !== undefined) this.#ask(this.#channel);
    for (const port of this.#ports) this.#ask(port);
  }

  #ask(route: Route): void {
    route.postMessage({
      kind: "question",
      machineId: this.#machineId,
      known: this.#store.handles.map(keyOf),
    });
  }

  /**
   * Sends sections on every route but `from`. What came by the broadcast channel is not broadcast
   * again: it has reached all its listeners.
   */
  #tell(handles: readonly RamSectionHandle[], from: Route | undefined): void {
    const message: ChannelMessage = { kind: "sections", machineId: this.#machineId, handles };
    if (from === undefined) this.#channel?.postMessage(message);
    for (const port of this.#ports) if (port !== from) port.postMessage(message);
  }

  #receive(data: unknown, from: Route): void {
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

  /** What messages can be received from without a turn of the event loop. */
  #routesToLook(): Iterable<ThreadPort | NodeChannel> {
    if (isNode && this.#channel !== undefined) return [this.#channel];
    return isDeno ? this.#ports : [];
  }

  /** Receives the messages that have arrived, without a turn of the event loop. */
  #lookNow(): void {
    if (workerThreads === undefined) return;
    const { receiveMessageOnPort } = workerThreads;
    for (const route of this.#routesToLook()) {
      // receiveMessageOnPort is documented for channels too, but typed for ports only.
      const port: object = route;
      for (;;) {
        const arrived = receiveMessageOnPort(port as NodePort);
        if (arrived === undefined) break;
        this.#receive(arrived.message, route);
      }
    }
  }
}
