/**
 * @module hmm/walk/snapshot
 * What the CPU's page table says about a range now, without making anything present. Follows Linux
 * 5.3 `hmm_range_snapshot`.
 */

import type { Mm } from "../../mm/mm-struct.ts";
import { EBUSY, type Errno } from "../../sync/errno.ts";
import { type Task, doneNumber } from "../../sync/tasks/task.ts";
import {
  type Cursor,
  type LeafPart,
  NO_REQUESTS,
  clearFromCursor,
  cursorIndex,
  startOf,
  walkRange,
} from "./page-walk.ts";
import { type HmmRange, checkRegistered, mmOfRange } from "../range/range.ts";
import { rangeReadBegin, isSequenceUnchanged } from "../range/valid.ts";
import { snapshotLeaf } from "./walk.ts";

/**
 * Fills `pfns` with an entry for each page of the registered range: the page, read-only or
 * writable, or `values.none` where nothing is present. No request is looked at. Holding the mmap
 * lock at least for reading; it is kept in every case.
 *
 * | result | meaning | pfns |
 * | --- | --- | --- |
 * | pages of the range | done; use them only after `hmmRangeValid` under the driver lock | all written |
 * | EBUSY | an invalidation of the range is in flight, or came while walking: wait until valid, and again | to be thrown away |
 * | EFAULT | a page is not mapped, or is device registers | good up to there, then one `values.error`, then `values.none` |
 * | EPERM | a page is mapped without read permission | as EFAULT |
 * | EINVAL | the range has larger pages than the mapping | `values.none` from there on |
 * | ENODEV | the mirror's thread died | `values.none` |
 *
 * With `holes` HOLES_MARK there is no EFAULT and no EPERM: such pages read `values.error`. Linux
 * 5.3 answers EAGAIN for EBUSY here; that is kept for "the mmap lock was dropped", which a snapshot
 * never does.
 */
export function* hmmRangeSnapshot(range: HmmRange): Task<number> {
  checkRegistered(range, "snapshot");
  const mm = mmOfRange(range);
  mm.mmapLock.assertHeld();
  const cursor = startOf(range);
  const errno = yield* snapshotFrom(range, cursor);
  if (errno !== 0) {
    clearFromCursor(range, cursor, errno);
    return errno;
  }
  return cursorIndex(range, cursor);
}

function* snapshotFrom(range: HmmRange, cursor: Cursor): Task<Errno> {
  const begun = yield* rangeReadBegin(range);
  if (begun !== 0) return begun;
  const walked = yield* walkRange(range, mmOfRange(range), cursor, NO_REQUESTS, snapshotStep);
  if (walked !== 0) return walked;
  return (yield* isSequenceUnchanged(range)) ? 0 : EBUSY;
}

/** @stepped */
function snapshotStep(
  range: HmmRange,
  _mm: Mm,
  cursor: Cursor,
  { words, pteAt, count }: LeafPart,
): Task<Errno> {
  snapshotLeaf(words, pteAt, count, range.pfns, cursorIndex(range, cursor), range.encoding);
  cursor.page += count;
  return doneNumber(0);
}
