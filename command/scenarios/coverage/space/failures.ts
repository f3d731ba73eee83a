/**
 * @module An operation that throws: either it has unlocked all its locks, or the machine stops, so
 * that no thread waits for a lock for ever.
 */

import { harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { stopIfLockHeld } from "../../../../src/space/space-hold.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { hasPanicked } from "../../../../src/sync/death/panic.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

class Defect extends Error {}

type Body = (shared: undefined, harness: HmmHarness) => Task<unknown>;

function* failInside({ mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downWrite();
  throw new Defect("a defect");
}

function* failAfterwards({ mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downWrite();
  yield* mm.mmapLock.upWrite();
  throw new Defect("a defect");
}

/** Runs a failing operation as an address space runs its operations. */
function failing(operation: (harness: HmmHarness) => Task<void>, stops: boolean): Body {
  return function* (_shared, harness) {
    const { memory } = harness.machine;
    try {
      yield* stopIfLockHeld(memory, operation(harness));
    } catch (error) {
      if (!(error instanceof Defect)) throw error;
      const goesOn = hasPanicked(memory) ? "stopped" : "goes on";
      assert(hasPanicked(memory) === stops, `an operation has failed, and the machine ${goesOn}`);
    }
  };
}

const other: Body = (_shared, harness) => harness.discard(64, 1);

const parts = { harness: { pages: 1 }, setup: () => undefined };

export const failures: readonly Covered[] = [
  {
    layer: "space",
    scenario: harnessScenario<undefined>({
      ...parts,
      name: "coverage/space/failure",
      summary: "An operation throws after it has unlocked its lock: the other thread goes on.",
      tasks: { fail: failing(failAfterwards, false), other },
    }),
    twins: [
      harnessScenario<undefined>({
        ...parts,
        name: "coverage/space/failure/inside",
        summary:
          "It throws while it holds the lock: the machine stops, and the lock is never unlocked.",
        expects: "lock-misuse",
        tasks: { fail: failing(failInside, true) },
      }),
    ],
    runs: { fail: ["space/space-hold.stopIfLockHeld"], other: ["mm/calls/madvise.doMadvise"] },
  },
];
