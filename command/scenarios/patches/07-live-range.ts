/**
 * @module Patch 7: a range did not keep its address space alive.
 *
 *     worker                                         exit
 *     hmm->dead? no
 *     takes the mmap lock, finds the page table
 *                                                    last user gone: hmm->dead = true, too late
 *                                                    unmaps, frees vmas and page tables
 *                                                    [takes no mmap lock: believes it is alone]
 *     reads the page table, freed memory
 */

import { type HmmHarness, harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { Hmm } from "../../../src/hmm/hmm-struct.ts";
import { type HmmRange, hmmRangeUnregister } from "../../../src/hmm/range/range.ts";
import { hmmRangeSnapshot } from "../../../src/hmm/walk/snapshot.ts";
import type { Machine } from "../../../src/memory/machine.ts";
import { mmput } from "../../../src/mm/lifetime/mm.ts";
import { registerNotifierOps } from "../../../src/notifier/mmu-notifier.ts";
import { EFAULT } from "../../../src/sync/errno.ts";
import { assert } from "../../../src/sync/errors.ts";
import { type Task, access } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import {
  type OwnRange,
  deviceOf,
  freshRange,
  hmmOf,
  listenWith,
  rangeOf,
  registerOver,
} from "./stage.ts";

interface Shared {
  readonly device: HarnessDevice;
  readonly range: OwnRange;
}

/** `dead` is kept in the field of a statistic, which the old hmm did not have. */
function deadIs(kind: "read" | "write", hmm: Hmm): Task<void> {
  return access(hmm.memory, kind, hmm.at + Hmm.offset.releasedWithRanges, 1, "hmm->dead");
}

function* oldRelease(machine: Machine, listener: number): Task<void> {
  const hmm = Hmm.at(machine.memory, listener);
  yield* deadIs("write", hmm);
  hmm.releasedWithRanges = 1;
}

const OLD_OPS: number = registerNotifierOps("hmm before patch 7", { release: oldRelease });

function* snapshot(range: HmmRange, { mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* hmmRangeSnapshot(range);
  yield* mm.mmapLock.upRead();
}

function* oldWork({ range }: Shared, harness: HmmHarness): Task<void> {
  const hmm = hmmOf(harness);
  yield* deadIs("read", hmm);
  if (hmm.releasedWithRanges === 0) yield* snapshot(range.handle, harness);
}

function* work({ device, range: { handle } }: Shared, harness: HmmHarness): Task<void> {
  const errno = yield* registerOver(handle, device);
  assert(errno === 0 || errno === EFAULT, "register answers neither 0 nor EFAULT");
  if (errno !== 0) return;
  yield* snapshot(handle, harness);
  yield* hmmRangeUnregister(handle);
}

function exit(_shared: Shared, { machine, mm }: HmmHarness): Task<void> {
  return mmput(machine, mm);
}

function reopen({ range }: Shared): void {
  range.reopen();
}

const WORKER = 0;

const before: AnyScenario = harnessScenario<Shared>({
  name: "patches/07/before",
  summary: "a driver reads the page table through a registered range, while the process exits",
  expects: "use-after-free",
  harness: { pages: 1 },
  setup(harness) {
    const device = deviceOf(harness, WORKER);
    const range = rangeOf(harness, WORKER, device);
    harness.run(harness.mm.users.put()); // in the old code a range holds no user
    listenWith(harness, OLD_OPS);
    return { device, range };
  },
  tasks: { worker: oldWork, exit },
  reopen,
});

const after: AnyScenario = harnessScenario<Shared>({
  name: "patches/07/after",
  summary:
    "a driver registers a range and reads the page table through it, while the process exits",
  harness: { pages: 1 },
  setup: (harness) => ({ device: deviceOf(harness, WORKER), range: freshRange(harness, WORKER) }),
  tasks: { worker: work, exit },
  check(_shared, harness) {
    assert(hmmOf(harness).releasedWithRanges === 0, "release has found a registered range");
  },
  reopen,
});

export const liveRange: Exhibit = {
  id: "patches/07",
  title: "A range did not keep its address space alive",
  was: `
A registered range held a reference of the hmm, and no user of the address space. Reading or
faulting the page table through a range needs vmas and tables, which exist while the mm has users.
Whether it had any was guessed from \`hmm->dead\`, a flag that the release call-back sets, read
without a lock.
`,
  wrong: `
This is a test, then a use, and nothing keeps the tested state. The last user goes after the test.
Exit calls the notifiers, sets the flag that is not read again, and frees the address space. It
takes no mmap lock for that, since no user is left. But the driver is reading.
`,
  now: `
Register takes a user of the mm (\`mmgetNotZero\`), or answers \`EFAULT\` if the address space is
dead. Unregister drops it. So exit cannot begin while a range is registered, and release finds no
range. No driver has to test anything, and the flag and the function that read it are gone. The
cost: a range that stays registered keeps the address space for ever. And the user that unregister
drops may be the last one; then the whole exit runs in the driver's thread. So the shipped
unregister requires that its caller holds no lock.
`,
  notes: `
In the diagram \`hmm->dead\` is the field \`releasedWithRanges\`, a statistic of the shipped hmm.
`,
  before: [before],
  after: [after],
};
