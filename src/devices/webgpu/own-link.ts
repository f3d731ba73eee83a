/**
 * @module devices/webgpu/own-link
 * The owner's side of a device on a GPUDevice of the program's own: there is no Worker. The driver
 * runs on this thread, and takes the same orders.
 *
 * Nothing of the driver may wait for the GPU while JavaScript of this thread waits for the driver:
 * the GPU answers by a promise, which is settled only when this thread is idle. What this thread
 * changes during a pass is therefore noted without a wait (webgpu-record/mirror-ops.ts).
 */

import { HmmError, type DriverHandle } from "../../driver-interface.ts";
import {
  type AdapterReport,
  type Answers,
  type Order,
  type WorkerMessage,
  type WorkerStart,
  unpackFailure,
} from "./messages.ts";
import type { Desk } from "./desk.ts";
import type { DeviceLink } from "./worker-link.ts";

export class OwnLink implements DeviceLink {
  readonly ready: Promise<{ readonly adapter: AdapterReport }>;
  readonly #machine: () => DriverHandle;
  readonly #answered = new Map<number, (message: WorkerMessage & { kind: "answer" }) => void>();
  #desk: Desk | undefined;
  #lastId = 0;

  constructor(start: WorkerStart, device: GPUDevice, machine: () => DriverHandle) {
    this.#machine = machine;
    this.ready = this.#open(start, device);
  }

  async #open(start: WorkerStart, device: GPUDevice): Promise<{ adapter: AdapterReport }> {
    const { Desk } = await import("./desk.ts");
    const hear = (message: WorkerMessage): void => {
      if (message.kind !== "answer") return;
      this.#answered.get(message.id)?.(message);
      this.#answered.delete(message.id);
    };
    this.#desk = await Desk.open(start, hear, device);
    return this.#desk;
  }

  /** There is no Worker that would keep a process alive. */
  unref(): void {}

  async ask<K extends Order["kind"]>(
    order: Order & { kind: K },
    signal?: AbortSignal,
  ): Promise<Answers[K]> {
    const desk = this.#desk;
    if (desk === undefined) {
      const text = "Cannot use the device: it has been disposed of; make a new one";
      throw new HmmError("ENODEV", "device", text);
    }
    const id = ++this.#lastId;
    const answer = new Promise<WorkerMessage & { kind: "answer" }>((resolve) => {
      this.#answered.set(id, resolve);
    });
    desk.hear({ kind: "order", id, order, machine: this.#machine() });
    const abort = (): void => desk.hear({ kind: "abort", id });
    signal?.addEventListener("abort", abort);
    // As with a Worker: what is asked of the device keeps the process alive.
    const keepAlive = setInterval(() => {}, 2 ** 30);
    try {
      const { value, failure } = await answer;
      if (failure !== undefined) throw unpackFailure(failure);
      return value as Answers[K]; // of this order's kind
    } finally {
      clearInterval(keepAlive);
      signal?.removeEventListener("abort", abort);
    }
  }

  async end(): Promise<void> {
    this.#desk = undefined;
  }
}
