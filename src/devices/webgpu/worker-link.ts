/**
 * @module devices/webgpu/worker-link
 * The owner's side of a device's Worker: it is started, given orders, and ends. A Worker that ends
 * by itself fails whatever was asked of it with ENODEV.
 */

import {
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
import { refusalOf } from "../software/options.ts";
import {
  type AdapterReport,
  type Answers,
  type Order,
  type WorkerMessage,
  type WorkerStart,
  unpackFailure,
} from "./messages.ts";

type Ready = WorkerMessage & { kind: "ready" };

interface Waiting {
  readonly resolve: (value: Answers[Order["kind"]]) => void;
  readonly reject: (error: HmmError) => void;
}

/** How a device's owner reaches its driver. */
export interface DeviceLink {
  readonly ready: Promise<{ readonly adapter: AdapterReport }>;
  ask<K extends Order["kind"]>(
    order: Order & { kind: K },
    signal?: AbortSignal,
  ): Promise<Answers[K]>;
  unref(): void;
  end(): Promise<void>;
}

export class WorkerLink implements DeviceLink {
  readonly ready: Promise<Ready>;
  readonly #worker: SpawnedWorker;
  /** Of the Worker's module, where that is known. */
  readonly #url: string | undefined;
  readonly #waiting = new Map<number, Waiting>();
  readonly #machine: () => DriverHandle;
  #settle: { resolve: (ready: Ready) => void; reject: (error: HmmError) => void } | undefined;
  #lastId = 0;
  /** Why nothing can be asked any more. */
  #lost: string | undefined;

  /** Throws EINVAL when `make` makes no Worker. */
  constructor(
    start: WorkerStart,
    name: string,
    make: (() => HostWorker) | undefined,
    machine: () => DriverHandle,
  ) {
    this.#machine = machine;
    this.ready = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // Not as one expression: a bundler would make an asset of the file, which cannot run.
    const here = import.meta.url;
    if (make === undefined) {
      const url = new URL("./webgpu-worker.js", here);
      this.#url = url.href;
      this.#worker = spawnWorker(url, start, { name });
    } else {
      const { made, url } = watchConstruction(make);
      if (!isHostWorker(made)) {
        const text = `\`worker\` returned ${formatValue(made)}; return a Worker that calls serveWebGpuDevice`;
        throw refusalOf("device")(text);
      }
      this.#url = url;
      this.#worker = adoptWorker(made, start);
    }
    this.#worker.onMessage((message) => this.#hear(message as WorkerMessage));
    this.#worker.onError((error) => void this.#fail("failed", error.message));
    this.#worker.onExit(() => void this.#fail("has ended", "", "it has ended"));
  }

  /** The Worker is gone. `said`: by the host; of a Worker that has not started, `startSaid`. */
  async #fail(state: string, said: string, startSaid: string = said): Promise<void> {
    if (this.#worker.hasEntered) {
      this.#lose(said === "" ? `its Worker ${state}` : `its Worker ${state}: ${said}`);
      return;
    }
    const why = await whyNotStarted(this.#url, startSaid);
    const which = this.#url === undefined ? "" : ` ${this.#url}`;
    this.#lose(
      `its Worker${which} did not start: ${why}; if the program is bundled, give the option \`worker\` (docs/BUNDLERS.md)`,
    );
  }

  /** Lets a Node process end while nothing is asked of the device. */
  unref(): void {
    this.#worker.unref();
  }

  async ask<K extends Order["kind"]>(
    order: Order & { kind: K },
    signal?: AbortSignal,
  ): Promise<Answers[K]> {
    if (this.#lost !== undefined) throw lost(this.#lost);
    const id = ++this.#lastId;
    const answer = new Promise<Answers[Order["kind"]]>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    this.#worker.post({ kind: "order", id, order, machine: this.#machine() });
    const abort = (): void => this.#worker.post({ kind: "abort", id });
    signal?.addEventListener("abort", abort);
    // The Worker does not keep a Node process alive while it idles; what is asked of it has to.
    const keepAlive = setInterval(() => {}, 2 ** 30);
    try {
      return (await answer) as Answers[K]; // of this order's kind
    } finally {
      clearInterval(keepAlive);
      signal?.removeEventListener("abort", abort);
    }
  }

  #hear(message: WorkerMessage): void {
    if (message.kind === "ready") this.#settle?.resolve(message);
    else if (message.kind === "failed") this.#settle?.reject(unpackFailure(message.failure));
    else {
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.failure === undefined) waiting?.resolve(message.value);
      else waiting?.reject(unpackFailure(message.failure));
    }
  }

  #lose(why: string): void {
    this.#lost ??= why;
    this.#settle?.reject(lost(this.#lost));
    for (const { reject } of this.#waiting.values()) reject(lost(this.#lost));
    this.#waiting.clear();
  }

  /** The Worker has left the machine, or never came to it. */
  async end(): Promise<void> {
    this.#lose("it has been disposed of");
    await this.#worker.terminate();
  }
}

/** One for each call: the stack of each is its own. */
function lost(why: string): HmmError {
  return new HmmError("ENODEV", "device", `Cannot use the device: ${why}; make a new one`);
}
