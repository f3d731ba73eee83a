/**
 * @module A file is cut off, and gets longer again while two threads settle the cut: what is stored
 * to a private mapping since then is not past the end of anything, and stays (C2 of
 * mm/source/cut.ts). No cache has it: what is cleared in error is lost.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { settle } from "../../../../src/mm/source/cut.ts";
import { unmapPages } from "../../../../src/mm/source/mappings.ts";
import { refreshSize } from "../../../../src/mm/source/size.ts";
import { PageCache, backingOf, cachePages } from "../../../../src/mm/vma/page-cache.ts";
import { changeSourceSize, isUnsettled } from "../../../../src/mm/vma/source.ts";
import { atomicStore } from "../../../../src/sync/atomics.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";
import { cutsOff, growsAndStores } from "./file-acts.ts";
import { touched } from "./file-checks.ts";
import { type StoreStage, loadWord, makeStage, regrow } from "./store-stage.ts";

/** Does not ask whether what it clears is past the end still. */
const cutsBlindly: HarnessBody<StoreStage> = function* (stage, harness) {
  const { machine } = harness;
  const source = backingOf(machine, stage.cache) ?? bug("the cache has no source");
  yield* cutsOff.body(stage, harness);
  yield* unmapPages(machine, PageCache.at(machine.memory, stage.cache), source, 0, 1, true);
};

/** It has been cut off, then it has grown and was stored to; or it is cut off still. */
function check({ store, pages }: StoreStage, harness: HmmHarness): void {
  if (store.words.length < pages) return;
  const seen = harness.runAfterwards(loadWord(harness));
  assert(seen === 9, `the page reads ${seen} after a store of 9`);
}

/** The set-up has noted that the file is empty, and what has gone with that is there still. */
function noteCut({ machine }: HmmHarness, { cache: at, store }: StoreStage): void {
  const { memory } = machine;
  const cache = PageCache.at(memory, at);
  const source = backingOf(machine, at) ?? bug("the cache has no source");
  changeSourceSize(source, cache.lock.at, 0, store.words.length, 0);
  atomicStore(memory.words, cache.at + PageCache.offset.pages, 0);
}

const settles: HarnessBody<StoreStage> = ({ cache }, { machine }) => settle(machine, cache);

/** What has changed is counted with the size, under the lock of the cache. */
const settlesUnlocked: HarnessBody<StoreStage> = function* (stage, harness) {
  yield* settles(stage, harness);
  const source = backingOf(harness.machine, stage.cache) ?? bug("the cache has no source");
  assert(source.sizes >= 0, "it counts");
};

const grows: HarnessBody<StoreStage> = function* (stage, harness) {
  yield* regrow(harness, stage);
  const answer = yield* refreshSize(harness.machine, stage.cache);
  assert(answer === 0, `to ask for the size answered ${answer}`);
};

export const grownFiles: readonly Covered[] = [
  coveringOnHarness<StoreStage>({
    layer: "mm",
    name: "file/grow-vs-truncate/private",
    summary:
      "A file is cut off, and grows and is stored to while the cut is settled, through a private mapping.",
    harness: { pages: 0, arenaWords: 16_384, frames: 8 },
    exploration: { engine: "bounded", preemptions: 1 },
    mayRemain: "anything",
    setup: (harness) => {
      const stage = makeStage(harness, { shared: false });
      touched(stage, harness);
      return stage;
    },
    reopen: ({ store }) => store.reset(1),
    tasks: {
      grows: [growsAndStores.runs, growsAndStores.body],
      cuts: [[...cutsOff.runs, "mm/source/cut.isInForceNow"], cutsOff.body],
    },
    check,
    twins: [["blind", "It clears what has grown again.", "assertion", { cuts: cutsBlindly }]],
  }),
  coveringOnHarness<StoreStage>({
    layer: "mm",
    name: "file/settle-vs-grow",
    summary:
      "Two threads settle that a file was cut off, and one of them notices that it has grown.",
    harness: { pages: 0, arenaWords: 16_384, frames: 8 },
    exploration: { engine: "bounded", preemptions: 2 },
    mayRemain: "anything",
    setup: (harness) => {
      const stage = makeStage(harness, { shared: false });
      touched(stage, harness);
      noteCut(harness, stage);
      return stage;
    },
    reopen: ({ store }) => store.reset(0),
    tasks: {
      settles: [["mm/source/cut.settle", "mm/source/cut.isInForceNow"], settles],
      grows: [["mm/source/size.refreshSize", "mm/source/cut.settle"], grows],
    },
    check: (stage, { machine }) => {
      const source = backingOf(machine, stage.cache);
      assert(source !== undefined && !isUnsettled(source), "the cache does not follow the size");
      assert(cachePages(machine, stage.cache) === stage.pages, "the file is as long as before");
    },
    twins: [["unlocked", "It looks without the lock.", "data-race", { settles: settlesUnlocked }]],
  }),
];
