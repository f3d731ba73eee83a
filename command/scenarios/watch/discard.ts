/**
 * @module The other side of most seeded bugs: a CPU thread that gives the first page up, which
 * invalidates it.
 */

import { RIG_PAGE } from "../../../src/checker/rig/hmm-rig.ts";
import type { HmmRig } from "../../../src/checker/rig/hmm-rig.ts";
import type { Errno } from "../../../src/sync/errno.ts";
import type { Task } from "../../../src/sync/task.ts";

/** madvise(MADV_DONTNEED) of the first page. */
export function discard(rig: HmmRig): Task<Errno> {
  return rig.discard(RIG_PAGE, 1);
}
