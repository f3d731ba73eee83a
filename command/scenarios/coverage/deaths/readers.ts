/**
 * @module A thread that dies as a reader of the mmap lock, at any point of a fault: its share of
 * the lock is given up, and whoever wants the lock for writing goes on. If it dies in the middle of
 * an invalidation, another thread finishes that first (mm/entries/invalidation.ts).
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { PAGE_BYTES, ptePfn } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { ONE_DIES } from "../on-harness.ts";

const START: number = HARNESS_PAGE * PAGE_BYTES;

function* fault({ machine, mm }: HmmHarness): Task<void> {
  yield* cpuFault(machine, mm, HARNESS_PAGE, true);
}

function* discard(harness: HmmHarness): Task<void> {
  yield* harness.discard(HARNESS_PAGE, 1);
}

const NAME = "coverage/mm/death/fault-vs-munmap";

function make(
  name: string,
  summary: string,
  reader: (harness: HmmHarness) => Task<void>,
): AnyScenario {
  return harnessScenario<undefined>({
    name,
    summary,
    exploration: { deaths: 1 },
    harness: { pages: 2 },
    killable: ["reader"],
    mustSurvive: true,
    setup: () => undefined,
    tasks: {
      reader: (_world, harness) => reader(harness),
      fault: (_world, harness) => fault(harness),
      munmap: (_world, { machine, mm }) => doMunmap(machine, mm, START, PAGE_BYTES),
    },
    check(_world, harness) {
      const { mm } = harness;
      assert(mm.memory.words[mm.mmapLock.at] === 0, "somebody still holds the lock");
      assert(harness.entryOf(HARNESS_PAGE) === 0, "the page is unmapped, and has an entry");
    },
  });
}

/** Judges who else has the page's frame, as a write fault does, with a reference noted nowhere. */
function* judgeUnnoted(harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  yield* mm.mmapLock.downRead();
  yield* mm.pageTableLock.lock();
  const pfn = ptePfn(harness.entryOf(HARNESS_PAGE));
  yield* machine.ram.refs.pageGet(pfn);
  yield* machine.ram.refs.pagePut(pfn);
  yield* mm.pageTableLock.unlock();
  yield* mm.mmapLock.upRead();
}

/** The page is shared with a child. Each of two threads that store to it may make the copy. */
function copying(
  name: string,
  summary: string,
  dies: (harness: HmmHarness) => Task<void>,
  isTwin: boolean,
): AnyScenario {
  return harnessScenario<number>({
    name,
    summary,
    ...ONE_DIES,
    ...(isTwin ? { expects: "assertion" as const } : {}),
    harness: { pages: 1, arenaWords: 8192 },
    setup: (harness) => harness.run(doFork(harness.machine, harness.mm)),
    tasks: {
      dies: (_child, harness) => dies(harness),
      fault: (_child, harness) => fault(harness),
    },
    check(child, harness) {
      const { machine, mm } = harness;
      assert(mm.memory.words[mm.mmapLock.at] === 0, "somebody still holds the lock");
      assert(!mm.pageTableLock.isLocked(), "somebody still holds the lock of the page table");
      const own = ptePfn(harness.entryOf(HARNESS_PAGE));
      const other = ptePfn(harness.entryOf(HARNESS_PAGE, Mm.at(machine.memory, child)));
      assert(own !== other, "both have the frame after a store");
      const { references } = machine.ram.refs.total();
      assert(references === 2, `${references} references of 2 frames`);
    },
  });
}

export const deathsOfReaders: readonly Covered[] = [
  {
    layer: "mm",
    scenario: copying(
      "coverage/mm/death/copy-vs-copy",
      "A thread dies at any point of a store to a page that a fork shares, while another stores to it.",
      fault,
      false,
    ),
    twins: [
      copying(
        "coverage/mm/death/copy-vs-copy/unnoted",
        "A reference is got under the lock of the page table, and noted nowhere.",
        judgeUnnoted,
        true,
      ),
    ],
    runs: {
      dies: ["mm/fault/copy-on-write.judgeUsers", "sync/death/death.giveUpPlaces"],
      fault: ["mm/fault/cpu-fault.cpuFault"],
    },
  },
  {
    layer: "mm",
    scenario: make(
      NAME,
      "A thread dies at any point of a fault, while another faults and a third unmaps: they go on.",
      fault,
    ),
    twins: [],
    runs: {
      reader: ["mm/fault/cpu-fault.cpuFault", "sync/death/death.giveUpPlaces"],
      fault: ["mm/fault/cpu-fault.cpuFault"],
      munmap: ["mm/calls/munmap.doMunmap"],
    },
  },
  {
    layer: "mm",
    scenario: make(
      "coverage/mm/death/discard-vs-munmap",
      "A thread dies at any point of a discard, while another faults and a third unmaps: they go on.",
      discard,
    ),
    twins: [],
    runs: {
      reader: ["mm/calls/madvise.doMadvise", "sync/death/recovery.recover"],
      fault: ["mm/fault/cpu-fault.cpuFault"],
      munmap: ["mm/calls/munmap.doMunmap"],
    },
  },
];
