/**
 * @module Patch 10: a range could be used after it was unregistered.
 *
 *     faulter                                        discard
 *     reads the page table through the range
 *     unregisters it (too early)
 *                                                    start: the range is not on the list,
 *                                                    nobody marks it
 *                                                    sweeps the device: nothing there yet
 *                                                    takes the page out, frees its frame
 *     takes the driver lock; range->valid? yes
 *     programs the page: a freed frame
 */

import {
  type HmmHarness,
  HARNESS_PAGE,
  harnessScenario,
} from "../../../src/checker/harness/hmm-harness.ts";
import type { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { hmmPut } from "../../../src/hmm/mirror/hmm.ts";
import {
  type HmmRange,
  hmmOfRange,
  hmmRangeUnregister,
  mmOfRange,
} from "../../../src/hmm/range/range.ts";
import { rangesOf, removeRange } from "../../../src/hmm/range-tree.ts";
import { hmmRangeSnapshot } from "../../../src/hmm/walk/snapshot.ts";
import { hmmRangeValid } from "../../../src/hmm/range/valid.ts";
import { MADV_DONTNEED, doMadvise } from "../../../src/mm/calls/madvise.ts";
import { mmput } from "../../../src/mm/lifetime/mm.ts";
import { PAGE_BYTES } from "../../../src/mm/pte.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { type OwnRange, deviceOf, rangeOf } from "./stage.ts";

interface Shared {
  readonly device: HarnessDevice;
  readonly range: OwnRange;
}

/** Drops all that the range owned, and leaves its fields unchanged. */
function* oldUnregister(range: HmmRange, { machine }: HmmHarness): Task<void> {
  const hmm = hmmOfRange(range);
  const mm = mmOfRange(range);
  yield* hmm.rangesLock.lock();
  if (rangesOf(hmm).includes(range.record.at)) removeRange(hmm, range.record);
  yield* hmm.rangesLock.unlock();
  yield* mmput(machine, mm);
  yield* hmmPut(machine, hmm);
}

function* snapshot(range: HmmRange, { mm }: HmmHarness): Task<boolean> {
  yield* mm.mmapLock.downRead();
  const pages = yield* hmmRangeSnapshot(range);
  yield* mm.mmapLock.upRead();
  return pages > 0;
}

function* programIfValid({ device, range: { handle } }: Shared): Task<void> {
  yield* device.driverLock.lock();
  if (yield* hmmRangeValid(handle)) device.program(handle);
  yield* device.driverLock.unlock();
}

/** A driver's mistake: it rechecks after unregister. */
function unregisterThenRecheck(unregister: (range: HmmRange, harness: HmmHarness) => Task<void>) {
  return function* (shared: Shared, harness: HmmHarness): Task<void> {
    const isRead = yield* snapshot(shared.range.handle, harness);
    yield* unregister(shared.range.handle, harness);
    if (isRead) yield* programIfValid(shared);
  };
}

function* recheckThenUnregister(shared: Shared, harness: HmmHarness): Task<void> {
  if (yield* snapshot(shared.range.handle, harness)) yield* programIfValid(shared);
  yield* hmmRangeUnregister(shared.range.handle);
}

function discard(_shared: Shared, { machine, mm }: HmmHarness): Task<number> {
  return doMadvise(machine, mm, HARNESS_PAGE * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED);
}

const FAULTER = 0;

const situation = {
  harness: { pages: 1 },
  setup(harness: HmmHarness): Shared {
    const device = deviceOf(harness, FAULTER);
    return { device, range: rangeOf(harness, FAULTER, device) };
  },
  check: ({ device }: Shared): void => device.requireCoherent(),
  reopen: ({ range }: Shared): void => range.reopen(),
};

const silent: AnyScenario = harnessScenario({
  ...situation,
  name: "patches/10/silent/before",
  summary:
    "a driver rechecks a range that it has unregistered, and is told that it is valid: only this order shows the mistake",
  expects: "assertion",
  tasks: { faulter: unregisterThenRecheck(oldUnregister), discard },
});

const noticed: AnyScenario = harnessScenario({
  ...situation,
  name: "patches/10/noticed/before",
  summary:
    "the same mistake and the shipped unregister, alone: nothing else goes wrong, and the mistake is reported",
  expects: "assertion",
  tasks: { faulter: unregisterThenRecheck(hmmRangeUnregister) },
});

const after: AnyScenario = harnessScenario({
  ...situation,
  name: "patches/10/after",
  summary:
    "a driver rechecks under its lock, programs, then unregisters, while the page is discarded",
  tasks: { faulter: recheckThenUnregister, discard },
});

export const poisonedRange: Exhibit = {
  id: "patches/10",
  title: "A range could be used after it was unregistered",
  was: `
\`hmm_range_unregister\` returned silently if the range had no hmm or no length, so calling it twice
was harmless. And it left the range as it was, with its pointer and with \`valid\` unchanged.
`,
  wrong: `
No invalidation marks a range that is off the list, so it stays valid for ever. A driver that
unregisters first and rechecks afterwards, two lines in the wrong order, is told "valid" whatever
has happened in between. (The sequence number of the shipped range does not help, since it is not
raised either.) It matters only if the page changes in between: the first diagram is that order.
`,
  now: `
The silent tests are gone, and unregister fills the range's pointer with poison. Any use between
unregister and the next register stops at once and names the range, in every order and in a single
thread: the second diagram. \`start\`, \`end\` and the results stay readable. The order inside
unregister matters, too: off the list, then the mm user, then the hmm, through which the mm is
reached, then the poison.
`,
  before: [silent, noticed],
  after: [after],
};
