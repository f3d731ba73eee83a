/**
 * @module Memory runs out while one thread maps memory whose pages are there at once, huge ones or
 * those of a driver, while it forks a space with a huge page, and while it touches one first.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { MADV_HUGEPAGE, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { doMmap, mapInserted } from "../../../../src/mm/calls/mmap.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { HUGE_PAGES, isHugeAt } from "../../../../src/mm/huge.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { type Attempt, attempted } from "../attempts.ts";
import type { Covered } from "../covered.ts";
import { START, makeBlock } from "./huge-stage.ts";
import { address, changed, mapping, onStage } from "./mixed-stage.ts";

const BLOCK: number = START - HARNESS_PAGE;

const zeros = (pages: number): string => Array.from({ length: pages }, () => "0").join(" ");

const isHuge = ({ machine }: HmmHarness, mm: Mm): string =>
  isHugeAt(machine.memory, mm, START) ? "huge" : "not huge";

/** Of a mapping that has gone a page table is left. */
function leaveTable(harness: HmmHarness): undefined {
  const { machine, mm } = harness;
  harness.map(START, 1);
  harness.run(cpuFault(machine, mm, START, true));
  harness.run(doMunmap(machine, mm, address(BLOCK), PAGE_BYTES));
  return undefined;
}

const mapsHuge: Attempt<undefined> = {
  layer: "mm",
  name: "mmap-huge",
  summary: "An explicit huge page is mapped where an empty page table is left.",
  runs: ["mm/calls/hugetlb.populateHugetlb"],
  harness: { hugePages: 2 },
  setup: leaveTable,
  act: ({ machine, mm }) => doMmap(machine, mm, mapping(BLOCK, HUGE_PAGES, { huge: true })),
  wanted: `${BLOCK}-${BLOCK + HUGE_PAGES} rw: ${zeros(HUGE_PAGES)}`,
};

const mapsInserted = onStage({
  name: "mmap-inserted",
  summary: "Memory of a driver's is mapped: its pages are there at once.",
  wanted: `-48--46 rw: 0 0, ${changed({})}`,
  runs: ["mm/calls/inserted.insertPages"],
  act: ({ machine, mm }) => mapInserted(machine, mm, 2 * PAGE_BYTES),
});

const childOf = ({ machine }: HmmHarness, answer: number): Mm => Mm.at(machine.memory, answer);

const forksHuge: Attempt<undefined> = {
  layer: "mm",
  name: "fork-huge",
  summary: "A space with a huge page forks.",
  runs: ["mm/lifetime/fork.copyHuge"],
  harness: { hugePages: 2 },
  setup(harness) {
    makeBlock(harness, "written");
    return undefined;
  },
  act: ({ machine, mm }) => doFork(machine, mm),
  also: (harness, _shared, answer) =>
    answer < 0 ? isHuge(harness, harness.mm) : isHuge(harness, childOf(harness, answer)),
  undo: (harness, _shared, answer) => mmput(harness.machine, childOf(harness, answer)),
  telling: { withoutEntries: true },
};

/** The first page of a block under an entry of the top table that no other mapping has. */
const FAR: number = 2 ** 21;

const touchesHuge: Attempt<undefined> = {
  layer: "mm",
  name: "touch-huge",
  summary: "A huge page of zeros is touched where no page table is.",
  runs: ["mm/huge.linkHuge"],
  setup(harness) {
    const { machine, mm } = harness;
    harness.map(FAR, HUGE_PAGES);
    const bytes = HUGE_PAGES * PAGE_BYTES;
    harness.run(doMadvise(machine, mm, FAR * PAGE_BYTES, bytes, MADV_HUGEPAGE));
    return undefined;
  },
  act: ({ machine, mm }) => cpuFault(machine, mm, FAR + 3, false),
  telling: { withoutEntries: true },
};

export const hugeWithoutMemory: readonly Covered[] = [
  attempted(mapsHuge),
  attempted(mapsInserted),
  attempted(forksHuge),
  attempted(touchesHuge),
];
