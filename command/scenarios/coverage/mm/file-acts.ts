/**
 * @module What a thread does with a mapping of a source, in the scenarios of files.ts.
 */

import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { dataStep } from "../../../../src/memory/frames/page-data.ts";
import {
  MADV_COLD,
  MADV_DONTNEED,
  MADV_PAGEOUT,
  MADV_POPULATE,
  MADV_WILLNEED,
  doMadvise,
} from "../../../../src/mm/calls/madvise.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { refreshSize } from "../../../../src/mm/source/size.ts";
import { ViewHold } from "../../../../src/mm/view/view-hold.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { EFAULT } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type FileBody } from "./broken-files.ts";
import { requireWritten, writeThrough } from "./broken-transfers.ts";
import { ADDRESS, FIRST, loadWord, regrow, resize, storeWord, sync } from "./store-stage.ts";

export interface Act {
  readonly name: string;
  readonly runs: readonly string[];
  readonly body: FileBody;
}

const FAULT = ["mm/fault/cpu-fault.cpuFault", "mm/fault/file-fault.fileFault"];
const READ = ["mm/source/bring-in.bringIn", "mm/source/transfer.readPages"];
const STORE = ["mm/fault/file-fault.fileWriteFault"];
const WRITE_BACK = ["mm/calls/msync.doMsync", "mm/source/write-back.syncPages"];

export const storesOnce: Act = {
  name: "first-store",
  runs: [...FAULT, ...STORE],
  *body(_stage, harness) {
    yield* storeWord(harness, 9);
  },
};
export const stores = (value: number): Act => ({
  name: "store",
  runs: [...FAULT, ...STORE],
  *body(_stage, harness) {
    yield* storeWord(harness, value);
  },
});
/** Twice, so that the second one may go through an entry that a write-back has seen. */
export const storesTwice: Act = {
  name: "stores",
  runs: [...FAULT, ...STORE],
  *body(_stage, harness) {
    yield* storeWord(harness, 8);
    yield* storeWord(harness, 9);
  },
};
export const syncs: Act = {
  name: "msync",
  runs: WRITE_BACK,
  body: (stage, harness) => sync(harness, stage),
};
/** What was dirty before has been written when it returns, whoever has written it. */
export const syncsForSure: Act = {
  ...syncs,
  *body(stage, harness) {
    yield* sync(harness, stage);
    requireWritten(stage);
  },
};
export const loads: Act = {
  name: "load",
  runs: [...FAULT, ...READ],
  *body(_stage, harness) {
    const seen = yield* loadWord(harness);
    assert(seen === FIRST, `the page reads ${seen}; the store has ${FIRST}`);
  },
};
export const loadsOrFaults: Act = {
  name: "load",
  runs: FAULT,
  *body(_stage, harness) {
    const seen = yield* loadWord(harness);
    assert(seen === undefined || seen === FIRST, `the page reads ${seen}`);
  },
};
/** The store fails, and is asked twice. */
export const failsToLoad: Act = {
  name: "failing-load",
  runs: [...FAULT, ...READ],
  *body({ store }, harness) {
    store.fails = true;
    for (let tries = 0; tries < 2; tries++) {
      const seen = yield* loadWord(harness);
      assert(seen === undefined, `the page reads ${seen}`);
    }
  },
};
/** The store ends inside the page. */
export const cutsInside: Act = {
  name: "cut",
  runs: ["mm/source/size.refreshSize"],
  body: (stage, harness) => resize(harness, stage, 1, PAGE_BYTES - 8),
};
export const cutsOff: Act = {
  name: "truncate",
  runs: ["mm/source/size.refreshSize"],
  body: (stage, harness) => resize(harness, stage, 0),
};
/** The store becomes as long as it was, if it has been cut off, and its last page is stored to. */
export const growsAndStores: Act = {
  name: "grow",
  runs: ["mm/source/size.refreshSize", ...FAULT],
  *body(stage, harness) {
    if (!(yield* regrow(harness, stage))) return;
    const answer = yield* refreshSize(harness.machine, stage.cache);
    assert(answer === 0, `to ask for the size answered ${answer}`);
    const last = stage.pages - 1;
    assert(yield* storeWord(harness, 9, last), "the store is as long as before, and has no page");
    const seen = yield* loadWord(harness, last);
    assert(seen === 9, `the page reads ${seen} after a store of 9`);
  },
};
/** The store had not all of its page. */
export const growsInside: Act = {
  name: "grow-inside",
  runs: ["mm/source/size.refreshSize", "mm/source/cut.dropStale"],
  body: (stage, harness) => resize(harness, stage, 1),
};
export const unmaps: Act = {
  name: "munmap",
  runs: ["mm/calls/munmap.doMunmap"],
  body: (_stage, { machine, mm }) => doMunmap(machine, mm, ADDRESS, PAGE_BYTES),
};
export const discards: Act = {
  name: "discard",
  runs: ["mm/calls/madvise.doMadvise"],
  body: (_stage, { machine, mm }) => doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_DONTNEED),
};
const advises = (name: string, advice: number, run: string): Act => ({
  name,
  runs: ["mm/calls/madvise.doMadvise", run],
  *body(_stage, { machine, mm }) {
    const answer = yield* doMadvise(machine, mm, ADDRESS, PAGE_BYTES, advice);
    assert(answer === 0, `madvise answered ${answer}`);
  },
});
export const pagesOut: Act = advises("pageout", MADV_PAGEOUT, "mm/calls/advise-source.pageOut");
/** The frame is zeroed for somebody else then, if it is free. */
export const pagesOutForOthers: Act = {
  ...pagesOut,
  *body(stage, harness) {
    const { ram } = harness.machine;
    yield* pagesOut.body(stage, harness);
    const pfn = yield* ram.allocFrame(true);
    assert(pfn !== 0, "no frame is free");
    yield* ram.refs.pagePut(pfn);
  },
};
export const cools: Act = advises("cold", MADV_COLD, "mm/calls/advise-source.deactivate");
export const readsAhead: Act = advises(
  "willneed",
  MADV_WILLNEED,
  "mm/calls/advise-source.readAhead",
);
export const populates: Act = advises("populate", MADV_POPULATE, "mm/calls/populate.populateRange");
/** In a private mapping: the copy is what the space sees from then on. */
export const keepsStore: Act = {
  name: "own-store",
  runs: [...FAULT, "mm/fault/copy-on-write.writeProtectedPrivate"],
  *body(_stage, harness) {
    yield* storeWord(harness, 9);
    const seen = yield* loadWord(harness);
    assert(seen === 9, `the page reads ${seen} after a store of 9`);
  },
};
export const forks: Act = {
  name: "fork",
  runs: ["mm/lifetime/fork.doFork", "mm/lifetime/mm.mmput", "mm/fault/file-fault.fileWriteFault"],
  *body(_stage, harness) {
    const child = Mm.at(harness.machine.memory, yield* doFork(harness.machine, harness.mm));
    yield* storeWord(harness, 9, 0, child);
    yield* mmput(harness.machine, child);
  },
};
export const views: Act = {
  name: "write-view",
  runs: [
    "mm/view/view-open.viewOpen",
    "mm/view/view-open.viewClose",
    "mm/view/view-backed.markDirty",
  ],
  *body(_stage, harness) {
    const { machine, mm } = harness;
    const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true);
    assert(at > 0, `the view answered ${at}`);
    yield* writeThrough(harness, at);
    yield* viewClose(machine, at);
  },
};

/** The store may have become shorter before. */
export const viewsIfThere: Act = {
  ...views,
  *body(_stage, { machine, mm }) {
    const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true);
    assert(at > 0 || at === EFAULT, `the view answered ${at}`);
    if (at > 0) yield* viewClose(machine, at);
  },
};

/** In a private mapping: the view's frame is a copy of the cache's. */
export const viewsPrivately: Act = {
  name: "write-view",
  runs: [
    "mm/view/view-open.viewOpen",
    "mm/view/view-open.viewClose",
    "mm/migrate/migrate-to-run.migrateToRun",
  ],
  *body(_stage, { machine, mm }) {
    const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true);
    assert(at > 0, `the view answered ${at}`);
    const { pfn } = ViewHold.at(machine.memory, at);
    yield* dataStep(machine.memory, "read", pfn);
    const seen = machine.ram.sections.of(pfn).i32[machine.ram.sections.wordIndex(pfn)];
    assert(seen === FIRST, `the view has ${seen}`);
    yield* viewClose(machine, at);
  },
};
