/**
 * @module One thread alone with views of a file that it maps: what may be written through a view is
 * dirty when it opens, and again when it closes, as far as the file still has it; and frames that
 * are not in a row are pinned one by one, or not at all.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { ptePfn } from "../../../../src/mm/pte.ts";
import { ViewHold } from "../../../../src/mm/view/view-hold.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  type Body,
  READ,
  WRITE,
  alone,
  mustStore,
  requireCached,
  requireWord,
} from "./file-alone.ts";
import { FIRST, resize, sync } from "./store-stage.ts";

function* open(
  { machine, mm }: HmmHarness,
  startPage: number,
  endPage: number,
  isWrite: boolean,
): Task<number> {
  const [start, end] = [HARNESS_PAGE + startPage, HARNESS_PAGE + endPage];
  const at = yield* viewOpen(machine, mm, start, end, isWrite);
  assert(at > 0, `the view answered ${at}`);
  return at;
}

/** The words of a page of an open view, and where the page begins in them. */
function wordsOf({ machine }: HmmHarness, view: number, page: number): [Int32Array, number] {
  const pfn = ViewHold.at(machine.memory, view).pfn + page;
  return [machine.ram.sections.of(pfn).i32, machine.ram.sections.wordIndex(pfn)];
}

/** A view is written, written back, written again; and one page of it is cut off meanwhile. */
const writesThroughView: Body = function* (stage, harness) {
  const { store: kept } = stage;
  const view = yield* open(harness, 0, 2, true);
  requireCached(harness, stage, "dd");
  const [words, at] = wordsOf(harness, view, 0);
  words[at] = 8;
  yield* sync(harness, stage);
  assert(kept.words[0] === 8, `the store has ${kept.words[0]}`);
  requireCached(harness, stage, "cc");
  words[at] = 9;
  yield* resize(harness, stage, 1);
  requireCached(harness, stage, "c-");
  yield* viewClose(harness.machine, view);
  requireCached(harness, stage, "d-");
  yield* sync(harness, stage);
  assert(kept.words.join() === "9", `the store has ${kept.words.join()}`);
};

/** The frames of four pages are two rows: a view of all finds the first, and cannot use it. */
const viewsTwoRows: Body = function* (stage, harness) {
  const { machine } = harness;
  yield* requireWord(harness, FIRST, 2);
  yield* mustStore(harness, 5, 0);
  const view = yield* open(harness, 0, 4, false);
  for (const [page, wanted] of [5, FIRST, FIRST, FIRST].entries()) {
    const [words, at] = wordsOf(harness, view, page);
    assert(words[at] === wanted, `page ${page} of the view has ${words[at]}`);
  }
  yield* viewClose(machine, view);
  for (let page = 0; page < 4; page++) {
    yield* requireWord(harness, page === 0 ? 5 : FIRST, page);
    const pfn = ptePfn(harness.entryOf(HARNESS_PAGE + page));
    assert(!(yield* machine.ram.refs.pagePinned(pfn)), `page ${page} is pinned still`);
  }
  requireCached(harness, stage, "dccc");
  yield* sync(harness, stage);
};

/** A private mapping: the view's frames are copies, also of a page that nobody has stored to. */
const writesPrivately: Body = function* (stage, harness) {
  const { ram } = harness.machine;
  // The second page is read ahead, and mapped beside it.
  yield* requireWord(harness, FIRST, 0);
  requireCached(harness, stage, "cc");
  const { references } = ram.refs.total();
  const view = yield* open(harness, 0, 2, true);
  for (const page of [0, 1]) {
    const [words, at] = wordsOf(harness, view, page);
    assert(words[at] === FIRST, `page ${page} of the view has ${words[at]}`);
    words[at] = 8;
    yield* requireWord(harness, 8, page);
  }
  yield* viewClose(harness.machine, view);
  // The cache has its two frames, of which the space names none any more, and there are two more.
  const more = ram.refs.total().references - references;
  assert(more === 0, `${more} references more are left`);
  requireCached(harness, stage, "cc");
  assert(stage.store.words.join() === `${FIRST},${FIRST}`, "a private store is in the file");
};

const VIEW = ["mm/view/view-open.viewOpen", "mm/view/view-open.viewClose"];

export const fileViews: readonly Covered[] = [
  alone({
    name: "write-view",
    summary: "A view of a file is written to, the file written back, and cut off under the view.",
    pages: 2,
    body: writesThroughView,
    runs: ["mm/source/transfer.readPages", ...WRITE, ...VIEW, "mm/view/view-backed.markDirty"],
  }),
  alone({
    name: "view-of-two-rows",
    summary: "A view of pages whose frames are not in a row: none of them stays pinned.",
    pages: 4,
    body: viewsTwoRows,
    runs: [...READ, ...WRITE, ...VIEW, "mm/view/view-backed.pinCached"],
  }),
  alone({
    name: "private-view",
    summary: "A write view of a private mapping opens over a page that only the cache has.",
    pages: 2,
    shared: false,
    body: writesPrivately,
    runs: [...READ, ...VIEW, "mm/migrate/migrate-to-run.migrateToRun"],
  }),
];
