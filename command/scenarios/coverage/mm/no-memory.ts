/**
 * @module Memory runs out while one thread maps, unmaps, protects, forks, faults and opens views.
 * The space has private memory, memory that it shares with its children, and a user's buffer.
 */

import { type HmmHarness, HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { mmCreate, mmput } from "../../../../src/mm/lifetime/mm.ts";
import { type MmapRequest, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { doMprotect } from "../../../../src/mm/calls/mprotect.ts";
import { PAGE_BYTES, ptePfn } from "../../../../src/mm/pte.ts";
import { LEAF_WORDS } from "../../../../src/mmu/radix-table.ts";
import { ViewHold } from "../../../../src/mm/view/view-hold.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { watchView } from "../../../../src/mm/view/view-watch.ts";
import { VM_READ } from "../../../../src/mm/vma/vma.ts";
import { ENOMEM } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { type Attempt, attempted } from "../attempts.ts";
import type { Covered } from "../covered.ts";
import { type Telling, mapped, spaceState } from "../space-state.ts";
import {
  BUFFER,
  ELSEWHERE,
  FAR,
  PRIVATE,
  RW,
  SHARED,
  type Stage,
  address,
  bufferCount,
  changed,
  makeStage,
  mapping,
  onStage,
  stageWith,
} from "./mixed-stage.ts";

interface Mapping extends Partial<MmapRequest> {
  readonly page: number;
  readonly pages: number;
  readonly wanted: string;
}

function mmaps(
  name: string,
  summary: string,
  { page, pages, wanted, ...more }: Mapping,
): Attempt<Stage> {
  return onStage({
    name,
    summary,
    wanted,
    runs: ["mm/calls/mmap.doMmap"],
    act: ({ machine, mm }) => doMmap(machine, mm, mapping(page, pages, more)),
  });
}

const maps: readonly Attempt<Stage>[] = [
  mmaps("mmap", "Private memory is mapped where nothing is.", {
    page: 10,
    pages: 2,
    wanted: changed({ buffer: "6-8 rw buffer: 106 0, 10-12 rw: 0 0" }),
  }),
  mmaps("mmap-shared", "Shared memory is mapped where nothing is.", {
    page: 10,
    pages: 2,
    shared: true,
    wanted: changed({ buffer: "6-8 rw buffer: 106 0, 10-12 rw shared: 0 0" }),
  }),
  mmaps("mmap-over", "Other memory is mapped over the middle of a mapping.", {
    page: PRIVATE + 1,
    pages: 2,
    protection: VM_READ,
    wanted: changed({ private: "0-1 rw: 100, 1-3 r-: 0 0, 3-4 rw: 0" }),
  }),
  mmaps(
    "mmap-over-alike",
    "Fresh memory of the same kind is mapped over the middle of a mapping.",
    {
      page: PRIVATE + 1,
      pages: 2,
      wanted: changed({ private: "0-4 rw: 100 0 0 0" }),
    },
  ),
  mmaps("mmap-shared-over", "Shared memory is mapped over parts of two mappings.", {
    page: PRIVATE + 3,
    pages: 2,
    shared: true,
    wanted: changed({
      private: "0-3 rw: 100 101 102",
      shared: "3-5 rw shared: 0 0, 5-6 rw shared: 0",
    }),
  }),
  mmaps("mmap-shared-inside", "Shared memory is mapped over the middle of a mapping.", {
    page: PRIVATE + 1,
    pages: 1,
    shared: true,
    wanted: changed({ private: "0-1 rw: 100, 1-2 rw shared: 0, 2-4 rw: 102 0" }),
  }),
  onStage({
    name: "mmap-buffer",
    summary: "A buffer is mapped a second time.",
    wanted: changed({ buffer: "6-8 rw buffer: 106 0, 10-11 rw buffer: 0" }),
    runs: ["mm/calls/mmap.doMmap"],
    act: ({ machine, mm }, { bufferPfn }) =>
      doMmap(machine, mm, mapping(10, 1, { shared: true, bufferPfn, offsetPages: 1 })),
  }),
  onStage({
    name: "mmap-buffer-over",
    summary: "A buffer is mapped over the middle of a mapping.",
    wanted: changed({ private: "0-1 rw: 100, 1-2 rw buffer: 106, 2-4 rw: 102 0" }),
    runs: ["mm/calls/mmap.doMmap"],
    act: ({ machine, mm }, { bufferPfn }) =>
      doMmap(machine, mm, mapping(1, 1, { shared: true, bufferPfn })),
  }),
];

const munmapMiddle: Attempt<Stage> = onStage({
  name: "munmap",
  summary: "The middle of a mapping is unmapped.",
  wanted: changed({ private: "0-1 rw: 100, 3-4 rw: 0" }),
  runs: ["mm/calls/munmap.doMunmap"],
  act: ({ machine, mm }) => doMunmap(machine, mm, address(PRIVATE + 1), 2 * PAGE_BYTES),
});

/** Zaps the pages before it knows that their mapping can be split. */
function* unmapByHalves({ act }: Attempt<Stage>, harness: HmmHarness, stage: Stage): Task<number> {
  yield* harness.discard(HARNESS_PAGE + PRIVATE + 1, 2);
  return yield* act(harness, stage);
}

const protects: readonly Attempt<Stage>[] = [
  onStage({
    name: "mprotect",
    summary: "The middle of a mapping is protected, for which it is split twice.",
    wanted: changed({ private: "0-1 rw: 100, 1-3 r-: 101 102, 3-4 rw: 0" }),
    runs: ["mm/calls/mprotect.doMprotect"],
    act: ({ machine, mm }) =>
      doMprotect(machine, mm, address(PRIVATE + 1), 2 * PAGE_BYTES, VM_READ),
  }),
  onStage({
    name: "mprotect-back",
    summary: "A part of a mapping gets the protection of its neighbours, and merges with them.",
    setup: stageWith((harness) =>
      harness.run(
        doMprotect(harness.machine, harness.mm, address(PRIVATE + 1), 2 * PAGE_BYTES, VM_READ),
      ),
    ),
    wanted: changed({}),
    runs: ["mm/calls/mprotect.doMprotect"],
    act: ({ machine, mm }) => doMprotect(machine, mm, address(PRIVATE + 1), PAGE_BYTES * 2, RW),
  }),
  onStage({
    name: "mprotect-buffer",
    summary: "A part of a buffer's mapping is protected.",
    wanted: changed({ buffer: "6-7 rw buffer: 106, 7-8 r- buffer: 0" }),
    runs: ["mm/calls/mprotect.doMprotect"],
    act: ({ machine, mm }) => doMprotect(machine, mm, address(BUFFER + 1), PAGE_BYTES, VM_READ),
  }),
  onStage({
    name: "mprotect-shared",
    summary: "Parts of three mappings are protected.",
    wanted: changed({
      private: "0-3 rw: 100 101 102, 3-4 --: 0",
      shared: "4-6 -- shared: 104 0",
      buffer: "6-7 -- buffer: 106, 7-8 rw buffer: 0",
    }),
    runs: ["mm/calls/mprotect.doMprotect"],
    act: ({ machine, mm }) => doMprotect(machine, mm, address(PRIVATE + 3), 4 * PAGE_BYTES, 0),
  }),
];

const childOf = ({ machine }: HmmHarness, answer: number): Mm => Mm.at(machine.memory, answer);

/**
 * The child has every page of the parent without a fault: the same frame, or a copy where it must
 * not share the frame.
 */
function requireAlike(harness: HmmHarness, child: Mm): void {
  assert(
    mapped(harness, HARNESS_PAGE, child) === mapped(harness, HARNESS_PAGE),
    `the child has ${mapped(harness, HARNESS_PAGE, child)}`,
  );
  for (let page = HARNESS_PAGE + PRIVATE; page < HARNESS_PAGE + SHARED; page++) {
    const [own, childs] = [harness.entryOf(page), harness.entryOf(page, child)];
    assert(
      (own === 0) === (childs === 0),
      `the child's entry of page ${page - HARNESS_PAGE} is ${childs}`,
    );
  }
}

function* fork(harness: HmmHarness): Task<number> {
  const answer = yield* doFork(harness.machine, harness.mm);
  if (answer > 0) requireAlike(harness, childOf(harness, answer));
  return answer;
}

/** A page under a write view is copied at once. */
function* forkBesideView(harness: HmmHarness): Task<number> {
  const { machine, mm } = harness;
  const view = yield* viewOpen(
    machine,
    mm,
    HARNESS_PAGE + PRIVATE,
    HARNESS_PAGE + PRIVATE + 2,
    true,
  );
  if (view < 0) return view;
  const answer = yield* fork(harness);
  if (answer > 0) {
    const child = childOf(harness, answer);
    for (let page = HARNESS_PAGE + PRIVATE; page < HARNESS_PAGE + PRIVATE + 2; page++) {
      assert(
        ptePfn(harness.entryOf(page)) !== ptePfn(harness.entryOf(page, child)),
        "a child has the frame of an open view",
      );
    }
  }
  yield* viewClose(machine, view);
  return answer;
}

/** The last private page has been read, too. */
const withZeros: Attempt<Stage>["setup"] = stageWith((harness) =>
  harness.run(cpuFault(harness.machine, harness.mm, HARNESS_PAGE + PRIVATE + 3, false)),
);

const births: readonly Attempt<Stage>[] = [
  onStage({
    name: "fork",
    summary: "A space with memory of all kinds forks.",
    runs: ["mm/lifetime/fork.doFork"],
    setup: withZeros,
    act: fork,
    also: (harness, stage, answer) =>
      `${bufferCount(harness, stage)} ${answer < 0 ? "" : spaceState(harness, childOf(harness, answer))}`,
    childOf: (harness, _stage, answer) => childOf(harness, answer),
    undo: (harness, _stage, answer) => mmput(harness.machine, childOf(harness, answer)),
    telling: { withoutEntries: true },
  }),
  onStage({
    name: "fork-beside-view",
    summary: "A space with an open write view forks.",
    runs: ["mm/lifetime/fork.doFork", "mm/view/view-open.viewOpen"],
    setup: withZeros,
    act: forkBesideView,
    childOf: (harness, _stage, answer) => childOf(harness, answer),
    undo: (harness, _stage, answer) => mmput(harness.machine, childOf(harness, answer)),
    telling: { withoutEntries: true },
  }),
  onStage({
    name: "create",
    summary: "Another space is made.",
    runs: ["mm/lifetime/mm.mmCreate"],
    *act({ machine }) {
      return (yield* mmCreate(machine)) || ENOMEM;
    },
    undo: (harness, _stage, answer) => mmput(harness.machine, childOf(harness, answer)),
  }),
];

function faults(
  name: string,
  summary: string,
  setup: Attempt<Stage>["setup"],
  page: number,
): Attempt<Stage> {
  return onStage({
    name: `fault-${name}`,
    summary,
    runs: ["mm/fault/cpu-fault.cpuFault", "mm/fault/fault.handleMmFault"],
    setup,
    act: ({ machine, mm }) => cpuFault(machine, mm, HARNESS_PAGE + page, true),
  });
}

const firstTouches: readonly Attempt<Stage>[] = [
  faults(
    "first",
    "A page is written that needs the first leaf of its part of the page table.",
    stageWith((harness) => harness.map(HARNESS_PAGE + FAR, 1)),
    FAR,
  ),
  faults(
    "first-shared",
    "The first page of a shared mapping is written.",
    stageWith((harness) => harness.map(HARNESS_PAGE + ELSEWHERE, 1, RW, true)),
    ELSEWHERE,
  ),
  faults("shared", "The second page of a shared mapping is written.", makeStage, SHARED + 1),
  faults("buffer", "A page of a buffer is written.", makeStage, BUFFER + 1),
  faults("zeros", "A page is written that has been read before.", withZeros, PRIVATE + 3),
];

export interface Forked extends Stage {
  readonly child: Mm;
}

export const copyOnWrite: Attempt<Forked> = {
  layer: "mm",
  name: "fault-copy",
  summary: "A page is written that a child shares.",
  runs: ["mm/fault/cpu-fault.cpuFault", "mm/fault/fault.handleMmFault"],
  setup: (harness) => ({
    ...makeStage(harness),
    child: Mm.at(harness.machine.memory, harness.run(doFork(harness.machine, harness.mm))),
  }),
  act: ({ machine, mm }) => cpuFault(machine, mm, HARNESS_PAGE, true),
  also: (harness, stage) => `${bufferCount(harness, stage)} ${spaceState(harness, stage.child)}`,
  childOf: (_harness, { child }) => child,
  undo: ({ machine }, { child }) => mmput(machine, child),
};

function views(
  name: string,
  summary: string,
  page: number,
  pages: number,
  isWrite: boolean,
  setup: Attempt<Stage>["setup"] = makeStage,
  telling: Telling = { withoutEntries: true },
): Attempt<Stage> {
  return onStage({
    name: `view-${name}`,
    summary,
    setup,
    runs: ["mm/view/view-open.viewOpen", "mm/view/view-open.viewClose"],
    act: ({ machine, mm }) =>
      viewOpen(machine, mm, HARNESS_PAGE + page, HARNESS_PAGE + page + pages, isWrite),
    undo: ({ machine }, _stage, answer) => viewClose(machine, answer),
    telling,
  });
}

/** The last page of a block without a leaf; the next page is in another one. */
const BORDER: number = FAR + LEAF_WORDS - 1 - HARNESS_PAGE;

/** Watches a view of the first page. Without memory the view is not watched, which is no error. */
function* watch(harness: HmmHarness): Task<number> {
  const { machine, mm } = harness;
  const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, false);
  if (at < 0) return at;
  const hold = ViewHold.at(machine.memory, at);
  const start = machine.ram.sections.wordIndex(hold.pfn) * 4;
  const bytes = machine.ram.sections.of(hold.pfn).u8.subarray(start, start + PAGE_BYTES);
  const watched = yield* watchView(machine, hold, bytes, 0);
  if (watched !== undefined) return at;
  assert(hold.watch === 0, "a view is not watched, and has a watch");
  yield* viewClose(machine, at);
  return ENOMEM;
}

const looks: readonly Attempt<Stage>[] = [
  views(
    "private",
    "A view of pages, some of which are not present, so their frames migrate.",
    PRIVATE,
    4,
    true,
  ),
  views("shared", "A view of shared pages whose frames move.", SHARED, 2, true),
  views("both", "A view of private and of shared pages, for reading.", PRIVATE + 2, 4, false),
  views("buffer", "A view of a buffer.", BUFFER, 2, true),
  views(
    "far",
    "A view of a page that nobody has touched, which needs the first leaf of its part of the page table.",
    FAR,
    1,
    true,
    stageWith((harness) => harness.map(HARNESS_PAGE + FAR, 1)),
  ),
  views(
    "two-tables",
    "A view of two untouched pages that lie in two blocks without a leaf: without memory for the second leaf the first page is untouched again.",
    BORDER,
    2,
    true,
    stageWith((harness) => harness.map(HARNESS_PAGE + BORDER, 2)),
    {},
  ),
  onStage({
    name: "view-watched",
    summary: "A watched view of a page.",
    runs: [
      "mm/view/view-open.viewOpen",
      "mm/view/view-watch.watchView",
      "mm/view/view-watch.closeWatch",
    ],
    act: watch,
    undo: ({ machine }, _stage, answer) => viewClose(machine, answer),
    telling: { withoutEntries: true },
  }),
];

/** All that needs only the stage. */
export const onMixedStage: readonly Attempt<Stage>[] = [
  ...maps,
  munmapMiddle,
  ...protects,
  ...births,
  ...firstTouches,
  ...looks,
];

export const mmWithoutMemory: readonly Covered[] = [
  ...onMixedStage.map((attempt) =>
    attempted(
      attempt,
      attempt === munmapMiddle ? { name: "by-halves", act: unmapByHalves } : undefined,
    ),
  ),
  attempted(copyOnWrite),
];
