/**
 * @module When each population was current, from the census log. The census thread ticks its clock,
 * rewrites the cell, and ticks again; the log keeps both ticks. So version v of a city became
 * current somewhere between the two ticks of its own entry, and stopped being so somewhere between
 * the two ticks of the entry for v + 1. Version 0 was there from the beginning.
 *
 * A question that read the clock as `before`, then the cell, then the clock as `after` may have
 * seen version v unless
 *
 *     stale       the rewrite to v + 1 had ended when the question began: afterOf(v + 1) <= before
 *     premature   the rewrite to v had not begun when the question ended: beforeOf(v) > after
 */

import { LOG_AFTER, LOG_BEFORE, LOG_BYTES, LOG_CITY, LOG_VERSION } from "./layout.ts";

const WORDS_PER_ENTRY: number = LOG_BYTES / 4;

/** What is wrong with a version that was read, if anything is. */
export type Currency = "current" | "unknown" | "stale" | "premature";

/**
 * The log, sorted by city. Entries of one city are in the order of their versions, since one thread
 * wrote them.
 */
export class CensusHistory {
  private readonly log: Uint32Array;
  /** Entry numbers by city: those of city c are at starts[c] to starts[c + 1]. */
  private readonly entries: Uint32Array;
  private readonly starts: Uint32Array;

  /** `log`: the entries of the log, four words each, all of them complete. */
  constructor(log: Uint32Array, cityCount: number) {
    this.log = log;
    const entryCount = Math.floor(log.length / WORDS_PER_ENTRY);
    this.entries = new Uint32Array(entryCount);
    this.starts = new Uint32Array(cityCount + 1);
    for (let entry = 0; entry < entryCount; entry++)
      this.starts[this.word(entry, LOG_CITY) + 1]! += 1;
    for (let city = 0; city < cityCount; city++) this.starts[city + 1]! += this.starts[city]!;
    const next = this.starts.slice();
    for (let entry = 0; entry < entryCount; entry++) {
      const city = this.word(entry, LOG_CITY);
      const place = next[city]!;
      next[city] = place + 1;
      this.entries[place] = entry;
    }
  }

  /** Whether `version` of `city` may have been read between the clock's `before` and `after`. */
  judge(city: number, version: number, before: number, after: number): Currency {
    const versions = this.starts[city + 1]! - this.starts[city]!;
    if (version < 0 || version > versions) return "unknown";
    if (version > 0 && this.entryWord(city, version, LOG_BEFORE) > after) return "premature";
    if (version < versions && this.entryWord(city, version + 1, LOG_AFTER) <= before)
      return "stale";
    return "current";
  }

  /** A word of the entry that made `version` (from 1 on) current. */
  private entryWord(city: number, version: number, offsetBytes: number): number {
    const entry = this.entries[this.starts[city]! + version - 1]!;
    if (this.word(entry, LOG_VERSION) !== version)
      throw new Error(`The census log of city ${city} has a gap`);
    return this.word(entry, offsetBytes);
  }

  private word(entry: number, offsetBytes: number): number {
    return this.log[entry * WORDS_PER_ENTRY + offsetBytes / 4]!;
  }
}
