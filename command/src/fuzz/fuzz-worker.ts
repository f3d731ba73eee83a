/**
 * @module The Worker that fuzzes every n-th program, until it finds something or is stopped. From
 * time to time it sends what it has learned.
 */

import type { Finding } from "../../../src/checker/findings/finding.ts";
import { answerCall } from "../worker-call.ts";
import type { OperationsModule } from "./fuzz-stage.ts";
import type { FuzzProgram } from "./fuzz-program.ts";
import { FuzzSearch } from "./fuzz-search.ts";
import { shrinkProgram } from "./shrink-program.ts";
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
  | { readonly kind: "shrinking"; readonly finding: Finding };

await answerCall<ShrunkProgram | undefined>(async (input: FuzzWorkerInput, call) => {
  const flag = new Int32Array(input.cancelled);
  const { operations } = (await import(input.operations)) as OperationsModule;
  const search = new FuzzSearch({ seed: input.seed, table: operations });
  for (const { program, signals } of input.lessons) search.learn(program, signals);
  let programs = 0;
  let executions = 0;
  let lessons: Lesson[] = [];
  let reportedMs = performance.now();
  for (let number = input.first; flag[0] === 0; number += input.stride) {
    const outcome = search.tryProgram(number);
    programs++;
    executions += outcome.executions;
    if (outcome.signals.length > 0) lessons.push(outcome);
    const { finding } = outcome;
    if (finding === undefined && performance.now() - reportedMs < REPORT_MS) continue;
    const told = lessons.map(({ program, signals }) => ({ program, signals }));
    call.report({
      kind: "progress",
      programs,
      executions,
      number,
      lessons: told,
    } satisfies FuzzReport);
    if (finding !== undefined) {
      call.report({ kind: "shrinking", finding } satisfies FuzzReport);
      return shrinkProgram(outcome.program, finding, operations);
    }
    [programs, executions, lessons] = [0, 0, []];
    await turn();
    while (call.hasMessage()) {
      const { program, signals } = (await call.nextMessage()) as Lesson;
      search.learn(program, signals);
    }
    reportedMs = performance.now();
  }
  return undefined;
});

/** Lets messages arrive. */
async function turn(): Promise<void> {
  await new Promise<void>((resolve) => void setImmediate(resolve));
}
