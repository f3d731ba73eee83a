/** @module A driver's lock that is held while something is called that tells the drivers. */

import { RIG_PAGE, harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness, HarnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import { registerMirrorOps } from "../../../src/hmm/mirror/mirror-ops.ts";
import { zapRange } from "../../../src/mm/zap.ts";
import { EVENT_MIGRATE, invalidateRange } from "../../../src/notifier/events.ts";
import { EAGAIN, type Errno } from "../../../src/sync/errno.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { ABSENT, deviceOf, discard } from "./setting.ts";

/**
 * A driver that need not hear what it does itself: it has no translation of the pages that it
 * migrates.
 */
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
  /** Of a device that goes. */
  readonly second: HarnessDevice;
}

const parts: Pick<HarnessScenario<Shared>, "harness" | "setup"> = {
  harness: ABSENT,
  setup: (harness) => ({
    device: deviceOf(harness, MIGRATES, MIGRATING_OPS),
    second: deviceOf(harness, CLOSES),
  }),
};

/** Takes a page away from the CPU: so the migration to device memory begins. */
function* takeFromCpu({ device }: Shared, { machine, mm }: HmmHarness): Task<void> {
  const range = invalidateRange(mm, RIG_PAGE + 1, RIG_PAGE + 2, EVENT_MIGRATE, {
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
  title: "Three threads around a driver lock",
  was: `
A driver has a lock around its own page table. Its call-back takes it to sweep, its fault handler to program. It is
tempting to hold it for a whole operation: while pages are moved to device memory, say, so that nothing changes under
one's hands.
`,
  wrong: `
Moving pages changes the CPU's page table, so it tells the drivers, this one too. That a driver must not wait for
itself is easy to see, and easily taken care of: the one below does not listen to what it causes. It can still hang,
and three threads are needed for it.

\`discard\` is in the middle of an invalidation. It holds the list of mirrors for reading and waits for the driver lock.
\`close\` takes another device off and waits for the list of mirrors to be free. \`migrate\` has the driver lock and wants
to read the list, which others are reading; but a writer is waiting, and a fair lock lets nobody pass who comes after
it. So \`migrate\` waits for \`close\`, \`close\` for \`discard\`, and \`discard\` for \`migrate\`.

A reviewer of patch 11 saw this in his head. The checker sees it too, but it has more to say: the lock order is broken
in *every* execution of this driver, also in those in which nobody is there to hang with. That is why the lock order
is checked, and not only the deadlock.
`,
  now: `
The rule: **a driver's lock is never held while something is called that may change a mapping.** It is one line of the
lock order (\`src/sync/lockdep/lock-order.ts\`), and debug builds check it at each acquisition. The driver in the second
scenario tells everybody first, and takes its lock when that is done.

Three such threads have hundreds of thousands of interleavings that differ in which of them began or ended a read
section first, or had a reference first. Nobody can tell these apart, so the checker sees one of each kind, and is
done in a second.
`,
  before: [
    harnessScenario<Shared>({
      name: "holes/driver-lock/before",
      summary:
        "a driver migrates with its lock held while another device closes and the CPU gives up a page",
      expects: "deadlock",
      exploration: { engine: "bounded", preemptions: 1 },
      ...parts,
      tasks: { migrate: migrateHolding, close, discard },
    }),
  ],
  after: [
    harnessScenario<Shared>({
      name: "holes/driver-lock/after",
      summary: "the same, but the driver lock is taken when the migration has told everybody",
      ...parts,
      tasks: { migrate, close, discard },
    }),
  ],
};
