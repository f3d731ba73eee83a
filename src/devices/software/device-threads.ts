/**
 * @module devices/software/device-threads
 * The owner's side of a device's Workers: they start together, run one dispatch at a time, and
 * leave together. A Worker that ends by itself, or is ended by somebody else, ends the running
 * dispatch with an error and makes the device unfit for further ones; nobody waits for it.
 */

import {
  ENODEV,
  HmmError,
  adoptWorker,
  formatValue,
  isHostWorker,
  spawnWorker,
  watchConstruction,
  whyNotStarted,
  type DriverHandle,
  type HostWorker,
  type SpawnedWorker,
} from "../../driver-interface.ts";
import { refusalOf } from "./options.ts";
import { stopDispatch } from "./dispatch-state.ts";
import type { SoftwareRecord } from "./software-record.ts";
import type { OwnerMessage, ThreadMessage, ThreadStart } from "./worker-messages.ts";
import { readThreadMessage, unpackFailure } from "./worker-messages.ts";

/**
 * How long a thread may take to leave, until it is ended where it is: its kernel may be one that
 * never returns.
 */
const LEAVE_MS = 2000;

/**
 * How long a Worker may take until it has entered: it may never do so, since its module does not
 * serve a device, and no host reports that.
 */
const ENTER_MS = 60_000;

/** A Worker as it was started. */
interface Started {
  readonly worker: SpawnedWorker;
  /** Of its module, where that is known. */
  readonly url: string | undefined;
  /** What to do if it does not start. */
  readonly remedy: string;
}

/** Starts the library's own Worker. */
function startOwn(start: ThreadStart, name: string): Started {
  // Not as one expression: a bundler would make an asset of the file, which cannot run. Under a
  // bundler a program hands its own Worker over.
  const here = import.meta.url;
  const url = new URL("./device-worker.joined.js", here);
  const remedy =
    "serve that file beside the library's, or, if the program is bundled, give the option `worker` (docs/BUNDLERS.md)";
  return { worker: spawnWorker(url, start, { name }), url: url.href, remedy };
}

/** Has the program start its own. */
function startGiven(start: ThreadStart, make: () => HostWorker): Started {
  const { made, url } = watchConstruction(make);
  if (!isHostWorker(made))
    throw refusalOf("device")(
      `\`worker\` returned ${formatValue(made)}; return a Worker that calls serveDevice of "hmm-ts/worker"`,
    );
  const remedy = 'check that its module loads, and calls serveDevice of "hmm-ts/worker"';
  return { worker: adoptWorker(made, start), url, remedy };
}

/** One Worker of the device. */
class ThreadHandle {
  readonly worker: SpawnedWorker;
  isGone = false;
  readonly #started: Started;
  readonly #onGone: () => void;
  readonly #enterTimer: ReturnType<typeof setTimeout>;
  /**
   * What the owner waits for: by kind, since it may order a thread to leave that has not finished
   * its dispatch.
   */
  readonly #awaited = new Map<
    ThreadMessage["kind"],
    (failure: HmmError | undefined | Promise<HmmError>) => void
  >();

  constructor(started: Started, onGone: () => void) {
    this.#started = started;
    this.#onGone = onGone;
    this.worker = started.worker;
    this.worker.onMessage((message) => this.#hear(readThreadMessage(message)));
    this.worker.onError((error) => this.#lose("its Worker failed", error.message));
    this.worker.onExit(() => this.#lose("its Worker has ended", "", "it has ended"));
    this.#enterTimer = setTimeout(() => {
      const said = `nothing in ${ENTER_MS / 1000} seconds`;
      if (!this.worker.hasEntered) this.#lose("its Worker has not started", said);
    }, ENTER_MS);
  }

  /** The next message of the kind: its failure, if it has one; or that the Worker is gone. */
  expect(kind: ThreadMessage["kind"]): Promise<HmmError | undefined> {
    if (this.isGone) return Promise.resolve(lostThread("its Worker has ended"));
    return new Promise((resolve) => {
      this.#awaited.set(kind, resolve);
    });
  }

  post(message: OwnerMessage): void {
    if (!this.isGone) this.worker.post(message);
  }

  #hear(message: ThreadMessage | undefined): void {
    if (message === undefined) return;
    clearTimeout(this.#enterTimer);
    const resolve = this.#awaited.get(message.kind);
    this.#awaited.delete(message.kind);
    const failure = message.kind === "left" ? undefined : message.failure;
    resolve?.(failure === undefined ? undefined : unpackFailure(failure));
  }

  /**
   * Ends the Worker where it is, if it has not ended. What is still awaited from it is answered
   * that it is gone.
   */
  async end(): Promise<void> {
    this.#lose("its Worker has ended", "");
    await this.worker.terminate();
  }

  /** The Worker is gone. `said`: by the host; of a Worker that has not started, `startSaid`. */
  #lose(state: string, said: string, startSaid: string = said): void {
    clearTimeout(this.#enterTimer);
    if (this.isGone) return;
    this.isGone = true;
    this.#onGone();
    const failure = this.worker.hasEntered
      ? lostThread(said === "" ? state : `${state}: ${said}`)
      : notStarted(this.#started, startSaid);
    for (const resolve of this.#awaited.values()) resolve(failure);
    this.#awaited.clear();
  }
}

async function notStarted({ url, remedy }: Started, said: string): Promise<HmmError> {
  const why = await whyNotStarted(url, said);
  const which = url === undefined ? "its Worker" : `its Worker ${shortened(url)}`;
  return new HmmError(
    ENODEV,
    "device",
    `Cannot start a thread of the device: ${which} did not start: ${why}; ${remedy}`,
  );
}

/** A data: URL holds the whole module. */
function shortened(url: string): string {
  return url.length > 200 ? `${url.slice(0, 200)}...` : url;
}

function lostThread(why: string): HmmError {
  return new HmmError(
    ENODEV,
    "dispatch",
    `Cannot run the kernel: a thread of the device is gone, ${why}; dispose of the device and make a new one`,
  );
}

/** How a device's Workers are started. */
export interface ThreadOptions {
  /** For messages and debuggers. */
  readonly name: string;
  /** Starts a Worker of the program's own, which serves the device. Without: the library's own. */
  readonly worker: (() => HostWorker) | undefined;
}

export class DeviceThreads {
  readonly #record: SoftwareRecord;
  readonly #threads: ThreadHandle[];

  private constructor(record: SoftwareRecord, threads: ThreadHandle[]) {
    this.#record = record;
    this.#threads = threads;
  }

  /**
   * Starts the device's Workers and waits until they are ready. Rejects with what kept one from it,
   * and leaves none behind.
   */
  static async start(
    record: SoftwareRecord,
    machine: DriverHandle,
    { name, worker }: ThreadOptions,
  ): Promise<DeviceThreads> {
    const { at: recordAt, serial, threads: count } = record.device;
    const handles: ThreadHandle[] = [];
    const threads = new DeviceThreads(record, handles);
    try {
      for (let index = 0; index < count; index++) {
        const start: ThreadStart = { machine, recordAt, serial, index };
        const started =
          worker === undefined ? startOwn(start, `${name} ${index}`) : startGiven(start, worker);
        handles.push(new ThreadHandle(started, () => stopDispatch(record)));
      }
    } catch (error) {
      await threads.leave();
      throw error;
    }
    const failures = await Promise.all(handles.map((thread) => thread.expect("ready")));
    const failure = failures.find((one) => one !== undefined);
    if (failure === undefined) {
      for (const thread of handles) thread.worker.unref();
      return threads;
    }
    await threads.leave();
    throw failure;
  }

  /** Whether a thread is gone: no dispatch can be run any more. */
  get areLost(): boolean {
    return this.#threads.some((thread) => thread.isGone);
  }

  /**
   * Has all threads run it. What ended it early, if anything did: a fault or a failing kernel
   * before a lost thread, which may be only its consequence.
   */
  async run(message: OwnerMessage & { kind: "run" }): Promise<HmmError | undefined> {
    const answers = this.#threads.map((thread) => thread.expect("ran"));
    for (const thread of this.#threads) thread.post(message);
    // Workers do not keep a Node process alive while they idle; the dispatch has to.
    const keepAlive = setInterval(() => {}, 2 ** 30);
    try {
      const failures = (await Promise.all(answers)).filter((failure) => failure !== undefined);
      return failures.find((failure) => failure.code !== "ENODEV") ?? failures[0];
    } finally {
      clearInterval(keepAlive);
    }
  }

  /**
   * Ends all threads: those that answer in order, the others where they are. No dispatch is
   * running, or it is given up.
   */
  async leave(): Promise<void> {
    stopDispatch(this.#record);
    await Promise.all(this.#threads.map((thread) => leaveOrEnd(thread)));
  }
}

async function leaveOrEnd(thread: ThreadHandle): Promise<void> {
  if (!thread.worker.hasEntered) {
    await thread.end();
    return;
  }
  const left = thread.expect("left");
  thread.post({ kind: "leave" });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, LEAVE_MS);
  });
  await Promise.race([left, timeout]);
  clearTimeout(timer);
  await thread.end();
}

/** What a dispatch of a device without all its threads is answered. */
export function lostDevice(): HmmError {
  return new HmmError(
    ENODEV,
    "dispatch",
    "Cannot run the kernel: a thread of the device is gone; dispose of the device and make a new one",
  );
}
