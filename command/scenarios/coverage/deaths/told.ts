/**
 * @module A thread that dies in an invalidation of which a device is told, at any step from its
 * start to its end: who finds it dead brings it to its end (notifier/notice.ts). The device's range
 * becomes valid again, and every count is as before. In the twins the accounting is noted a step
 * after it is done, the notice ends before the ends are called, or nobody knows of the reference
 * that a call-back holds.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import {
  hmmInvalidateRangeEnd,
  hmmInvalidateRangeStart,
} from "../../../../src/hmm/mirror/invalidate.ts";
import type { Machine } from "../../../../src/memory/machine.ts";
import type { InvalidateRange } from "../../../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  registerNotifierOps,
} from "../../../../src/notifier/mmu-notifier.ts";
import { endNotice, noteProgress } from "../../../../src/notifier/notice.ts";
import type { Errno } from "../../../../src/sync/errno.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { ONE_DIES } from "../on-harness.ts";
import { invalidationOf, listenWith } from "../../patches/stage.ts";
import { ONE_STORE_OPS, checkSettled, useRange } from "./told-device.ts";

/** Discards the page under the lock. */
function* discard(harness: HmmHarness): Task<void> {
  yield* harness.discard(HARNESS_PAGE, 1);
}

/** The start and the end of an invalidation, `between` them. */
function* toldOnly(harness: HmmHarness, between: (range: InvalidateRange) => void): Task<void> {
  const { machine, mm } = harness;
  yield* mm.mmapLock.downRead();
  const range = invalidationOf(mm);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  between(range);
  yield* access(machine.memory, "read", mm.at, 1, "between start and end");
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  yield* mm.mmapLock.upRead();
}

/** Of the twins: a call-back of which the notice hears only when it is over, a step later. */
function* notedLate<T>(
  { memory }: Machine,
  range: InvalidateRange,
  progress: number,
  callBack: Task<T>,
): Task<T> {
  const { notice } = range;
  range.notice = 0;
  const result = yield* callBack;
  range.notice = notice;
  yield* access(memory, "read", notice, 1, "notice");
  noteProgress(range, progress);
  return result;
}

/** PROGRESS of invalidate.ts. */
const MARKED = 1;
const UNMARKED = 2;

function* startNotedLate(machine: Machine, at: number, range: InvalidateRange): Task<Errno> {
  const start = hmmInvalidateRangeStart(machine, at, range);
  return yield* notedLate(machine, range, MARKED, start);
}

const START_NOTED_LATE: number = registerNotifierOps("hmm whose start is noted late", {
  invalidateRangeStart: startNotedLate,
  invalidateRangeEnd: hmmInvalidateRangeEnd,
  isRepeatable: true,
});

const END_NOTED_LATE: number = registerNotifierOps("hmm whose end is noted late", {
  invalidateRangeStart: hmmInvalidateRangeStart,
  invalidateRangeEnd: (machine, at, range) =>
    notedLate(machine, range, UNMARKED, hmmInvalidateRangeEnd(machine, at, range)),
  isRepeatable: true,
});

function make(
  name: string,
  summary: string,
  dies: (harness: HmmHarness) => Task<void>,
  options: { readonly opsId?: number; readonly expects?: "assertion" | "lost-wakeup" } = {},
): AnyScenario {
  const { opsId, expects } = options;
  return harnessScenario<HarnessDevice>({
    name,
    summary,
    ...ONE_DIES,
    ...(expects === undefined ? {} : { expects }),
    harness: { pages: 1 },
    setup(harness) {
      const device = HarnessDevice.registered(harness, ONE_STORE_OPS);
      if (opsId !== undefined) listenWith(harness, opsId);
      return device;
    },
    tasks: {
      dies: (_device, harness) => dies(harness),
      use: (device) => useRange(device),
    },
    check: (_device, harness) => checkSettled(harness),
  });
}

const NAME = "coverage/mm/death/told-vs-range";

export const deathsInToldInvalidations: readonly Covered[] = [
  {
    layer: "mm",
    scenario: make(
      NAME,
      "A thread dies at any step of a discard of which a device is told, while another thread of the device waits for its range.",
      discard,
    ),
    twins: [
      make(
        `${NAME}/start-noted-late`,
        "The notice hears of the start's accounting a step after it is done: it is done twice.",
        discard,
        { opsId: START_NOTED_LATE, expects: "lost-wakeup" },
      ),
      make(
        `${NAME}/end-noted-late`,
        "The notice hears of the end's accounting a step after it is done: it is to be done twice.",
        discard,
        { opsId: END_NOTED_LATE, expects: "assertion" },
      ),
      make(
        `${NAME}/notice-ends-early`,
        "The notice ends with the start: nobody calls the end.",
        (harness) => toldOnly(harness, endNotice),
        { expects: "lost-wakeup" },
      ),
    ],
    runs: {
      dies: [
        "mm/calls/madvise.doMadvise",
        "notifier/mmu-notifier.finishNotice",
        "hmm/mirror/invalidate.hmmInvalidateRangeStart",
      ],
      use: ["hmm/range/range.hmmRangeRegister"],
    },
  },
];
