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
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
} from "../../../../src/hmm/range/range.ts";
import { hmmRangeWaitUntilValid } from "../../../../src/hmm/range/valid.ts";
import {
  hmmInvalidateRangeEnd,
  hmmInvalidateRangeStart,
} from "../../../../src/hmm/mirror/invalidate.ts";
import { registerMirrorOps } from "../../../../src/hmm/mirror/mirror-ops.ts";
import type { Machine } from "../../../../src/memory/machine.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import type { InvalidateRange } from "../../../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  notifierSrcu,
  registerNotifierOps,
} from "../../../../src/notifier/mmu-notifier.ts";
import { endNotice, noteProgress } from "../../../../src/notifier/notice.ts";
import { atomicStore } from "../../../../src/sync/atomics.ts";
import type { Errno } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import { ACTIVE } from "../../../../src/sync/words/srcu-words.ts";
import type { Covered } from "../covered.ts";
import { hmmOf, invalidationOf, listenWith } from "../../patches/stage.ts";

/** A driver whose call-back is one store, and which needs no lock for it. */
export const ONE_STORE_OPS: number = registerMirrorOps("driver that stores one word", {
  *invalidate(mirror) {
    const { memory, table } = HarnessDevice.recordOf(mirror);
    yield* access(memory, "update", table.at, 1, "device table");
    atomicStore(memory.words, table.at, 0);
    return 0;
  },
});

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

/** The device's other thread: uses a range of the page, as soon as it is valid. */
function* useRange(device: HarnessDevice): Task<void> {
  const { machine } = device.harness;
  const range = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(1) });
  assert(typeof range !== "number", "there is memory for a range");
  const [start, end] = [HARNESS_PAGE * PAGE_BYTES, (HARNESS_PAGE + 1) * PAGE_BYTES];
  assert((yield* hmmRangeRegister(range, device.mirror, start, end)) === 0, "the space is alive");
  assert(yield* hmmRangeWaitUntilValid(range, Infinity), "nobody takes the mirror away");
  yield* hmmRangeUnregister(range);
  yield* hmmRangeFree(range);
}

/** Nothing is in flight, and nobody holds what the invalidation held. */
function checkSettled(harness: HmmHarness): void {
  const { machine, mm } = harness;
  const hmm = hmmOf(harness);
  const { words } = machine.memory;
  const inFlight = [hmm.notifiers, hmm.inFlightCount, hmm.overflow];
  assert(inFlight.join() === "0,0,0", `${inFlight.join()} are in flight`);
  assert(hmm.refs.read() === 1, `${hmm.refs.read()} references of the hmm, and one mirror`);
  assert(words[mm.mmapLock.at] === 0, "somebody still holds the mmap lock");
  assert(words[hmm.mirrorsSem.at] === 0, "somebody still holds mirrorsSem");
  const { at } = harness.run(notifierSrcu(machine));
  const sections = [words[at + ACTIVE], words[at + ACTIVE + 1]];
  assert(sections.join() === "0,0", `${sections.join()} read sections go on`);
}

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
    exploration: { deaths: 1, engine: "bounded", preemptions: 1 },
    ...(expects === undefined ? {} : { expects }),
    harness: { pages: 1 },
    killable: ["dies"],
    mustSurvive: true,
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
