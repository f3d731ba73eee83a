/** @module On-demand paging, first bug: a registration that decides to wait after whoever would have woken it looked. */

import { RIG_PAGE, rigScenario } from "../../src/checker/rig/hmm-rig.ts";
import type { HmmRig, RigScenario } from "../../src/checker/rig/hmm-rig.ts";
import { countInFlight } from "../../src/hmm/in-flight.ts";
import { beforeStampChanges, settleStamp, startStamp } from "../../src/hmm/range-record.ts";
import { hmmRangeRegister, hmmRangeUnregister } from "../../src/hmm/range.ts";
import { hmmRangeWaitUntilValid } from "../../src/hmm/valid.ts";
import type { Task } from "../../src/sync/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { ABSENT, type DeviceAndRange, END, START, deviceOf, discard, hmmOf, rangeOf, reopenRange } from "./setting.ts";

/** Looks whether anything is in flight, and lists the range in a section of its own. */
function* registerInTwoSteps({ range: { record } }: DeviceAndRange, rig: HmmRig): Task<void> {
  const hmm = hmmOf(rig);
  yield* hmm.rangesLock.lock();
  const seen = countInFlight(hmm, RIG_PAGE, RIG_PAGE + 1);
  yield* hmm.rangesLock.unlock();

  yield* hmm.rangesLock.lock();
  record.hmm = hmm.at;
  record.startPage = RIG_PAGE;
  record.endPage = RIG_PAGE + 1;
  hmm.ranges.addTail(record.node);
  yield* beforeStampChanges(record);
  startStamp(hmm, record);
  record.invalidators = seen;
  settleStamp(hmm, record);
  yield* hmm.rangesLock.unlock();
}

function* openInTwoSteps(shared: DeviceAndRange, rig: HmmRig): Task<void> {
  yield* registerInTwoSteps(shared, rig);
  yield* hmmRangeWaitUntilValid(shared.range, Infinity);
}

function* open({ device, range }: DeviceAndRange): Task<void> {
  yield* hmmRangeRegister(range, device.mirror, START, END);
  yield* hmmRangeWaitUntilValid(range, Infinity);
  yield* hmmRangeUnregister(range);
}

const parts: Pick<RigScenario<DeviceAndRange>, "rig" | "setup" | "reopen"> = {
  rig: ABSENT,
  setup: (rig) => ({ device: deviceOf(rig, 0), range: rangeOf(rig) }),
  reopen: reopenRange,
};

export const parked: Exhibit = {
  id: "holes/parked",
  title: "On-demand paging: parked for ever",
  was: ``,
  wrong: ``,
  now: ``,
  before: [
    rigScenario<DeviceAndRange>({
      name: "holes/parked/before",
      summary: "a region is registered while an invalidation ends",
      expects: "lost-wakeup",
      ...parts,
      tasks: { open: openInTwoSteps, discard },
    }),
  ],
  after: [
    rigScenario<DeviceAndRange>({
      name: "holes/parked/after",
      summary: "the same with hmmRangeRegister, which looks and lists in one section",
      ...parts,
      tasks: { open, discard },
      balanced: true,
    }),
  ],
};
