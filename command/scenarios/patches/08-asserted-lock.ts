/**
 * @module Patch 8: a comment required a lock, and no code checked it.
 *
 *     madvise                                        open
 *     start: nobody listens
 *                                                    takes the mmap lock for reading only
 *                                                    registers: from here on the hmm is called
 *     end: the hmm hears the end of what it
 *     has not heard the start of
 */

import { type HmmHarness, harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { Hmm, hmmInit } from "../../../src/hmm/hmm-struct.ts";
import { HMM_NOTIFIER_OPS } from "../../../src/hmm/mirror/invalidate.ts";
import { hmmMirrorRegister } from "../../../src/hmm/mirror/mirror.ts";
import { mmgrab } from "../../../src/mm/lifetime/mm.ts";
import { mmuNotifierRegister } from "../../../src/notifier/mmu-notifier.ts";
import { assert } from "../../../src/sync/errors.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { invalidate } from "./stage.ts";

/** "To be called with the mmap lock held for writing." The mirror's own part is left out. */
function* oldRegister(_device: HarnessDevice, { machine, mm }: HmmHarness): Task<void> {
  const at = yield* machine.heap.alloc(Hmm);
  const hmm = Hmm.at(machine.memory, at);
  hmmInit(hmm, mm.at);
  yield* mmgrab(mm);
  yield* mmuNotifierRegister(machine, mm.notifiers, hmm.notifier, HMM_NOTIFIER_OPS);
  yield* mm.pageTableLock.lock();
  mm.hmm = at;
  yield* mm.pageTableLock.unlock();
}

/** A driver that holds the lock for reading only. */
function carelessly(register: (device: HarnessDevice, harness: HmmHarness) => Task<unknown>) {
  return function* (device: HarnessDevice, harness: HmmHarness): Task<void> {
    yield* harness.mm.mmapLock.downRead();
    yield* register(device, harness);
    yield* harness.mm.mmapLock.upRead();
  };
}

/** Like any change under the mmap lock for reading. */
function* madvise(_device: HarnessDevice, harness: HmmHarness): Task<void> {
  yield* harness.mm.mmapLock.downRead();
  yield* invalidate(harness);
  yield* harness.mm.mmapLock.upRead();
}

const situation = {
  harness: { pages: 0 },
  setup: (harness: HmmHarness): HarnessDevice => new HarnessDevice(harness),
};

const silent: AnyScenario = harnessScenario({
  ...situation,
  name: "patches/08/silent/before",
  summary:
    "a driver with the wrong lock registers while a page is invalidated: only this order shows the mistake",
  expects: "assertion",
  tasks: { madvise, open: carelessly(oldRegister) },
});

const noticed: AnyScenario = harnessScenario({
  ...situation,
  name: "patches/08/noticed/before",
  summary:
    "the same driver and the shipped register, alone: nothing else goes wrong, and the mistake is reported",
  expects: "lock-misuse",
  tasks: { open: carelessly((device, { mm }) => hmmMirrorRegister(device.mirror, mm)) },
});

const after: AnyScenario = harnessScenario({
  ...situation,
  name: "patches/08/after",
  summary: "a driver with the right lock registers while a page is invalidated",
  tasks: { madvise, open: (device) => device.register() },
  check(device, { mm }) {
    assert(device.record.mirror.hmm === mm.hmm, "the mirror is not on the address space's hmm");
  },
});

export const assertedLock: Exhibit = {
  id: "patches/08",
  title: "A comment required a lock, and no code checked it",
  was: `
The comment on \`hmm_mirror_register\` said that the mmap lock must be held for writing. Every
driver in the tree did so.
`,
  wrong: `
A driver that takes it for reading, or not at all, works in nearly every test. It fails if it
registers between the start and the end of an invalidation. Then the new notifier gets an end
without a start, and its count of invalidations in flight is wrong from then on. The first diagram
shows that order. Every other order of the same steps passes, and the failure does not lead to the
driver.
`,
  now: `
The sentence became an assertion of lockdep. For a correct driver nothing changes. A wrong one
used to fail in one order out of many; now it fails always, at the call, by name, also in a test
with one thread: the second diagram is a whole execution. And the assertion is a comment that
cannot become false.
`,
  before: [silent, noticed],
  after: [after],
};
