/** @module Two threads end a device's exclusive access; one waits for a page that may be gone. */

import type { HmmHarness } from "../../../src/checker/harness/hmm-harness.ts";
import { frameWord } from "../../../src/memory/frames/ram-section.ts";
import { deviceExclusiveFault } from "../../../src/mm/fault/device-exclusive.ts";
import { makeDeviceExclusive } from "../../../src/mm/migrate/exclusive.ts";
import { KIND_DEVICE_EXCLUSIVE, ptePfn } from "../../../src/mm/pte.ts";
import { bug } from "../../../src/sync/errors.ts";
import { type Task, access } from "../../../src/sync/tasks/task.ts";
import {
  BEFORE,
  type MigrationWorld,
  OWNER,
  PAGE,
  load,
  locked,
  requireContents,
  toDevice,
} from "../coverage/mm/migrate-stage.ts";
import type { Exhibit } from "../exhibit.ts";
import { moving, pageFaultOf } from "./stage.ts";

/** A device has the page for itself at the beginning. */
function takeForDevice(harness: HmmHarness): void {
  const { machine, mm } = harness;
  const page = { startPage: PAGE, endPage: PAGE + 1 };
  harness.run(
    locked(harness, function* () {
      const answer = yield* makeDeviceExclusive(machine, mm, page, { owner: OWNER, range: 0 });
      if (answer !== 0) bug(`Exclusive access answered ${answer}`);
    }),
  );
}

/** The frame's lock is a word of its record, which the thread waits for and takes. */
function touchUnreferenced(_world: MigrationWorld, harness: HmmHarness): Task<void> {
  return locked(harness, function* () {
    const fault = yield* pageFaultOf(harness, KIND_DEVICE_EXCLUSIVE);
    if (fault === undefined) return;
    const { memory } = harness.machine;
    yield* access(memory, "update", frameWord(ptePfn(fault.pte), 0), 1, "frame lock");
    yield* deviceExclusiveFault(fault);
  });
}

/** Touches the page, too; then it moves to the memory of another device. */
function* touchAndMove(world: MigrationWorld, harness: HmmHarness): Task<void> {
  yield* load(world, harness);
  yield* toDevice(world, harness);
}

export const waitsUnreferenced: Exhibit = {
  id: "moving/waits-unreferenced",
  title: "A thread waits for the lock of a page that is gone",
  was: `
A device may have a page of RAM for itself, to work on it with atomic operations. The page's entry
is *exclusive* then: not present, and it names the frame. Whoever touches the page ends this. The
fault reads the entry, locks the page, tells the device's driver to let go, and makes the entry
present again. The entry has a reference of the page, so the page is there as long as the entry is.
`,
  wrong: `
"As long as the entry is". Two threads touch the page. Both have read the entry. One gets the lock,
and the entry is present again; the other one waits for the lock. All this holds the mmap lock for
reading, so nobody unmaps the page meanwhile. But the page may be migrated, which holds the lock for
reading, too: then its old frame has no entry any more, and is freed. The second thread waits for
the lock of a frame that is free, or takes the lock of its next owner.
`,
  now: `
A page has no lock here. The fault notifies by the address, not by the frame, and then replaces the
entry by compare-and-swap (\`src/mm/fault/device-exclusive.ts\`): it is still the exclusive one, or
another thread was faster and nothing is to be done. Between the two no word of the frame is read or
written, so no reference is needed. Where a fault does look at the frame, as for a page in a
device's memory, it takes one first (\`moving/no-reference\`).

mprotect, mremap and fork end the exclusive access themselves, with the mmap lock held for writing.
So an exclusive entry never says less than its mapping does: there is none with a right that the
mapping has lost, and none with a right that it has got since.
`,
  notes: `
Exclusive access is of 2021 (b756a3b5e7ea). The reference came in 2023 (7c7b962938dd), when the
kernel warned that a page was freed while it was locked. Linux's mprotect leaves the entry
exclusive: until 2025 there were two kinds of it, with the right to write and without, and mprotect
made the second of the first.
`,
  before: [
    moving({
      name: "moving/waits-unreferenced/before",
      summary: "two threads touch a page that a device has for itself, and it moves",
      expects: "use-after-free",
      exploration: { engine: "bounded", preemptions: 1 },
      prepareLast: takeForDevice,
      tasks: { one: touchUnreferenced, other: touchAndMove },
      check: requireContents(BEFORE),
    }),
  ],
  after: [
    moving({
      name: "moving/waits-unreferenced/after",
      summary: "the same, with the shipped fault",
      exploration: { engine: "bounded", preemptions: 1 },
      prepareLast: takeForDevice,
      tasks: { one: load, other: touchAndMove },
      check: requireContents(BEFORE),
    }),
  ],
};
