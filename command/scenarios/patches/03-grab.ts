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

/** The only count of the mm was that of the registered notifier. */
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

/** Drops the mirror's reference. Unlinking the mirror is left out: it does not matter here. */
function close({ record }: HarnessDevice, { machine }: HmmHarness): Task<void> {
  return hmmPut(machine, Hmm.at(machine.memory, record.mirror.hmm));
}

/** The call-backs do not matter here. */
const OLD_OPS: number = registerNotifierOps("hmm before patch 3", {});

const CLOSE = 1;

const before: AnyScenario = harnessScenario({
  name: "patches/03/before",
  summary:
    "a process exits, then its device file is closed: the hmm drops the last count of the mm, then locks the mm",
  expects: "use-after-free",
  harness: { pages: 0 },
  setup(harness) {
    // the shipped hmm's mmgrab is used as the count of its notifier
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
A mirror is part of the private data of an open file. A file may be closed long after the
process's address space is gone, so an hmm may outlive its mm. The hmm held a bare pointer to the
mm. The only count of the mm's memory was that of the notifier: registering it takes one,
unregistering it drops it. Users of the pointer tested it, and a flag \`dead\`, without a lock.
`,
  wrong: `
Freeing the hmm first unlinked the notifier. That dropped the last count, and the mm was freed.
Then the hmm took a lock inside the mm. One thread is enough, doing one step after the other. (The
checker reports the task that begins to wait for a lock in freed memory.)
`,
  now: `
The hmm takes a count of its own when it is made (\`mmgrab\`), and drops it when its own memory is
freed. So whoever can reach an hmm can read its mm, and the pointer is never null. That does not
say that the address space is alive: for that one calls \`mmgetNotZero\`. And the address of an mm
is not reused while an hmm refers to it, so a driver may use it as a key.
`,
  before: [before],
  after: [after],
};
