/**
 * @module Two threads with the size of a source and its pages, beside each other: it gets shorter
 * or longer while its pages are in the cache, are read, or are written. Nothing maps it, so that
 * each part has few steps (source-stage.ts).
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { SourceIo } from "../../../../src/mm/source/io.ts";
import { SIZE_CHANGED } from "../../../../src/mm/source/pager.ts";
import { refreshSize } from "../../../../src/mm/source/size.ts";
import {
  beginWrite,
  finishTransfer,
  readPages,
  writeRun,
} from "../../../../src/mm/source/transfer.ts";
import { markDirty } from "../../../../src/mm/view/view-backed.ts";
import { CACHE_DIRTY, CACHE_UPTODATE, cacheEntryPfn } from "../../../../src/mm/vma/page-cache.ts";
import { addMapper, isUnsettled, sourceSize } from "../../../../src/mm/vma/source.ts";
import { assert } from "../../../../src/sync/errors.ts";
import {
  addResource,
  listedResources,
  removeResource,
  resourceKind,
} from "../../../../src/sync/lockdep/resources.ts";
import type { Covered } from "../covered.ts";
import type { HarnessTwin } from "../on-harness.ts";
import {
  type SourceStage,
  beginRead,
  entryOf,
  makeSourceStage,
  type Body,
  type World,
  part,
} from "./source-stage.ts";
import { END_BYTES, WordStore } from "./store-stage.ts";

const SIZE = ["mm/source/size.refreshSize", "mm/source/cut.settle"];

/** The second page has been cut off, and the end of the first one. */
const asksSize: Body = function* ({ at }, { machine }) {
  const answer = yield* refreshSize(machine, at);
  assert(answer === 0, `to ask for the size answered ${answer}`);
};

const cutTwice = part({
  preemptions: 2,
  name: "size-vs-size",
  summary: "Two threads notice that a file is shorter: each cuts off what is past the end.",
  tasks: { asks: [SIZE, asksSize], "asks too": [SIZE, asksSize] },
  setup: (harness) => {
    const stage = makeSourceStage(harness, { pages: 2 });
    beginRead(harness, stage, new WordStore(2), 2);
    return stage;
  },
  reopen: ({ store }) => {
    store.reset(1);
    store.cutBytes = 8;
  },
  check: (stage, harness) => {
    const bytes = sourceSize(stage.source);
    assert(bytes === PAGE_BYTES - 8, `the file has ${bytes} bytes`);
    assert(entryOf(harness, stage, 1) === 0, "the cache has a page past the end");
    const { usedPages } = harness.machine.ram.usage();
    assert(usedPages === 1, `${usedPages} frames are used`);
  },
});

/** The file has its first length again. */
const growsAgain: Body = function* ({ at, cache, store }, { machine }) {
  yield* refreshSize(machine, at);
  yield* cache.lock.lock();
  store.reset(2);
  yield* cache.lock.unlock();
  const answer = yield* refreshSize(machine, at);
  assert(answer === 0, `to ask for the size answered ${answer}`);
};

const cutAndGrown = part({
  name: "size-vs-grow",
  summary: "Two threads notice that a file is shorter, and one that it is as long again.",
  tasks: { asks: [SIZE, asksSize], grows: [SIZE, growsAgain] },
  setup: (harness) => {
    const stage = makeSourceStage(harness, { pages: 2 });
    beginRead(harness, stage, new WordStore(2), 2);
    return stage;
  },
  reopen: ({ store }) => {
    store.reset(1);
    store.cutBytes = 8;
  },
  check: ({ source }) => {
    const bytes = sourceSize(source);
    assert(bytes === 2 * PAGE_BYTES, `the file has ${bytes} bytes`);
    assert(!isUnsettled(source), "the cache does not follow the size");
  },
});

const readsTwo: Body = function* ({ cache, source }, { machine }) {
  const answer = yield* readPages(machine, cache, source, new WordStore(2), 0, 2);
  assert(answer === 0, `the read answered ${answer}`);
};

const cutBesideRead = part({
  name: "size-vs-read",
  summary: "A thread notices that a file is shorter while another one reads past its end.",
  tasks: {
    asks: [SIZE, asksSize],
    reads: [["mm/source/transfer.readPages", "mm/source/transfer.finishTransfer"], readsTwo],
  },
  setup: (harness) => makeSourceStage(harness, { pages: 2 }),
  reopen: ({ store }) => store.reset(1),
  check: (stage, harness) => {
    assert(entryOf(harness, stage, 1) === 0, "the cache has a page past the end");
    const { usedPages } = harness.machine.ram.usage();
    assert(usedPages <= 1, `${usedPages} frames are used`);
  },
});

/** A page that is DIRTY, and nothing maps it. */
function makeDirty(harness: HmmHarness, stage: SourceStage): void {
  const { machine } = harness;
  beginRead(harness, stage, new WordStore(1), 1);
  const pfn = cacheEntryPfn(entryOf(harness, stage, 0));
  harness.run(markDirty(machine, stage.at, 0, pfn, 1));
}

const writes: Body = function* ({ cache, source }, { machine }) {
  const run = yield* beginWrite(machine, cache, source, 0, 1);
  if (run === undefined) return;
  assert(typeof run !== "number", "the write cannot begin");
  yield* writeRun(machine, cache, source, new WordStore(1), run);
};
const WRITE = ["mm/source/transfer.beginWrite", "mm/source/transfer.writeRun"];

function requireClean(stage: World, harness: HmmHarness): void {
  const entry = entryOf(harness, stage, 0);
  assert((entry & ~0xff) === (entry & ~CACHE_UPTODATE), `the page's entry is ${entry}`);
  const { source } = stage;
  assert(source.dirtyPages === 0, `${source.dirtyPages} pages are counted dirty`);
  const counts = harness.machine.ram.refs.pageCount(cacheEntryPfn(entry));
  assert(counts === 1, `the frame has ${counts} counts`);
}

const writtenTwice = part({
  name: "write-vs-write",
  summary: "Two threads write a dirty page back: one of them does it.",
  tasks: { writes: [WRITE, writes], "writes too": [WRITE, writes] },
  setup: (harness) => {
    const stage = makeSourceStage(harness);
    makeDirty(harness, stage);
    return stage;
  },
  check: requireClean,
});

/** The page is written while it is cut off: it goes when it has been written. */
const cutBesideWrite = part({
  name: "size-vs-write",
  summary: "A page past the end of a file, which is shorter, is being written: it goes after that.",
  tasks: { asks: [SIZE, asksSize], writes: [WRITE, writes] },
  setup: (harness) => {
    const stage = makeSourceStage(harness);
    makeDirty(harness, stage);
    return stage;
  },
  reopen: ({ store }) => store.reset(0),
  check: (stage, harness) => {
    assert(entryOf(harness, stage, 0) === 0, "the cache has a page past the end");
    const { usedPages } = harness.machine.ram.usage();
    assert(usedPages === 0, `${usedPages} frames are used`);
  },
});

/** A word of the frame that an entry of the cache names. */
function wordOf({ machine }: HmmHarness, entry: number, atBytes = 0): number | undefined {
  const { sections } = machine.ram;
  const pfn = cacheEntryPfn(entry);
  return sections.of(pfn).i32[sections.wordIndex(pfn) + atBytes / 4];
}

/** What the store has at the end of its page, when it has all of the page. */
const END = 4;

/** Its code answers late. */
const readsLate: Body = function* ({ cache, source, store }, { machine }) {
  store.io = 0;
  const answer = yield* readPages(machine, cache, source, store, 0, 1);
  assert(answer === 0 || answer === SIZE_CHANGED, `the read answered ${answer}`);
  if (answer === 0 && store.io !== 0) yield* finishTransfer(machine, store.io, 0);
};

/** As if the size had not changed since the read began. */
const readsBlindly: Body = function* ({ cache, source, store }, { machine }) {
  store.io = 0;
  const answer = yield* readPages(machine, cache, source, store, 0, 1);
  if (answer !== 0 || store.io === 0) return;
  yield* cache.lock.lock();
  SourceIo.at(machine.memory, store.io).sizes = source.sizes;
  yield* cache.lock.unlock();
  yield* finishTransfer(machine, store.io, 0);
};
const BLIND: HarnessTwin<World> = [
  "blind",
  "What was read is kept, though the size has changed since the read began.",
  "assertion",
  { reads: readsBlindly },
];

/** The page that was the last one is whole now. */
const growsInside: Body = function* ({ at, cache, store }, { machine }) {
  yield* cache.lock.lock();
  store.cutBytes = 0;
  store.ends[0] = END;
  yield* cache.lock.unlock();
  const answer = yield* refreshSize(machine, at);
  assert(answer === 0, `to ask for the size answered ${answer}`);
};

const grownBesideRead = part({
  twins: [BLIND],
  name: "grow-vs-read",
  summary: "A file gets longer inside the page that another thread is reading: it is read again.",
  tasks: {
    grows: [["mm/source/size.refreshSize", "mm/source/cut.dropStale"], growsInside],
    reads: [["mm/source/transfer.readPages", "mm/source/transfer.finishTransfer"], readsLate],
  },
  setup: (harness) => makeSourceStage(harness, { cutBytes: 8 }),
  reopen: ({ store }) => {
    store.reset(1);
    store.cutBytes = 8;
  },
  check: (stage, harness) => {
    const pfn = cacheEntryPfn(entryOf(harness, stage, 0));
    if (pfn === 0) return;
    const { sections } = harness.machine.ram;
    const end = sections.of(pfn).i32[sections.wordIndex(pfn) + END_BYTES / 4];
    assert(end === END, `the page ends with ${end}, and in the file with ${END}`);
  },
});

/** Emptied, and written anew. */
const writesAnew: Body = function* ({ at, cache, store }, { machine }) {
  for (const pages of [0, 1]) {
    yield* cache.lock.lock();
    store.reset(pages);
    store.words.fill(9);
    yield* cache.lock.unlock();
    const answer = yield* refreshSize(machine, at);
    assert(answer === 0, `to ask for the size answered ${answer}`);
  }
};

const renewedBesideRead = part({
  twins: [BLIND],
  name: "renew-vs-read",
  summary: "A file is emptied and written anew while another thread reads its page.",
  tasks: {
    renews: [SIZE, writesAnew],
    reads: [["mm/source/transfer.readPages", "mm/source/transfer.finishTransfer"], readsLate],
  },
  setup: (harness) => makeSourceStage(harness),
  reopen: ({ store }) => store.reset(1),
  check: (stage, harness) => {
    const pfn = cacheEntryPfn(entryOf(harness, stage, 0));
    if (pfn === 0) return;
    const { sections } = harness.machine.ram;
    const word = sections.of(pfn).i32[sections.wordIndex(pfn)];
    assert(word === 9, `the page has ${word}, and the file 9`);
  },
});

/** It gets shorter once more. */
const shrinksAgain: Body = function* ({ at, cache, store }, { machine }) {
  yield* refreshSize(machine, at);
  yield* cache.lock.lock();
  store.reset(0);
  yield* cache.lock.unlock();
  const answer = yield* refreshSize(machine, at);
  assert(answer === 0, `to ask for the size answered ${answer}`);
};

const cutAgain = part({
  name: "size-vs-shorter",
  summary: "Two threads notice that a file is shorter, and one that it is shorter still.",
  tasks: { asks: [SIZE, asksSize], shrinks: [SIZE, shrinksAgain] },
  setup: (harness) => {
    const stage = makeSourceStage(harness, { pages: 2 });
    beginRead(harness, stage, new WordStore(2), 2);
    return stage;
  },
  reopen: ({ store }) => store.reset(1),
  check: (stage, harness) => {
    assert(sourceSize(stage.source) === 0, "the file is empty");
    const { usedPages } = harness.machine.ram.usage();
    assert(usedPages === 0, `${usedPages} frames are used`);
  },
  preemptions: 2,
});

/** What is written, and how the page ended before. */
const written = new WordStore(1);

const writesKept: Body = function* ({ cache, source }, { machine }) {
  const run = yield* beginWrite(machine, cache, source, 0, 1);
  if (run === undefined) return;
  assert(typeof run !== "number", "the write cannot begin");
  yield* writeRun(machine, cache, source, written, run);
};

const grownBesideWrite = part({
  name: "grow-vs-write",
  summary: "A file gets longer inside the page that another thread writes: it is read again.",
  tasks: {
    grows: [["mm/source/size.refreshSize", "mm/source/cut.dropStale"], growsInside],
    writes: [WRITE, writesKept],
  },
  setup: (harness) => {
    const stage = makeSourceStage(harness, { cutBytes: 8 });
    makeDirty(harness, stage);
    return stage;
  },
  reopen: ({ store }) => {
    store.reset(1);
    store.cutBytes = 8;
    written.reset(1);
    written.ends[0] = END;
  },
  check: (stage, harness) => {
    const entry = entryOf(harness, stage, 0);
    if (entry === 0 || (entry & CACHE_DIRTY) !== 0) return;
    const end = wordOf(harness, entry, END_BYTES);
    assert(end === written.ends[0], `the page ends with ${end}, the file with ${written.ends[0]}`);
  },
});

const FILLER: number = resourceKind("filler");

/** A thread that owns as much as a thread can: nothing notes the frame that it puts. */
const asksCrowded: Body = function* (stage, harness) {
  const { memory } = harness.machine;
  const filler: number[] = [];
  const fill = (): number => addResource(memory, FILLER, 0);
  for (let slot = fill(); slot >= 0; slot = fill()) filler.push(slot);
  yield* asksSize(stage, harness);
  const { cache, source } = stage;
  const answer = yield* addMapper(harness.machine, cache, source, harness.mm);
  assert(answer === 0, `there is no room: ${answer}`);
  const owned = listedResources(memory, memory.record).length;
  assert(owned === filler.length, `the thread owns ${owned} things instead of ${filler.length}`);
  for (const slot of filler) removeResource(memory, slot);
};

const crowdedSize = part({
  name: "size-crowded",
  summary: "A thread that owns as much as a thread can follows the size of a file, and maps it.",
  tasks: { asks: [[...SIZE, "mm/vma/source.addMapper"], asksCrowded] },
  setup: (harness) => {
    const stage = makeSourceStage(harness, { pages: 2 });
    beginRead(harness, stage, new WordStore(2), 2);
    return stage;
  },
  reopen: ({ store }) => store.reset(1),
  check: (stage, harness) => {
    const { usedPages } = harness.machine.ram.usage();
    assert(usedPages === 1, `${usedPages} frames are used`);
    assert(!isUnsettled(stage.source), "the cache does not follow the size");
  },
});

export const sourceSizes: readonly Covered[] = [
  cutTwice,
  cutAgain,
  grownBesideWrite,
  crowdedSize,
  renewedBesideRead,
  grownBesideRead,
  cutAndGrown,
  cutBesideRead,
  cutBesideWrite,
  writtenTwice,
];
