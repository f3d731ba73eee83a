/**
 * @module The output of `hmm check --shard K/N --json`: its rows, and what `hmm merge` needs to
 * combine them with those of the other parts.
 */

import type { Shard } from "../shard.ts";
import type { JudgedRow } from "./check-row.ts";

export interface CheckPart {
  readonly part: "check";
  readonly version: 1;
  readonly shard: Shard;
  /** What was asked for, the same in all parts. */
  readonly question: string;
  /** All that were asked for, in the order of the table. */
  readonly scenarios: readonly string[];
  readonly seconds: number;
  readonly rows: readonly JudgedRow[];
}
