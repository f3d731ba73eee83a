/**
 * @module hmm/walk/snapshot
 * What the CPU's page table says about a range now, without making anything present. Follows Linux
 * 5.3 `hmm_range_snapshot`.
 */

import type { Task } from "../../sync/tasks/task.ts";
import type { HmmRange } from "../range/range.ts";
import { NO_REQUESTS } from "./leaf.ts";
import { ownedBy, readRange } from "./page-walk.ts";

/**
 * Fills `pfns` with an entry for each page of the registered range: the page, read-only or
 * writable, or `values.none` where nothing is present. Requests are not read. Holding the mmap
 * lock at least for reading; it is kept in every case.
 *
 * | result | meaning | pfns |
 * | --- | --- | --- |
 * | pages of the range | done; use them only after `hmmRangeValid` under the driver lock | all written |
 * | EBUSY | an invalidation of the range is in flight, or came while walking: wait until valid, and retry | to be thrown away |
 * | EFAULT | a page is not mapped, or is device registers | good up to there, then one `values.error`, then `values.none` |
 * | EPERM | a page is mapped without read permission | as EFAULT |
 * | EINVAL | the range has larger pages than the mapping | `values.none` from there on |
 * | ENODEV | the mirror's thread died | `values.none` |
 *
 * With `holes` HOLES_MARK there is no EFAULT and no EPERM: such pages read `values.error`. Linux
 * 5.3 answers EAGAIN for EBUSY here; that is kept for "the mmap lock was dropped", which a snapshot
 * never does.
 */
export function hmmRangeSnapshot(range: HmmRange): Task<number> {
  return readRange(range, "snapshot", { ...NO_REQUESTS, owns: ownedBy(range) }, 1);
}
