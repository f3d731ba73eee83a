/**
 * @module One run of `hmm check`. It explores the chosen scenarios and passes their rows on in the
 * order of the list, each as soon as it and those before it are complete. It saves the progress, so
 * that a stopped run can go on.
 */

import type { StatusLine } from "../status-line.ts";
import { CheckProgress } from "./check-progress.ts";
import type { Progress } from "../../../src/checker/explore.ts";
import type { JudgedRow } from "./check-row.ts";
import type { CheckpointFile, CheckState } from "./checkpoint-file.ts";
import type { ExploreJob, JobOutcome, Wanted } from "./explore-job.ts";
import { canShare, exploreTogether } from "./explore-together.ts";
import { ExplorePool } from "./explore-pool.ts";
import type { EngineChoice } from "./engine-choice.ts";
import { onInterrupt } from "../interruption.ts";
import type { LocatedScenario } from "./scenario-modules.ts";
import type { ShownFinding } from "./shown-finding.ts";

export interface CheckRunOptions {
  readonly scenarios: readonly LocatedScenario[];
  readonly choice: EngineChoice;
  readonly workers: number;
  /** How long an import, a setup or one step may take. */
  readonly patienceSeconds: number;
  readonly minimised: Wanted;
  readonly shown: Wanted;
  /** What was reached before, and where to keep what is reached now. */
  readonly state: CheckState;
  readonly file: CheckpointFile;
  readonly line: StatusLine;
  readonly onRow: (row: JudgedRow) => void;
}

export interface CheckResult {
  readonly rows: readonly JudgedRow[];
  readonly shown: readonly ShownFinding[];
  /** Ctrl-C came before all was done. */
  readonly isInterrupted: boolean;
  /** A scenario has ended the thread that explored it. */
  readonly hasLost: boolean;
}

/** Explores `scenarios`. */
export async function runCheck(options: CheckRunOptions): Promise<CheckResult> {
  const run = new CheckRun(options);
  return await run.run();
}

class CheckRun {
  readonly #options: CheckRunOptions;
  readonly #names: readonly string[];
  readonly #state: CheckState;
  readonly #shown = new Map<string, readonly ShownFinding[]>();
  #printed = 0;
  #hasLost = false;

  constructor(options: CheckRunOptions) {
    this.#options = options;
    this.#names = options.scenarios.map(({ address }) => address.name);
    this.#state = options.state;
  }

  async run(): Promise<CheckResult> {
    const { file, line } = this.#options;
    this.#printReady();
    const jobs = this.#jobsLeft();
    const progress = new CheckProgress(line, this.#names.length, this.#names.length - jobs.length);
    const [only] = jobs;
    if (only !== undefined && jobs.length === 1 && this.#mayShare(only))
      await this.#runTogether(only, progress);
    else await this.#runPool(jobs, progress);
    line.clear();
    const rows = this.#rows();
    const isInterrupted = rows.length < this.#names.length;
    if (!isInterrupted) file.remove();
    return {
      rows,
      shown: this.#names.flatMap((name) => this.#shown.get(name) ?? []),
      isInterrupted,
      hasLost: this.#hasLost,
    };
  }

  #mayShare(job: ExploreJob): boolean {
    const { scenarios, workers, file } = this.#options;
    const located = scenarios.find(({ address }) => address.name === job.address.name);
    return workers > 1 && !file.isKept && located !== undefined && canShare(job, located.scenario);
  }

  async #runTogether(job: ExploreJob, progress: CheckProgress): Promise<void> {
    const { workers, patienceSeconds } = this.#options;
    const stop = new AbortController();
    using _ = onInterrupt(() => stop.abort());
    progress.started(0, job.address.name);
    const outcome = await exploreTogether(
      job,
      { threads: workers, patienceSeconds, signal: stop.signal },
      (so) => progress.progressed(0, so),
    );
    progress.ended(0);
    this.#keep(job.address.name, outcome);
  }

  async #runPool(jobs: readonly ExploreJob[], progress: CheckProgress): Promise<void> {
    const { workers, line, patienceSeconds } = this.#options;
    const hearing = {
      onStart: (job: number) => progress.started(job, jobs[job]?.address.name ?? ""),
      onProgress: (job: number, so: Progress) => progress.progressed(job, so),
      onOutcome: (job: number, outcome: JobOutcome) => {
        progress.ended(job);
        this.#keep(jobs[job]?.address.name ?? "", outcome);
      },
    };
    const pool = new ExplorePool(jobs, hearing, patienceSeconds);
    using _ = onInterrupt(() => pool.cancel());
    await pool.run(workers).finally(() => line.clear());
  }

  #jobsLeft(): ExploreJob[] {
    const { scenarios, choice, minimised, shown } = this.#options;
    return scenarios
      .filter(({ address }) => !this.#state.done.has(address.name))
      .map(({ address }) => {
        return {
          address,
          choice,
          minimised,
          shown,
          resumeFrom: this.#state.underWay.get(address.name),
        };
      });
  }

  #keep(name: string, outcome: JobOutcome): void {
    if (outcome.kind === "stopped") {
      if (outcome.checkpoint !== undefined) this.#state.underWay.set(name, outcome.checkpoint);
    } else {
      this.#hasLost ||= outcome.isLost === true;
      this.#state.underWay.delete(name);
      this.#state.done.set(name, outcome.judged);
      this.#shown.set(name, outcome.shown);
      this.#printReady();
    }
    this.#options.file.write(this.#state);
  }

  #printReady(): void {
    for (;;) {
      const row = this.#state.done.get(this.#names[this.#printed] ?? "");
      if (row === undefined) return;
      this.#printed++;
      this.#options.line.clear();
      this.#options.onRow(row);
    }
  }

  #rows(): JudgedRow[] {
    return this.#names.flatMap((name) => this.#state.done.get(name) ?? []);
  }
}
