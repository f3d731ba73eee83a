/** @module The last user of an address space goes under a lock that its teardown needs. */

import { harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HarnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import { hmmPut } from "../../../src/hmm/mirror/hmm.ts";
import { OWNS_NOTHING, RANGE_POISON } from "../../../src/hmm/range-record.ts";
import {
  type HmmRange,
  hmmOfRange,
  hmmRangeUnregister,
  mmOfRange,
} from "../../../src/hmm/range/range.ts";
import type { Machine } from "../../../src/memory/machine.ts";
import type { Mm } from "../../../src/mm/mm-struct.ts";
import { mmdrop, mmput } from "../../../src/mm/lifetime/mm.ts";
import { mmuNotifierRelease } from "../../../src/notifier/mmu-notifier.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { type DeviceAndRange, deviceOf, registeredRange, reopenRange } from "./setting.ts";

/**
 * Without the question whether the caller holds a lock. Of the teardown no more than the release of
 * the devices.
 */
function* mmputUnasked(machine: Machine, mm: Mm): Task<void> {
  if (!(yield* mm.users.put())) return;
  yield* mmuNotifierRelease(machine, mm.notifiers);
  yield* mmdrop(machine, mm);
}

function* unregisterUnasked(range: HmmRange): Task<void> {
  const { machine, record } = range;
  const hmm = hmmOfRange(range);
  yield* hmm.rangesLock.lock();
  record.node.del();
  yield* hmm.rangesLock.unlock();
  yield* mmputUnasked(machine, mmOfRange(range));
  record.owns = OWNS_NOTHING;
  record.hmm = RANGE_POISON;
  yield* hmmPut(machine, hmm);
}

/**
 * The end of a fault, as drivers of 2019 wrote it: the device is programmed, the range
 * unregistered, the lock dropped.
 */
function* finishHolding({ device, range }: DeviceAndRange): Task<void> {
  yield* device.driverLock.lock();
  yield* unregisterUnasked(range);
  yield* device.driverLock.unlock();
}

function* finish({ device, range }: DeviceAndRange): Task<void> {
  yield* device.driverLock.lock();
  yield* device.driverLock.unlock();
  yield* hmmRangeUnregister(range);
}

const parts: Pick<HarnessScenario<DeviceAndRange>, "harness" | "setup" | "reopen"> = {
  harness: { pages: 1 },
  setup: (harness) => {
    const device = deviceOf(harness, 0);
    return { device, range: registeredRange(harness, device) };
  },
  reopen: reopenRange,
};

export const lastUser: Exhibit = {
  id: "holes/last-user",
  title: "The last user goes under a lock",
  was: `
A range keeps the address space alive: it holds a *user*, since patch 7. Drivers unregister it at the end of a fault,
and some did so while they still held their own lock, or the mmap lock.
`,
  wrong: `
Somebody has to be the last. If the process exits while the device is being served, the range holds the only user
left, and to unregister it means to take the whole address space down, there and then, in the driver's thread. The
first thing that the teardown does is to call every driver's release. That call-back takes the driver lock, and the
thread that holds it is the one that is waiting.

A lock that one thread takes twice needs no second thread to hang, and no bad luck with the timing: the process only has
to go first. In a test it hardly ever does.
`,
  now: `
\`hmmRangeUnregister\` may be called holding nothing, and says so when it is not, in every build and whether or not it
would have been the last: "dropping the last mm user takes the address space down; release it first"
(\`src/hmm/range/range.ts\`, \`src/mm/lifetime/mm.ts\`). The driver asks under its lock whether the range is valid, drops the lock, and
unregisters then. In the second scenario the whole teardown runs: the devices are released, the pages given back, the
tables freed.
`,
  before: [
    harnessScenario<DeviceAndRange>({
      name: "holes/last-user/before",
      summary: "a driver unregisters its range under its lock while the process ends",
      expects: "deadlock",
      ...parts,
      tasks: {
        fault: finishHolding,
        exit: (_shared, { machine, mm }) => mmputUnasked(machine, mm),
      },
    }),
  ],
  after: [
    harnessScenario<DeviceAndRange>({
      name: "holes/last-user/after",
      summary: "the same, but the lock is dropped first; the whole teardown runs",
      ...parts,
      tasks: { fault: finish, exit: (_shared, { machine, mm }) => mmput(machine, mm) },
    }),
  ],
};
