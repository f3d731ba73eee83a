/**
 * @module A thread that dies while it maps memory of a driver's, whose pages are there at once, or
 * unmaps it: each frame is an entry's. In the twin one is nobody's for a step.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { mapInserted } from "../../../../src/mm/calls/mmap.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { PAGE_BYTES, holdsFrame } from "../../../../src/mm/pte.ts";
import { vmasIn } from "../../../../src/mm/vma/vma.ts";
import { TASK_SIZE_PAGES } from "../../../../src/mmu/radix-table.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, ONE_DIES, coveringOnHarness } from "../on-harness.ts";

type Body = HarnessBody<undefined>;

const BYTES: number = 2 * PAGE_BYTES;

const inserts: Body = function* (_world, { machine, mm }) {
  const address = yield* mapInserted(machine, mm, BYTES);
  assert(address > 0, `the mapping answered ${address}`);
  yield* doMunmap(machine, mm, address, BYTES);
};

const takesUnnoted: Body = function* (_world, { machine, mm }) {
  const pfn = yield* machine.ram.allocFrame(true);
  yield* access(machine.memory, "read", mm.at, 1, "between");
  yield* machine.ram.refs.pagePut(pfn);
};

const touches: Body = (_world, harness) => harness.touch(HARNESS_PAGE);

function check(_world: undefined, harness: HmmHarness): void {
  const { machine, mm } = harness;
  assert(machine.memory.words[mm.mmapLock.at] === 0, "somebody still holds the mmap lock");
  let mapped = 0;
  for (const { startPage, endPage } of vmasIn(machine.memory, mm, 0, TASK_SIZE_PAGES))
    for (let page = startPage; page < endPage; page++)
      if (holdsFrame(harness.entryOf(page))) mapped++;
  const { usedPages } = machine.ram.usage();
  const { references } = machine.ram.refs.total();
  assert(usedPages === mapped, `${usedPages} frames are used, and ${mapped} are mapped`);
  assert(references === mapped, `${references} references of ${mapped} frames`);
}

export const deathsWithInsertedPages: readonly Covered[] = [
  coveringOnHarness<undefined>({
    layer: "mm",
    name: "death/inserted",
    summary:
      "A thread dies at any step of mapping pages of a driver's, or of unmapping them, and another touches a page.",
    harness: { pages: 1, present: 0, arenaWords: 8192 },
    ...ONE_DIES,
    mayRemain: "anything",
    setup: () => undefined,
    tasks: {
      dies: [["mm/calls/inserted.insertPages", "mm/calls/munmap.doMunmap"], inserts],
      touches: [["mm/fault/cpu-fault.cpuFault"], touches],
    },
    check,
    twins: [["unnoted", "A frame is nobody's for a step.", "assertion", { dies: takesUnnoted }]],
  }),
];
