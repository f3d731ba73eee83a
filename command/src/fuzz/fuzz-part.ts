/** @module The output of `hmm fuzz --shard K/N --json`, and the line that summarises a run. */

import type { RowFinding } from "../check/check-row.ts";
import { formatCount, formatSeconds, formatThings } from "../quantities.ts";
import { pairsIn } from "./fuzz-coverage.ts";
import type { FunctionCoverage, PairCoverage } from "./fuzz-coverage.ts";
import type { Shard } from "../shard.ts";

/** A finding, and the file that repeats it. */
export interface KeptFinding extends RowFinding {
  readonly file: string;
}

export interface FuzzPart {
  readonly part: "fuzz";
  readonly version: 1;
  readonly shard: Shard;
  /** What was asked for, the same in all parts. */
  readonly question: string;
  readonly seed: number;
  readonly programs: number;
  readonly executions: number;
  readonly seconds: number;
  readonly signals: readonly string[];
  readonly functions: FunctionCoverage;
  readonly findings: readonly (KeptFinding & { readonly slice: number })[];
}

export interface FuzzCounts {
  readonly seed: number;
  readonly programs: number;
  readonly executions: number;
  readonly seconds: number;
  readonly signals: readonly string[];
  readonly functions: FunctionCoverage;
  readonly found: number;
}

/** What the JSON of a whole run says of its coverage. */
export function coverageOf({ signals, functions }: Pick<FuzzCounts, "signals" | "functions">): {
  readonly functions: FunctionCoverage;
  readonly pairs: PairCoverage;
} {
  return { functions, pairs: pairsIn(signals) };
}

/** With a line break at the end. `next`: how to go on. */
export function fuzzSummary(counts: FuzzCounts, next: string = ""): string {
  const { programs, executions, seconds, signals, functions, found, seed } = counts;
  const done = `${formatThings(programs, "program")}, ${formatThings(executions, "execution")} in ${formatSeconds(seconds)}`;
  const verdict = found === 0 ? "nothing found" : formatThings(found, "finding");
  const { met, missed } = pairsIn(signals);
  const all = functions.ran.length + functions.missed.length;
  const ran = `${formatCount(functions.ran.length)} of ${formatThings(all, "function")} ran`;
  const pairs = `${formatCount(met.length)} of ${formatThings(met.length + missed.length, "pair")} of calls met`;
  return `${ran}, ${pairs}\n${done}: ${formatThings(signals.length, "signal")}, ${verdict} (seed ${seed}${next})\n`;
}
