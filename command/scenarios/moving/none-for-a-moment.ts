/** @module A huge page's entry is taken away, changed, and put back; another thread finds none. */

import type { HmmHarness } from "../../../src/checker/harness/hmm-harness.ts";
import { HUGE_PAGES } from "../../../src/mm/huge.ts";
import { midSlotOf } from "../../../src/mmu/radix-table.ts";
import { atomicExchange, atomicStore } from "../../../src/sync/atomics.ts";
import { bug } from "../../../src/sync/errors.ts";
import { type Task, access } from "../../../src/sync/tasks/task.ts";
import {
  BEFORE,
  type HugeWorld,
  START,
  contentsOf,
  discard,
  hugeScenario,
  moveToDevice,
} from "../coverage/mm/huge-stage.ts";
import type { Exhibit } from "../exhibit.ts";

/** Changes the entry of a huge page as two steps, under the lock of its table. */
function* changeInTwo(_world: HugeWorld, { machine, mm }: HmmHarness): Task<void> {
  const { memory } = machine;
  const slot = midSlotOf(memory, mm.pgd, START);
  yield* mm.mmapLock.downRead();
  yield* mm.pageTableLock.lock();
  yield* access(memory, "update", slot, 1, "page table");
  const entry = atomicExchange(memory.words, slot, 0);
  yield* mm.shootdown.flush(START, START + HUGE_PAGES);
  yield* access(memory, "write", slot, 1, "page table");
  atomicStore(memory.words, slot, entry);
  yield* mm.pageTableLock.unlock();
  yield* mm.mmapLock.upRead();
}

function requireGone(_world: HugeWorld, harness: HmmHarness): void {
  if (contentsOf(harness, 5) === BEFORE)
    bug("madvise has returned, and the page holds what it held");
}

export const noneForAMoment: Exhibit = {
  id: "moving/none-for-a-moment",
  title: "A huge page that was not there for a moment",
  was: `
One entry maps a huge page of 2 MiB. To change a bit of it, here the one that says that the page was
written, Linux took the entry away, flushed, and put the changed one in its place. The processor may
set bits in an entry at any time, and so none is lost. The lock of the table is held meanwhile.
`,
  wrong: `
Another thread gives a part of it up with \`madvise\`. It walks the table, and looks for entries
without the lock: of places where nothing is, it takes none. It finds nothing, and goes on. A moment
later the entry is back. \`madvise\` has returned, and has done nothing.

The lock does not help, since the walk does not take it. Nor does the mmap lock: both hold it for
reading. An entry that is absent under a lock is absent for everybody who looks without.
`,
  now: `
The entry of a huge page is never absent while the page is there. It names a table of 512 entries,
and those are changed in place, each by one atomic operation (\`src/mm/huge.ts\`, U4). A migration
changes each to a migration entry, which is not "nothing". \`madvise\` clears that, and the migration
finds at its end that it has lost the page.
`,
  notes: `
Found by reading, in 2017, in three places: advice that contents are not needed (58ceeb6bec86),
NUMA balancing (ced108037c2a), and the tracking of changed pages.
`,
  before: [
    hugeScenario({
      name: "moving/none-for-a-moment/before",
      summary: "a thread changes the entry of a huge page while another one gives a part of it up",
      expects: "assertion",
      state: "written",
      tasks: { change: changeInTwo, discard: discard(5, 1) },
      check: requireGone,
    }),
  ],
  after: [
    hugeScenario({
      name: "moving/none-for-a-moment/after",
      summary: "a huge page moves to a device while another thread gives a part of it up",
      state: "written",
      sample: 12,
      tasks: { move: moveToDevice, discard: discard(5, 1) },
      check: requireGone,
    }),
  ],
};
