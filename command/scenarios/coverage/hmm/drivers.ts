/**
 * @module Which drivers a machine has in use, asked as others would find it out: by whether
 * there is room for more.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import {
  MIRROR_OPS_IN_USE_MAX,
  dropMirrorOps,
  registerMirrorOps,
  useMirrorOps,
} from "../../../../src/hmm/mirror/mirror-ops.ts";
import { ENOMEM } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Task, doneNumber } from "../../../../src/sync/tasks/task.ts";

const idle = (name: string): number => registerMirrorOps(name, { invalidate: () => doneNumber(0) });

/** As many drivers as a machine can have in use, and one more. */
const DRIVERS: readonly number[] = Array.from({ length: MIRROR_OPS_IN_USE_MAX }, (_, i) =>
  idle(`harness driver ${i}`),
);
const ONE_MORE: number = idle("one harness driver more");

/** Nobody has a driver in use: there is room for as many as there can be, and not for one more. */
export function* requireNoDrivers({ machine }: HmmHarness): Task<void> {
  for (const id of DRIVERS)
    assert((yield* useMirrorOps(machine, id)) === 0, "a driver that has gone is still in use");
  assert(
    (yield* useMirrorOps(machine, ONE_MORE)) === ENOMEM,
    "there is room for more drivers than there can be",
  );
  for (const id of DRIVERS) yield* dropMirrorOps(machine, id);
}
