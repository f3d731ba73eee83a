/**
 * @module A thread without the code of a source asks one that has it, and either of them may die.
 * The one that asks gets the page, or hears that nobody can read it; nobody waits for ever, and
 * what a dead thread had begun is undone.
 */

import {
  type HarnessScenario,
  type HmmHarness,
  harnessScenario,
} from "../../../../src/checker/harness/hmm-harness.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { beginWait } from "../../../../src/mm/source/bring-in.ts";
import { IO_QUEUED, SourceIo, setIoState } from "../../../../src/mm/source/io.ts";
import { ask, endWait } from "../../../../src/mm/source/requests.ts";
import { SourceServer } from "../../../../src/mm/source/serve.ts";
import {
  CACHE_READING,
  CACHE_WRITEBACK,
  PageCache,
  backingOf,
  cacheEntryAt,
} from "../../../../src/mm/vma/page-cache.ts";
import { EAGAIN } from "../../../../src/sync/errno.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  ADDRESS,
  FIRST,
  type StoreStage,
  loadWord,
  makeStage,
  storeWord,
  sync,
} from "./store-stage.ts";

type Body = (stage: StoreStage, harness: HmmHarness) => Task<unknown>;

/** Serves until nothing maps the source, and lets it go. */
const serves: Body = function* ({ cache, store: pager }, { machine }) {
  const server = yield* SourceServer.begin(machine, cache, pager);
  assert(typeof server !== "number", "the service cannot begin");
  yield* server.serve();
  const answer = yield* server.end();
  assert(answer === 0 || answer === EAGAIN, `the end answered ${answer}`);
};

const unmap = ({ machine, mm }: HmmHarness): Task<number> =>
  doMunmap(machine, mm, ADDRESS, PAGE_BYTES);

/** SIGBUS where nobody serves, or not yet. */
const asks: Body = function* (_stage, harness) {
  const seen = yield* loadWord(harness);
  assert(seen === undefined || seen === FIRST, `the page reads ${seen}`);
  yield* unmap(harness);
};

/** As `asks`, but the request is queued without a change of the word that who serves looks at. */
const asksUncounted: Body = function* ({ cache: at }, harness) {
  const { machine } = harness;
  const cache = PageCache.at(machine.memory, at);
  const source = backingOf(machine, at) ?? bug("the cache has no source");
  const wait = yield* beginWait(machine, at, 0, 0);
  const io = SourceIo.at(machine.memory, wait);
  yield* cache.lock.lock();
  const isServed = source.servers > 0;
  if (isServed) {
    setIoState(io, IO_QUEUED);
    source.requests.addTail(io.node);
  }
  yield* cache.lock.unlock();
  if (isServed) {
    yield* source.serveQueue.wakeAll();
    yield* ask(machine, source, wait, Infinity);
  }
  yield* endWait(machine, wait);
  yield* unmap(harness);
};

/** Serves itself. */
const reads: Body = function* (_stage, harness) {
  const seen = yield* loadWord(harness);
  assert(seen === FIRST, `the page reads ${seen}`);
};

const writes: Body = function* (stage, harness) {
  if (yield* storeWord(harness, 9)) yield* sync(harness, stage);
};

/** Nothing is under way; what is dirty is counted. */
function requireQuiet({ cache }: StoreStage, { machine }: HmmHarness): void {
  const entry = cacheEntryAt(machine.memory, PageCache.at(machine.memory, cache), 0);
  assert((entry & (CACHE_READING | CACHE_WRITEBACK)) === 0, `the page's entry is ${entry}`);
  const source = backingOf(machine, cache);
  assert(source?.requests.isEmpty() === true, "a request is left");
}

const HARNESS = { pages: 0, arenaWords: 16_384, frames: 8 } as const;
const FAULT = ["mm/fault/cpu-fault.cpuFault", "mm/source/bring-in.bringIn"];
const SERVE = ["mm/source/serve.serve", "mm/source/serve.end"];

const asking: Omit<HarnessScenario<StoreStage>, "tasks"> = {
  name: "coverage/mm/file/ask-vs-serve",
  summary: "A thread without the code touches a page, which another one reads for it; it unmaps.",
  harness: HARNESS,
  exploration: { engine: "bounded", preemptions: 1 },
  setup: (harness) => makeStage(harness, { coders: [] }),
  reopen: ({ store: words }) => words.reset(1),
  check: (stage, harness) => {
    requireQuiet(stage, harness);
    const { refs } = PageCache.at(harness.machine.memory, stage.cache);
    assert(refs.read() === 1, `the cache has ${refs.read()} references`);
  },
};

const askedAndServed: Covered = {
  layer: "mm",
  scenario: harnessScenario<StoreStage>({ ...asking, tasks: { asks, serves } }),
  twins: [
    harnessScenario<StoreStage>({
      ...asking,
      name: `${asking.name}/uncounted`,
      summary:
        "The request does not change the word that the serving thread looks at before it sleeps: that one sleeps on, and both wait for ever.",
      expects: "lost-wakeup",
      tasks: { asks: asksUncounted, serves },
    }),
  ],
  runs: { asks: [...FAULT, "mm/source/requests.ask"], serves: SERVE },
};

/** A service waits so often that there are too many orders to explore all. */
const SAMPLED: ScenarioExploration = { engine: "random", executions: 150 };
const ONE_AFTER_THE_OTHER: ScenarioExploration = { engine: "bounded", preemptions: 0 };

/** `dies` may be killed at any point; the other one comes to an end. */
function death(
  name: string,
  summary: string,
  dies: Body,
  other: Body,
  coders: readonly number[],
  runs: readonly (readonly string[])[],
  exploration: ScenarioExploration,
): Covered {
  const scenario = harnessScenario<StoreStage>({
    name: `coverage/mm/death/${name}`,
    summary,
    exploration: { deaths: 1, ...exploration },
    killable: ["dies"],
    harness: HARNESS,
    setup: (harness) => makeStage(harness, { coders }),
    reopen: ({ store: words }) => words.reset(1),
    tasks: { dies, other },
    check: requireQuiet,
  });
  return {
    layer: "mm",
    scenario,
    twins: [],
    runs: { dies: runs[0] ?? [], other: runs[1] ?? [] },
  };
}

export const servedFiles: readonly Covered[] = [
  askedAndServed,
  death(
    "source-server",
    "The only thread that has the code of a source dies at any point: who asks is answered.",
    serves,
    asks,
    [],
    [SERVE, FAULT],
    SAMPLED,
  ),
  death(
    "source-reader",
    "A thread that reads a page of a source dies at any point: another one reads it.",
    reads,
    reads,
    [0, 1, 2],
    [FAULT, FAULT],
    ONE_AFTER_THE_OTHER,
  ),
  death(
    "source-writer",
    "A thread that writes a page back dies at any point: another one stores and writes.",
    writes,
    writes,
    [0, 1, 2],
    [[...FAULT, "mm/calls/msync.doMsync"], FAULT],
    ONE_AFTER_THE_OTHER,
  ),
];
