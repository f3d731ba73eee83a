/** @module A driver lock that is held while a function is called that notifies the drivers. */

import { HARNESS_PAGE, harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness, HarnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import { registerMirrorOps } from "../../../src/hmm/mirror/mirror-ops.ts";
import { zapRange } from "../../../src/mm/entries/zap.ts";
import { EVENT_MIGRATE, invalidateRange } from "../../../src/notifier/events.ts";
import { EAGAIN, type Errno } from "../../../src/sync/errno.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { ABSENT, deviceOf, discard } from "./setting.ts";

/** Ignores invalidations of its own: it has no translation of the pages that it migrates. */
const MIGRATING_OPS: number = registerMirrorOps("exhibit migrating device", {
  *invalidate(mirror, range): Task<Errno> {
    if (range.owner === mirror.at) return 0;
    const record = HarnessDevice.recordOf(mirror);
    if (range.blockable) yield* record.driverLock.lock();
    else if (!(yield* record.driverLock.tryLock())) return EAGAIN;
    HarnessDevice.sweep(record, range);
    yield* record.driverLock.unlock();
    return 0;
  },
});

const MIGRATES = 0;
const CLOSES = 1;

interface Shared {
  readonly device: HarnessDevice;
  /** A device that is closed. */
  readonly second: HarnessDevice;
}

const parts: Pick<HarnessScenario<Shared>, "harness" | "setup"> = {
  harness: ABSENT,
  setup: (harness) => ({
    device: deviceOf(harness, MIGRATES, MIGRATING_OPS),
    second: deviceOf(harness, CLOSES),
  }),
};

/** Unmaps a page from the CPU: with this a migration to device memory begins. */
function* takeFromCpu({ device }: Shared, { machine, mm }: HmmHarness): Task<void> {
  const range = invalidateRange(mm, HARNESS_PAGE + 1, HARNESS_PAGE + 2, EVENT_MIGRATE, {
    owner: device.mirror.at,
  });
  yield* mm.mmapLock.downRead();
  yield* zapRange(machine, mm, range);
  yield* mm.mmapLock.upRead();
}

function* migrateHolding(shared: Shared, harness: HmmHarness): Task<void> {
  yield* shared.device.driverLock.lock();
  yield* takeFromCpu(shared, harness);
  yield* shared.device.driverLock.unlock();
}

function* migrate(shared: Shared, harness: HmmHarness): Task<void> {
  yield* takeFromCpu(shared, harness);
  yield* shared.device.driverLock.lock();
  yield* shared.device.driverLock.unlock();
}

function close({ second }: Shared): Task<void> {
  return second.unregister();
}

export const driverLock: Exhibit = {
  id: "holes/driver-lock",
  title: "Three threads and a driver lock",
  was: `
A driver has a lock around its own page table. Its call-back takes it to clear translations, its
fault handler to program them. A driver may hold it for a whole operation, such as moving pages to
device memory, so that nothing changes meanwhile.
`,
  wrong: `
Moving pages changes the CPU's page table, so all drivers are notified, this one too. A driver
must not wait for itself; that is easily avoided, and the driver below ignores invalidations that
it causes. It can still hang, and that takes three threads.

\`discard\` is in the middle of an invalidation: it holds the lock of the mirrors for reading, and
waits for the driver lock. \`close\` unregisters another device, and waits to take the lock of the
mirrors for writing. \`migrate\` has the driver lock, and wants the lock of the mirrors for reading;
but a writer waits, and a fair lock lets no later reader pass. So \`migrate\` waits for \`close\`,
\`close\` for \`discard\`, and \`discard\` for \`migrate\`.

A reviewer of patch 11 found this by reading. The checker finds it, too. And it finds that *every*
execution of this driver violates the lock order, also those without a deadlock. Therefore the
order is checked, not only the deadlock.
`,
  now: `
The rule: **the driver lock is never held while a function is called that may change a mapping.**
It is a line of the lock order (\`src/sync/lockdep/lock-order.ts\`), and debug builds check it at
each acquisition. The driver in the second scenario takes its lock after the invalidation.

Three such threads have hundreds of thousands of interleavings that differ only in which thread
began or ended a read section first, or took a reference first. These have the same outcome. The
checker performs one of each class, and takes a second.
`,
  before: [
    harnessScenario<Shared>({
      name: "holes/driver-lock/before",
      summary:
        "a driver migrates with its lock held while another device is closed and the CPU discards a page",
      expects: "deadlock",
      exploration: { engine: "bounded", preemptions: 1 },
      ...parts,
      tasks: { migrate: migrateHolding, close, discard },
    }),
  ],
  after: [
    harnessScenario<Shared>({
      name: "holes/driver-lock/after",
      summary: "the same, but the driver lock is taken after the invalidation",
      ...parts,
      tasks: { migrate, close, discard },
    }),
  ],
};
