/**
 * @module The threads that serve a source, from the first mapping until it is let go: beside those
 * that ask them and may stop waiting, beside each other, and beside an end of the service. When all
 * have left, what was stored is in the store, and no record, no table and no frame is left.
 */

import { Cell } from "../../../../src/checker/primitives/program.ts";
import { type HmmHarness, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { struct, u32 } from "../../../../src/memory/layout/struct.ts";
import type { Struct, StructView } from "../../../../src/memory/layout/struct.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { mmget, mmput } from "../../../../src/mm/lifetime/mm.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { beginWait, bringIn } from "../../../../src/mm/source/bring-in.ts";
import { endWait } from "../../../../src/mm/source/requests.ts";
import { SourceServer } from "../../../../src/mm/source/serve.ts";
import { claim, dropClaim, openSource } from "../../../../src/mm/source/source-table.ts";
import { PageCache, cachePut } from "../../../../src/mm/vma/page-cache.ts";
import { sourceTable } from "../../../../src/mm/vma/source-list.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { EAGAIN, EIO } from "../../../../src/sync/errno.ts";
import { SegmentationFault, assert } from "../../../../src/sync/errors.ts";
import { listedResources } from "../../../../src/sync/lockdep/resources.ts";
import { Completion } from "../../../../src/sync/primitives/completion.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  ADDRESS,
  FIRST,
  type StoreStage,
  WordStore,
  loadWord,
  makeStage,
  storeWord,
} from "./store-stage.ts";

interface Service extends StoreStage {
  /** Of the thread that has begun one: for another task of the same thread. */
  server: SourceServer | undefined;
  /** That service has begun; of one that fails: the write-back has failed. */
  readonly hasBegun: Completion;
  /** A task that serves beside the one that ends has nothing to do any more. */
  readonly hasServed: Completion;
  /** 1: a store has returned. */
  readonly stored: Cell;
  /** The machine's own large tables, when the space and the cache are gone. */
  readonly tables: number;
}

type Body = (service: Service, harness: HmmHarness) => Task<unknown>;

interface Role {
  readonly runs: readonly string[];
  readonly body: Body;
}

const FAULT = ["mm/fault/cpu-fault.cpuFault", "mm/source/bring-in.bringIn"];
const ASK = [...FAULT, "mm/source/requests.ask"];
const SERVE = ["mm/source/serve.begin", "mm/source/serve.serve", "mm/source/serve.end"];

function* begin({ cache, store }: StoreStage, { machine }: HmmHarness): Task<SourceServer> {
  const server = yield* SourceServer.begin(machine, cache, store);
  assert(typeof server !== "number", "the service cannot begin");
  return server;
}

/** Serves until it has let the source go. */
function* serveToEnd(server: SourceServer): Task<void> {
  for (;;) {
    yield* server.serve();
    const answer = yield* server.end();
    if (answer === 0) return;
    if (answer !== EAGAIN) yield* server.waitUntilMapped();
  }
}

const serves: Role = {
  runs: SERVE,
  *body(service, harness) {
    yield* serveToEnd(yield* begin(service, harness));
  },
};

const unmap = ({ machine, mm }: HmmHarness, page = 0, pages = 1): Task<number> =>
  doMunmap(machine, mm, ADDRESS + page * PAGE_BYTES, pages * PAGE_BYTES);

/** Loads the page, and unmaps it. SIGBUS where nobody serves, or not yet. */
const loads = (page = 0): Role => ({
  runs: ASK,
  *body(_service, harness) {
    const seen = yield* loadWord(harness, page);
    assert(seen === undefined || seen === FIRST, `the page reads ${seen}`);
    yield* unmap(harness, page);
  },
});

const storesNine: Role = {
  runs: ASK,
  *body({ stored }, harness) {
    if (yield* storeWord(harness, 9)) yield* stored.store(1);
    yield* unmap(harness);
  },
};

function* waitOnce({ cache }: StoreStage, { machine, mm }: HmmHarness): Task<number> {
  yield* mm.mmapLock.downRead();
  const io = yield* beginWait(machine, cache, 0, 0);
  yield* mm.mmapLock.upRead();
  assert(io > 0, `the wait answered ${io}`);
  return io;
}

/** Waits for a while, gives up, and unmaps. */
const givesUp: Role = {
  runs: ["mm/source/bring-in.bringIn", "mm/source/requests.endWait"],
  *body(service, harness) {
    const io = yield* waitOnce(service, harness);
    const answer = yield* bringIn(harness.machine, io, 5);
    assert(answer === 0 || answer === EAGAIN || answer === EIO, `the wait answered ${answer}`);
    if (answer === EAGAIN) yield* endWait(harness.machine, io);
    yield* unmap(harness);
  },
};

/** Waits for a while, unmaps, and waits for the rest: the service may have ended meanwhile. */
const waitsAgain: Role = {
  runs: ["mm/source/bring-in.bringIn", "mm/source/requests.ask"],
  *body(service, harness) {
    const io = yield* waitOnce(service, harness);
    let answer = yield* bringIn(harness.machine, io, 5);
    yield* unmap(harness);
    if (answer === EAGAIN) answer = yield* bringIn(harness.machine, io);
    assert(answer === 0 || answer === EIO, `the wait answered ${answer}`);
  },
};

/** Needs no mapping: the service may end meanwhile. */
const waitsOn: Role = {
  runs: ["mm/source/bring-in.bringIn", "mm/source/requests.ask"],
  *body({ cache }, { machine }) {
    const io = yield* beginWait(machine, cache, 0, 0);
    assert(io > 0, `the wait answered ${io}`);
    const answer = yield* bringIn(machine, io);
    assert(answer === 0 || answer === EIO, `the wait answered ${answer}`);
  },
};

/** Answers what has been asked, and ends. */
const servesUnmapped: Role = {
  runs: SERVE,
  *body(service, harness) {
    const server = yield* begin(service, harness);
    yield* unmap(harness);
    yield* serveToEnd(server);
  },
};

const unmaps: Role = {
  runs: ["mm/calls/munmap.doMunmap"],
  body: (_service, harness) => unmap(harness),
};

/** Another thread may unmap the page meanwhile. */
const loadsMaybe: Role = {
  runs: ASK,
  *body(_service, harness) {
    try {
      const seen = yield* loadWord(harness);
      assert(seen === undefined || seen === FIRST, `the page reads ${seen}`);
    } catch (error) {
      if (!(error instanceof SegmentationFault)) throw error;
    }
  },
};

/** What one task of a thread does, and what another task of it does meanwhile. */
const endsFor = (loadsBefore: boolean): Role => ({
  runs: ["mm/source/serve.begin", "mm/source/serve.end"],
  *body(service, harness) {
    service.server = yield* begin(service, harness);
    yield* service.hasBegun.completeAll();
    if (loadsBefore) assert((yield* loadWord(harness)) === FIRST, "the page reads something else");
    yield* unmap(harness);
    const answer = yield* service.server.end();
    assert(answer === 0, `the end answered ${answer}`);
  },
});

/** As the last unmap of a thread of which another task may be answering a request. */
const endsBeside: Role = {
  runs: ["mm/source/serve.begin", "mm/source/serve.end", "mm/source/serve.isAnswering"],
  *body(service, harness) {
    yield* unmap(harness);
    service.server = yield* begin(service, harness);
    yield* service.hasBegun.completeAll();
    let answer = yield* service.server.end();
    if (answer === EAGAIN) {
      yield* service.hasServed.wait();
      answer = yield* service.server.end();
    }
    assert(answer === 0, `the end answered ${answer}`);
  },
};

const servesOnce: Role = {
  runs: ["mm/source/serve.serve"],
  *body(service) {
    yield* service.hasBegun.wait();
    yield* service.server?.serve() ?? endless();
    yield* service.hasServed.complete();
  },
};

const servesBeside: Role = {
  runs: ["mm/source/serve.serve"],
  *body(service) {
    yield* service.hasBegun.wait();
    yield* service.server?.serve() ?? endless();
  },
};

const waitsBeside: Role = {
  runs: ["mm/source/serve.waitUntilMapped"],
  *body(service) {
    yield* service.hasBegun.wait();
    yield* service.server?.waitUntilMapped() ?? endless();
  },
};

function endless(): never {
  throw new Error("the service has begun without a server");
}

/** The write-back after the last unmap fails; the source waits to be mapped again. */
const failsOnce: Role = {
  runs: [...SERVE, "mm/source/serve.waitUntilMapped"],
  *body(service, harness) {
    const { store: words } = service;
    const server = yield* begin(service, harness);
    assert(yield* storeWord(harness, 8), "the store is refused");
    words.fails = true;
    yield* unmap(harness);
    const answer = yield* server.end();
    assert(answer === EIO, `the end answered ${answer}`);
    words.fails = false;
    yield* service.hasBegun.complete();
    yield* server.waitUntilMapped();
    yield* serveToEnd(server);
  },
};

/** After the failure: maps the source at the next page, stores to it, and unmaps it. */
const mapsAgain: Role = {
  runs: ["mm/source/source-table.claim", "mm/calls/mmap.doMmap"],
  *body({ cache, hasBegun, stored }, harness) {
    const { machine, mm } = harness;
    yield* hasBegun.wait();
    const { lock } = yield* sourceTable(machine);
    yield* lock.lock();
    yield* claim(machine, cache);
    yield* lock.unlock();
    const place = { lengthBytes: PAGE_BYTES, address: ADDRESS + PAGE_BYTES, offsetPages: 0, cache };
    const mapped = yield* doMmap(machine, mm, {
      ...place,
      placement: MAP_FIXED_NOREPLACE,
      protection: VM_READ | VM_WRITE,
      shared: true,
      bufferPfn: 0,
    });
    assert(mapped === place.address, `the mapping answered ${mapped}`);
    yield* dropClaim(machine, cache);
    const seen = yield* loadWord(harness, 1);
    assert(seen === 8, `the page reads ${seen}; 8 was stored before the failure`);
    yield* storeWord(harness, 9, 1);
    yield* stored.store(1);
    yield* unmap(harness, 1);
  },
};

const ServiceWords: Struct<StructView> = struct<StructView>("serviceWords", {
  hasBegun: u32("atomic", "a completion"),
  hasServed: u32("atomic", "a completion"),
  stored: u32("atomic", "1: a store has returned"),
});

/** Each task leaves when it is done: the last one of the space, and of the source. */
function makeService(
  harness: HmmHarness,
  tasks: number,
  { pages = 1, keeps = true, coders = [] }: Life,
): Service {
  const { machine, mm } = harness;
  const words = harness.alloc(ServiceWords).at;
  const stage = makeStage(harness, { pages, coders });
  for (let i = 1; i < tasks; i++) {
    harness.run(mmget(mm));
    if (keeps) harness.run(PageCache.at(machine.memory, stage.cache).refs.get());
  }
  if (!keeps) harness.run(cachePut(machine, stage.cache));
  const { memory } = machine;
  return {
    ...stage,
    server: undefined,
    hasBegun: new Completion(memory, words, { name: "begun" }),
    hasServed: new Completion(memory, words + 1, { name: "served" }),
    stored: new Cell(memory, words + 2, "stored"),
    tables: largeTables(harness) - 2,
  };
}

function largeTables({ machine }: HmmHarness): number {
  return machine.heap.accounting().find(({ name }) => name === "words4096")?.live ?? 0;
}

/** No record of a source, of who serves it, asks it or maps it; no table, no frame. */
function requireAllGone(harness: HmmHarness, tables: number): void {
  const { machine } = harness;
  assert(largeTables(harness) === tables, `${largeTables(harness) - tables} large tables are left`);
  const { usedPages } = machine.ram.usage();
  assert(usedPages === 0, `${usedPages} frames are left`);
  const left = machine.heap
    .accounting()
    .filter(({ name }) =>
      /^(source|sourceServer|sourceIo|mapper|pageCache|mm|vma|words512)$/.test(name),
    );
  const names = left.map(({ name, live }) => `${live} ${name}`).join(", ");
  assert(left.length === 0, `left behind: ${names}`);
}

interface Life {
  readonly name: string;
  readonly summary: string;
  readonly roles: Readonly<Record<string, Role>>;
  readonly exploration: ScenarioExploration;
  readonly pages?: number;
  /** Each task holds a reference of the cache. */
  readonly keeps?: boolean;
  /** Agents that have the code from the beginning: other tasks of a thread that serves. */
  readonly coders?: readonly number[];
}

function life(parts: Life): Covered {
  const { name, summary, roles, exploration, pages = 1, keeps = true } = parts;
  const entries = Object.entries(roles);
  const bodies = entries.map(([task, { body }]) => [
    task,
    function* (service: Service, harness: HmmHarness): Task<void> {
      yield* body(service, harness);
      const { memory } = harness.machine;
      const listed = listedResources(memory, memory.record).length;
      assert(listed === 0, `the thread is still said to own ${listed} things`);
      if (keeps) yield* cachePut(harness.machine, service.cache);
      yield* mmput(harness.machine, harness.mm);
    },
  ]);
  const scenario = harnessScenario<Service>({
    name: `coverage/mm/serve/${name}`,
    summary,
    harness: { pages: 0, arenaWords: 16_384, frames: 8 },
    exploration,
    setup: (harness) => makeService(harness, entries.length, parts),
    reopen: (service) => {
      service.store.reset(pages);
      service.server = undefined;
    },
    tasks: Object.fromEntries(bodies),
    check: ({ store: { words }, stored, tables }, harness) => {
      requireAllGone(harness, tables);
      const hasStored = harness.machine.memory.words[stored.at] === 1;
      assert(!hasStored || words[0] === 9, `the store has ${words[0]}`);
    },
  });
  return {
    layer: "mm",
    scenario,
    twins: [],
    runs: Object.fromEntries(entries.map(([task, { runs }]) => [task, runs])),
  };
}

/** A service waits so often that there are too many orders to explore all. */
const ONE_PREEMPTION: ScenarioExploration = { engine: "bounded", preemptions: 1 };

export const serving: readonly Covered[] = [
  life({
    name: "store-vs-serve",
    summary: "A thread without the code stores to a page, and unmaps it: it is written back.",
    roles: { asks: storesNine, serves },
    exploration: ONE_PREEMPTION,
  }),
  life({
    name: "two-ask",
    summary: "Two threads ask for a page each; one reads for both.",
    roles: { asks: loads(0), "asks too": loads(1), serves },
    exploration: ONE_PREEMPTION,
    pages: 2,
  }),
  life({
    name: "two-serve",
    summary: "One thread asks, and two serve; each of them lets the source go.",
    roles: { asks: loads(), serves, "serves too": serves },
    exploration: { engine: "bounded", preemptions: 0 },
  }),
  life({
    name: "two-ask-vs-end",
    summary: "Two threads ask while the service ends: each is answered.",
    roles: { asks: waitsOn, "asks too": waitsOn, serves: servesUnmapped },
    exploration: ONE_PREEMPTION,
  }),
  life({
    name: "give-up-vs-serve",
    summary:
      "A thread asks for a page and stops waiting, before or after somebody takes its request.",
    roles: { "gives up": givesUp, serves },
    exploration: { engine: "bounded", preemptions: 2 },
  }),
  life({
    name: "wait-again-vs-serve",
    summary:
      "A thread asks, unmaps the page while it waits, and is answered even if the service ends.",
    roles: { waits: waitsAgain, serves },
    exploration: ONE_PREEMPTION,
  }),
  life({
    name: "ask-vs-munmap",
    summary:
      "The page is unmapped while a thread asks for it: nobody waits for a service that ended.",
    roles: { asks: loadsMaybe, unmaps, serves },
    exploration: ONE_PREEMPTION,
  }),
  life({
    name: "serve-vs-end",
    summary:
      "A task of a thread serves, and another task of the thread unmaps and ends the service.",
    roles: { serves: servesBeside, ends: endsFor(true) },
    exploration: ONE_PREEMPTION,
    keeps: false,
  }),
  life({
    name: "ask-vs-serve-vs-end",
    summary:
      "A task of a thread answers a request, and another task of the thread ends the service: who asks is answered once.",
    roles: { asks: waitsOn, serves: servesOnce, ends: endsBeside },
    exploration: { engine: "bounded", preemptions: 2 },
    coders: [2],
  }),
  life({
    name: "wait-vs-end",
    summary: "A task waits that its source is mapped again, and another one ends the service.",
    roles: { waits: waitsBeside, ends: endsFor(false) },
    exploration: ONE_PREEMPTION,
    keeps: false,
  }),
  life({
    name: "two-wait-vs-end",
    summary: "Two tasks wait that their source is mapped again, and a third one ends the service.",
    roles: { waits: waitsBeside, "waits too": waitsBeside, ends: endsFor(false) },
    exploration: ONE_PREEMPTION,
    keeps: false,
  }),
  life({
    name: "fail-vs-map",
    summary: "The last write-back fails, and the source is mapped again: its data are there still.",
    roles: { serves: failsOnce, maps: mapsAgain },
    exploration: ONE_PREEMPTION,
    pages: 1,
  }),
];

interface Opening {
  readonly store: WordStore;
  /** What serves each cache that has been opened, by the threads that have not ended it. */
  readonly serving: Map<SourceServer, number>;
  readonly tables: number;
}

const FILE = { device: 1n, inode: 2n, bornNs: 3n };
const FILE_SOURCE = { lengthBytes: PAGE_BYTES, isWritable: true, file: FILE } as const;

/** As `AddressSpace.mmap` of a file and the munmap after it, without the mapping. */
function* openAndEnd({ store: pager, serving: live }: Opening, harness: HmmHarness): Task<void> {
  const { machine } = harness;
  const cache = yield* openSource(machine, FILE_SOURCE);
  assert(cache > 0, `the source cannot be opened: ${cache}`);
  for (const [server, other] of live)
    assert(other === cache || server.isEnded, "one file has two sources at once");
  const server = yield* SourceServer.begin(machine, cache, pager);
  assert(typeof server !== "number", "the service cannot begin");
  live.set(server, cache);
  yield* dropClaim(machine, cache);
  yield* serveToEnd(server);
  live.delete(server);
}

function* openTwice(opening: Opening, harness: HmmHarness): Task<void> {
  yield* openAndEnd(opening, harness);
  yield* openAndEnd(opening, harness);
}

/** Opens the file, and then cannot begin to serve it. */
function* openInVain(_opening: Opening, { machine }: HmmHarness): Task<void> {
  const cache = yield* openSource(machine, FILE_SOURCE);
  assert(cache > 0, `the source cannot be opened: ${cache}`);
  yield* dropClaim(machine, cache);
}

const OPEN = ["mm/source/source-table.openSource", ...SERVE];
const IN_VAIN = ["mm/source/source-table.openSource", "mm/source/source-table.dropClaim"];

type OpeningBody = (opening: Opening, harness: HmmHarness) => Task<void>;

interface OpeningRole {
  readonly body: OpeningBody;
  readonly runs: readonly string[];
}

const once: OpeningRole = { body: openAndEnd, runs: OPEN };
const twice: OpeningRole = { body: openTwice, runs: OPEN };
const inVain: OpeningRole = { body: openInVain, runs: IN_VAIN };

function openingPair(
  name: string,
  summary: string,
  opens: OpeningRole,
  other: OpeningRole,
): Covered {
  const scenario = harnessScenario<Opening>({
    name: `coverage/mm/serve/${name}`,
    summary,
    harness: { pages: 0, arenaWords: 16_384, frames: 8 },
    exploration: ONE_PREEMPTION,
    setup: (harness) => {
      harness.run(mmput(harness.machine, harness.mm));
      return { store: new WordStore(1), serving: new Map(), tables: largeTables(harness) };
    },
    reopen: (shared) => {
      shared.store.reset(1);
      shared.serving.clear();
    },
    tasks: { opens: opens.body, other: other.body },
    check: ({ tables }, harness) => requireAllGone(harness, tables),
  });
  return { layer: "mm", scenario, twins: [], runs: { opens: opens.runs, other: other.runs } };
}

export const openings: readonly Covered[] = [
  openingPair("open-vs-open", "Two threads open one file, serve it and let it go.", once, once),
  openingPair("open-again", "A file is opened again while another thread lets it go.", twice, once),
  openingPair(
    "open-in-vain",
    "A thread opens a file and cannot serve it, while another one does.",
    inVain,
    once,
  ),
  openingPair("both-in-vain", "Two threads open a file, and neither can serve it.", inVain, inVain),
];
