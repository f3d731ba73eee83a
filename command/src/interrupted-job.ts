/**
 * @module A job with a progress bar that Ctrl-C stops: what was done so far is said, and nobody
 * waits for the rest. Its threads end with the process.
 */

import type { CommandContext } from "./command.ts";
import { EXIT_INTERRUPTED, onInterrupt } from "./interruption.ts";
import type { ProgressBar } from "./progress-bar.ts";
import { formatCount } from "./quantities.ts";

export class InterruptedJob implements Disposable {
  readonly #context: CommandContext;
  readonly #bar: ProgressBar;
  readonly #stopped: Promise<undefined>;
  readonly #hearing: Disposable;
  readonly #startMs = performance.now();
  #stage = "starting";
  #counts = "";

  constructor(context: CommandContext, bar: ProgressBar) {
    this.#context = context;
    this.#bar = bar;
    let stop = (): void => {};
    this.#stopped = new Promise((resolve) => {
      stop = () => resolve(undefined);
    });
    this.#hearing = onInterrupt(() => {
      this.#say();
      stop();
    });
  }

  /** As `ProgressBar.update`, which it calls. */
  progress(stage: string, done: number, total: number): void {
    this.#stage = stage;
    this.#counts = total > 0 ? `, ${formatCount(done)} of ${formatCount(total)}` : "";
    this.#bar.update(stage, done, total);
  }

  /** The job's result; undefined if Ctrl-C came before. */
  orStopped<T>(job: Promise<T>): Promise<T | undefined> {
    return Promise.race([job, this.#stopped]);
  }

  [Symbol.dispose](): void {
    this.#hearing[Symbol.dispose]();
  }

  #say(): void {
    this.#bar.clear();
    const seconds = ((performance.now() - this.#startMs) / 1000).toFixed(1);
    const text = `Stopped while ${this.#stage}${this.#counts}, after ${seconds} s; nothing was checked`;
    this.#context.terminal.err.write(`hmm: ${text}\n`);
    this.#context.exitStatus = EXIT_INTERRUPTED;
  }
}
