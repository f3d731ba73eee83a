/** @module Two threads touch a device's page, and each finds the other's reference in its way. */

import type { HmmHarness } from "../../../src/checker/harness/hmm-harness.ts";
import { countingFrame, getIfNamed } from "../../../src/mm/fault/vm-fault.ts";
import { migrateFaultToRam } from "../../../src/mm/migrate/migrate-vma.ts";
import { ptePfn } from "../../../src/mm/pte.ts";
import { bug } from "../../../src/sync/errors.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import {
  BEFORE,
  type MigrationWorld,
  isOnDevice,
  load,
  locked,
  requireContents,
} from "../coverage/mm/migrate-stage.ts";
import type { Exhibit } from "../exhibit.ts";
import { devicePageFault, moving } from "./stage.ts";

/** References of the page's frame: of its entry, and of the fault that moves it. */
const EXPECTED = 2;

/** One try: moves the page if nobody else has a reference of it. */
function touchIfUnused({ memory: device }: MigrationWorld, harness: HmmHarness): Task<void> {
  const { machine } = harness;
  const { refs } = machine.ram;
  return locked(harness, function* () {
    const fault = yield* devicePageFault(harness);
    if (fault === undefined) return;
    const pfn = ptePfn(fault.pte);
    const get = (): Task<boolean> => getIfNamed(machine, fault.index, fault.pte);
    if (!(yield* countingFrame(machine, pfn, get))) return;
    if (yield* refs.pageHas(pfn, EXPECTED)) yield* migrateFaultToRam(fault, device);
    yield* refs.pagePut(pfn);
  });
}

function requireBack(world: MigrationWorld, harness: HmmHarness): void {
  if (isOnDevice(harness)) bug("Two threads have touched the page, and it is on the device still");
  requireContents(BEFORE)(world, harness);
}

export const countedReferences: Exhibit = {
  id: "moving/counted-references",
  title: "Two threads touch a page, and neither gets it",
  was: `
The fault of the chapter before was given a reference. But before a page is moved, Linux asks
whether somebody uses it: it compares the page's count with the number that is expected, one for
each entry, and one for whoever moves the page. If there are more, somebody may be reading or
writing the frame, and the page stays where it is. A CPU that touched the page faults again.
`,
  wrong: `
Two threads touch the same page of a device. Each takes a reference, then each counts, and finds one
more than expected: the other's. Each gives its reference back, and faults again. With enough
threads this may go on for ever, though the device has nothing against giving the page back. It is a
*livelock*: everybody runs, and nothing gets done. The scenario has one round of it.
`,
  now: `
No count is compared. A reference here does not entitle anybody to use a frame's contents: who has
one and no entry rechecks the entry first (\`src/mm/migrate/migrate-vma.ts\`, Y4). Who does use
contents without an entry has a *pin*, which is counted apart. Of the two threads the one that makes
the migration entry moves the page, and the other waits for the end of that.
`,
  notes: `
Seen with a driver for Intel's GPUs. Fixed in Linux in 2025 (1afaeb8293c9): the fault tries to lock
the page, and takes its reference only if it gets the lock. Later there was a follow-up: those
who did not get the lock tried again at once, and on one processor could keep away the thread that
had it.
`,
  before: [
    moving({
      name: "moving/counted-references/before",
      summary: "two threads touch a page in a device's memory",
      expects: "assertion",
      exploration: { engine: "bounded", preemptions: 2 },
      isThere: true,
      tasks: { one: touchIfUnused, other: touchIfUnused },
      check: requireBack,
    }),
  ],
  after: [
    moving({
      name: "moving/counted-references/after",
      summary: "the same, with the shipped fault",
      exploration: { engine: "bounded", preemptions: 1 },
      isThere: true,
      tasks: { one: load, other: load },
      check: requireBack,
    }),
  ],
};
