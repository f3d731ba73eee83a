/**
 * @module hmm/mirror/statistics
 * What has happened at an address space's hmm so far, for reports and tests.
 */

import type { Machine } from "../../memory/machine.ts";
import type { Mm } from "../../mm/mm-struct.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { Hmm } from "../hmm-struct.ts";
import { hmmPut } from "./hmm.ts";
import { rangesOf } from "../range-record.ts";

/** Counts of one hmm: what is there now, and what has happened since it was made. */
export interface HmmStatistics {
  /** Registered ranges. */
  readonly ranges: number;
  /** Invalidations in flight now. */
  readonly notifiers: number;
  /** Of those, how many could only be counted (hmm/in-flight.ts). */
  readonly overflow: number;
  /** Invalidations begun. */
  readonly starts: number;
  /** Non-blockable invalidations given up with EAGAIN. */
  readonly refusals: number;
  /** Invalidations that could only be counted. */
  readonly overflows: number;
  /** Answers of drivers that were wrong and ignored. More than 0 is a defect of a driver. */
  readonly mirrorErrors: number;
  /** Address spaces that died with a range registered. More than 0 is a defect of this layer. */
  readonly releasedWithRanges: number;
}

/** The numbers of `mm`'s live hmm, or undefined when it has none. */
export function* hmmStatistics(machine: Machine, mm: Mm): Task<HmmStatistics | undefined> {
  yield* mm.pageTableLock.lock();
  const at = mm.hmm;
  const isLive = at !== 0 && (yield* Hmm.at(machine.memory, at).refs.getNotZero());
  yield* mm.pageTableLock.unlock();
  if (!isLive) return undefined;
  const hmm = Hmm.at(machine.memory, at);
  yield* hmm.rangesLock.lock();
  const { notifiers, overflow, starts, refusals, overflows, mirrorErrors, releasedWithRanges } =
    hmm;
  const ranges = rangesOf(hmm).length;
  yield* hmm.rangesLock.unlock();
  yield* hmmPut(machine, hmm);
  return {
    ranges,
    notifiers,
    overflow,
    starts,
    refusals,
    overflows,
    mirrorErrors,
    releasedWithRanges,
  };
}
