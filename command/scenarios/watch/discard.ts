/**
 * @module The other side of most seeded bugs: a CPU thread that gives the first page up, which
 * invalidates it.
 */

import { HARNESS_PAGE } from "../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../src/checker/harness/hmm-harness.ts";
import type { Errno } from "../../../src/sync/errno.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";

/** madvise(MADV_DONTNEED) of the first page. */
export function discard(harness: HmmHarness): Task<Errno> {
  return harness.discard(HARNESS_PAGE, 1);
}
