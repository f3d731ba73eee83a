/**
 * @module Views over pages that are pinned, shared with another space, or copied by a device.
 */

import { type HmmHarness, HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { PTE_DIRTY, PTE_PRESENT, PTE_TRACKED, PTE_WRITE, ptePfn } from "../../../../src/mm/pte.ts";
import { trackRange } from "../../../../src/mm/fault/track.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { EBUSY } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Attempt } from "../attempts.ts";
import {
  ELSEWHERE,
  PRIVATE,
  RW,
  type Stage,
  UNTOUCHED,
  changed,
  makeStage,
  onStage,
  stamp,
  stageWith,
} from "./mixed-stage.ts";

const RUNS = ["mm/view/view-open.viewOpen"];

/** A write view of `pages` pages. */
function open({ machine, mm }: HmmHarness, page: number, pages: number): Task<number> {
  return viewOpen(machine, mm, HARNESS_PAGE + page, HARNESS_PAGE + page + pages, true);
}

function* mustBeBusy(harness: HmmHarness, page: number, pages: number): Task<number> {
  const answer = yield* open(harness, page, pages);
  assert(answer === EBUSY, `a view of what cannot be moved answered ${answer}`);
  return 0;
}

/** The entries under an open write view are writable and dirty. */
function requireWritable(harness: HmmHarness, page: number): void {
  const pte = harness.entryOf(HARNESS_PAGE + page);
  const wanted = PTE_PRESENT | PTE_WRITE | PTE_DIRTY;
  assert(
    (pte & (wanted | PTE_TRACKED)) === wanted,
    `the entry of page ${page} is ${pte}, and a view may write there`,
  );
}

/** A first view pins what a second one would have to migrate. */
const overPinned: Attempt<Stage> = onStage({
  name: "view-over-pinned",
  summary:
    "A view is refused because one of its pages would have to migrate and is pinned by another view.",
  runs: RUNS,
  *act(harness) {
    const first = yield* open(harness, PRIVATE, 1);
    assert(first > 0, `the first view answered ${first}`);
    yield* mustBeBusy(harness, PRIVATE, 4);
    yield* viewClose(harness.machine, first);
    return 0;
  },
});

/** One page of a tracked mapping. */
const overTracked: Attempt<Stage> = onStage({
  name: "view-over-tracked",
  summary: "A write view opens over a page that a device has copied.",
  runs: RUNS,
  setup: stageWith((harness) => harness.run(track(harness))),
  *act(harness) {
    const view = yield* open(harness, PRIVATE, 1);
    if (view > 0) requireWritable(harness, PRIVATE);
    return view;
  },
  undo: ({ machine }, _stage, answer) => viewClose(machine, answer),
});

/** A device has copied the first page. */
export function* track({ machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* trackRange(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, new Uint8Array(1));
  yield* mm.mmapLock.upRead();
}

interface Family extends Stage {
  readonly child: Mm;
}

const forked = (harness: HmmHarness): Mm =>
  Mm.at(harness.machine.memory, harness.run(doFork(harness.machine, harness.mm)));

const overForked: Attempt<Family> = {
  layer: "mm",
  name: "view-over-forked",
  summary: "A write view opens over a page that a child shares: the page gets a frame of its own.",
  runs: RUNS,
  setup: (harness) => ({ ...makeStage(harness), child: forked(harness) }),
  act: (harness) => open(harness, PRIVATE, 1),
  childOf: (_harness, { child }) => child,
  *undo({ machine }, { child }, answer) {
    yield* viewClose(machine, answer);
    yield* mmput(machine, child);
  },
};

/** A shared page, and in the frame behind its own a private one, which a child shares. */
function makeRow(harness: HmmHarness): Family {
  const stage = makeStage(harness);
  harness.map(HARNESS_PAGE + ELSEWHERE, 1, RW, true);
  harness.map(HARNESS_PAGE + ELSEWHERE + 1, 1);
  for (const page of [ELSEWHERE, ELSEWHERE + 1]) {
    harness.run(cpuFault(harness.machine, harness.mm, HARNESS_PAGE + page, true));
    stamp(harness, page);
  }
  const [first, second] = [0, 1].map((i) => ptePfn(harness.entryOf(HARNESS_PAGE + ELSEWHERE + i)));
  assert(first !== undefined && second === first + 1, `${first}, ${second} are not in a row`);
  return { ...stage, child: forked(harness) };
}

const overRow: Attempt<Family> = {
  layer: "mm",
  name: "view-over-row",
  summary:
    "A write view opens over pages whose frames are in a row; the second one is a child's, too, so both move.",
  runs: RUNS,
  setup: makeRow,
  act: (harness) => open(harness, ELSEWHERE, 2),
  childOf: (_harness, { child }) => child,
  *undo({ machine }, { child }, answer) {
    yield* viewClose(machine, answer);
    yield* mmput(machine, child);
  },
};

/** A shared page that a child has touched too, and behind it a private one. */
function makeFamily(harness: HmmHarness): Family {
  const stage = makeStage(harness);
  harness.map(HARNESS_PAGE + ELSEWHERE, 1, RW, true);
  harness.run(cpuFault(harness.machine, harness.mm, HARNESS_PAGE + ELSEWHERE, true));
  stamp(harness, ELSEWHERE);
  const child = forked(harness);
  harness.run(cpuFault(harness.machine, child, HARNESS_PAGE + ELSEWHERE, true));
  // Takes the frame in between, so the two pages are not contiguous.
  harness.run(cpuFault(harness.machine, harness.mm, HARNESS_PAGE + UNTOUCHED, true));
  harness.map(HARNESS_PAGE + ELSEWHERE + 1, 1);
  harness.run(cpuFault(harness.machine, harness.mm, HARNESS_PAGE + ELSEWHERE + 1, true));
  stamp(harness, ELSEWHERE + 1);
  return { ...stage, child };
}

const overBusy: Attempt<Family> = {
  layer: "mm",
  name: "view-over-busy",
  summary:
    "A view is refused for a shared page that a child has mapped, too. The page behind it is as before.",
  runs: RUNS,
  setup: makeFamily,
  wanted: changed({}, "4096-4097 rw shared: 4196, 4097-4098 rw: 4197"),
  act: (harness) => mustBeBusy(harness, ELSEWHERE, 2),
  childOf: (_harness, { child }) => child,
  undo: ({ machine }, { child }) => mmput(machine, child),
};

export const carefulViews: readonly Attempt<Stage>[] = [overPinned, overTracked];
export const viewsOfFamilies: readonly Attempt<Family>[] = [overForked, overRow, overBusy];
