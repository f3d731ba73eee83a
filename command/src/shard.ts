/**
 * @module A part of a run, for one of several machines: every `of`-th piece, beginning with number
 * `part`. All parts together are the whole, and no piece is in two parts. `hmm merge` combines what
 * the parts print with `--json`.
 */

import { UsageError } from "./exit-status.ts";
import { quote } from "./option-values.ts";
import type { Reader } from "./option-values.ts";

/** Most parts of a run. */
export const PARTS_LIMIT = 10_000;

export interface Shard {
  /** From 1 to `of`. */
  readonly part: number;
  readonly of: number;
}

/** The whole. */
export const WHOLE: Shard = { part: 1, of: 1 };

/** Reads `3/8`. */
export function shard(option: string): Reader<Shard> {
  return (text) => {
    const [, part = "", of = ""] = /^(\d+)\/(\d+)$/.exec(text) ?? [];
    const read = { part: Number(part), of: Number(of) };
    if (read.part >= 1 && read.part <= read.of && read.of <= PARTS_LIMIT) return read;
    throw new UsageError(
      `Cannot use ${quote(text)} as ${option}: must be a part and how many there are, such as 3/8`,
    );
  };
}

/** Whether piece number `index`, counted from 0, is in the part. */
export function isInShard(index: number, { part, of }: Shard): boolean {
  return index % of === part - 1;
}
