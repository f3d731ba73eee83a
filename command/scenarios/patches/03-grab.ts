/**
 * @module Patch 3: the hmm outlives the address space, and did not hold its memory.
 *
 *     exit                                           close
 *     last user gone: listeners released,
 *     everything unmapped, users' count dropped
 *     [the notifier's count is the only one left]
 *                                                    last mirror off: unlinks the notifier,
 *                                                    drops its count
 *                                                    [the mm is freed]
 *                                                    locks mm->page_table_lock, in freed memory
 *
 * No second thread is needed.
 */

import { type HmmHarness, harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { Hmm } from "../../../src/hmm/hmm-struct.ts";
import { hmmPut } from "../../../src/hmm/mirror/hmm.ts";
import type { Machine } from "../../../src/memory/machine.ts";
import { Mm } from "../../../src/mm/mm-struct.ts";
import { mmdrop, mmput } from "../../../src/mm/lifetime/mm.ts";
import {
  mmuNotifierUnregisterNoRelease,
  registerNotifierOps,
} from "../../../src/notifier/mmu-notifier.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { IDLE_OPS, deviceOf, listenWith } from "./stage.ts";

/** The one count of the mm that there was belonged to the registration of the notifier. */
function* oldFree(machine: Machine, hmm: Hmm): Task<void> {
  const mm = Mm.at(machine.memory, hmm.mm);
  yield* mmuNotifierUnregisterNoRelease(mm.notifiers, hmm.notifier);
  yield* mmdrop(machine, mm);
  yield* mm.pageTableLock.lock();
  if (mm.hmm === hmm.at) mm.hmm = 0;
  yield* mm.pageTableLock.unlock();
  yield* machine.heap.free(Hmm, hmm.at);
}

function* oldClose({ record }: HarnessDevice, { machine }: HmmHarness): Task<void> {
  const hmm = Hmm.at(machine.memory, record.mirror.hmm);
  if (yield* hmm.refs.put()) yield* oldFree(machine, hmm);
}

/** The reference is the mirror's; that the mirror itself is taken off plays no part. */
function close({ record }: HarnessDevice, { machine }: HmmHarness): Task<void> {
  return hmmPut(machine, Hmm.at(machine.memory, record.mirror.hmm));
}

/** The call-backs play no part here. */
const OLD_OPS: number = registerNotifierOps("hmm before patch 3", {});

const CLOSE = 1;

const before: AnyScenario = harnessScenario({
  name: "patches/03/before",
  summary:
    "a process exits, then its device file is closed: the hmm drops the last count of the mm, and then locks it",
  expects: "use-after-free",
  harness: { pages: 0 },
  setup(harness) {
    // the shipped hmm's grab stands for the count of its notifier
    const device = deviceOf(harness, CLOSE, IDLE_OPS);
    listenWith(harness, OLD_OPS);
    return device;
  },
  tasks: { exit: (_device, { machine, mm }) => mmput(machine, mm), close: oldClose },
});

const after: AnyScenario = harnessScenario({
  name: "patches/03/after",
  summary: "a process exits while its device file is closed",
  harness: { pages: 0 },
  setup: (harness) => deviceOf(harness, CLOSE, IDLE_OPS),
  tasks: { exit: (_device, { machine, mm }) => mmput(machine, mm), close },
});

export const grab: Exhibit = {
  id: "patches/03",
  title: "The hmm did not hold the memory of its address space",
  was: `
A mirror lives in the private data of an open file, and a file may be closed long after the process's address space has
gone. So an hmm legitimately outlives its mm. All that it had of it was a bare pointer; the only count of the mm's memory
was the one that the registration of the notifier takes and its end drops. Users of the pointer tested it, and a flag
\`dead\`, without a lock.`,
  wrong: `
Freeing the hmm unlinked the notifier first. That dropped the last count, and the mm was freed there and then; the next
thing that the hmm did was to take a lock inside it. One thread, doing one thing after the other, is enough. (The checker
sees it when the task begins to wait for a lock that lies in freed memory.)`,
  now: `
The hmm takes a count of its own when it is made, by \`mmgrab\`, and drops it when its own memory goes. Whoever can reach an
hmm can read its mm, always; it can never be null, so nothing has to be tested. It says nothing about the address space
being alive: who needs that asks by \`mmgetNotZero\`. And an address of an mm is not used again while an hmm knows it, so a
driver may key its tables by it.`,
  before: [before],
  after: [after],
};
