/**
 * @module Patch 8: a comment asked for a lock.
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

/** A driver that did not read that far. */
function carelessly(register: (device: HarnessDevice, harness: HmmHarness) => Task<unknown>) {
  return function* (device: HarnessDevice, harness: HmmHarness): Task<void> {
    yield* harness.mm.mmapLock.downRead();
    yield* register(device, harness);
    yield* harness.mm.mmapLock.upRead();
  };
}

/** As any change under the mmap lock for reading. */
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
    "a careless driver registers while a page is invalidated: only this order shows that anything is wrong",
  expects: "assertion",
  tasks: { madvise, open: carelessly(oldRegister) },
});

const noticed: AnyScenario = harnessScenario({
  ...situation,
  name: "patches/08/noticed/before",
  summary:
    "the same careless driver and the shipped register, alone: nothing else goes wrong, and it is noticed",
  expects: "lock-misuse",
  tasks: { open: carelessly((device, { mm }) => hmmMirrorRegister(device.mirror, mm)) },
});

const after: AnyScenario = harnessScenario({
  ...situation,
  name: "patches/08/after",
  summary: "a driver that holds the lock registers while a page is invalidated",
  tasks: { madvise, open: (device) => device.register() },
  check(device, { mm }) {
    assert(device.record.mirror.hmm === mm.hmm, "the mirror is not on the address space's hmm");
  },
});

export const assertedLock: Exhibit = {
  id: "patches/08",
  title: "A comment asked for a lock, and nobody checked",
  was: `
The comment on \`hmm_mirror_register\` said that the mmap lock must be held for writing. Every driver in the tree did so.`,
  wrong: `
A driver that takes it for reading, or not at all, works. It works in every test, until the day when it registers between
the start and the end of an invalidation: then the new listener hears the end of something that it never heard the start
of, and its count of invalidations in flight is wrong from there on. The first diagram is that day. Every other order of
the same steps passes, so neither tests nor reading the failure afterwards lead to the driver.`,
  now: `
The sentence became an assertion of lockdep. It does nothing for a driver that is right. For one that is wrong it turns
"fails in one order out of many" into "fails always, at the call, by name", also in a test with one thread; the second
diagram is a whole execution. To a checker this is worth more than any number of explored orders, and to a reader it is a
comment that cannot go stale.`,
  before: [silent, noticed],
  after: [after],
};
