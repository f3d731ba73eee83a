/**
 * @module Runs a command that imports a user's modules. Such a module may do anything: loop, never
 * settle, end the process. So the whole command runs in a Worker, and this thread only passes on
 * what it writes, and ends it:
 *
 *   - when an import takes longer than the command gives it;
 *   - when Ctrl-C gets no answer in time;
 *   - when the Worker has ended without a status: then the module has ended it.
 *
 * Explorations run in Workers of that Worker, which end with it. No machine is shared with this
 * thread, so nobody waits for what is ended.
 */

import { Worker } from "node:worker_threads";

import { UsageError } from "../exit-status.ts";
import { EXIT_INTERRUPTED, onInterrupt } from "../interruption.ts";
import { quote } from "../option-values.ts";
import type { Output, Terminal } from "../terminal.ts";
import { type FromCommand, INTERRUPT, type StreamFacts, type SupervisedStart } from "./messages.ts";

/** How long the command may take until it has heard of Ctrl-C. */
const HEAR_MS = 700;
/** Exit code of a thread whose module awaits what never settles. */
const UNSETTLED = 13;

/** Runs `hmm` with these arguments in a Worker. Returns its exit status. Throws UsageError. */
export async function superviseCommand(
  args: readonly string[],
  terminal: Terminal,
): Promise<number> {
  const { out, err, outColors, errColors, mayRedraw } = terminal;
  const workerData: SupervisedStart = {
    args,
    out: factsOf(out, outColors.isColorSupported),
    err: factsOf(err, errColors.isColorSupported),
    mayRedraw,
  };
  const url = new URL("./supervised-worker.js", import.meta.url);
  return await new Supervision(new Worker(url, { workerData }), terminal).status();
}

function factsOf({ isTTY, columns }: Output, hasColors: boolean): StreamFacts {
  return { isTTY: isTTY === true, columns, hasColors };
}

class Supervision {
  readonly #worker: Worker;
  readonly #terminal: Terminal;
  /** The last module that was imported. */
  #module = "the module";
  #loadTimer: ReturnType<typeof setTimeout> | undefined;
  #stopTimer: ReturnType<typeof setTimeout> | undefined;
  #settle:
    | { readonly resolve: (status: number) => void; readonly reject: (error: Error) => void }
    | undefined;

  constructor(worker: Worker, terminal: Terminal) {
    this.#worker = worker;
    this.#terminal = terminal;
  }

  async status(): Promise<number> {
    const worker = this.#worker;
    using _ = onInterrupt(() => this.#interrupt());
    try {
      return await new Promise<number>((resolve, reject) => {
        this.#settle = { resolve, reject };
        worker.on("message", (message: FromCommand) => this.#hear(message));
        worker.once("error", (error: unknown) => this.#fail(`it threw ${String(error)}`));
        worker.once("exit", (code) =>
          this.#fail(
            code === UNSETTLED ? "it awaits what never settles" : "it ended the command's thread",
          ),
        );
      });
    } finally {
      clearTimeout(this.#loadTimer);
      clearTimeout(this.#stopTimer);
      await worker.terminate();
    }
  }

  #hear(message: FromCommand): void {
    switch (message.kind) {
      case "write":
        this.#terminal[message.to].write(message.text);
        break;
      case "loading": {
        const { path, seconds } = message;
        this.#module = quote(path);
        this.#loadTimer = setTimeout(() => {
          this.#fail(`its import did not come back in ${seconds} s (--load-seconds)`);
        }, seconds * 1000);
        break;
      }
      case "loaded":
        clearTimeout(this.#loadTimer);
        break;
      case "stopping":
        clearTimeout(this.#stopTimer);
        break;
      case "ended":
        this.#settle?.resolve(message.status);
    }
  }

  #interrupt(): void {
    this.#worker.postMessage(INTERRUPT);
    this.#stopTimer = setTimeout(() => {
      this.#terminal.err.write(`hmm: Stopped: ${this.#module} did not come back, and was ended\n`);
      this.#settle?.resolve(EXIT_INTERRUPTED);
    }, HEAR_MS);
  }

  /** The module has done something else than it should. */
  #fail(state: string): void {
    this.#settle?.reject(
      new UsageError(
        `Cannot use ${this.#module}: ${state}; a module of scenarios exports them, and comes back`,
      ),
    );
  }
}
