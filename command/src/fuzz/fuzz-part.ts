/** @module The output of `hmm fuzz --shard K/N --json`, and the line that summarises a run. */

import type { RowFinding } from "../check/check-row.ts";
import { formatSeconds, formatThings } from "../quantities.ts";
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
  readonly findings: readonly (KeptFinding & { readonly slice: number })[];
}

export interface FuzzCounts {
  readonly seed: number;
  readonly programs: number;
  readonly executions: number;
  readonly seconds: number;
  readonly signals: number;
  readonly found: number;
}

/** With a line break at the end. `next`: how to go on. */
export function fuzzSummary(counts: FuzzCounts, next: string = ""): string {
  const { programs, executions, seconds, signals, found, seed } = counts;
  const done = `${formatThings(programs, "program")}, ${formatThings(executions, "execution")} in ${formatSeconds(seconds)}`;
  const verdict = found === 0 ? "nothing found" : formatThings(found, "finding");
  return `${done}: ${formatThings(signals, "signal")}, ${verdict} (seed ${seed}${next})\n`;
}
