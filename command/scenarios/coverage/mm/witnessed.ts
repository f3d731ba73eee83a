/**
 * @module The calls that a device and a CPU thread witness (witnesses.ts): those in which memory
 * may run out, and those that need none.
 */

import { type HmmHarness, HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { MADV_DONTNEED, MADV_NORMAL, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { leafOf, pteIndex, wordAt } from "../../../../src/mmu/radix-table.ts";
import { PAGE_BYTES, PTE_TRACKED, PTE_WRITE } from "../../../../src/mm/pte.ts";
import { trackRange } from "../../../../src/mm/fault/track.ts";
import { zapNonBlocking } from "../../../../src/mm/entries/zap.ts";
import { atomicStore } from "../../../../src/sync/atomics.ts";
import { access } from "../../../../src/sync/tasks/task.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Attempt } from "../attempts.ts";
import type { Covered } from "../covered.ts";
import {
  BUFFER,
  PRIVATE,
  type Stage,
  address,
  changed,
  onStage,
  stageWith,
} from "./mixed-stage.ts";
import { withoutFlush } from "./left-out.ts";
import { type Forked, copyOnWrite, onMixedStage } from "./no-memory.ts";
import { remaps } from "./no-memory-moves.ts";
import { carefulViews, viewsOfFamilies } from "./view-attempts.ts";
import { witnessed } from "./witnesses.ts";

/** The private pages are write-protected for a device that copies them. */
function* track({ machine, mm }: HmmHarness): Task<number> {
  yield* mm.mmapLock.downRead();
  yield* trackRange(machine, mm, HARNESS_PAGE, HARNESS_PAGE + BUFFER, new Uint8Array(BUFFER));
  yield* mm.mmapLock.upRead();
  return 0;
}

function* reap({ machine, mm }: HmmHarness): Task<number> {
  yield* mm.mmapLock.downRead();
  const answer = yield* zapNonBlocking(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 2);
  yield* mm.mmapLock.upRead();
  return answer;
}

const write = ({ machine, mm }: HmmHarness): Task<number> =>
  cpuFault(machine, mm, HARNESS_PAGE, true);

function madvises(name: string, summary: string, advice: number, wanted: string): Attempt<Stage> {
  return onStage({
    name,
    summary,
    wanted,
    runs: ["mm/calls/madvise.doMadvise"],
    act: ({ machine, mm }) => doMadvise(machine, mm, address(PRIVATE + 1), 6 * PAGE_BYTES, advice),
  });
}

const attempts: readonly Attempt<Stage>[] = [
  madvises(
    "madvise-dontneed",
    "Pages of three mappings are discarded.",
    MADV_DONTNEED,
    changed({ private: "0-4 rw: 100 0 0 0" }),
  ),
  madvises("madvise-normal", "Advice is given that means nothing.", MADV_NORMAL, changed({})),
  onStage({
    name: "munmap-all",
    summary: "All pages of a leaf of the page table are unmapped.",
    wanted: "1024-1027 rw: 0 0 0",
    runs: ["mm/calls/munmap.doMunmap", "mm/entries/zap.zapRange"],
    act: ({ machine, mm }) => doMunmap(machine, mm, 0, 1024 * PAGE_BYTES),
  }),
  onStage({
    name: "reap",
    summary: "Pages are zapped by a thread that may not wait.",
    wanted: changed({ private: "0-4 rw: 0 0 102 0" }),
    runs: ["mm/entries/zap.zapNonBlocking"],
    act: reap,
  }),
];

const trackedCopy: Attempt<Forked> = {
  ...copyOnWrite,
  name: "fault-tracked-copy",
  summary: "A page is written that a child shares and a device has copied.",
  setup: (harness) => {
    const stage = copyOnWrite.setup(harness);
    harness.run(track(harness));
    return stage;
  },
};

const writeTracked: Attempt<Stage> = onStage({
  name: "fault-tracked",
  summary: "A page is written that a device has copied.",
  runs: ["mm/fault/fault.handleMmFault"],
  setup: stageWith((harness) => harness.run(track(harness))),
  act: write,
});

/** Makes the copied page writable without calling the notifiers. */
function* writeUntold({ machine, mm }: HmmHarness): Task<number> {
  const { memory } = machine;
  const index = pteIndex(leafOf(memory, mm.pgd, HARNESS_PAGE), HARNESS_PAGE);
  yield* access(memory, "update", index, 1, "pte");
  atomicStore(memory.words, index, (wordAt(memory.words, index) & ~PTE_TRACKED) | PTE_WRITE);
  return 0;
}

const trackPages: Attempt<Stage> = onStage({
  name: "track",
  summary: "Pages are write-protected for a copy.",
  runs: ["mm/fault/track.trackRange"],
  act: track,
});

export const witnessedCalls: readonly Covered[] = [
  ...[...onMixedStage, ...remaps, ...attempts, ...carefulViews].map((attempt) =>
    witnessed(attempt),
  ),
  witnessed(trackPages, { "without-flush": (harness) => withoutFlush(1, track(harness)) }),
  witnessed(writeTracked, { untold: writeUntold }),
  witnessed(copyOnWrite),
  witnessed(trackedCopy),
  ...viewsOfFamilies.map((attempt) => witnessed(attempt)),
];
