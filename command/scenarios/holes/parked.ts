/**
 * @module On-demand paging, first bug: a registration that decides to wait after whoever would have
 * woken it looked.
 */

import { RIG_PAGE, harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness, HarnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import { countInFlight } from "../../../src/hmm/in-flight.ts";
import { settleSequence, startSequence } from "../../../src/hmm/range-record.ts";
import { hmmRangeRegister, hmmRangeUnregister } from "../../../src/hmm/range/range.ts";
import { hmmRangeWaitUntilValid } from "../../../src/hmm/range/valid.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import {
  ABSENT,
  type DeviceAndRange,
  END,
  START,
  deviceOf,
  discard,
  hmmOf,
  rangeOf,
  reopenRange,
} from "./setting.ts";

/** Looks whether anything is in flight, and lists the range in a section of its own. */
function* registerInTwoSteps(
  { range: { record } }: DeviceAndRange,
  harness: HmmHarness,
): Task<void> {
  const hmm = hmmOf(harness);
  yield* hmm.rangesLock.lock();
  const seen = countInFlight(hmm, RIG_PAGE, RIG_PAGE + 1);
  yield* hmm.rangesLock.unlock();

  yield* hmm.rangesLock.lock();
  record.hmm = hmm.at;
  record.startPage = RIG_PAGE;
  record.endPage = RIG_PAGE + 1;
  hmm.ranges.addTail(record.node);
  yield* startSequence(hmm, record);
  record.invalidators = seen;
  yield* settleSequence(hmm, record);
  yield* hmm.rangesLock.unlock();
}

function* openInTwoSteps(shared: DeviceAndRange, harness: HmmHarness): Task<void> {
  yield* registerInTwoSteps(shared, harness);
  yield* hmmRangeWaitUntilValid(shared.range, Infinity);
}

function* open({ device, range }: DeviceAndRange): Task<void> {
  yield* hmmRangeRegister(range, device.mirror, START, END);
  yield* hmmRangeWaitUntilValid(range, Infinity);
  yield* hmmRangeUnregister(range);
}

const parts: Pick<HarnessScenario<DeviceAndRange>, "harness" | "setup" | "reopen"> = {
  harness: ABSENT,
  setup: (harness) => ({ device: deviceOf(harness, 0), range: rangeOf(harness) }),
  reopen: reopenRange,
};

export const parked: Exhibit = {
  id: "holes/parked",
  title: "On-demand paging: parked for ever",
  was: `
Before HMM, network cards that read memory by themselves (RDMA) had a mechanism of their own for the same purpose,
on-demand paging. A region that was registered while an invalidation was running could not be used at once. So
registration looked at the count of running invalidations; if there were any, it put the region on a list of those
that wait, and the end of the last invalidation activated whoever stood there.

The first scenario does so on the structs of this project: it looks under the lock, drops the lock, and lists the
range under the lock again.
`,
  wrong: `
Between the look and the list the last invalidation ends. It finds nobody on the list, wakes nobody, and is gone. Then
the region is put there, to wait for an end that has been. It will be activated by some later invalidation, if there
is one.

To test and then to act on the test must be one step, or whoever would have woken you comes in between. It is the
oldest mistake there is with waiting, and both halves of it were under a lock.
`,
  now: `
\`hmmRangeRegister\` looks and lists in one section of \`rangesLock\`, and an end takes its invalidation out of the accounting
and looks at the list in one section of the same lock (\`src/hmm/range/range.ts\`, \`src/hmm/mirror/invalidate.ts\`). Whichever comes
first, the other sees it.
`,
  notes: `
Removed from Linux in 2018 (ca748c39ea3f).
`,
  before: [
    harnessScenario<DeviceAndRange>({
      name: "holes/parked/before",
      summary: "a region is registered while an invalidation ends",
      expects: "lost-wakeup",
      ...parts,
      tasks: { open: openInTwoSteps, discard },
    }),
  ],
  after: [
    harnessScenario<DeviceAndRange>({
      name: "holes/parked/after",
      summary: "the same with hmmRangeRegister, which looks and lists in one section",
      ...parts,
      tasks: { open, discard },
      balanced: true,
    }),
  ],
};
