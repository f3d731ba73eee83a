/** @module Which drivers a machine has in use, seen by whether it takes as many as it can. */

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

/** Throws unless no driver is in use: there is room for MIRROR_OPS_IN_USE_MAX, and for no more. */
export function* requireNoDrivers({ machine }: HmmHarness): Task<void> {
  for (const id of DRIVERS)
    assert((yield* useMirrorOps(machine, id)) === 0, "a driver without a mirror is still in use");
  assert((yield* useMirrorOps(machine, ONE_MORE)) === ENOMEM, "there is room for too many drivers");
  for (const id of DRIVERS) yield* dropMirrorOps(machine, id);
}

/** In the set-up, with `used` drivers in use: now there are as many as there can be. */
export function fillDrivers(harness: HmmHarness, used: number): void {
  for (const id of DRIVERS.slice(used))
    assert(harness.run(useMirrorOps(harness.machine, id)) === 0, "there is no room for a driver");
}

/** Whether there is room for one more, which is in use from then on. */
export function* hasRoomForDriver({ machine }: HmmHarness): Task<boolean> {
  return (yield* useMirrorOps(machine, ONE_MORE)) === 0;
}
