/**
 * @module Explores scenarios with several Workers: a free Worker takes the next scenario. If a
 * Worker dies (out of memory, or a scenario that ends the process), only the scenario that it was
 * exploring fails.
 *
 * A scenario may loop, at import, in its setup or between two steps of a task. Then its Worker says
 * nothing any more. Each has a word that changes with every execution: when it stays the same for
 * too long, or after a request to stop, the Worker is ended where it is. It shares no machine.
 */

import type { Progress } from "../../../src/checker/explore.ts";
import { callWorker } from "../worker-call.ts";
import { failedOutcome } from "./explore-job.ts";
import type { ExploreJob, JobOutcome } from "./explore-job.ts";
import type { ExploreWorkerInput, ExploreWorkerReport } from "./explore-worker.ts";

export interface PoolHearing {
  onStart(job: number): void;
  onProgress(job: number, so: Progress): void;
  onOutcome(job: number, outcome: JobOutcome): void;
}

/** How often the words are looked at. */
const LOOK_MS = 100;
/** How long a Worker may take to load our own code. A busy machine takes seconds. */
const WORKER_START_MS = 60_000;
/** How long a Worker without a pulse may take to stop. */
const STOP_MS = 400;

/** A scenario's code did not come back. */
class NoPulse extends Error {}

export class ExplorePool {
  readonly #jobs: readonly ExploreJob[];
  readonly #hearing: PoolHearing;
  readonly #patienceMs: number;
  readonly #cancelled = new SharedArrayBuffer(4);
  #cancelledMs = Infinity;
  #next = 0;

  /** `patienceSeconds`: how long an import or one execution may take. */
  constructor(jobs: readonly ExploreJob[], hearing: PoolHearing, patienceSeconds: number) {
    this.#jobs = jobs;
    this.#hearing = hearing;
    this.#patienceMs = patienceSeconds * 1000;
  }

  /** What is being explored ends soon, with a checkpoint; nothing else is begun. */
  cancel(): void {
    new Int32Array(this.#cancelled)[0] = 1;
    this.#cancelledMs = performance.now();
    this.#next = this.#jobs.length;
  }

  /** Settles when there is nothing left to do. */
  async run(workers: number): Promise<void> {
    const lanes = Math.min(workers, this.#jobs.length);
    await Promise.all(Array.from({ length: lanes }, async () => await this.#runLane()));
  }

  async #runLane(): Promise<void> {
    while (this.#next < this.#jobs.length) await this.#runWorker();
  }

  async #runWorker(): Promise<void> {
    let current = -1;
    const hear = (report: ExploreWorkerReport): void => {
      if (report.kind === "progress") this.#hearing.onProgress(current, report.progress);
      else {
        this.#hearing.onOutcome(current, report.outcome);
        sendNext();
      }
    };
    const pulse = new SharedArrayBuffer(4);
    const input: ExploreWorkerInput = { cancelled: this.#cancelled, pulse };
    const call = callWorker<void>(new URL("./explore-worker.js", import.meta.url), input, hear);
    const sendNext = (): void => {
      current = this.#next < this.#jobs.length ? this.#next++ : -1;
      if (current !== -1) this.#hearing.onStart(current);
      call.send(this.#jobs[current]);
    };
    sendNext();
    const watch = this.#watch(pulse, (error) => call.end(error));
    try {
      await call.result;
    } catch (error) {
      const job = this.#jobs[current];
      if (job === undefined) throw error;
      const isStopped = error instanceof NoPulse && this.#cancelledMs !== Infinity;
      this.#hearing.onOutcome(
        current,
        isStopped ? { kind: "stopped", checkpoint: undefined } : lostOutcome(job, error),
      );
    } finally {
      clearInterval(watch);
    }
  }

  /** Calls `end` when the pulse has stayed the same for too long. */
  #watch(pulse: SharedArrayBuffer, end: (error: Error) => void): ReturnType<typeof setInterval> {
    const word = new Int32Array(pulse);
    let seen = word[0];
    let sinceMs = performance.now();
    return setInterval(() => {
      const nowMs = performance.now();
      if (word[0] !== seen) sinceMs = nowMs;
      seen = word[0];
      const quietMs = nowMs - sinceMs;
      const isStopping = quietMs >= STOP_MS && nowMs - this.#cancelledMs >= STOP_MS;
      // 0: the Worker has not begun. The user's patience is for the user's code alone.
      const patienceMs = seen === 0 ? WORKER_START_MS : this.#patienceMs;
      if (isStopping || quietMs >= patienceMs) {
        const text = `its code did not come back in ${this.#patienceMs / 1000} s (--load-seconds): a loop without \`yield*\`, at import, in its setup or in a task`;
        end(new NoPulse(text));
      }
    }, LOOK_MS);
  }
}

/** The Worker died, or was ended. */
function lostOutcome(job: ExploreJob, error: unknown): JobOutcome {
  if (error instanceof NoPulse) return failedOutcome(job, undefined, error);
  const said = error instanceof Error ? error.message : String(error);
  return failedOutcome(job, undefined, `the Worker that explored it died: ${said}`, true);
}
