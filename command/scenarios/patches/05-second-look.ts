/**
 * @module Patch 5: what a wait answered was not what had ended it.
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

/** Without a limit, so the one answer that there can be is "valid". */
function* wait(waiting: Task<boolean>): Task<void> {
  assert(yield* waiting, "the wait says that its time went by, and it had no limit");
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
    "a range is valid, so the wait for that is over; an invalidation starts before the waiter looks again",
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
    "a driver waits holding a spinlock, for a range that is valid: it need not sleep, and is noticed all the same",
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
  title: "A wait answered with what it saw afterwards, not with what had ended it",
  was: `
Waiting for a range to become valid first tested whether there was an hmm, whether it was dead, whether it had an mm, and
whether the range was valid already; then it waited for "valid or dead"; then it read \`valid\` again and returned that.`,
  wrong: `
None of these reads was ordered with the others. What the last one finds may contradict what ended the wait: the range was
valid, the wait was over, and by the time that the waiter looks again the next invalidation has begun. The caller is told
that the time went by, and gives up with \`EBUSY\`, after no time at all. And the tests in front returned early without
passing the check that the caller may sleep, so a driver that holds a spinlock was noticed only when it did have to wait;
with the shipped wait it is noticed always, as in the second diagram.`,
  now: `
There is one wait, on one variable, and the answer is whether the wait was ended by it. A range implies an hmm, and that an
mm (patches 1 to 4), so there is nothing to be tested before. "True" is still a hint and no promise, as the driver's lock is
not held: the question that counts is asked under it, later. But "false" now means that the time went by.`,
  before: [before, noticed],
  after: [after],
};
