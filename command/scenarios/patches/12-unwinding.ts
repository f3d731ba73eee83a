/**
 * @module Patch 12: a start that fails gets no end, so it must undo what it did. And it must return
 * that it failed.
 *
 *     reaper, which may not wait                     close
 *                                                    holds mirrors_sem for writing
 *     notifiers 0 -> 1, ranges invalid
 *     trylock of mirrors_sem fails: -EAGAIN
 *     [no end will come: notifiers stays 1]
 *
 *     reaper, which may not wait                     faulter
 *                                                    holds the driver lock, programs the page
 *     asks the driver, whose trylock fails: -EAGAIN,
 *     into a `ret` of the loop's own
 *     start returns 0: frees the page
 */

import {
  type HmmHarness,
  HARNESS_PAGE,
  harnessScenario,
} from "../../../src/checker/harness/hmm-harness.ts";
import type { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { Hmm } from "../../../src/hmm/hmm-struct.ts";
import { hmmPut } from "../../../src/hmm/mirror/hmm.ts";
import { recordInFlight } from "../../../src/hmm/in-flight.ts";
import { hmmInvalidateRangeEnd } from "../../../src/hmm/mirror/invalidate.ts";
import { mirrorOps } from "../../../src/hmm/mirror/mirror-ops.ts";
import { HmmMirror, HmmMirrorRecord } from "../../../src/hmm/mirror-record.ts";
import { HmmRangeRecord, invalidateSequence } from "../../../src/hmm/range-record.ts";
import { rangesOf } from "../../../src/hmm/range-tree.ts";
import { hmmRangeSnapshot } from "../../../src/hmm/walk/snapshot.ts";
import { hmmRangeValid } from "../../../src/hmm/range/valid.ts";
import type { Machine } from "../../../src/memory/machine.ts";
import { zapNonBlocking } from "../../../src/mm/entries/zap.ts";
import type { InvalidateRange } from "../../../src/notifier/events.ts";
import { registerNotifierOps } from "../../../src/notifier/mmu-notifier.ts";
import { EAGAIN, type Errno } from "../../../src/sync/errno.ts";
import { assert } from "../../../src/sync/errors.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { type OwnRange, deviceOf, hmmOf, listenWith, rangeOf } from "./stage.ts";

interface Shared {
  readonly device: HarnessDevice;
  readonly range: OwnRange;
}

/**
 * The first half of every start: one more invalidation is in flight, and the ranges are invalid.
 * Each range covers the page.
 */
function* raise(hmm: Hmm, { startPage, endPage }: InvalidateRange): Task<void> {
  yield* hmm.rangesLock.lock();
  recordInFlight(hmm, startPage, endPage);
  for (const at of rangesOf(hmm)) {
    const range = HmmRangeRecord.at(hmm.memory, at);
    yield* invalidateSequence(range, false);
  }
  yield* hmm.rangesLock.unlock();
}

/** The first defect. (The drivers' calls are left out: they do not matter here.) */
function* leakingStart(machine: Machine, listener: number, range: InvalidateRange): Task<Errno> {
  const hmm = Hmm.at(machine.memory, listener);
  if (!(yield* hmm.refs.getNotZero())) return 0;
  yield* raise(hmm, range);
  const isLocked = yield* hmm.mirrorsSem.tryDownRead();
  if (isLocked) yield* hmm.mirrorsSem.upRead();
  yield* hmmPut(machine, hmm);
  return isLocked ? 0 : EAGAIN; // and the count stays raised
}

/** The second defect, without the first one. */
function* swallowingStart(machine: Machine, listener: number, range: InvalidateRange): Task<Errno> {
  const hmm = Hmm.at(machine.memory, listener);
  if (!(yield* hmm.refs.getNotZero())) return 0;
  yield* raise(hmm, range);
  yield* hmm.mirrorsSem.downRead();
  for (const node of hmm.mirrors.nodes()) {
    const mirror = new HmmMirror(machine, HmmMirrorRecord.containerOf(node, "node"));
    // hides the result of the function
    const ret = yield* mirrorOps.get(mirror.record.opsId).invalidate(mirror, range);
    if (ret !== 0) break;
  }
  yield* hmm.mirrorsSem.upRead();
  yield* hmmPut(machine, hmm);
  return 0;
}

const LEAKING_OPS: number = registerNotifierOps("hmm before patch 12, leaking", {
  invalidateRangeStart: leakingStart,
  invalidateRangeEnd: hmmInvalidateRangeEnd,
});

const SWALLOWING_OPS: number = registerNotifierOps("hmm before patch 12, swallowing", {
  invalidateRangeStart: swallowingStart,
  invalidateRangeEnd: hmmInvalidateRangeEnd,
});

/** The out-of-memory reaper takes a page away if it need not wait for a driver. */
function* reap(_shared: unknown, { machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  const answer = yield* zapNonBlocking(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1);
  yield* mm.mmapLock.upRead();
  assert(answer === 0 || answer === EAGAIN, "the reaper gets another answer than 0 and EAGAIN");
}

const CLOSE = 1;

/** One device stays, with the hmm; the other one is closed. */
function closing(harness: HmmHarness): HarnessDevice {
  deviceOf(harness, CLOSE);
  return deviceOf(harness, CLOSE);
}

function checkCount(_device: HarnessDevice, harness: HmmHarness): void {
  const { notifiers } = hmmOf(harness);
  assert(
    notifiers === 0,
    `${notifiers} invalidation is counted, none is in flight: no range becomes valid again`,
  );
}

const leaked: AnyScenario = harnessScenario({
  name: "patches/12/leaked-count/before",
  summary: "the reaper's start fails because a device is being closed, and leaves its count raised",
  expects: "assertion",
  harness: { pages: 1 },
  setup(harness) {
    const device = closing(harness);
    listenWith(harness, LEAKING_OPS);
    return device;
  },
  tasks: { reaper: reap, close: (device) => device.unregister() },
  check: checkCount,
});

const lowered: AnyScenario = harnessScenario({
  name: "patches/12/leaked-count/after",
  summary: "the reaper's start fails because a device is being closed",
  harness: { pages: 1 },
  setup: closing,
  tasks: { reaper: reap, close: (device) => device.unregister() },
  check: checkCount,
});

/** What a driver does with a present page. */
function* fault({ device, range: { handle } }: Shared, { mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  const pages = yield* hmmRangeSnapshot(handle);
  yield* mm.mmapLock.upRead();
  if (pages < 0) return;
  yield* device.driverLock.lock();
  if (yield* hmmRangeValid(handle)) device.program(handle);
  yield* device.driverLock.unlock();
}

const FAULTER = 1;

function faulting(harness: HmmHarness): Shared {
  const device = deviceOf(harness, FAULTER);
  return { device, range: rangeOf(harness, FAULTER, device) };
}

function reopen({ range }: Shared): void {
  range.reopen();
}

const swallowed: AnyScenario = harnessScenario<Shared>({
  name: "patches/12/swallowed-eagain/before",
  summary:
    "a driver answers that it would have to wait; the answer is lost, and the reaper frees the page",
  expects: "assertion",
  harness: { pages: 1 },
  setup(harness) {
    const shared = faulting(harness);
    listenWith(harness, SWALLOWING_OPS);
    return shared;
  },
  tasks: { reaper: reap, faulter: fault },
  check: ({ device }) => device.requireCoherent(),
  reopen,
});

const heard: AnyScenario = harnessScenario<Shared>({
  name: "patches/12/swallowed-eagain/after",
  summary: "a driver answers that it would have to wait, and the reaper leaves the page alone",
  harness: { pages: 1 },
  setup: faulting,
  tasks: { reaper: reap, faulter: fault },
  check: ({ device }) => device.requireCoherent(),
  reopen,
});

export const unwinding: Exhibit = {
  id: "patches/12",
  title: "A start that failed left its count raised, or returned success",
  was: `
Most invalidations may wait. The out-of-memory reaper may not. It asks, and a driver that would
have to wait answers \`-EAGAIN\`; then the reaper leaves that page alone. A start that failed gets
no end. The hmm's start raised its count of invalidations in flight, marked the ranges invalid,
and then tried to take the lock of the list of mirrors.
`,
  wrong: `
If that lock was busy, start returned \`-EAGAIN\` with the count raised. No end follows, so the
count never returns to 0: no range of the address space becomes valid again, and every driver on
it waits in vain. The second defect: the loop over the mirrors had a variable \`ret\` of its own,
which hid that of the function. A driver's \`-EAGAIN\` ended the loop and was lost. Start returned
0, and the reaper freed a page that the device can reach. The third defect kept the first from
being fixed simply: a mutex guarded count and ranges, and a thread that may not wait cannot take a
mutex to undo something.
`,
  now: `
The mutex became a spinlock, which a start can always take. Every failing return goes through one
place that lowers the count and wakes those who wait for it. A driver's refusal is passed on if
the driver was allowed to refuse; otherwise it is reported and ignored. So the count is the number
of starts that returned 0 and have not ended, plus those that have not returned. It stays raised
across the calls of the drivers. Otherwise an unrelated invalidation that ends in between would
make ranges valid whose pages are about to change.
`,
  notes: `
With two notifiers on one address space the count could still leak: see the hole with two
notifiers.
`,
  before: [leaked, swallowed],
  after: [lowered, heard],
};
