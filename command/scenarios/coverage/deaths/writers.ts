/**
 * @module A thread that dies as a writer of the mmap lock, at any step of mmap, munmap or mprotect:
 * what it changed of the mappings is taken back, its lock is released, what it had in hand is given
 * back, and the others go on (sync/words/undo-log.ts, mm/vma/vma-map.ts). If it dies while entries
 * are cleared and frames wait for the flush, that is finished first (mm/entries/invalidation.ts).
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { MAP_FIXED_REPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { doMprotect } from "../../../../src/mm/calls/mprotect.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { VM_READ, VM_WRITE, Vma, vmaAt } from "../../../../src/mm/vma/vma.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

const START: number = HARNESS_PAGE * PAGE_BYTES;
const PAGES = 4;
const RECOVERS = "sync/death/recovery.recover";

function* map({ machine, mm }: HmmHarness, page: number, pages: number): Task<void> {
  yield* doMmap(machine, mm, {
    address: START + page * PAGE_BYTES,
    lengthBytes: pages * PAGE_BYTES,
    placement: MAP_FIXED_REPLACE,
    protection: VM_READ | VM_WRITE,
    shared: false,
    bufferPfn: 0,
    offsetPages: 0,
  });
}

/** Replaces the middle of the mapping: it is split in three. */
function* replaceMiddle(harness: HmmHarness): Task<void> {
  yield* map(harness, 1, 2);
}

function* unmapMiddle({ machine, mm }: HmmHarness): Task<void> {
  yield* doMunmap(machine, mm, START + PAGE_BYTES, 2 * PAGE_BYTES);
}

function* protectMiddle({ machine, mm }: HmmHarness): Task<void> {
  yield* doMprotect(machine, mm, START + PAGE_BYTES, 2 * PAGE_BYTES, VM_READ);
}

/** The mappings are in order, counted, and nothing else is alive. */
function check(_world: unknown, { machine, mm }: HmmHarness): void {
  const { memory, heap } = machine;
  assert(memory.words[mm.mmapLock.at] === 0, "somebody still holds the lock");
  let count = 0;
  let pages = 0;
  let endPage = 0;
  for (let vma = vmaAt(memory, mm.vmaFirst); vma !== undefined; vma = vmaAt(memory, vma.next)) {
    assert(vma.startPage >= endPage && vma.endPage > vma.startPage, "mappings overlap");
    ({ endPage } = vma);
    pages += vma.endPage - vma.startPage;
    count++;
  }
  assert(count === mm.vmaCount, `${count} mappings, and ${mm.vmaCount} are counted`);
  assert(pages === mm.mappedPages, `${pages} pages are mapped, and ${mm.mappedPages} are counted`);
  const live = heap.accounting().find(({ name }) => name === Vma.name)?.live;
  assert(live === count, `${live} vmas are alive, and ${count} are mapped`);
}

interface Act {
  readonly name: string;
  readonly does: string;
  readonly task: (harness: HmmHarness) => Task<void>;
  readonly runs: readonly string[];
}

const acts: readonly Act[] = [
  {
    name: "mmap",
    does: "maps over the middle of a mapping",
    task: replaceMiddle,
    runs: ["mm/calls/mmap.doMmap", "mm/vma/vma-map.splitVmaAt"],
  },
  {
    name: "munmap",
    does: "unmaps the middle of a mapping",
    task: unmapMiddle,
    runs: ["mm/calls/munmap.doMunmap", "mm/vma/vma-map.removeVmas"],
  },
  {
    name: "mprotect",
    does: "protects the middle of a mapping",
    task: protectMiddle,
    runs: ["mm/calls/mprotect.doMprotect", "mm/vma/vma-flags.changeFlags"],
  },
];

/** `isTouched`: the pages have frames, so their entries are cleared and flushed. */
function make({ name, does, task }: Act, isTouched: boolean): AnyScenario {
  const whole = `coverage/mm/death/${name}-vs-mmap`;
  return harnessScenario<undefined>({
    name: isTouched ? `${whole}/touched` : whole,
    summary: `A thread dies at any step while it ${does}, ${isTouched ? "which was touched, " : ""}and another one maps beside it: it goes on, and nothing is lost.`,
    exploration: { deaths: 1, engine: "bounded", preemptions: 2 },
    harness: { pages: PAGES, arenaWords: 8192 },
    killable: ["writer"],
    mustSurvive: true,
    // The harness touches its pages; mapped anew, they have none.
    setup: (harness) => {
      if (!isTouched) harness.run(map(harness, 0, PAGES));
    },
    tasks: {
      writer: (_world, harness) => task(harness),
      other: (_world, harness) => map(harness, PAGES, 1),
    },
    check,
  });
}

export const deathsOfWriters: readonly Covered[] = acts.flatMap((act) =>
  [false, true].map((isTouched) => ({
    layer: "mm" as const,
    scenario: make(act, isTouched),
    twins: [],
    runs: {
      writer: [...act.runs, isTouched ? RECOVERS : "sync/death/death.giveUpPlaces"],
      other: ["mm/calls/mmap.doMmap"],
    },
  })),
);
