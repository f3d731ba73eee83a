/**
 * @module The Worker that fuzzes every n-th program, until it is stopped. From time to time it
 * sends what it has learned, and what it has found. It counts which functions run, so it loads
 * them after the count has begun.
 */

import type { Finding } from "../../../src/checker/findings/finding.ts";
import { answerCall } from "../worker-call.ts";
import { RunFunctions } from "./fuzz-coverage.ts";
import type { FunctionCoverage } from "./fuzz-coverage.ts";
import type { OperationsModule } from "./fuzz-stage.ts";
import type { FuzzProgram } from "./fuzz-program.ts";
import type { ShrunkProgram } from "./shrink-program.ts";

const REPORT_MS = 100;

export interface Lesson {
  readonly program: FuzzProgram;
  readonly signals: readonly string[];
}

export interface FuzzWorkerInput {
  readonly seed: number;
  /** The numbers of its programs: `first`, and every `stride` further. */
  readonly first: number;
  readonly stride: number;
  readonly lessons: readonly Lesson[];
  /** The address of a module that exports `operations`. */
  readonly operations: string;
  /** One word: not 0 once everything shall stop. */
  readonly cancelled: SharedArrayBuffer;
}

export type FuzzReport =
  | {
      readonly kind: "progress";
      readonly programs: number;
      readonly executions: number;
      /** Programs up to this number are done. */
      readonly number: number;
      readonly lessons: readonly Lesson[];
    }
  | { readonly kind: "shrinking"; readonly finding: Finding }
  | { readonly kind: "found"; readonly shrunk: ShrunkProgram };

/** What a Worker is told: a lesson of another one, or the nature of a finding. */
export type FuzzNews = Lesson | { readonly nature: string };

const functions = new RunFunctions();

await answerCall<FunctionCoverage>(async (input: FuzzWorkerInput, call) => {
  const flag = new Int32Array(input.cancelled);
  const { operations } = (await import(input.operations)) as OperationsModule;
  const { FuzzSearch } = await import("./fuzz-search.ts");
  const { shrinkProgram } = await import("./shrink-program.ts");
  const search = new FuzzSearch({ seed: input.seed, table: operations });
  for (const { program, signals } of input.lessons) search.learn(program, signals);
  let programs = 0;
  let executions = 0;
  let lessons: Lesson[] = [];
  let reportedMs = performance.now();
  const report = (said: FuzzReport): void => call.report(said);
  for (let number = input.first; flag[0] === 0; number += input.stride) {
    const { program, finding, signals, executions: done } = search.tryProgram(number);
    programs++;
    executions += done;
    if (signals.length > 0) lessons.push({ program, signals });
    if (finding === undefined && performance.now() - reportedMs < REPORT_MS) continue;
    report({ kind: "progress", programs, executions, number, lessons });
    [programs, executions, lessons] = [0, 0, []];
    if (finding !== undefined) {
      report({ kind: "shrinking", finding });
      report({ kind: "found", shrunk: shrinkProgram(program, finding, operations) });
    }
    await turn();
    while (call.hasMessage()) {
      const news = (await call.nextMessage()) as FuzzNews;
      if ("nature" in news) search.learnNature(news.nature);
      else search.learn(news.program, news.signals);
    }
    reportedMs = performance.now();
  }
  return functions.take();
});

/** Lets messages arrive. */
async function turn(): Promise<void> {
  await new Promise<void>((resolve) => void setImmediate(resolve));
}
