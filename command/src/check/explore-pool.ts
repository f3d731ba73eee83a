/**
 * @module Explores scenarios with several Workers: a free Worker takes the next scenario. If a
 * Worker dies (out of memory, or a scenario that ends the process), only the scenario that it was
 * exploring fails.
 */

import type { Progress } from "../../../src/checker/explore.ts";
import { callWorker } from "../worker-call.ts";
import { failedRow } from "./check-row.ts";
import type { ExploreJob, JobOutcome } from "./explore-job.ts";
import type { ExploreWorkerInput, ExploreWorkerReport } from "./explore-worker.ts";

export interface PoolHearing {
  onStart(job: number): void;
  onProgress(job: number, so: Progress): void;
  onOutcome(job: number, outcome: JobOutcome): void;
}

export class ExplorePool {
  readonly #jobs: readonly ExploreJob[];
  readonly #hearing: PoolHearing;
  readonly #cancelled = new SharedArrayBuffer(4);
  #next = 0;

  constructor(jobs: readonly ExploreJob[], hearing: PoolHearing) {
    this.#jobs = jobs;
    this.#hearing = hearing;
  }

  /** What is being explored ends soon, with a checkpoint; nothing else is begun. */
  cancel(): void {
    new Int32Array(this.#cancelled)[0] = 1;
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
    const input: ExploreWorkerInput = { cancelled: this.#cancelled };
    const call = callWorker<void>(new URL("./explore-worker.js", import.meta.url), input, hear);
    const sendNext = (): void => {
      current = this.#next < this.#jobs.length ? this.#next++ : -1;
      if (current !== -1) this.#hearing.onStart(current);
      call.send(this.#jobs[current]);
    };
    sendNext();
    try {
      await call.result;
    } catch (error) {
      const job = this.#jobs[current];
      if (job === undefined) throw error;
      const message = `the Worker that explored it died: ${error instanceof Error ? error.message : String(error)}`;
      const row = failedRow(job.address.name, undefined, message);
      const judged = { row, expects: undefined, coverage: "could not be explored" };
      this.#hearing.onOutcome(current, { kind: "judged", judged, shown: [] });
    }
  }
}
