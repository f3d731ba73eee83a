/** @module The last user of an address space is dropped under a lock that its teardown needs. */

import { harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HarnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import { hmmPut } from "../../../src/hmm/mirror/hmm.ts";
import { OWNS_NOTHING, RANGE_POISON } from "../../../src/hmm/range-record.ts";
import { removeRange } from "../../../src/hmm/range-tree.ts";
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
 * Without the assertion that the caller holds no lock. Of the teardown only the release of the
 * devices.
 */
function* mmputUnchecked(machine: Machine, mm: Mm): Task<void> {
  if (!(yield* mm.users.put())) return;
  yield* mmuNotifierRelease(machine, mm.notifiers);
  yield* mmdrop(machine, mm);
}

function* unregisterUnchecked(range: HmmRange): Task<void> {
  const { machine, record } = range;
  const hmm = hmmOfRange(range);
  yield* hmm.rangesLock.lock();
  removeRange(hmm, record);
  yield* hmm.rangesLock.unlock();
  yield* mmputUnchecked(machine, mmOfRange(range));
  record.owns = OWNS_NOTHING;
  record.hmm = RANGE_POISON;
  yield* hmmPut(machine, hmm);
}

/** The end of a fault as in drivers of 2019: program, unregister the range, drop the lock. */
function* finishHolding({ device, range }: DeviceAndRange): Task<void> {
  yield* device.driverLock.lock();
  yield* unregisterUnchecked(range);
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
  title: "The last user is dropped under a lock",
  was: `
A range keeps the address space alive: since patch 7 it holds a *user*. Drivers unregister it at
the end of a fault, and some did so while they held their own lock, or the mmap lock.
`,
  wrong: `
If the process exits while the device is being served, the range holds the last user. To
unregister it then means to take the whole address space down, at once, in the driver's thread.
The teardown begins with calling every driver's release. That call-back takes the driver lock,
which the same thread holds.

One thread that takes a lock twice hangs without a second thread. The process only has to exit
first. In a test that hardly ever happens.
`,
  now: `
The caller of \`hmmRangeUnregister\` holds no lock. If it holds one, it gets an assertion, in every
build, and whether or not the user is the last: "dropping the last mm user takes the address space
down; release it first" (\`src/hmm/range/range.ts\`, \`src/mm/lifetime/mm.ts\`). The driver rechecks
under its lock, drops the lock, and then unregisters. In the second scenario the whole teardown
runs: devices are released, pages and tables are freed.
`,
  before: [
    harnessScenario<DeviceAndRange>({
      name: "holes/last-user/before",
      summary: "a driver unregisters its range under its lock while the process ends",
      expects: "deadlock",
      ...parts,
      tasks: {
        fault: finishHolding,
        exit: (_shared, { machine, mm }) => mmputUnchecked(machine, mm),
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
