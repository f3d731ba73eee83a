/**
 * @module devices/software/device-threads
 * The owner's side of a device's Workers: they start together, run one dispatch at a time, and
 * leave together. A Worker that ends by itself, or is ended by somebody else, ends the running
 * dispatch with an error and makes the device unfit for further ones; nobody waits for it.
 */

import { type SpawnedWorker, spawnWorker } from "../../host/spawn-worker.ts";
import type { AddressSpaceHandle } from "../../space/handle.ts";
import { ENODEV } from "../../sync/errno.ts";
import { HmmError } from "../../sync/errors.ts";
import { stopDispatch } from "./dispatch-state.ts";
import type { SoftwareRecord } from "./software-record.ts";
import type { OwnerMessage, ThreadMessage, ThreadStart } from "./worker-messages.ts";
import { unpackFailure } from "./worker-messages.ts";

/**
 * How long a thread may take to leave, until it is ended where it is: its kernel may be one that
 * never returns.
 */
const LEAVE_MS = 2000;

/** One Worker of the device. */
class ThreadHandle {
  readonly worker: SpawnedWorker;
  isGone = false;
  /**
   * What the owner waits for: by kind, since it may order a thread to leave that has not finished
   * its dispatch.
   */
  readonly #awaited = new Map<ThreadMessage["kind"], (failure: HmmError | undefined) => void>();

  constructor(start: ThreadStart, name: string, onGone: () => void) {
    this.worker = spawnWorker(new URL("./device-worker.joined.js", import.meta.url), start, {
      name,
    });
    this.worker.onMessage((message) => this.#hear(message as ThreadMessage));
    this.worker.onError((error) => this.#lose(`its Worker failed: ${error.message}`, onGone));
    this.worker.onExit(() => this.#lose("its Worker has ended", onGone));
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

  #hear(message: ThreadMessage): void {
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
    this.#lose("its Worker has ended", () => {});
    await this.worker.terminate();
  }

  #lose(why: string, onGone: () => void): void {
    if (this.isGone) return;
    this.isGone = true;
    onGone();
    for (const resolve of this.#awaited.values()) resolve(lostThread(why));
    this.#awaited.clear();
  }
}

function lostThread(why: string): HmmError {
  return new HmmError(
    ENODEV,
    "dispatch",
    `Cannot run the kernel: a thread of the device is gone, ${why}; dispose of the device and make a new one`,
  );
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
    handle: AddressSpaceHandle,
    name: string,
  ): Promise<DeviceThreads> {
    const { machine, machineId } = handle;
    const { device } = record;
    const handles = Array.from({ length: device.threads }, (_, index) => {
      const start: ThreadStart = {
        machine,
        machineId,
        recordAt: device.at,
        serial: device.serial,
        index,
      };
      return new ThreadHandle(start, `${name} ${index}`, () => stopDispatch(record));
    });
    const threads = new DeviceThreads(record, handles);
    const failures = await Promise.all(handles.map((thread) => thread.expect("ready")));
    const failure = failures.find((one) => one !== undefined);
    if (failure === undefined) {
      for (const { worker } of handles) worker.unref();
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
