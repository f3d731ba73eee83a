/**
 * @module `hmm fuzz --programs N`: a search whose result does not depend on the number of threads
 * or machines. The programs are cut into slices of SLICE numbers. Each slice is a search of its
 * own: it learns only from itself. So its result depends only on the seed and its number. (A search
 * with a time limit learns from all its threads, so it depends on their speed.)
 */

import { onInterrupt } from "../interruption.ts";
import { formatThings } from "../quantities.ts";
import type { Shard } from "../shard.ts";
import { isInShard } from "../shard.ts";
import type { StatusLine } from "../status-line.ts";
import { callWorker } from "../worker-call.ts";
import type { ShrunkProgram } from "./shrink-program.ts";
import { addFunctions } from "./fuzz-coverage.ts";
import type { FunctionCoverage } from "./fuzz-coverage.ts";
import { SLICE } from "./fuzz-slice.ts";
import type { SliceOutcome, SlicesInput } from "./fuzz-slice.ts";
import { onceEach } from "./nature.ts";

export interface SlicesOptions {
  readonly seed: number;
  readonly programs: number;
  readonly shard: Shard;
  /** The address of a module that exports `operations`. */
  readonly operations: string;
  readonly workers: number;
  readonly line: StatusLine;
}

export interface SlicesResult {
  /** In the order of their slices, each nature once. */
  readonly found: readonly { readonly slice: number; readonly shrunk: ShrunkProgram }[];
  readonly programs: number;
  readonly executions: number;
  readonly seconds: number;
  readonly signals: readonly string[];
  readonly functions: FunctionCoverage;
  readonly isInterrupted: boolean;
}

export async function runSlices(options: SlicesOptions): Promise<SlicesResult> {
  const { seed, programs, shard, operations, workers, line } = options;
  const startMs = performance.now();
  const all = Array.from({ length: Math.ceil(programs / SLICE) }, (_, slice) => slice);
  const own = all.filter((slice) => isInShard(slice, shard));
  const cancelled = new SharedArrayBuffer(4);
  let isInterrupted = false;
  using _ = onInterrupt(() => {
    isInterrupted = true;
    new Int32Array(cancelled)[0] = 1;
  });
  const outcomes: SliceOutcome[] = [];
  const hear = (outcome: SliceOutcome): void => {
    outcomes.push(outcome);
    line.update(`${outcomes.length} of ${formatThings(own.length, "slice")}`);
  };
  const lanes = Array.from({ length: Math.min(workers, own.length) }, (_lane, lane) => {
    const slices = own.filter((_slice, i) => isInShard(i, { part: lane + 1, of: workers }));
    const input: SlicesInput = { seed, programs, slices, operations, cancelled };
    return callWorker<FunctionCoverage>(
      new URL("./fuzz-slices-worker.js", import.meta.url),
      input,
      hear,
    );
  });
  let functions: FunctionCoverage;
  try {
    functions = addFunctions(await Promise.all(lanes.map(async ({ result }) => await result)));
  } finally {
    line.clear();
  }
  outcomes.sort((a, b) => a.slice - b.slice);
  const sum = (of: (outcome: SliceOutcome) => number): number =>
    outcomes.reduce((so, outcome) => so + of(outcome), 0);
  return {
    found: onceEach(
      outcomes.flatMap(({ slice, shrunk }) => shrunk.map((one) => ({ slice, shrunk: one }))),
      ({ shrunk }) => shrunk.finding,
    ),
    functions,
    programs: sum((outcome) => outcome.programs),
    executions: sum((outcome) => outcome.executions),
    seconds: (performance.now() - startMs) / 1000,
    signals: Array.from(new Set(outcomes.flatMap(({ signals }) => signals))).toSorted(),
    isInterrupted,
  };
}
