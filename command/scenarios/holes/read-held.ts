/**
 * @module On-demand paging, second bug: a start refuses, and keeps the semaphore that only its end
 * releases.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import type { Machine } from "../../../src/memory/machine.ts";
import { type Struct, type StructView, embed, struct } from "../../../src/memory/layout/struct.ts";
import { zapNonBlocking } from "../../../src/mm/entries/zap.ts";
import type { InvalidateRange } from "../../../src/notifier/events.ts";
import { mmuNotifierRegister, registerNotifierOps } from "../../../src/notifier/mmu-notifier.ts";
import { MmuNotifier } from "../../../src/notifier/subscriptions.ts";
import { EAGAIN, type Errno } from "../../../src/sync/errno.ts";
import { Mutex } from "../../../src/sync/primitives/mutex.ts";
import { RwSem } from "../../../src/sync/primitives/rwsem.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { ABSENT, deviceOf } from "./setting.ts";

/** The regions of one address space that a network card may reach. */
interface Regions extends StructView {
  readonly node: MmuNotifier;
  readonly regionsSem: RwSem;
  readonly cardLock: Mutex;
}
const Regions: Struct<Regions> = struct<Regions>("exhibitRegions", {
  node: embed(MmuNotifier, "the notifier"),
  regionsSem: embed(RwSem, "the regions; held for reading from start to end", "regionsSem"),
  cardLock: embed(Mutex, "the card's table", "cardLock"),
});

function* regionsStart(
  machine: Machine,
  listener: number,
  { blockable }: InvalidateRange,
): Task<Errno> {
  const { regionsSem, cardLock } = Regions.at(machine.memory, listener);
  if (blockable) yield* regionsSem.downRead();
  else if (!(yield* regionsSem.tryDownRead())) return EAGAIN;
  if (blockable) yield* cardLock.lock();
  else if (!(yield* cardLock.tryLock())) return EAGAIN; // with regionsSem held
  yield* cardLock.unlock();
  return 0;
}

function* regionsEnd(machine: Machine, listener: number): Task<void> {
  yield* Regions.at(machine.memory, listener).regionsSem.upRead();
}

const REGIONS_OPS: number = registerNotifierOps("exhibit regions", {
  invalidateRangeStart: regionsStart,
  invalidateRangeEnd: regionsEnd,
});

function* subscribe({ machine, mm }: HmmHarness, regions: Regions): Task<void> {
  yield* mm.mmapLock.downWrite();
  yield* mmuNotifierRegister(machine, mm.notifiers, regions.node, REGIONS_OPS);
  yield* mm.mmapLock.upWrite();
}

function setUpRegions(harness: HmmHarness): Regions {
  const { machine } = harness;
  const regions = Regions.at(machine.memory, harness.run(machine.heap.alloc(Regions)));
  regions.regionsSem.init();
  regions.cardLock.init();
  harness.run(subscribe(harness, regions));
  return regions;
}

function* openRegion({ regionsSem }: Regions): Task<void> {
  yield* regionsSem.downWrite();
  yield* regionsSem.upWrite();
}

function* send(lock: Mutex): Task<void> {
  yield* lock.lock();
  yield* lock.unlock();
}

/** The out-of-memory reaper, which may not wait. */
function* reap(_shared: unknown, { machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* zapNonBlocking(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1);
  yield* mm.mmapLock.upRead();
}

interface Devices {
  readonly device: HarnessDevice;
  readonly second: HarnessDevice;
}

export const readHeld: Exhibit = {
  id: "holes/read-held",
  title: "On-demand paging: a semaphore stays held for reading",
  was: `
The first bug was fixed by a semaphore around the regions of an address space, held for reading
from the start of an invalidation to its end. Registration takes it for writing, so it is never in
the middle of an invalidation.
`,
  wrong: `
Then starts were added that may not wait, and may fail. This one takes the semaphore, finds that
the card is busy, and answers \`EAGAIN\`. A start that failed gets no end, and only the end releases
the semaphore. It stays held for reading for ever, and the next registration waits for ever.

It is the mistake of patch 12, found in the same month: an operation that fails must undo what it
did, since no other code will. The checker reports it twice: the reaper ends with a lock held, and
another thread waits for that lock.
`,
  now: `
hmm's start holds its semaphore, \`mirrorsSem\`, only while it calls the drivers, and releases it
whatever they answer. If a driver refuses, the start takes the invalidation out of the accounting,
too (\`src/hmm/mirror/invalidate.ts\`, V2). What lasts until the end is a count, which any thread
can lower.
`,
  notes: `
Fixed in Linux in June 2019 (7608bf40cf24).
`,
  before: [
    harnessScenario<Regions>({
      name: "holes/read-held/before",
      summary: "the reaper is refused because the card is busy",
      expects: "lock-misuse",
      harness: ABSENT,
      setup: setUpRegions,
      tasks: { reap, send: ({ cardLock }) => send(cardLock) },
    }),
    harnessScenario<Regions>({
      name: "holes/read-held/open/before",
      summary: "the same, and another thread registers a region",
      expects: "deadlock",
      harness: ABSENT,
      setup: setUpRegions,
      tasks: { reap, send: ({ cardLock }) => send(cardLock), open: openRegion },
    }),
  ],
  after: [
    harnessScenario<Devices>({
      name: "holes/read-held/after",
      summary:
        "all three with the shipped hmm: the reaper is refused, and another mirror is registered",
      harness: ABSENT,
      setup: (harness) => ({ device: deviceOf(harness, 0), second: new HarnessDevice(harness) }),
      tasks: {
        reap,
        send: ({ device }) => send(device.driverLock),
        open: ({ second }) => second.register(),
      },
    }),
  ],
};
