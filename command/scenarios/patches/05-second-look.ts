/**
 * @module Patch 5: a wait returned something else than what had ended it.
 *
 *     wait                                           invalidate
 *     range->valid? yes: the wait is over
 *                                                    starts: range->valid = false
 *     range->valid? no: "it timed out"
 */

import { type HmmHarness, harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { readSequence, sequenceIndex, sequenceIsValid } from "../../../src/hmm/range-record.ts";
import { type HmmRange, hmmOfRange } from "../../../src/hmm/range/range.ts";
import { hmmRangeWaitUntilValid } from "../../../src/hmm/range/valid.ts";
import { assert } from "../../../src/sync/errors.ts";
import { type Task, access } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { type OwnRange, deviceOf, invalidate, rangeOf } from "./stage.ts";

function* oldWaitUntilValid(range: HmmRange, timeoutMs: number): Task<boolean> {
  const { record, machine } = range;
  yield* hmmOfRange(range).wq.waitEvent(() => sequenceIsValid(readSequence(record)), timeoutMs);
  yield* access(machine.memory, "read", sequenceIndex(record), 1, "range->valid");
  return sequenceIsValid(readSequence(record));
}

/** Without a timeout, so "valid" is the only possible result. */
function* wait(waiting: Task<boolean>): Task<void> {
  assert(yield* waiting, "the wait says that its time went by, and it had no timeout");
}

const WAIT = 0;

const situation = {
  harness: { pages: 0 },
  setup: (harness: HmmHarness): OwnRange => rangeOf(harness, WAIT, deviceOf(harness, WAIT)),
  reopen: (range: OwnRange): void => range.reopen(),
};

const before: AnyScenario = harnessScenario({
  ...situation,
  name: "patches/05/before",
  summary:
    "a range is valid, so the wait ends; an invalidation starts before the waiter reads again",
  expects: "assertion",
  tasks: {
    wait: ({ handle }) => wait(oldWaitUntilValid(handle, Infinity)),
    invalidate: (_range, harness) => invalidate(harness),
  },
});

const after: AnyScenario = harnessScenario({
  ...situation,
  name: "patches/05/after",
  summary: "a wait for a range to become valid, while its pages are invalidated",
  tasks: {
    wait: ({ handle }) => wait(hmmRangeWaitUntilValid(handle, Infinity)),
    invalidate: (_range, harness) => invalidate(harness),
  },
});

const noticed: AnyScenario = harnessScenario({
  ...situation,
  name: "patches/05/noticed/before",
  summary:
    "a driver waits for a valid range, holding a spinlock: it need not sleep, and is reported all the same",
  expects: "sleep-in-atomic",
  tasks: {
    *wait({ handle }, { mm }) {
      yield* mm.pageTableLock.lock();
      yield* wait(hmmRangeWaitUntilValid(handle, Infinity));
      yield* mm.pageTableLock.unlock();
    },
  },
});

export const secondLook: Exhibit = {
  id: "patches/05",
  title: "A wait returned what it read afterwards, not what had ended it",
  was: `
The wait for a valid range first tested whether there was an hmm, whether it was dead, whether it
had an mm, and whether the range was valid already. Then it waited for "valid or dead". Then it
read \`valid\` again, and returned that.
`,
  wrong: `
These reads are not ordered with each other. The last one may contradict the one that ended the
wait: the range was valid, so the wait ended, and before the last read the next invalidation has
begun. The caller is told that the time went by, and gives up with \`EBUSY\`, although no time went
by. Also, the first tests returned early, before the check that the caller may sleep. So a driver
that held a spinlock was reported only when it had to wait. With the shipped wait it is always
reported, as in the second diagram.
`,
  now: `
There is one wait, on one variable, and it returns whether that variable ended it. A range implies
an hmm, and an hmm implies an mm (patches 1 to 4), so nothing is tested before. "True" is a hint
only, since the driver lock is not held: the recheck under that lock decides. But "false" now
means that the time went by.
`,
  before: [before, noticed],
  after: [after],
};
