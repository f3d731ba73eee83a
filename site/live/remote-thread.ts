/**
 * @module A CPU thread of the live page that is not the page's own, as the page sees it: a Worker
 * (live-thread.ts) that has attached to the address space. One request at a time.
 */

import type { AddressSpaceHandle } from "hmm-ts";

/** What the Worker is sent: first the space, then stores. */
export type ThreadRequest =
  | { readonly kind: "attach"; readonly handle: AddressSpaceHandle }
  | { readonly kind: "store"; readonly address: number; readonly pages: number }
  | { readonly kind: "end" };

/** What it answers: nothing, or what went wrong. */
export interface ThreadAnswer {
  readonly failure: string | undefined;
}

export class RemoteThread {
  readonly #worker: Worker;

  private constructor(worker: Worker) {
    this.#worker = worker;
  }

  /** Rejects with the Worker's own message if it cannot start or attach. */
  static async start(handle: AddressSpaceHandle): Promise<RemoteThread> {
    const thread = new RemoteThread(
      new Worker(new URL("./live-thread.ts", import.meta.url), { type: "module" }),
    );
    try {
      await thread.#ask({ kind: "attach", handle });
    } catch (error) {
      thread.#worker.terminate();
      throw error;
    }
    return thread;
  }

  /** Stores one number to each of `pages` pages. */
  store(address: number, { pages }: { readonly pages: number }): Promise<void> {
    return this.#ask({ kind: "store", address, pages });
  }

  /** The Worker leaves the space, then ends. */
  async end(): Promise<void> {
    await this.#ask({ kind: "end" });
    this.#worker.terminate();
  }

  #ask(request: ThreadRequest): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#worker.onmessage = ({ data }: MessageEvent<ThreadAnswer>) => {
        if (data.failure === undefined) resolve();
        else reject(new Error(data.failure));
      };
      this.#worker.onerror = ({ message }) =>
        reject(new Error(`The second thread has failed: ${message || "its module did not load"}`));
      this.#worker.postMessage(request);
    });
  }
}
