/** @module A wait times out, and the driver returns without unregistering the range. */

import { harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness, HarnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import {
  hmmRangeRegister,
  hmmRangeUnregister,
  withHmmRange,
} from "../../../src/hmm/range/range.ts";
import { hmmRangeWaitUntilValid } from "../../../src/hmm/range/valid.ts";
import { EBUSY, type Errno } from "../../../src/sync/errno.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import {
  ABSENT,
  type DeviceAndRange,
  END,
  START,
  deviceOf,
  discard,
  rangeOf,
  reopenRange,
} from "./setting.ts";

function* faultLeaking({ device, range }: DeviceAndRange): Task<Errno> {
  const errno = yield* hmmRangeRegister(range, device.mirror, START, END);
  if (errno !== 0) return errno;
  if (!(yield* hmmRangeWaitUntilValid(range))) return EBUSY;
  yield* hmmRangeUnregister(range);
  return 0;
}

function* fault({ device, range }: DeviceAndRange): Task<Errno> {
  return yield* withHmmRange(range, device.mirror, START, END, function* () {
    return (yield* hmmRangeWaitUntilValid(range)) ? 0 : EBUSY;
  });
}

const parts: Pick<
  HarnessScenario<DeviceAndRange>,
  "harness" | "setup" | "reopen" | "exploration" | "check"
> = {
  harness: ABSENT,
  exploration: { timeouts: 1 },
  setup: (harness) => ({ device: deviceOf(harness, 0), range: rangeOf(harness) }),
  reopen: reopenRange,
  check: (_shared, harness) => checkUsers(harness),
};

/** A user that is left keeps the address space alive after its process has ended. */
function checkUsers({ mm }: HmmHarness): void {
  const users = mm.users.read();
  if (users !== 1)
    throw new Error(`the address space has ${users} users, and one thread that uses it`);
}

export const timeout: Exhibit = {
  id: "holes/timeout",
  title: "A return that does not unregister the range",
  was: `
A driver that serves a fault puts a range on its stack, registers it, waits until it is valid, and
unregisters it at the end. In the graphics driver nouveau the wait had a timeout of a second. When
it expired, the function returned an error.
`,
  wrong: `
It returned without unregistering. The range, on the stack of a function that had returned, was
still in the list that every later invalidation walks. And since patch 7 a range holds a user of
the address space. So the address space could not be freed any more: its process exits, and all of
its memory stays.

It takes a second thread only to keep the invalidation in flight for a second. The checker chooses
when a wait times out, as it chooses everything else (the step that is marked as timed out below).
So the bug is found without waiting.
`,
  now: `
\`withHmmRange\` registers a range, runs the given function, and unregisters the range in every
case: a result, an error, an exception (\`src/hmm/range/range.ts\`). If the thread dies meanwhile,
the range is in the list of what the thread owns, and a reaper unregisters it.
`,
  before: [
    harnessScenario<DeviceAndRange>({
      name: "holes/timeout/before",
      summary: "a fault waits for its range to become valid, and the wait times out",
      expects: "assertion",
      ...parts,
      tasks: { fault: faultLeaking, discard },
    }),
  ],
  after: [
    harnessScenario<DeviceAndRange>({
      name: "holes/timeout/after",
      summary: "the same with withHmmRange, which unregisters on every return",
      ...parts,
      tasks: { fault, discard },
      balanced: true,
    }),
  ],
};
