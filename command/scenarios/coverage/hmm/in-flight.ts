/**
 * @module More invalidations at once than a hmm has records for: the records move to a larger
 * table, while another invalidation, or a range that is registered, uses the old or the new one.
 * The old table is freed; it is read under rangesLock alone.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { Hmm, IN_FLIGHT_INLINE } from "../../../../src/hmm/hmm-struct.ts";
import { countInFlight } from "../../../../src/hmm/in-flight.ts";
import { EVENT_CLEAR, invalidateRange } from "../../../../src/notifier/events.ts";
import { mmuNotifierInvalidateRangeStart } from "../../../../src/notifier/mmu-notifier.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

type Body = (device: HarnessDevice, harness: HmmHarness) => Task<unknown>;

/** Fills the records with invalidations of far pages, none of which ends. */
function fillUp(harness: HmmHarness): HarnessDevice {
  const { machine, mm } = harness;
  const device = HarnessDevice.registered(harness);
  for (let i = 0; i < IN_FLIGHT_INLINE; i++) {
    const far = invalidateRange(mm, HARNESS_PAGE + 1000 + i, HARNESS_PAGE + 1001 + i, EVENT_CLEAR);
    assert(
      harness.run(mmuNotifierInvalidateRangeStart(machine, far)) === 0,
      "a blockable start succeeds",
    );
  }
  return device;
}

const discard: Body = (_device, harness) => harness.discard(HARNESS_PAGE, 1);
const discardNext: Body = (_device, harness) => harness.discard(HARNESS_PAGE + 1, 1);

/** Counts the invalidations of the page, as hmmRangeRegister does, but without rangesLock. */
function* ask({ harness: { machine, mm } }: HarnessDevice): Task<void> {
  yield* mm.pageTableLock.lock();
  const hmm = Hmm.at(machine.memory, mm.hmm);
  yield* mm.pageTableLock.unlock();
  countInFlight(hmm, HARNESS_PAGE, HARNESS_PAGE + 1);
}

function make(name: string, summary: string, second: Body, isTwin: boolean): AnyScenario {
  return harnessScenario<HarnessDevice>({
    name,
    summary,
    exploration: { engine: "bounded", preemptions: 1 },
    ...(isTwin ? { expects: "data-race" } : {}),
    harness: { pages: 2, arenaWords: 8192 },
    setup: fillUp,
    tasks: { madvise: discard, second },
    check(device, { machine, mm }) {
      const hmm = Hmm.at(machine.memory, mm.hmm);
      assert(hmm.notifiers === IN_FLIGHT_INLINE, `${hmm.notifiers} invalidations are in flight`);
      assert(
        countInFlight(hmm, HARNESS_PAGE, HARNESS_PAGE + 2) === 0,
        "an invalidation that has ended still has a record",
      );
      assert(hmm.overflow === 0, "an invalidation has no record, although there was memory");
      device.requireCoherent();
    },
  });
}

const NAME = "coverage/hmm/growing-in-flight";

export const inFlight: readonly Covered[] = [
  {
    layer: "hmm",
    scenario: make(
      NAME,
      "Two invalidations find no room, and each makes a larger table: one of the two is kept.",
      discardNext,
      false,
    ),
    twins: [
      make(`${NAME}/without-lock`, "A thread reads the records without rangesLock.", ask, true),
    ],
    runs: {
      madvise: ["hmm/in-flight.growInFlight", "hmm/in-flight.forgetInFlight"],
      second: ["hmm/in-flight.recordInFlight"],
    },
  },
];
