/** @module Two listeners on one address space, and one of them refuses. */

import { RIG_PAGE, harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness, HarnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import { HMM_NOTIFIER_OPS, hmmInvalidateRangeStart } from "../../../src/hmm/mirror/invalidate.ts";
import { hmmRangeWaitUntilValid } from "../../../src/hmm/range/valid.ts";
import type { Machine } from "../../../src/memory/machine.ts";
import { type Struct, type StructView, embed, struct } from "../../../src/memory/layout/struct.ts";
import { zapNonBlocking } from "../../../src/mm/zap.ts";
import {
  EVENT_CLEAR,
  type InvalidateRange,
  invalidateRange,
} from "../../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierRegister,
  notifierSrcu,
  registerNotifierOps,
} from "../../../src/notifier/mmu-notifier.ts";
import { MmuNotifier } from "../../../src/notifier/subscriptions.ts";
import { EAGAIN, type Errno } from "../../../src/sync/errno.ts";
import { Mutex } from "../../../src/sync/primitives/mutex.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import {
  ABSENT,
  type DeviceAndRange,
  deviceOf,
  hmmOf,
  registeredRange,
  reopenRange,
} from "./setting.ts";

/** A driver that listens to the address space itself, without an hmm. */
interface Camera extends StructView {
  readonly node: MmuNotifier;
  readonly lock: Mutex;
}
const Camera: Struct<Camera> = struct<Camera>("exhibitCamera", {
  node: embed(MmuNotifier, "the listener"),
  lock: embed(Mutex, "its buffers", "cameraLock"),
});

function* cameraStart(
  machine: Machine,
  listener: number,
  { blockable }: InvalidateRange,
): Task<Errno> {
  const { lock } = Camera.at(machine.memory, listener);
  if (blockable) yield* lock.lock();
  else if (!(yield* lock.tryLock())) return EAGAIN;
  yield* lock.unlock();
  return 0;
}

const CAMERA_OPS: number = registerNotifierOps("exhibit camera", {
  invalidateRangeStart: cameraStart,
});

interface Shared extends DeviceAndRange {
  readonly camera: Camera;
}

function* subscribe({ machine, mm }: HmmHarness, camera: Camera): Task<void> {
  yield* mm.mmapLock.downWrite();
  yield* mmuNotifierRegister(machine, mm.notifiers, camera.node, CAMERA_OPS);
  yield* mm.mmapLock.upWrite();
}

const parts: Pick<HarnessScenario<Shared>, "harness" | "setup" | "reopen"> = {
  harness: ABSENT,
  /** The camera subscribes first and the hmm after it, so the hmm is asked first. */
  setup: (harness) => {
    const { machine } = harness;
    const camera = Camera.at(machine.memory, harness.run(machine.heap.alloc(Camera)));
    camera.lock.init();
    harness.run(subscribe(harness, camera));
    const device = deviceOf(harness, 0);
    return { camera, device, range: registeredRange(harness, device) };
  },
  reopen: reopenRange,
};

/**
 * The walk of 2019: it stops at the first listener that refuses, and those before it hear nothing
 * more.
 */
function* startAsOf2019(machine: Machine, range: InvalidateRange): Task<Errno> {
  const srcu = yield* notifierSrcu(machine);
  const section = yield* srcu.readLock();
  let answer: Errno = 0;
  for (let at = yield* range.subscriptions.first(); at !== 0 && answer === 0;) {
    const node = new MmuNotifier(machine.memory, at);
    const start = node.opsId() === HMM_NOTIFIER_OPS ? hmmInvalidateRangeStart : cameraStart;
    answer = yield* start(machine, at, range);
    at = yield* node.next();
  }
  yield* srcu.readUnlock(section);
  return answer;
}

/**
 * The out-of-memory reaper, which may not wait for anybody. What lies between start and end is left
 * out.
 */
function* reapAsOf2019(_shared: Shared, { machine, mm }: HmmHarness): Task<void> {
  const range = invalidateRange(mm, RIG_PAGE, RIG_PAGE + 1, EVENT_CLEAR, { blockable: false });
  yield* mm.mmapLock.downRead();
  if ((yield* startAsOf2019(machine, range)) === 0)
    yield* mmuNotifierInvalidateRangeEnd(machine, range);
  yield* mm.mmapLock.upRead();
}

function* reap(_shared: Shared, { machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* zapNonBlocking(machine, mm, RIG_PAGE, RIG_PAGE + 1);
  yield* mm.mmapLock.upRead();
}

function* record({ camera }: Shared): Task<void> {
  yield* camera.lock.lock();
  yield* camera.lock.unlock();
}

function* fault({ range }: Shared): Task<void> {
  yield* hmmRangeWaitUntilValid(range, Infinity);
}

/** When nothing runs any more. */
function checkInFlight(_shared: Shared, harness: HmmHarness): void {
  const { notifiers } = hmmOf(harness);
  if (notifiers !== 0)
    throw new Error(`hmm counts ${notifiers} invalidation in flight, and nobody will end it`);
}

export const twoNotifiers: Exhibit = {
  id: "holes/two-notifiers",
  title: "Two listeners, and one of them refuses",
  was: `
When memory runs out, Linux takes pages from a process that is about to be killed, and the thread that does so, the
reaper, may not wait for anybody. So a listener that would have to wait may refuse: it answers \`EAGAIN\` to the start,
and the reaper comes back later. The rule since patch 12: a start that has failed gets no end, so a listener that
refuses leaves its accounting as it found them.
`,
  wrong: `
With one listener that is enough. With two it is not. The first agrees and counts one more invalidation in flight. The
second refuses. The walk stops and tells the caller that the start has failed, so nobody calls an end, and *the first
listener's* count stays raised for ever. From then on no range of that address space is ever valid again, and each
fault of the device waits until its time is up. The fault in the second diagram waits without a limit, so that the
checker can say what comes of it: a sleeper whom nobody will wake.

Neither listener has done anything wrong. The hole is in the rule.
`,
  now: `
The walk remembers who has agreed, and when one refuses it calls their end (\`src/notifier/mmu-notifier.ts\`, N4). By
name, and not by another walk from the front: the one that refused may have been unlinked meanwhile, and then the
second walk would not know where to stop. What the scenario checks at the end is that the hmm counts no invalidation
in flight, and that as much is allocated as at the beginning.
`,
  notes: `
The author found it two months after the series. Linux got the unwinding in 2021.
`,
  before: [
    harnessScenario<Shared>({
      name: "holes/two-notifiers/before",
      summary: "the reaper asks two listeners, and the second refuses because its lock is busy",
      expects: "assertion",
      ...parts,
      tasks: { reap: reapAsOf2019, camera: record },
      check: checkInFlight,
    }),
    harnessScenario<Shared>({
      name: "holes/two-notifiers/fault/before",
      summary: "the same, and a device faults",
      expects: "lost-wakeup",
      ...parts,
      tasks: { reap: reapAsOf2019, camera: record, fault },
    }),
  ],
  after: [
    harnessScenario<Shared>({
      name: "holes/two-notifiers/after",
      summary: "all three with the shipped walk, which ends for the first what the second refused",
      ...parts,
      tasks: { reap, camera: record, fault },
      check: checkInFlight,
      balanced: true,
    }),
  ],
};
