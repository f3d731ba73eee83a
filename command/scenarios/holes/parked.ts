/**
 * @module On-demand paging, first bug: a registration decides to wait after the thread that would
 * wake it has looked at the list.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness, HarnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import { countInFlight } from "../../../src/hmm/in-flight.ts";
import { invalidateSequence, startSequence } from "../../../src/hmm/range-record.ts";
import { addRange } from "../../../src/hmm/range-tree.ts";
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

/** Counts the invalidations in flight, and lists the range in another section of the lock. */
function* registerInTwoSteps(
  { range: { record } }: DeviceAndRange,
  harness: HmmHarness,
): Task<void> {
  const hmm = hmmOf(harness);
  yield* hmm.rangesLock.lock();
  const seen = countInFlight(hmm, HARNESS_PAGE, HARNESS_PAGE + 1);
  yield* hmm.rangesLock.unlock();

  yield* hmm.rangesLock.lock();
  record.hmm = hmm.at;
  record.startPage = HARNESS_PAGE;
  record.endPage = HARNESS_PAGE + 1;
  addRange(hmm, record);
  yield* startSequence(hmm, record);
  if (seen > 0) yield* invalidateSequence(record, true);
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
  title: "On-demand paging: a region waits for an end that has passed",
  was: `
Before HMM, network cards that read memory themselves (RDMA) had a mechanism of their own for the
same purpose, on-demand paging. A region that was registered while an invalidation was in flight
could not be used at once. So registration read the count of invalidations in flight. If it was
not 0, the region was put on a list, and the end of the last invalidation activated the regions on
that list.

The first scenario does this with the structs of this project: it reads the count under the lock,
drops the lock, and lists the range under the lock again.
`,
  wrong: `
Between the read and the listing the last invalidation ends. It finds nothing on the list, and
wakes nobody. Then the region is put on the list, and waits for an end that has passed. A later
invalidation will activate it, if there is one.

A test and the action that depends on it must be one step. Otherwise the wake-up comes in between.
Here each of the two was under the lock, but not both in one section of it.
`,
  now: `
\`hmmRangeRegister\` reads and lists in one section of \`rangesLock\`. An end takes its invalidation
out of the accounting and walks the list in one section of the same lock
(\`src/hmm/range/range.ts\`, \`src/hmm/mirror/invalidate.ts\`). Whichever comes second sees what the
first has done.
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
      summary: "the same with hmmRangeRegister, which counts and lists in one section",
      ...parts,
      tasks: { open, discard },
      balanced: true,
    }),
  ],
};
