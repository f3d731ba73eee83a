/**
 * @module hmm/mirror/statistics
 * Counts of an address space's hmm, for a driver's tests and reports.
 */

import type { Machine } from "../../memory/machine.ts";
import type { Mm } from "../../mm/mm-struct.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { Hmm } from "../hmm-struct.ts";
import { rangesOf } from "../range-tree.ts";
import { hmmGet } from "./get-or-create.ts";
import { hmmPut } from "./hmm.ts";

/** Counts of one hmm: what is there now, and what has happened since it was made. */
export interface HmmStatistics {
  /** Registered ranges. */
  readonly ranges: number;
  /** Invalidations in flight now. */
  readonly notifiers: number;
  /** How many of those have no record (hmm/in-flight.ts). If there is one, no range is valid. */
  readonly overflow: number;
  /** Invalidations begun. */
  readonly starts: number;
  /** Non-blockable invalidations given up with EAGAIN. */
  readonly refusals: number;
  /** Invalidations for which there was no record. */
  readonly overflows: number;
  /** Answers of drivers that were wrong and ignored. More than 0 is a defect of a driver. */
  readonly mirrorErrors: number;
  /** Address spaces that died with a range registered. More than 0 is a defect of this layer. */
  readonly releasedWithRanges: number;
}

/**
 * The counts of `mm`'s live hmm, or undefined when it has none: no mirror and no range. Holding an
 * mm user or a reference of the mm, and none of hmm's locks.
 */
export function* hmmStatistics(machine: Machine, mm: Mm): Task<HmmStatistics | undefined> {
  const at = yield* hmmGet(machine, mm);
  if (at === 0) return undefined;
  const hmm = Hmm.at(machine.memory, at);
  yield* hmm.rangesLock.lock();
  const { notifiers, overflow, starts, refusals, overflows, mirrorErrors } = hmm;
  const { releasedWithRanges } = hmm;
  const ranges = rangesOf(hmm).length;
  yield* hmm.rangesLock.unlock();
  yield* hmmPut(machine, hmm);
  const inFlight = { ranges, notifiers, overflow };
  return { ...inFlight, starts, refusals, overflows, mirrorErrors, releasedWithRanges };
}
