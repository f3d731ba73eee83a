/**
 * @module A thread that dies as a reader of the mmap lock, at any point of a fault: its share of
 * the lock is given up, and whoever wants the lock for writing goes on. If it dies in the middle of
 * an invalidation, another thread finishes that first (mm/invalidation.ts).
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

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

export const deathsOfReaders: readonly Covered[] = [
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
