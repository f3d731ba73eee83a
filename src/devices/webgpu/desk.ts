/**
 * @module devices/webgpu/desk
 * Carries out the orders of a device's owner, one after the other. Of the device's Worker, or of
 * the owner's thread where the GPUDevice is its own.
 *
 * Import it with `import()`, there only. With it comes the whole driver, which a page whose device
 * has a Worker, as is usual, then neither fetches nor parses: an eighth of such a page's code.
 */

import {
  type AdapterReport,
  type Answers,
  type Order,
  type OwnerMessage,
  type WorkerMessage,
  type WorkerStart,
  packFailure,
} from "./messages.ts";
import { Session } from "./session.ts";

/** Takes orders and answers them. */
export class Desk {
  readonly adapter: AdapterReport;
  readonly #session: Session;
  readonly #post: (message: WorkerMessage) => void;
  /** Orders that are not answered yet; and those of them that are to end. */
  readonly #unanswered = new Set<number>();
  readonly #aborted = new Set<number>();
  #isLeaving = false;
  #last: Promise<void> = Promise.resolve();

  private constructor(session: Session, post: (message: WorkerMessage) => void) {
    this.adapter = session.adapter;
    this.#session = session;
    this.#post = post;
  }

  /** Opens the device; its answers go to `post`. `own`: the program's GPUDevice. */
  static async open(
    start: WorkerStart,
    post: (message: WorkerMessage) => void,
    own?: GPUDevice,
  ): Promise<Desk> {
    return new this(await Session.open(start, own), post);
  }

  hear(message: OwnerMessage): void {
    if (message.kind === "abort") {
      // One that comes late finds its order answered.
      if (this.#unanswered.has(message.id)) this.#aborted.add(message.id);
      return;
    }
    const { id, order, machine } = message;
    this.#unanswered.add(id);
    if (order.kind === "stop") this.#isLeaving = true;
    // At once: in the middle of whatever is under way.
    if (order.kind === "lose") this.#session.gpu.device.destroy();
    this.#session.driver.adopt(machine);
    this.#last = this.#last.then(() => this.#answer(id, order));
  }

  async #answer(id: number, order: Order): Promise<void> {
    let value: Answers[Order["kind"]];
    let failure: ReturnType<typeof packFailure> | undefined;
    try {
      value = await this.#perform(id, order);
    } catch (error) {
      failure = packFailure(error);
    }
    if (order.kind !== "leave") this.#session.publish();
    await this.#session.gpu.settled(); // a Worker may be ended when it has answered
    this.#unanswered.delete(id);
    this.#aborted.delete(id);
    this.#post({ kind: "answer", id, value, failure });
  }

  async #perform(id: number, order: Order): Promise<Answers[Order["kind"]]> {
    const session = this.#session;
    switch (order.kind) {
      case "dispatch":
        return await session.dispatch(order, () => this.#isLeaving || this.#aborted.has(id));
      case "compile":
        await session.program(order);
        return undefined;
      case "read":
        return await session.read(order.address, order.lengthBytes);
      case "write":
        return await session.write(order.address, order.bytes);
      case "snapshot":
        return await session.snapshot(order.address, order.lengthBytes);
      case "prefetch":
        return await session.prefetch(order.address, order.lengthBytes);
      case "make":
        await session.makeResource(order.resource, order.spec);
        return undefined;
      case "fill":
        await session.fillResource(order.resource, order.at, order.bytes);
        return undefined;
      case "fetch":
        return await session.fetchResource(order.resource);
      case "unmake":
        session.unmakeResource(order.resource);
        return undefined;
      case "leave":
        await session.close();
        return undefined;
      default:
        return undefined;
    }
  }
}
