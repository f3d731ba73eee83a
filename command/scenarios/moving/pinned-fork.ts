/** @module A fork shares a page that a device writes by its frame number. */

import { HarnessCpu } from "../../../src/checker/harness/harness-cpu.ts";
import type { HmmHarness } from "../../../src/checker/harness/hmm-harness.ts";
import { dataStep } from "../../../src/memory/frames/page-data.ts";
import { doFork } from "../../../src/mm/lifetime/fork.ts";
import { pinUserPages, unpinUserPages } from "../../../src/mm/view/pin.ts";
import { bug } from "../../../src/sync/errors.ts";
import { type Task, doneBoolean } from "../../../src/sync/tasks/task.ts";
import { ADDRESS, type MigrationWorld, PAGE, contents } from "../coverage/mm/migrate-stage.ts";
import type { Exhibit } from "../exhibit.ts";
import { moving } from "./stage.ts";

/** What the process stores in word 0, and the device in word 1. */
const STORED = 3;

/** Nobody asks for pins: references are all that is looked at. */
function ignorePins({ machine }: HmmHarness): void {
  // The machine is the scenario's alone.
  for (const name of ["pagePinned", "pagePinnedFast$steps"])
    Object.defineProperty(machine.ram.refs, name, { value: () => doneBoolean(false) });
}

/** Pins the page for long, and writes to its frame. */
function* device(_world: MigrationWorld, { machine, mm }: HmmHarness): Task<void> {
  const options = { write: true, longTerm: true };
  const pinned = yield* pinUserPages(machine, mm, PAGE, PAGE + 1, options);
  if (typeof pinned === "number") bug(`The pin answered ${pinned}`);
  const { sections } = machine.ram;
  for (const pfn of pinned.pfns) {
    yield* dataStep(machine.memory, "write", pfn);
    sections.of(pfn).i32[sections.wordIndex(pfn) + 1] = STORED;
  }
  yield* unpinUserPages(machine, pinned);
}

function* process(world: MigrationWorld, harness: HmmHarness): Task<void> {
  world.child = yield* doFork(harness.machine, harness.mm);
  yield* new HarnessCpu(harness).store(ADDRESS, STORED);
}

function requireBoth(_world: MigrationWorld, harness: HmmHarness): void {
  for (const [word, who] of ["process", "device"].entries())
    if (contents(harness, harness.mm, word) !== STORED) bug(`What the ${who} stored is lost`);
}

export const pinnedFork: Exhibit = {
  id: "moving/pinned-fork",
  title: "A device writes to a page that was copied behind its back",
  was: `
A device without a page table of its own, such as most network cards, is given frame numbers. The
kernel *pins* the pages: they are neither moved nor freed until the device is done. Then the process
forks. A fork does not copy pages. It shares them with the child, read-only in both, and the first
of the two to store gets a copy.
`,
  wrong: `
The parent stores to the page, and the parent gets the copy. The device still writes to the old
frame, which is the child's alone now. What it receives from then on, the parent never sees. Nothing
fails. The process has a buffer, the device has a buffer, and they are not the same.

The pin kept the frame alive. It should have kept the *page*, the frame at that address of that
process.
`,
  now: `
A fork copies a pinned page at once, for the child (\`src/mm/lifetime/fork.ts\`). So a pinned frame
has one entry, and a store goes to it in place. A pin is taken only of such a frame: a page that is
shared is copied first. Pins come and go holding the mmap lock for writing, as fork does, so none
comes in between.
`,
  notes: `
For years programs were told to keep such memory from their children. Linux 5.10 has the early copy
(70e806e4e645). To tell pins from other references needed a count of their own.
`,
  before: [
    moving({
      name: "moving/pinned-fork/before",
      summary: "a process forks and stores, while a device writes to the same page",
      expects: "assertion",
      exploration: { engine: "bounded", preemptions: 1 },
      prepare: ignorePins,
      tasks: { device, process },
      check: requireBoth,
    }),
  ],
  after: [
    moving({
      name: "moving/pinned-fork/after",
      summary: "the same, with a fork that asks for pins",
      exploration: { engine: "bounded", preemptions: 1 },
      tasks: { device, process },
      check: requireBoth,
    }),
  ],
};
