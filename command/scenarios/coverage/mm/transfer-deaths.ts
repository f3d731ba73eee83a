/**
 * @module Threads that die while they have a transfer, a request or a service: what they had is
 * given back by the shipped releasers, down to each record and each count of a frame.
 *
 * A thread may die between the moment at which it has something and the one at which that is
 * listed, and then that leaks (docs/LIMITS.md). So the threads here say when they have no such
 * thing: `phase` is odd.
 */

import { Cell } from "../../../../src/checker/primitives/program.ts";
import {
  HARNESS_PAGE,
  type HmmHarness,
  harnessScenario,
} from "../../../../src/checker/harness/hmm-harness.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { struct, u32 } from "../../../../src/memory/layout/struct.ts";
import type { Struct, StructView } from "../../../../src/memory/layout/struct.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { PAGE_BYTES, holdsFrame, ptePfn } from "../../../../src/mm/pte.ts";
import { beginWait } from "../../../../src/mm/source/bring-in.ts";
import { setPager } from "../../../../src/mm/source/pager.ts";
import { ask, endWait } from "../../../../src/mm/source/requests.ts";
import { SourceServer } from "../../../../src/mm/source/serve.ts";
import {
  beginWrite,
  finishTransfer,
  readPages,
  writeRun,
} from "../../../../src/mm/source/transfer.ts";
import {
  CACHE_DIRTY,
  CACHE_READING,
  CACHE_WRITEBACK,
  PageCache,
  backingOf,
  cacheEntryAt,
  cacheEntryPfn,
} from "../../../../src/mm/vma/page-cache.ts";
import type { Source } from "../../../../src/mm/vma/source.ts";
import { EAGAIN, EIO, type Errno } from "../../../../src/sync/errno.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  ADDRESS,
  FIRST,
  LateStore,
  type StoreStage,
  loadWord,
  makeStage,
  storeWord,
} from "./store-stage.ts";

export interface Shared extends StoreStage {
  readonly late: LateStore;
  readonly phase: Cell;
}

export type Body = (shared: Shared, harness: HmmHarness) => Task<unknown>;

const PhaseWord: Struct<StructView> = struct<StructView>("transferPhase", {
  phase: u32("atomic", "odd: whoever may die has nothing that is not listed"),
});

function partsOf({ machine }: HmmHarness, at: number): { cache: PageCache; source: Source } {
  const source = backingOf(machine, at) ?? bug("the cache has no source");
  return { cache: PageCache.at(machine.memory, at), source };
}

export const readsLate: Body = function* ({ cache: at, late, phase }, harness) {
  const { machine } = harness;
  const { cache, source } = partsOf(harness, at);
  setPager(machine, at, late);
  const answer = yield* readPages(machine, cache, source, late, 0, 1);
  assert(answer === 0, `the read answered ${answer}`);
  yield* phase.store(1);
  yield* phase.store(2);
  if (late.io !== 0) yield* finishTransfer(machine, late.io, 0);
  yield* phase.store(3);
};

export const writesLate: Body = function* ({ cache: at, late, phase }, harness) {
  const { machine } = harness;
  const { cache, source } = partsOf(harness, at);
  const run = yield* beginWrite(machine, cache, source, 0, 1);
  if (run === undefined || typeof run === "number") return;
  yield* writeRun(machine, cache, source, late, run);
  yield* phase.store(1);
  yield* phase.store(2);
  yield* finishTransfer(machine, late.io, 0);
  yield* phase.store(3);
};

/** Waits for a while, and gives up. */
const asks: Body = function* ({ cache, phase }, harness) {
  const { machine } = harness;
  const io = yield* beginWait(machine, cache, 0, 0);
  assert(io > 0, `the wait answered ${io}`);
  yield* phase.store(1);
  const answer: Errno = yield* ask(machine, partsOf(harness, cache).source, io, 5);
  assert(answer === 0 || answer === EAGAIN || answer === EIO, `the wait answered ${answer}`);
  yield* phase.store(2);
  yield* endWait(machine, io);
  yield* phase.store(3);
};

/** As long as it takes. */
export const asksOn: Body = function* ({ cache }, harness) {
  const { machine } = harness;
  const io = yield* beginWait(machine, cache, 0, 0);
  assert(io > 0, `the wait answered ${io}`);
  const answer = yield* ask(machine, partsOf(harness, cache).source, io, Infinity);
  assert(answer === 0 || answer === EIO, `the wait answered ${answer}`);
  yield* endWait(machine, io);
};

/** Answers what has been asked; then nothing is mapped, and nobody serves any more. */
export const serves: Body = function* ({ cache, store: pager, phase }, harness) {
  const { machine, mm } = harness;
  const server = yield* SourceServer.begin(machine, cache, pager);
  assert(typeof server !== "number", "the service cannot begin");
  if (phase.memory.agentId === 1) yield* phase.store(1);
  yield* doMunmap(machine, mm, ADDRESS, PAGE_BYTES);
  yield* server.serve();
  if (phase.memory.agentId === 1) yield* phase.store(2);
  for (let answer = yield* server.end(); answer !== 0; answer = yield* server.end()) {
    assert(answer === EAGAIN, `the end answered ${answer}`);
    yield* server.serve();
  }
  if (phase.memory.agentId === 1) yield* phase.store(3);
};

/** Has a wait for the page, and does nothing with it. */
const waits: Body = function* ({ cache, phase }, { machine }) {
  const io = yield* beginWait(machine, cache, 0, 0);
  assert(io > 0, `the wait answered ${io}`);
  yield* phase.store(1);
  yield* phase.store(2);
  yield* endWait(machine, io);
  yield* phase.store(3);
};

/** A read that is under way when the other thread dies. */
const readsOn: Body = function* ({ cache: at, late }, harness) {
  const { machine } = harness;
  const { cache, source } = partsOf(harness, at);
  const answer = yield* readPages(machine, cache, source, late, 0, 1);
  assert(answer === 0 && late.io !== 0, `the read answered ${answer}`);
  yield* finishTransfer(machine, late.io, 0);
  const seen = yield* loadWord(harness);
  assert(seen === FIRST, `the page reads ${seen}`);
};

const loads: Body = function* (_shared, harness) {
  const seen = yield* loadWord(harness);
  assert(seen === FIRST, `the page reads ${seen}`);
};

/** The page that was dirty has what was stored, and may be stored to. */
const loadsNine: Body = function* (_shared, harness) {
  const seen = yield* loadWord(harness);
  assert(seen === 9, `the page reads ${seen}`);
  yield* storeWord(harness, 9);
};

function requireQuiet({ cache }: Shared, { machine }: HmmHarness): void {
  const entry = cacheEntryAt(machine.memory, PageCache.at(machine.memory, cache), 0);
  assert((entry & (CACHE_READING | CACHE_WRITEBACK)) === 0, `the page's entry is ${entry}`);
  const source = backingOf(machine, cache);
  assert(source?.requests.isEmpty() === true, "a request is left");
  const dirtyPages = (entry & CACHE_DIRTY) === 0 ? 0 : 1;
  assert(source.dirtyPages === dirtyPages, `${source.dirtyPages} pages are counted dirty`);
  // Who has begun to serve has ended, or died.
  assert(source.servers === 0, `${source.servers} threads are counted as serving`);
}

/** Each count of a frame is somebody's, and no frame is lost. */
function requireFrames({ cache }: Shared, harness: HmmHarness): void {
  const { ram, memory } = harness.machine;
  const pfn = cacheEntryPfn(cacheEntryAt(memory, PageCache.at(memory, cache), 0));
  const { usedPages } = ram.usage();
  assert(usedPages === (pfn === 0 ? 0 : 1), `${usedPages} frames are in use`);
  if (pfn === 0) return;
  const pte = harness.entryOf(HARNESS_PAGE);
  const owners = 1 + (holdsFrame(pte) && ptePfn(pte) === pfn ? 1 : 0);
  const counts = ram.refs.pageCount(pfn);
  assert(counts === owners, `the frame has ${counts} counts, and ${owners} have it`);
}

export function requireNoRecords(harness: HmmHarness, kinds: readonly string[]): void {
  const left = harness.machine.heap.accounting().filter(({ name }) => kinds.includes(name));
  const names = left.map(({ name, live }) => `${live} ${name}`).join(", ");
  assert(left.length === 0, `left behind: ${names}`);
}

export interface Death {
  readonly name: string;
  readonly summary: string;
  readonly dies: Body;
  readonly others: readonly Body[];
  /** Agents that have the store's code. */
  readonly coders: readonly number[];
  readonly exploration: ScenarioExploration;
  readonly isDirty?: boolean;
  readonly setup?: Body;
  /** In an odd phase. */
  readonly check: (shared: Shared, harness: HmmHarness) => void;
  /** In every phase. */
  readonly checkAll?: (shared: Shared, harness: HmmHarness) => void;
  readonly runs: readonly (readonly string[])[];
}

export function death(parts: Death): Covered {
  const { name, summary, dies, others, coders, exploration, isDirty = false, runs } = parts;
  const names = ["other", "third"].slice(0, others.length);
  const bodies = Object.fromEntries(others.map((body, i) => [names[i] ?? "", body]));
  const scenario = harnessScenario<Shared>({
    name: `coverage/mm/death/${name}`,
    summary,
    exploration: { deaths: 1, ...exploration },
    killable: ["dies"],
    harness: { pages: 0, arenaWords: 16_384, frames: 8 },
    setup: (harness) => {
      const word = harness.alloc(PhaseWord).at;
      const stage = makeStage(harness, { coders: isDirty ? [0, ...coders] : coders });
      if (isDirty) harness.run(storeWord(harness, 9));
      const phase = new Cell(harness.machine.memory, word, "phase");
      const shared = { ...stage, late: new LateStore(1), phase };
      if (parts.setup !== undefined) harness.run(parts.setup(shared, harness));
      return shared;
    },
    reopen: ({ store: words, late }) => {
      words.reset(1);
      late.reset(1);
      late.io = 0;
    },
    tasks: { dies, ...bodies },
    check: (shared, harness) => {
      requireQuiet(shared, harness);
      parts.checkAll?.(shared, harness);
      const isExact = harness.machine.memory.words[shared.phase.at]! % 2 === 1;
      if (isExact) parts.check(shared, harness);
    },
  });
  const all = Object.fromEntries(["dies", ...names].map((task, i) => [task, runs[i] ?? []]));
  return { layer: "mm", scenario, twins: [], runs: all };
}

const ASK = ["mm/source/requests.ask", "mm/source/requests.endWait"];
const SERVE = ["mm/source/serve.begin", "mm/source/serve.serve", "mm/source/serve.end"];
const FAULT = ["mm/fault/cpu-fault.cpuFault"];
const ONE_AFTER_THE_OTHER: ScenarioExploration = { engine: "bounded", preemptions: 0 };

export const transferDeaths: readonly Covered[] = [
  death({
    name: "late-reader",
    summary: "A thread dies while its code reads a page: another one reads it.",
    dies: readsLate,
    others: [loads],
    coders: [2],
    exploration: ONE_AFTER_THE_OTHER,
    check: (shared, harness) => {
      requireFrames(shared, harness);
      requireNoRecords(harness, ["sourceIo"]);
    },
    runs: [["mm/source/transfer.readPages", "mm/source/transfer.finishTransfer"], FAULT],
  }),
  death({
    name: "late-reader-of-two",
    summary: "A thread dies while its code reads a page for which two others wait.",
    dies: readsLate,
    others: [loads, loads],
    coders: [2, 3],
    exploration: ONE_AFTER_THE_OTHER,
    check: (_shared, harness) => requireNoRecords(harness, ["sourceIo"]),
    runs: [["mm/source/transfer.readPages", "mm/source/transfer.finishTransfer"], FAULT, FAULT],
  }),
  death({
    name: "waiter",
    summary: "A thread dies that waits for a page: who reads the page goes on.",
    dies: waits,
    others: [readsOn],
    coders: [2],
    exploration: { engine: "bounded", preemptions: 1 },
    check: (shared, harness) => {
      requireFrames(shared, harness);
      requireNoRecords(harness, ["sourceIo"]);
    },
    runs: [ASK.slice(1), ["mm/source/transfer.readPages", "mm/source/transfer.finishTransfer"]],
  }),
  death({
    name: "late-writer",
    summary: "A thread dies while its code writes a page: the page is dirty again.",
    dies: writesLate,
    others: [loadsNine],
    coders: [1, 2],
    exploration: ONE_AFTER_THE_OTHER,
    isDirty: true,
    check: (shared, harness) => {
      requireFrames(shared, harness);
      requireNoRecords(harness, ["sourceIo"]);
    },
    runs: [["mm/source/transfer.beginWrite", "mm/source/transfer.finishTransfer"], FAULT],
  }),
  death({
    name: "asker",
    summary: "A thread that asks for a page dies at any point: who has its request ends it.",
    dies: asks,
    others: [serves],
    coders: [],
    exploration: { engine: "bounded", preemptions: 1 },
    check: (_shared, harness) => requireNoRecords(harness, ["sourceIo", "sourceServer"]),
    runs: [ASK, SERVE],
  }),
  death({
    name: "one-of-two-servers",
    summary: "One of two threads that serve dies at any point: the other one answers.",
    dies: serves,
    others: [asksOn, serves],
    coders: [],
    exploration: { engine: "random", executions: 300 },
    check: (_shared, harness) => requireNoRecords(harness, ["sourceServer"]),
    runs: [SERVE, ASK, SERVE],
  }),
];
