/**
 * @module Patch 6: list functions that promise readers without a lock.
 *
 *     look                                           driver
 *     enters a read section, reads hmm->ranges:
 *     a range is there
 *                                                    unregisters it (list_del_rcu), returns
 *                                                    frees it: nobody waits for a grace period
 *     reads range->startPage, in freed memory
 */

import {
  type HmmHarness,
  HARNESS_PAGE,
  harnessScenario,
} from "../../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { Hmm } from "../../../src/hmm/hmm-struct.ts";
import { hmmPut } from "../../../src/hmm/mirror/hmm.ts";
import { HmmRangeRecord } from "../../../src/hmm/range-record.ts";
import { rangesOf, removeRange } from "../../../src/hmm/range-tree.ts";
import {
  hmmOfRange,
  hmmRangeFree,
  hmmRangeUnregister,
  mmOfRange,
} from "../../../src/hmm/range/range.ts";
import { mmput } from "../../../src/mm/lifetime/mm.ts";
import { notifierSrcu } from "../../../src/notifier/mmu-notifier.ts";
import { type Task, access } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { type OwnRange, deviceOf, hmmOf, invalidate, rangeOf } from "./stage.ts";

/** A reader as list_add_rcu and list_del_rcu promise it: is any range over this page? */
function* isWatched(hmm: Hmm, page: number): Task<boolean> {
  const { memory } = hmm;
  yield* access(memory, "read", hmm.at + Hmm.offset.ranges, 1, "hmm->ranges");
  for (const at of rangesOf(hmm)) {
    yield* access(memory, "read", at, HmmRangeRecord.sizeWords, "range->startPage");
    const { startPage, endPage } = HmmRangeRecord.at(memory, at);
    if (startPage <= page && page < endPage) return true;
  }
  return false;
}

function* look(_range: OwnRange, harness: HmmHarness): Task<void> {
  const srcu = yield* notifierSrcu(harness.machine);
  const section = yield* srcu.readLock();
  yield* isWatched(hmmOf(harness), HARNESS_PAGE);
  yield* srcu.readUnlock(section);
}

/** list_del_rcu, without a grace period. */
function* oldUnregisterAndFree({ handle: range }: OwnRange, { machine }: HmmHarness): Task<void> {
  const hmm = hmmOfRange(range);
  const mm = mmOfRange(range);
  yield* hmm.rangesLock.lock();
  yield* access(hmm.memory, "write", hmm.at + Hmm.offset.ranges, 1, "hmm->ranges");
  removeRange(hmm, range.record);
  yield* hmm.rangesLock.unlock();
  yield* mmput(machine, mm);
  yield* hmmPut(machine, hmm);
  yield* machine.heap.free(HmmRangeRecord, range.record.at);
}

function* unregisterAndFree({ handle: range }: OwnRange): Task<void> {
  yield* hmmRangeUnregister(range);
  yield* hmmRangeFree(range);
}

const DRIVER = 1;

const before: AnyScenario = harnessScenario({
  name: "patches/06/before",
  summary: "the list of ranges is read as an RCU list, while a range is unregistered and freed",
  expects: "use-after-free",
  harness: { pages: 0 },
  setup: (harness) => rangeOf(harness, DRIVER, deviceOf(harness, DRIVER)),
  reopen: (range) => range.reopen(),
  tasks: { look, driver: oldUnregisterAndFree },
});

const after: AnyScenario = harnessScenario({
  name: "patches/06/after",
  summary: "the list of ranges is read by an invalidation, while a range is unregistered and freed",
  harness: { pages: 0 },
  setup: (harness) => rangeOf(harness, DRIVER, deviceOf(harness, DRIVER)),
  reopen: (range) => range.reopen(),
  tasks: { invalidate: (_range, harness) => invalidate(harness), driver: unregisterAndFree },
});

export const plainLists: Exhibit = {
  id: "patches/06",
  title: "The list of ranges looked like one that may be read without its lock",
  was: `
Ranges were added to the hmm's list by \`list_add_rcu\` and removed by \`list_del_rcu\`. Nothing was
wrong with that: every reader and every writer held the hmm's lock.
`,
  wrong: `
The functions that a list is changed with say how it may be read. These two say that there are
readers without the lock, in a read section, and that a removed element is freed after a grace
period. Neither was true. A range lies in its driver's memory, often on a stack, and is gone when
unregister returns. An engineer who writes the reader that these functions promise, with a read
section, gets this.
`,
  now: `
Plain \`list_add\` and \`list_del\`. The behaviour is the same. The code now says that the list is
guarded by its lock, that a walker holds it, and that a range may be freed right after unregister,
without a grace period. (Here the ranges are in a tree, under the same rule. The patch comes before the next one because that needs \`list_del_init\`,
which has no RCU form.) The shipped walker is the start of an invalidation.
`,
  before: [before],
  after: [after],
};
