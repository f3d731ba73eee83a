/**
 * @module Patch 11: release was called without the lock that keeps the mirror.
 *
 *     exit                                           close
 *     takes the mirror off the list, drops the lock
 *                                                    takes and drops the lock: nothing to take off
 *                                                    returns; the driver frees its mirror
 *     calls mirror->ops->release, from freed memory
 */

import { type HmmHarness, harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { Hmm } from "../../../src/hmm/hmm-struct.ts";
import { hmmPut } from "../../../src/hmm/mirror/hmm.ts";
import { mirrorOps } from "../../../src/hmm/mirror/mirror-ops.ts";
import { HmmMirror, HmmMirrorRecord } from "../../../src/hmm/mirror-record.ts";
import { List } from "../../../src/memory/layout/list.ts";
import type { Machine } from "../../../src/memory/machine.ts";
import { mmput } from "../../../src/mm/lifetime/mm.ts";
import { registerNotifierOps } from "../../../src/notifier/mmu-notifier.ts";
import { DONE, type Task, access } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { IDLE_OPS, deviceOf, hmmOf, listenWith } from "./stage.ts";

function* oldRelease(machine: Machine, listener: number): Task<void> {
  const { memory } = machine;
  const hmm = Hmm.at(memory, listener);
  if (!(yield* hmm.refs.getNotZero())) return;
  yield* hmm.mirrorsSem.downWrite();
  for (let node = hmm.mirrors.first(); node !== 0; node = hmm.mirrors.first()) {
    const at = HmmMirrorRecord.containerOf(node, "node");
    new List(memory, node).del();
    yield* hmm.mirrorsSem.upWrite(); // "to avoid a deadlock"
    yield* access(memory, "read", at + HmmMirrorRecord.offset.opsId, 1, "mirror->ops");
    const mirror = new HmmMirror(machine, at);
    yield* mirrorOps.get(mirror.record.opsId).release?.(mirror) ?? DONE;
    yield* hmm.mirrorsSem.downWrite();
  }
  yield* hmm.mirrorsSem.upWrite();
  yield* hmmPut(machine, hmm);
}

const OLD_OPS: number = registerNotifierOps("hmm before patch 11", { release: oldRelease });

/** Frees the driver's struct, with the mirror in it. */
function* oldClose(device: HarnessDevice, harness: HmmHarness): Task<void> {
  const hmm = hmmOf(harness);
  const { node } = device.record.mirror;
  yield* hmm.mirrorsSem.downWrite();
  if (node.isListed()) node.del();
  yield* hmm.mirrorsSem.upWrite();
  yield* hmmPut(harness.machine, hmm);
  yield* device.free();
}

function* close(device: HarnessDevice): Task<void> {
  yield* device.unregister();
  yield* device.free();
}

function exit(_device: HarnessDevice, { machine, mm }: HmmHarness): Task<void> {
  return mmput(machine, mm);
}

const CLOSE = 1;

const before: AnyScenario = harnessScenario({
  name: "patches/11/before",
  summary:
    "a process exits while its device is closed: release is called on a mirror that its driver has freed",
  expects: "use-after-free",
  exploration: { engine: "bounded", preemptions: 1 },
  harness: { pages: 0 },
  setup(harness) {
    const device = deviceOf(harness, CLOSE, IDLE_OPS);
    listenWith(harness, OLD_OPS);
    return device;
  },
  tasks: { exit, close: oldClose },
});

const after: AnyScenario = harnessScenario({
  name: "patches/11/after",
  summary:
    "a process exits while its device is closed: release is called on an allocated mirror, or not at all",
  harness: { pages: 0 },
  setup: (harness) => deviceOf(harness, CLOSE),
  tasks: { exit, close },
});

export const releaseLocked: Exhibit = {
  id: "patches/11",
  title: "Release was called on a mirror that its driver had freed",
  was: `
When an address space dies, the hmm calls the \`release\` of every mirror. It took the lock of the
list for writing, removed the first mirror, dropped the lock, called the driver, took the lock
again, and so on until the list was empty. A comment said that this avoided a deadlock.
`,
  wrong: `
A mirror that is off the list, without the lock, is kept by nothing. Its driver is being closed at
the same time: unregister takes the lock, finds nothing to remove, and returns, which means "no
call-back runs or will run". So the driver frees the mirror, and then release is called on it.
`,
  now: `
The lock is held for reading, mirrors stay on the list, and release is called under the lock.
While it runs, unregister waits for the lock. After unregister has returned, no call-back of the
mirror runs. A mirror's release is called once, or not at all if the mirror was unregistered
before. So release may not register or unregister mirrors. And the lock that a driver takes in its
call-backs must not be held while it calls what may run a call-back: see the hole with three
threads.
`,
  before: [before],
  after: [after],
};
