/** @module A wait that runs out of time, and the way out that forgets the range. */

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

/** Whoever is left over keeps the address space alive when its process ends. */
function checkUsers({ mm }: HmmHarness): void {
  const users = mm.users.read();
  if (users !== 1)
    throw new Error(`the address space has ${users} users, and only one thread that knows of it`);
}

export const timeout: Exhibit = {
  id: "holes/timeout",
  title: "The way out that forgets the range",
  was: `
A driver that serves a fault puts a range on its stack, registers it, waits until it is valid, and unregisters it when
it is done. In the graphics driver nouveau the wait was bounded to a second, and when the second was over the function
returned an error.
`,
  wrong: `
It returned without unregistering. The range lived on the stack of a function that was gone, still in the list that
every later invalidation walks. And since patch 7 a range holds a user of the address space, so that address space
could never be taken down again: its process exits, and all of its memory stays.

No third thread is needed, only one that keeps the invalidation running while the second passes. The checker decides
when a wait times out as it decides everything else (the step marked as timed out below), so there is no need to wait
for a second, and no need for luck.
`,
  now: `
\`withHmmRange\` registers a range, runs what it was given, and unregisters whatever happens: a result, an error, an
exception (\`src/hmm/range/range.ts\`). Who uses ranges through it cannot forget one. A thread that dies in the middle leaves
its range on its list of resources, from which the next thread that looks takes it off.
`,
  before: [
    harnessScenario<DeviceAndRange>({
      name: "holes/timeout/before",
      summary: "a fault waits for its range to become valid, and the wait runs out of time",
      expects: "assertion",
      ...parts,
      tasks: { fault: faultLeaking, discard },
    }),
  ],
  after: [
    harnessScenario<DeviceAndRange>({
      name: "holes/timeout/after",
      summary: "the same with withHmmRange, which unregisters on every way out",
      ...parts,
      tasks: { fault, discard },
      balanced: true,
    }),
  ],
};
