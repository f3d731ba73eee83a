/** @module Two notifiers on one address space, and one of them refuses. */

import { HARNESS_PAGE, harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness, HarnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import { HMM_NOTIFIER_OPS, hmmInvalidateRangeStart } from "../../../src/hmm/mirror/invalidate.ts";
import { hmmRangeWaitUntilValid } from "../../../src/hmm/range/valid.ts";
import type { Machine } from "../../../src/memory/machine.ts";
import { type Struct, type StructView, embed, struct } from "../../../src/memory/layout/struct.ts";
import { zapNonBlocking } from "../../../src/mm/entries/zap.ts";
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

/** A driver with a notifier of its own, without an hmm. */
interface Camera extends StructView {
  readonly node: MmuNotifier;
  readonly lock: Mutex;
}
const Camera: Struct<Camera> = struct<Camera>("exhibitCamera", {
  node: embed(MmuNotifier, "the notifier"),
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
  /** The camera subscribes first and the hmm second, so the hmm is called first. */
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

/** The walk of 2019: it stops at the first notifier that refuses; those before it get no end. */
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

/** The out-of-memory reaper, which may not wait. The change between start and end is left out. */
function* reapAsOf2019(_shared: Shared, { machine, mm }: HmmHarness): Task<void> {
  const range = invalidateRange(mm, HARNESS_PAGE, HARNESS_PAGE + 1, EVENT_CLEAR, {
    blockable: false,
  });
  yield* mm.mmapLock.downRead();
  if ((yield* startAsOf2019(machine, range)) === 0)
    yield* mmuNotifierInvalidateRangeEnd(machine, range);
  yield* mm.mmapLock.upRead();
}

function* reap(_shared: Shared, { machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* zapNonBlocking(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1);
  yield* mm.mmapLock.upRead();
}

function* record({ camera }: Shared): Task<void> {
  yield* camera.lock.lock();
  yield* camera.lock.unlock();
}

function* fault({ range }: Shared): Task<void> {
  yield* hmmRangeWaitUntilValid(range, Infinity);
}

/** When all tasks have ended. */
function checkInFlight(_shared: Shared, harness: HmmHarness): void {
  const { notifiers } = hmmOf(harness);
  if (notifiers !== 0)
    throw new Error(`hmm counts ${notifiers} invalidation in flight, and no task will end it`);
}

export const twoNotifiers: Exhibit = {
  id: "holes/two-notifiers",
  title: "Two notifiers, and one of them refuses",
  was: `
When memory runs out, the Linux reaper takes pages from a process that is about to be killed. It
may not wait. So a notifier that would have to wait may refuse: it answers \`EAGAIN\` to the start,
and the reaper comes back later. The rule since patch 12: a start that failed gets no end, so a
notifier that refuses leaves its accounting as it found it.
`,
  wrong: `
For one notifier that is enough, for two it is not. The first agrees and counts one more
invalidation in flight. The second refuses. The walk stops and tells the caller that the start has
failed. So no end is called, and *the first notifier's* count stays raised for ever. No range of
that address space becomes valid again, and each fault of the device waits until it times out. The
fault in the second diagram waits without a timeout, so the checker reports a task that is never
woken.

Neither notifier has a defect. The rule has one.
`,
  now: `
The walk keeps a list of the notifiers that agreed, and when one refuses, it calls their end
(\`src/notifier/mmu-notifier.ts\`, N4). A second walk from the front would not do: the one that
refused may have been unlinked meanwhile, and then the walk would not know where to stop. At its
end the scenario checks that no invalidation is counted in flight, and that as much is allocated
as at the beginning.
`,
  notes: `
The author found it two months after the series. Linux got the unwinding in 2021.
`,
  before: [
    harnessScenario<Shared>({
      name: "holes/two-notifiers/before",
      summary: "the reaper calls two notifiers, and the second refuses because its lock is busy",
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
      summary:
        "all three with the shipped walk, which calls the end of the first when the second refuses",
      ...parts,
      tasks: { reap, camera: record, fault },
      check: checkInFlight,
      balanced: true,
    }),
  ],
};
