/**
 * @module One run of `hmm fuzz`: several Workers search, share what they learn, and go on
 * after a finding until the time is over.
 */

import { formatCount, formatThings } from "../quantities.ts";
import { onInterrupt } from "../interruption.ts";
import type { StatusLine } from "../status-line.ts";
import { callWorker } from "../worker-call.ts";
import type { WorkerCall } from "../worker-call.ts";
import { writeState } from "./fuzz-state.ts";
import type { FuzzState } from "./fuzz-state.ts";
import { addFunctions } from "./fuzz-coverage.ts";
import type { FunctionCoverage } from "./fuzz-coverage.ts";
import { natureOf, onceEach } from "./nature.ts";
import type { FuzzNews, FuzzReport, FuzzWorkerInput } from "./fuzz-worker.ts";
import type { ShrunkProgram } from "./shrink-program.ts";

const SAVE_MS = 2000;

export interface FuzzRunOptions {
  readonly state: FuzzState;
  readonly statePath: string | undefined;
  /** The address of a module that exports `operations`. */
  readonly operations: string;
  readonly seconds: number;
  readonly workers: number;
  readonly line: StatusLine;
}

export interface FuzzResult {
  /** Each nature once. */
  readonly found: readonly ShrunkProgram[];
  /** Of this run. */
  readonly programs: number;
  readonly executions: number;
  readonly seconds: number;
  readonly signals: ReadonlySet<string>;
  readonly functions: FunctionCoverage;
  readonly isInterrupted: boolean;
}

export async function runFuzz(options: FuzzRunOptions): Promise<FuzzResult> {
  return await new FuzzRun(options).run();
}

class FuzzRun {
  readonly #options: FuzzRunOptions;
  readonly #state: FuzzState;
  readonly #cancelled = new SharedArrayBuffer(4);
  readonly #calls: WorkerCall<FunctionCoverage>[] = [];
  readonly #found: ShrunkProgram[] = [];
  readonly #signals: Set<string>;
  readonly #startMs = performance.now();
  readonly #secondsBefore: number;
  #programs = 0;
  #executions = 0;
  #shrinking: string | undefined;
  #savedMs = performance.now();
  #isInterrupted = false;

  constructor(options: FuzzRunOptions) {
    this.#options = options;
    this.#state = options.state;
    this.#secondsBefore = options.state.seconds;
    this.#signals = new Set(options.state.lessons.flatMap(({ signals }) => signals));
  }

  async run(): Promise<FuzzResult> {
    const { workers, seconds, line } = this.#options;
    using _ = onInterrupt(() => {
      this.#isInterrupted = true;
      this.#stop();
    });
    const timer = setTimeout(() => this.#stop(), seconds * 1000);
    const { next } = this.#state;
    for (let worker = 0; worker < workers; worker++) this.#start(next + worker);
    try {
      const results = await Promise.all(this.#calls.map(async ({ result }) => await result));
      return this.#result(addFunctions(results));
    } finally {
      clearTimeout(timer);
      this.#stop();
      line.clear();
      this.#save();
    }
  }

  #start(first: number): void {
    const { seed, lessons } = this.#state;
    const { workers, operations } = this.#options;
    const cancelled = this.#cancelled;
    const input: FuzzWorkerInput = { seed, first, stride: workers, lessons, operations, cancelled };
    const index = this.#calls.length;
    const url = new URL("./fuzz-worker.js", import.meta.url);
    this.#calls.push(callWorker(url, input, (report: FuzzReport) => this.#hear(index, report)));
  }

  #stop(): void {
    new Int32Array(this.#cancelled)[0] = 1;
  }

  #hear(worker: number, report: FuzzReport): void {
    if (report.kind === "shrinking") {
      this.#shrinking = report.finding.kind;
      this.#tellOthers(worker, { nature: natureOf(report.finding) });
    } else if (report.kind === "found") {
      this.#shrinking = undefined;
      this.#found.push(report.shrunk);
    } else {
      this.#programs += report.programs;
      this.#executions += report.executions;
      this.#state.programs += report.programs;
      this.#state.executions += report.executions;
      this.#state.next = Math.max(this.#state.next, report.number + 1);
      for (const lesson of report.lessons) {
        const fresh = lesson.signals.filter((signal) => !this.#signals.has(signal));
        if (fresh.length === 0) continue;
        for (const signal of fresh) this.#signals.add(signal);
        const known = { program: lesson.program, signals: fresh };
        this.#state.lessons.push(known);
        this.#tellOthers(worker, known);
      }
      if (performance.now() - this.#savedMs > SAVE_MS) this.#save();
    }
    this.#draw();
  }

  #tellOthers(worker: number, news: FuzzNews): void {
    for (const [other, call] of this.#calls.entries()) if (other !== worker) call.send(news);
  }

  #save(): void {
    this.#savedMs = performance.now();
    this.#state.seconds = this.#secondsBefore + this.#elapsed();
    const { statePath } = this.#options;
    if (statePath !== undefined) writeState(statePath, this.#state);
  }

  #elapsed(): number {
    return (performance.now() - this.#startMs) / 1000;
  }

  #draw(): void {
    if (this.#shrinking !== undefined) {
      this.#options.line.update(`found: ${this.#shrinking}; making the program small`);
      return;
    }
    const elapsed = this.#elapsed();
    const left = Math.max(0, Math.ceil(this.#options.seconds - elapsed));
    const parts = [
      formatThings(this.#programs, "program"),
      `${formatThings(this.#executions, "execution")} (${formatCount(this.#executions / elapsed)}/s)`,
      formatThings(this.#signals.size, "signal"),
      ...(this.#found.length === 0 ? [] : [formatThings(this.#found.length, "finding")]),
      `${left} s left`,
    ];
    this.#options.line.update(parts.join(", "));
  }

  #result(functions: FunctionCoverage): FuzzResult {
    return {
      found: onceEach(this.#found, ({ finding }) => finding),
      functions,
      programs: this.#programs,
      executions: this.#executions,
      seconds: this.#elapsed(),
      signals: this.#signals,
      isInterrupted: this.#isInterrupted,
    };
  }
}
