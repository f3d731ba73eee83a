/**
 * @module Patch 1: the hmm was freed while its own call-backs were running.
 *
 *     invalidate                                     close
 *     enters the notifiers' read section
 *     reads mm->hmm
 *                                                    takes the last mirror off; refs become 0
 *                                                    unlinks the notifier, which waits for nobody
 *                                                    clears mm->hmm, frees the hmm
 *     refs get-unless-zero, in freed memory
 */

import { type HmmHarness, harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { Hmm } from "../../../src/hmm/hmm-struct.ts";
import type { Machine } from "../../../src/memory/machine.ts";
import { Mm } from "../../../src/mm/mm-struct.ts";
import { mmdrop } from "../../../src/mm/lifetime/mm.ts";
import {
  mmuNotifierUnregisterNoRelease,
  notifierSrcu,
} from "../../../src/notifier/mmu-notifier.ts";
import { type Task, access } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { deviceOf, invalidate } from "./stage.ts";

/**
 * The hmm was looked up through the mm. The old code did not test whether the count is 0. This one
 * does, so that one defect is left.
 */
function* oldLookUp(machine: Machine, mm: Mm): Task<Hmm | undefined> {
  yield* access(machine.memory, "read", mm.at + Mm.offset.hmm, 1, "mm->hmm");
  if (mm.hmm === 0) return undefined;
  const hmm = Hmm.at(machine.memory, mm.hmm);
  return (yield* hmm.refs.getNotZero()) ? hmm : undefined;
}

function* oldStart(machine: Machine, mm: Mm): Task<void> {
  const hmm = yield* oldLookUp(machine, mm);
  if (hmm === undefined) return;
  yield* hmm.rangesLock.lock();
  hmm.notifiers++;
  yield* hmm.rangesLock.unlock();
  yield* oldPut(machine, mm, hmm);
}

/** The part of the notifiers' walk that matters: the read section, and the call of one notifier. */
function* oldInvalidate(_device: HarnessDevice, { machine, mm }: HmmHarness): Task<void> {
  const srcu = yield* notifierSrcu(machine);
  const section = yield* srcu.readLock();
  yield* oldStart(machine, mm);
  yield* srcu.readUnlock(section);
}

function* oldPut(machine: Machine, mm: Mm, hmm: Hmm): Task<void> {
  if (!(yield* hmm.refs.put())) return;
  yield* mmuNotifierUnregisterNoRelease(mm.notifiers, hmm.notifier);
  yield* mmdrop(machine, mm); // the count of the notifier
  yield* mm.pageTableLock.lock();
  yield* access(machine.memory, "write", mm.at + Mm.offset.hmm, 1, "mm->hmm");
  mm.hmm = 0;
  yield* mm.pageTableLock.unlock();
  yield* machine.heap.free(Hmm, hmm.at); // at once
}

function* oldClose({ record }: HarnessDevice, { machine, mm }: HmmHarness): Task<void> {
  const hmm = Hmm.at(machine.memory, record.mirror.hmm);
  yield* hmm.mirrorsSem.downWrite();
  record.mirror.node.del();
  yield* hmm.mirrorsSem.upWrite();
  yield* oldPut(machine, mm, hmm);
}

const CLOSE = 1;

const before: AnyScenario = harnessScenario({
  name: "patches/01/before",
  summary:
    "a page is invalidated while the last mirror is unregistered: the call-back uses a freed hmm",
  expects: "use-after-free",
  harness: { pages: 0 },
  setup: (harness) => deviceOf(harness, CLOSE),
  tasks: { invalidate: oldInvalidate, close: oldClose },
});

const after: AnyScenario = harnessScenario({
  name: "patches/01/after",
  summary: "a page is invalidated while the last mirror is unregistered",
  harness: { pages: 0 },
  setup: (harness) => deviceOf(harness, CLOSE),
  tasks: {
    invalidate: (_device, harness) => invalidate(harness),
    close: (device) => device.unregister(),
  },
});

export const freedInCallback: Exhibit = {
  id: "patches/01",
  title: "The hmm was freed while its call-back ran",
  was: `
The call-backs of an mmu notifier run in an SRCU read section. When the last mirror was
unregistered, the hmm unlinked its notifier by the variant of unregister that does not wait. Then
it cleared \`mm->hmm\` and freed its memory at once. A call-back did not take the hmm from the
notifier that it was called for. It looked the hmm up again, through \`mm->hmm\`, without a lock.
`,
  wrong: `
Unlinking a notifier prevents further calls. It does not wait for a call that is running. That
call has read the pointer, and takes its reference in freed memory. If the memory is poisoned, the
count even looks like one that is not 0.
`,
  now: `
A deferred call frees the memory, an SRCU grace period after the notifier was unlinked. So during
a call-back the hmm's memory is allocated, whatever its count is. The call-back gets the hmm from
its own notifier, and uses it only if get-unless-zero succeeds. If that fails, there is no mirror
and no range any more, and the call-back has nothing to do. Memory and use are two things now: the
read section keeps the memory, the count keeps the object.
`,
  before: [before],
  after: [after],
};
