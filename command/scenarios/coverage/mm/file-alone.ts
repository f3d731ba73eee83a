/**
 * @module One thread alone with a file that it maps, from the first access until the cache is gone:
 * sizes that change, pages that are dropped, writes and reads that fail, RAM that is short. After
 * each call the store, the cache and the entries are checked. This finds steps that are missing,
 * for which no second thread is needed.
 */

import {
  HARNESS_PAGE,
  type HmmHarness,
  harnessScenario,
} from "../../../../src/checker/harness/hmm-harness.ts";
import { doMsync } from "../../../../src/mm/calls/msync.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { PAGE_BYTES, PTE_WRITE, holdsFrame } from "../../../../src/mm/pte.ts";
import { reclaim } from "../../../../src/mm/source/reclaim.ts";
import { beginWait } from "../../../../src/mm/source/bring-in.ts";
import { SourceIo } from "../../../../src/mm/source/io.ts";
import { setPager } from "../../../../src/mm/source/pager.ts";
import { endWait } from "../../../../src/mm/source/requests.ts";
import { finishTransfer } from "../../../../src/mm/source/transfer.ts";
import { SourceServer } from "../../../../src/mm/source/serve.ts";
import {
  CACHE_DIRTY,
  PageCache,
  backingOf,
  cacheEntryAt,
  cachePut,
} from "../../../../src/mm/vma/page-cache.ts";
import { EAGAIN, EIO } from "../../../../src/sync/errno.ts";
import { HmmError, assert, bug } from "../../../../src/sync/errors.ts";
import { listedResources } from "../../../../src/sync/lockdep/resources.ts";
import { currentTask } from "../../../../src/sync/tasks/current-task.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  ADDRESS,
  END_BYTES,
  FIRST,
  LateStore,
  type StoreStage,
  loadWord,
  makeStage,
  resize,
  storeWord,
  sync,
} from "./store-stage.ts";

export type Body = (stage: StoreStage, harness: HmmHarness) => Task<unknown>;

/** Of each page: d dirty, c clean, - absent. */
function cached({ machine }: HmmHarness, stage: StoreStage): string {
  const cache = PageCache.at(machine.memory, stage.cache);
  const marks = Array.from({ length: stage.pages }, (_, page) => {
    const entry = cacheEntryAt(machine.memory, cache, page);
    if (entry === 0) return "-";
    return (entry & CACHE_DIRTY) === 0 ? "c" : "d";
  });
  const dirty = marks.filter((mark) => mark === "d").length;
  const counted = backingOf(machine, stage.cache)?.dirtyPages;
  assert(counted === dirty, `${counted} pages are counted dirty, and ${dirty} are`);
  return marks.join("");
}

export function requireCached(harness: HmmHarness, stage: StoreStage, wanted: string): void {
  const is = cached(harness, stage);
  assert(is === wanted, `the cache has ${is} instead of ${wanted}`);
}

export function* requireWord(
  harness: HmmHarness,
  wanted: number | undefined,
  page = 0,
  atBytes = 0,
): Task<void> {
  const seen = yield* loadWord(harness, page, harness.mm, atBytes);
  assert(seen === wanted, `byte ${atBytes} of page ${page} reads ${seen} instead of ${wanted}`);
}

export function* mustStore(harness: HmmHarness, value: number, page = 0, atBytes = 0): Task<void> {
  const isDone = yield* storeWord(harness, value, page, harness.mm, atBytes);
  assert(isDone, `the store to page ${page} is refused`);
}

/** Dirty pages with a clean one between them are written, and may not be stored to afterwards. */
const writesRuns: Body = function* (stage, harness) {
  const { store: kept } = stage;
  yield* requireWord(harness, FIRST, 2);
  for (const page of [0, 1, 3]) yield* mustStore(harness, 10 + page, page);
  requireCached(harness, stage, "ddcd");
  yield* sync(harness, stage);
  requireCached(harness, stage, "cccc");
  assert(kept.words.join(",") === `10,11,${FIRST},13`, `the store has ${kept.words.join(",")}`);
  for (let page = HARNESS_PAGE; page < HARNESS_PAGE + 4; page++)
    assert((harness.entryOf(page) & PTE_WRITE) === 0, `page ${page} may be stored to`);
  yield* mustStore(harness, 20, 1);
  requireCached(harness, stage, "cdcc");
  yield* sync(harness, stage);
  assert(kept.words[1] === 20, `the store has ${kept.words[1]}`);
};

/** The store gets shorter in the middle of a page, and longer again. */
const changesSize: Body = function* (stage, harness) {
  const { store: kept } = stage;
  yield* mustStore(harness, 5);
  yield* mustStore(harness, 6, 0, END_BYTES);
  yield* mustStore(harness, 8, 1);
  yield* resize(harness, stage, 1, PAGE_BYTES - 8);
  // Cut off: page 1 as a whole, and what page 0 had behind the end.
  requireCached(harness, stage, "d-");
  assert(!holdsFrame(harness.entryOf(HARNESS_PAGE + 1)), "a page past the end is mapped");
  yield* requireWord(harness, undefined, 1);
  yield* requireWord(harness, 5);
  yield* requireWord(harness, 0, 0, END_BYTES);
  yield* sync(harness, stage);
  // Longer by others, who have written there: page 0 is read again, for it is clean.
  kept.ends[0] = 4;
  yield* resize(harness, stage, 2);
  yield* requireWord(harness, 4, 0, END_BYTES);
  yield* requireWord(harness, 5);
  yield* requireWord(harness, FIRST, 1);
  // The last page is dirty when the store gets longer: what was stored stays.
  yield* resize(harness, stage, 2, PAGE_BYTES - 8);
  yield* mustStore(harness, 9, 1);
  yield* resize(harness, stage, 2);
  requireCached(harness, stage, "cd");
  yield* requireWord(harness, 9, 1);
  yield* sync(harness, stage);
  assert(kept.words[1] === 9, `the store has ${kept.words[1]}`);
};

/** A write-back and a read that fail, and succeed the next time. */
const fails: Body = function* (stage, harness) {
  const { store: kept } = stage;
  kept.fails = true;
  yield* requireWord(harness, undefined);
  requireCached(harness, stage, "--");
  kept.fails = false;
  yield* mustStore(harness, 5);
  kept.fails = true;
  const refused = yield* doMsync(harness.machine, harness.mm, ADDRESS, PAGE_BYTES);
  assert(refused === EIO, `msync answered ${refused}`);
  requireCached(harness, stage, "dc");
  kept.fails = false;
  yield* requireWord(harness, FIRST, 1);
  yield* sync(harness, stage);
  requireCached(harness, stage, "cc");
  assert(kept.words[0] === 5, `the store has ${kept.words[0]}`);
};

/** Nobody has the code: SIGBUS at once, and msync has nothing to ask for. */
const unserved: Body = function* (stage, harness) {
  yield* requireWord(harness, undefined);
  requireCached(harness, stage, "-");
  yield* sync(harness, stage);
};

/** RAM is short: clean pages that nobody maps go first; where there are none, those that are. */
const reclaims: Body = function* (stage, harness) {
  const { machine, mm } = harness;
  const cache = PageCache.at(machine.memory, stage.cache);
  const source = backingOf(machine, stage.cache) ?? bug("the cache has no source");
  for (const page of [0, 1, 2]) yield* requireWord(harness, FIRST, page);
  yield* mustStore(harness, 5, 1);
  requireCached(harness, stage, "cdcc");
  const at = yield* beginWait(machine, cache.at, 0, 0);
  const io = SourceIo.at(machine.memory, at);
  // Page 3 was read ahead, and mapped beside the others.
  yield* doMunmap(machine, mm, ADDRESS + 3 * PAGE_BYTES, PAGE_BYTES);
  const unmapped = yield* reclaim(machine, cache, source, io);
  assert(unmapped === 1, `${unmapped} pages were dropped`);
  requireCached(harness, stage, "cdc-");
  yield* doMunmap(machine, mm, ADDRESS, PAGE_BYTES);
  assert((yield* reclaim(machine, cache, source, io)) === 1, "the page that was unmapped stays");
  requireCached(harness, stage, "-dc-");
  assert((yield* reclaim(machine, cache, source, io)) === 1, "the page that is mapped stays");
  requireCached(harness, stage, "-d--");
  yield* endWait(machine, at);
  assert(!holdsFrame(harness.entryOf(HARNESS_PAGE + 2)), "a page that was dropped is mapped");
  yield* requireWord(harness, 5, 1);
  yield* requireWord(harness, FIRST, 2);
  yield* sync(harness, stage);
  assert(stage.store.words[1] === 5, `the store has ${stage.store.words[1]}`);
};

/** Serves, and lets the source go with its last mapping; while it is mapped, it does not. */
const serves: Body = function* (stage, harness) {
  const { machine } = harness;
  const server = yield* SourceServer.begin(machine, stage.cache, stage.store);
  assert(typeof server !== "number", "the service cannot begin");
  yield* mustStore(harness, 5);
  const early = yield* server.end();
  assert(early === EAGAIN && !server.isEnded, `the end of a mapped source answered ${early}`);
  requireCached(harness, stage, "d");
  yield* unmapAll(stage, harness);
  yield* server.serve();
  const late = yield* server.end();
  assert(late === 0 && server.isEnded, `the end answered ${late}`);
  // Written, and nobody needs the frame.
  requireCached(harness, stage, "-");
  assert(stage.store.words[0] === 5, `the store has ${stage.store.words[0]}`);
};

/** Children that map the same: one exits, and another one is listed in its place. */
const forks: Body = function* (stage, harness) {
  const { machine, mm } = harness;
  for (const value of [5, 6]) {
    const child = Mm.at(machine.memory, yield* doFork(machine, mm));
    assert(yield* storeWord(harness, value, 0, child), "the child's store is refused");
    yield* sync(harness, stage);
    assert(stage.store.words[0] === value, `the store has ${stage.store.words[0]}`);
    yield* mmput(machine, child);
  }
};

/** The error code with which `task` ends; undefined: it returns. */
function* codeOf(task: Task<unknown>): Task<string | undefined> {
  try {
    yield* task;
    return undefined;
  } catch (error) {
    if (error instanceof HmmError) return error.code;
    throw error;
  }
}

/** As a call that blocks its thread. */
function* blocking(task: Task<unknown>): Task<string | undefined> {
  currentTask.isBlocking = true;
  const code = yield* codeOf(task);
  currentTask.isBlocking = false;
  return code;
}

/** Its own code has not answered: who would block for that is refused, and has nothing. */
const waitsForItself: Body = function* (stage, harness) {
  const { machine, mm } = harness;
  const late = new LateStore(stage.pages);
  setPager(machine, stage.cache, late);
  const requireRefused = function* (task: Task<unknown>): Task<void> {
    const code = yield* blocking(task);
    assert(code === "EDEADLK", `a wait for the thread itself ended with ${code}`);
    const { memory } = machine;
    const owned = listedResources(memory, memory.record).length;
    assert(owned === 1, `the thread owns ${owned} things, not the transfer alone`);
  };
  yield* requireRefused(loadWord(harness));
  yield* requireRefused(loadWord(harness));
  yield* finishTransfer(machine, late.io, 0);
  yield* requireWord(harness, FIRST);
  yield* mustStore(harness, 5);
  yield* requireRefused(doMsync(machine, mm, ADDRESS, PAGE_BYTES));
  yield* finishTransfer(machine, late.io, 0);
  requireCached(harness, stage, "c");
};

const unmapAll = ({ pages }: StoreStage, { machine, mm }: HmmHarness): Task<number> =>
  doMunmap(machine, mm, ADDRESS, pages * PAGE_BYTES);

export interface Alone {
  readonly name: string;
  readonly summary: string;
  readonly pages: number;
  readonly body: Body;
  readonly runs: readonly string[];
  /** Whether the thread has the code. Default true. */
  readonly isServed?: boolean;
  /** Whether the mapping is shared. Default true. */
  readonly shared?: boolean;
  /** Whether its mapping is the last that has the cache. Default false. */
  readonly isLast?: boolean;
}

const KINDS = /^(source|sourceServer|sourceIo|mapper|pageCache|mm|vma|words512)$/;

export function alone(parts: Alone): Covered {
  const { name, summary, pages, body, runs } = parts;
  const { isServed = true, shared = true, isLast = false } = parts;
  const scenario = harnessScenario<StoreStage>({
    name: `coverage/mm/file-alone/${name}`,
    summary,
    harness: { pages: 0, arenaWords: 16_384, frames: 16 },
    setup: (harness) => makeStage(harness, { pages, shared, coders: isServed ? [1] : [] }),
    reopen: ({ store: words }) => words.reset(pages),
    tasks: {
      *thread(stage, harness) {
        yield* body(stage, harness);
        if (isLast) yield* cachePut(harness.machine, stage.cache);
        yield* unmapAll(stage, harness);
        yield* mmput(harness.machine, harness.mm);
        if (!isLast) yield* cachePut(harness.machine, stage.cache);
      },
    },
    check: (_stage, { machine }) => {
      const { usedPages } = machine.ram.usage();
      assert(usedPages === 0, `${usedPages} frames are left`);
      const left = machine.heap.accounting().filter(({ name: kind }) => KINDS.test(kind));
      const names = left.map(({ name: kind, live }) => `${live} ${kind}`).join(", ");
      assert(left.length === 0, `left behind: ${names}`);
    },
  });
  return { layer: "mm", scenario, twins: [], runs: { thread: runs } };
}

export const READ: readonly string[] = [
  "mm/source/bring-in.bringIn",
  "mm/source/transfer.readPages",
];
export const WRITE: readonly string[] = [
  "mm/source/write-back.syncPages",
  "mm/source/transfer.beginWrite",
];

export const filesAlone: readonly Covered[] = [
  alone({
    name: "write-runs",
    summary: "Dirty pages are written in runs, and those between them are not.",
    pages: 4,
    body: writesRuns,
    runs: [...READ, ...WRITE],
  }),
  alone({
    name: "sizes",
    summary: "A file gets shorter inside a page, and longer again.",
    pages: 2,
    body: changesSize,
    runs: [...READ, ...WRITE, "mm/source/size.refreshSize"],
  }),
  alone({
    name: "failures",
    summary: "A write and a read fail: nothing is lost, and the next try does it.",
    pages: 2,
    body: fails,
    runs: [...READ, ...WRITE],
  }),
  alone({
    name: "unserved",
    summary: "Nobody serves a file: its pages cannot be had, and nobody waits for them.",
    pages: 1,
    body: unserved,
    runs: ["mm/source/requests.ask"],
    isServed: false,
  }),
  alone({
    name: "reclaim",
    summary: "RAM is short: pages that are as the file has them make room, unmapped ones first.",
    pages: 4,
    body: reclaims,
    runs: [...READ, ...WRITE, "mm/source/reclaim.reclaim"],
  }),
  alone({
    name: "serve",
    summary: "The service of a file ends with its last mapping, and not before.",
    pages: 1,
    body: serves,
    runs: [...READ, ...WRITE, "mm/source/serve.begin", "mm/source/serve.end"],
  }),
  alone({
    name: "own-transfers",
    summary: "A thread blocks for what only its own code can finish: EDEADLK, and nothing is left.",
    pages: 1,
    body: waitsForItself,
    runs: [...READ, ...WRITE, "mm/source/io.thenCleanUp"],
  }),
  alone({
    name: "last-mapping",
    summary: "The last that has a file is a mapping, which goes.",
    pages: 1,
    body: (_stage, harness) => requireWord(harness, FIRST),
    runs: ["mm/vma/vma-source.dropSourceOf", "mm/vma/page-cache.endCache"],
    isLast: true,
  }),
  alone({
    name: "forks",
    summary: "Spaces that share a file come and go; a write-back looks into each that lives.",
    pages: 1,
    body: forks,
    runs: [...READ, ...WRITE, "mm/vma/source.addMapper", "mm/lifetime/fork.doFork"],
  }),
];
