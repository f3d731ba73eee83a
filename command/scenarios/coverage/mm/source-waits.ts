/**
 * @module A thread waits for the first page of a transfer of two, which another one finishes: what
 * came of it is told when all of the transfer is finished, under the lock of the cache. Before that
 * the source says what came of an earlier one. In the twins the thread does not wait for that lock.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { bringPageIn } from "../../../../src/mm/source/bring-in.ts";
import {
  beginWrite,
  finishTransfer,
  readPages,
  waitWhileWriting,
  writeRun,
} from "../../../../src/mm/source/transfer.ts";
import { claim, dropClaim } from "../../../../src/mm/source/source-table.ts";
import { syncPages } from "../../../../src/mm/source/write-back.ts";
import { setPager } from "../../../../src/mm/source/pager.ts";
import { markDirty } from "../../../../src/mm/view/view-backed.ts";
import {
  CACHE_DIRTY,
  CACHE_READING,
  CACHE_UPTODATE,
  CACHE_WRITEBACK,
  cacheEntryPfn,
  slotIfThere,
} from "../../../../src/mm/vma/page-cache.ts";
import { atomicLoad } from "../../../../src/sync/atomics.ts";
import { EAGAIN, EIO, type Errno } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Covered } from "../covered.ts";
import {
  type Body,
  type SourceStage,
  asTask,
  beginRead,
  beginService,
  entryOf,
  makeSourceStage,
  part,
} from "./source-stage.ts";
import { WordStore } from "./store-stage.ts";

const PAGES = 2;
/** The task that waits, and one that serves. */
const WAITER = 2;
const SERVER = 3;

/** A source of two pages; the code of who waits answers at once. */
function makeTwo(harness: HmmHarness): SourceStage {
  const stage = makeSourceStage(harness, { pages: PAGES });
  asTask(harness, WAITER, () => setPager(harness.machine, stage.at, new WordStore(PAGES)));
  return stage;
}

/** The code of the first task answers at last. */
const finishes =
  (answer: Errno): Body =>
  ({ io }, { machine }) =>
    finishTransfer(machine, io, answer);
const FINISH = ["mm/source/transfer.finishTransfer"];

/** The two pages are to be read again, for the size has changed meanwhile. */
const waitsForPage: Body = function* ({ at }, { machine }) {
  const answer = yield* bringPageIn(machine, at, 0);
  assert(answer === 0, `the page can be read, and the answer is ${answer}`);
};
const takesOldAnswer: Body = function* (stage, harness) {
  const { machine } = harness;
  const slot = slotIfThere(machine.memory, stage.cache, 0);
  const isOver = (): boolean => (atomicLoad(machine.memory.words, slot) & CACHE_READING) === 0;
  yield* stage.source.doneQueue.waitEvent(isOver, Infinity, undefined, { at: slot, words: 1 });
  const { readErrno } = stage.source;
  assert(readErrno === 0, `the page can be read, and the answer is ${readErrno}`);
};

const readAgain = part({
  name: "read-again-vs-wait",
  summary:
    "A read is to be made again, for the size has changed, and one waits for its first page: it does not hear of an earlier failure.",
  tasks: {
    finishes: [FINISH, finishes(EAGAIN)],
    waits: [["mm/source/bring-in.waitWhileReading"], waitsForPage],
  },
  setup: (harness) => {
    const stage = makeTwo(harness);
    const { cache, source, store } = stage;
    const failing = new WordStore(PAGES);
    failing.fails = true;
    const failed = harness.run(readPages(harness.machine, cache, source, failing, 0, PAGES));
    assert(failed === EIO, `the first read answered ${failed}`);
    return { ...stage, io: asTask(harness, 1, () => beginRead(harness, stage, store, PAGES)) };
  },
  check: (world, harness) =>
    assert((entryOf(harness, world, 0) & CACHE_UPTODATE) !== 0, "the page has not been read"),
  preemptions: 2,
  twins: [["hasty", "It asks what came of it at once.", "data-race", { waits: takesOldAnswer }]],
});

/** The second page cannot be read, unless the other thread has read it with the first. */
const failsToRead: Body = function* ({ cache, source }, { machine }) {
  const failing = new WordStore(PAGES);
  failing.fails = true;
  const answer = yield* readPages(machine, cache, source, failing, 1, 1);
  assert(answer === EIO || answer === 0, `the read answered ${answer}`);
};
const takesAnyAnswer: Body = function* (stage, harness) {
  const { machine } = harness;
  const slot = slotIfThere(machine.memory, stage.cache, 0);
  const isOver = (): boolean => (atomicLoad(machine.memory.words, slot) & CACHE_READING) === 0;
  yield* stage.source.doneQueue.waitEvent(isOver, Infinity, undefined, { at: slot, words: 1 });
  yield* stage.cache.lock.lock();
  const { readErrno } = stage.source;
  yield* stage.cache.lock.unlock();
  assert(readErrno === 0, `the page can be read, and the answer is ${readErrno}`);
};

const failedBeside = part({
  name: "failing-read-vs-wait-beside",
  summary:
    "A page is to be read again, and the page beside cannot be read: who waits for the first does not hear of that.",
  tasks: {
    finishes: [FINISH, finishes(EAGAIN)],
    waits: [["mm/source/bring-in.waitWhileReading"], waitsForPage],
    fails: [["mm/source/transfer.readPages"], failsToRead],
  },
  setup: (harness) => {
    const stage = makeTwo(harness);
    return { ...stage, io: asTask(harness, 1, () => beginRead(harness, stage, stage.store, 1)) };
  },
  check: (world, harness) =>
    assert((entryOf(harness, world, 0) & CACHE_UPTODATE) !== 0, "the page has not been read"),
  twins: [
    ["any", "It takes the last failure for its own.", "assertion", { waits: takesAnyAnswer }],
  ],
});

/** The first task's thread writes both pages, and its code has not answered. */
function beginWriting(harness: HmmHarness, stage: SourceStage): number {
  const { machine } = harness;
  const { at, cache, source, store } = stage;
  beginRead(harness, stage, new WordStore(PAGES), PAGES);
  for (let page = 0; page < PAGES; page++)
    harness.run(markDirty(machine, at, page, cacheEntryPfn(entryOf(harness, stage, page)), 1));
  return asTask(harness, 1, () => {
    const run = harness.run(beginWrite(machine, cache, source, 0, PAGES));
    assert(typeof run === "object", "there is something to write");
    harness.run(writeRun(machine, cache, source, store, run));
    return run.io;
  });
}

/** An answer of 0 means that the page is in the store. */
const syncsFirst: Body = function* (world, harness) {
  const answer = yield* syncPages(harness.machine, world.at, 0, 1);
  const isDirty = (entryOf(harness, world, 0) & (CACHE_DIRTY | CACHE_WRITEBACK)) !== 0;
  assert(answer === EIO || !isDirty, `the page is not written, and msync answers ${answer}`);
};
const syncsHastily: Body = function* (world, harness) {
  const { cache, source } = world;
  yield* waitWhileWriting(harness.machine, cache, source, 0);
  const { writeErrno } = source;
  assert(writeErrno === EIO, `the page is not written, and the answer is ${writeErrno}`);
};

const failedWrite = part({
  name: "failing-write-vs-sync",
  summary: "A write-back of two pages fails, and one syncs the first page: it hears of that.",
  tasks: {
    finishes: [FINISH, finishes(EIO)],
    syncs: [["mm/source/write-back.syncPages", "mm/source/write-back.waitForWrites"], syncsFirst],
  },
  setup: (harness) => {
    const stage = makeTwo(harness);
    return { ...stage, io: beginWriting(harness, stage) };
  },
  check: ({ source }) => assert(source.mappings === 1, "a transfer is counted still"),
  twins: [["hasty", "It asks what came of it at once.", "data-race", { syncs: syncsHastily }]],
});

/** Who writes has not answered, and dies. */
const lostWrite = part({
  name: "lost-write-vs-sync",
  summary: "A thread dies while it writes a page, and one syncs the page: it hears of that.",
  tasks: {
    finishes: [FINISH, finishes(0)],
    syncs: [["mm/source/write-back.syncPages", "mm/source/write-back.waitForWrites"], syncsFirst],
  },
  dies: "finishes",
  setup: (harness) => {
    const stage = makeTwo(harness);
    return { ...stage, io: beginWriting(harness, stage) };
  },
  check: ({ source }) => assert(source.mappings === 1, "a transfer is counted still"),
});

/** Has not the code: the third task serves, until nothing claims the source. */
const asksToSync: Body = function* (world, harness) {
  yield* syncsFirst(world, harness);
  yield* dropClaim(harness.machine, world.at);
};
const asksHastily: Body = function* (world, harness) {
  const { cache, source, at } = world;
  yield* cache.lock.lock();
  const { dirtyPages } = source;
  yield* cache.lock.unlock();
  if (dirtyPages > 0) yield* syncsFirst(world, harness);
  const entry = entryOf(harness, world, 0);
  assert((entry & CACHE_WRITEBACK) === 0, "the page is being written still");
  yield* dropClaim(harness.machine, at);
};

const askedMeanwhile = part({
  name: "write-vs-asked-sync",
  summary: "A page is being written, and a thread without the code syncs it: it waits for that.",
  tasks: {
    finishes: [FINISH, finishes(0)],
    asks: [["mm/source/write-back.syncPages", "mm/source/requests.ask"], asksToSync],
    serves: [["mm/source/serve.serve"], ({ servers }) => servers[0]!.serve()],
  },
  setup: (harness) => {
    const { machine } = harness;
    const stage = makeSourceStage(harness, { pages: PAGES, coders: [1, SERVER] });
    asTask(harness, SERVER, () => setPager(machine, stage.at, new WordStore(PAGES)));
    asTask(harness, WAITER, () => harness.run(claim(machine, stage.at)));
    harness.run(dropClaim(machine, stage.at));
    const servers = [asTask(harness, SERVER, () => beginService(harness, stage))];
    return { ...stage, servers, io: beginWriting(harness, stage) };
  },
  check: ({ source }) => assert(source.mappings === 0, "the source is claimed still"),
  twins: [
    ["hasty", "It looks for pages that nobody writes alone.", "assertion", { asks: asksHastily }],
  ],
});

export const sourceWaits: readonly Covered[] = [
  readAgain,
  failedBeside,
  failedWrite,
  lostWrite,
  askedMeanwhile,
];
