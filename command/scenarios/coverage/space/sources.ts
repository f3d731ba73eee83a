/**
 * @module Sources of a program's own that a thread maps and serves. A source is let go with its
 * last mapping, whichever operation ends that, and what was stored is in it then. While it is
 * served, the same object is the same source.
 */

import { type HmmHarness, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { struct, u32 } from "../../../../src/memory/layout/struct.ts";
import type { Struct, StructView } from "../../../../src/memory/layout/struct.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { claim, dropClaim } from "../../../../src/mm/source/source-table.ts";
import { sourceTable } from "../../../../src/mm/vma/source-list.ts";
import { PageCache, backingOf } from "../../../../src/mm/vma/page-cache.ts";
import { vmaOf } from "../../../../src/mm/vma/vma.ts";
import { mmapTask, mremapTask, munmapTask } from "../../../../src/space/operations.ts";
import { SpaceHold } from "../../../../src/space/space-hold.ts";
import type { MappingSource } from "../../../../src/space/source-pagers.ts";
import { createSpaceTable } from "../../../../src/space/space-table.ts";
import { EMFILE, ENOMEM } from "../../../../src/sync/errno.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import { Completion } from "../../../../src/sync/primitives/completion.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { type Attempt, attempted, crowded } from "../attempts.ts";
import type { Covered } from "../covered.ts";
import { codeOf, makeSeat, makeSources, mapping } from "./stage.ts";

/** Where the source is mapped, and mapped again or something else is. */
const PLACE: number = 128 * PAGE_BYTES;
const BESIDE: number = 160 * PAGE_BYTES;
const FIRST = 7;

/** One page of a program's own. */
class WordSource implements MappingSource {
  readonly lengthBytes = PAGE_BYTES;
  word: number = FIRST;
  fails = false;

  read(_offsetBytes: number, into: Uint8Array): void {
    new Int32Array(into.buffer, into.byteOffset, 1)[0] = this.word;
  }

  write(_offsetBytes: number, from: Uint8Array): void {
    if (this.fails) throw new Error("the store is full");
    this.word = new Int32Array(from.buffer, from.byteOffset, 1)[0]!;
  }
}

interface World {
  hold: SpaceHold;
  source: WordSource;
  /** What serves the sources, in the order in which they were mapped. */
  serving: Task<void>[];
}

/** On a seat without anything of its own. `operations.ts` needs of a hold its mm and its seat. */
function openWorld(harness: HmmHarness, world: Partial<World> = {}): World {
  const { machine, mm } = harness;
  const table =
    world.hold?.seat.table ?? harness.run(createSpaceTable(machine, new Uint32Array(2)));
  const serving: Task<void>[] = [];
  const seat = makeSeat(machine, table, makeSources(machine, serving));
  const hold = new SpaceHold(seat, { record: 0, slot: 0, mm, number: 0 });
  return Object.assign(world, { hold, source: new WordSource(), serving });
}

const mapSource = ({ hold, source }: World, at: number = PLACE): Task<number> =>
  mmapTask(hold, mapping(1, at), { source });

/** Records of sources. A mapping in their place has a page cache of its own. */
function requireGone({ machine }: HmmHarness, after: string): void {
  const left = machine.heap
    .accounting()
    .filter(({ name }) => /^(source|sourceServer|sourceIo)$/.test(name))
    .map(({ name, live }) => `${live} ${name}`);
  assert(left.length === 0, `after ${after} there is still ${left.join(", ")}`);
}

function requireWord({ word }: WordSource, wanted: number, after: string): void {
  assert(word === wanted, `after ${after} the source has ${word}`);
}

/** The task that serves ends with the source. */
function* requireEnded({ serving }: World): Task<void> {
  for (const task of serving.splice(0)) yield* task;
}

/** Each operation that ends the last mapping of a source lets it go, written back. */
function* mapAndEnd(world: World, harness: HmmHarness): Task<void> {
  const { hold, source } = world;
  const cpu = new HarnessCpu(harness);
  yield* mapSource(world);
  assert((yield* cpu.load(PLACE)) === FIRST, "the page reads something else than the source has");
  yield* cpu.store(PLACE, 8);
  yield* munmapTask(hold, PLACE, PAGE_BYTES);
  requireWord(source, 8, "munmap");
  yield* requireEnded(world);
  requireGone(harness, "munmap");
  yield* mapSource(world);
  yield* cpu.store(PLACE, 9);
  yield* mmapTask(hold, mapping(1, PLACE), {});
  requireWord(source, 9, "mmap in its place");
  yield* requireEnded(world);
  requireGone(harness, "mmap in its place");
  yield* munmapTask(hold, PLACE, PAGE_BYTES);
}

/** Another mapping is moved to its place, or it finds one there. */
function* moveAndRefuse(world: World, harness: HmmHarness): Task<void> {
  const { hold, source } = world;
  yield* mmapTask(hold, mapping(1, BESIDE), {});
  yield* mapSource(world);
  const lengths = { oldLengthBytes: PAGE_BYTES, newLengthBytes: PAGE_BYTES };
  yield* mremapTask(hold, { address: BESIDE, ...lengths, mayMove: true, to: PLACE });
  yield* requireEnded(world);
  requireGone(harness, "mremap to its place");
  const refused = { ...mapping(1, PLACE), placement: MAP_FIXED_NOREPLACE };
  const code = yield* codeOf(mmapTask(hold, refused, { source }));
  assert(code === "EEXIST", `a mapping where there is one answered ${code}`);
  yield* requireEnded(world);
  requireGone(harness, "a mapping that failed");
  yield* munmapTask(hold, PLACE, PAGE_BYTES);
}

/** Both mappings have the same pages, and the source stays as long as either does. */
function* mapTwice(world: World, harness: HmmHarness): Task<void> {
  const { hold, source } = world;
  const cpu = new HarnessCpu(harness);
  yield* mapSource(world);
  yield* cpu.store(PLACE, 8);
  yield* mapSource(world, BESIDE);
  assert((yield* cpu.load(BESIDE)) === 8, "a source that is mapped twice is two");
  yield* munmapTask(hold, PLACE, PAGE_BYTES);
  assert((yield* cpu.load(BESIDE)) === 8, "the second mapping has lost its page");
  yield* munmapTask(hold, BESIDE, PAGE_BYTES);
  requireWord(source, 8, "the last munmap");
  yield* requireEnded(world);
  requireGone(harness, "the last munmap");
}

const ACQUIRE = ["space/sources.acquire", "space/sources.#begin", "space/sources.release"] as const;
const SETTLE = ["space/sources.settle", "space/sources.serveUntilEnded"] as const;

function alone(
  name: string,
  summary: string,
  runs: readonly string[],
  task: (world: World, harness: HmmHarness) => Task<void>,
): Covered {
  return {
    layer: "space",
    scenario: harnessScenario<World>({
      name: `coverage/space/alone/${name}`,
      summary,
      harness: { pages: 0, arenaWords: 16_384 },
      setup: (harness) => openWorld(harness),
      reopen: (world, harness) => void openWorld(harness, world),
      tasks: { task },
      check: (_world, harness) => requireGone(harness, "everything"),
    }),
    twins: [],
    runs: { task: runs },
  };
}

/** A source that cannot be served is not listed, nor is anything of it left. */
const map: Attempt<World> = {
  layer: "space",
  name: "map-source",
  summary: "A source of the program's own is mapped.",
  runs: ["space/operations.mmapSource", "space/sources.#begin"],
  harness: { pages: 0 },
  setup: (harness) => openWorld(harness),
  *act(harness, world) {
    openWorld(harness, world); // nothing of an execution that was left in the middle
    let at = 0;
    const code = yield* codeOf(
      (function* () {
        at = yield* mapSource(world);
      })(),
    );
    if (code === "") return at;
    if (code === "ENOMEM") return ENOMEM;
    return code === "EMFILE" ? EMFILE : bug(`mapping a source answered ${code}`);
  },
  also: ({ machine }) =>
    machine.heap
      .accounting()
      .filter(({ name }) => /^source(Server|Io)?$/.test(name))
      .map(({ name, live }) => `${live} ${name}`)
      .join(", "),
  wanted: "64-65 rw shared: 0",
  undo: (_harness, { hold }) => munmapTask(hold, PLACE, PAGE_BYTES),
};

/** A thread that has the code and gives itself to serving, and one that has not. */
interface Service extends World {
  readonly hasBegun: Completion;
}

const ServiceWords: Struct<StructView> = struct<StructView>("servedWords", {
  hasBegun: u32("atomic", "a completion"),
});

function openService(harness: HmmHarness): Service {
  const hasBegun = new Completion(harness.machine.memory, harness.alloc(ServiceWords).at, {
    name: "begun",
  });
  return Object.assign(openWorld(harness), { hasBegun });
}

function* mapAndServe(service: Service): Task<void> {
  yield* mapSource(service);
  yield* service.hasBegun.complete();
  yield* requireEnded(service);
}

/** Not with `munmapTask`: this thread has no sources. */
const unmap = ({ machine, mm }: HmmHarness): Task<number> =>
  doMunmap(machine, mm, PLACE, PAGE_BYTES);

function* storeAndUnmap({ hasBegun }: Service, harness: HmmHarness): Task<void> {
  const cpu = new HarnessCpu(harness);
  yield* hasBegun.wait();
  assert((yield* cpu.load(PLACE)) === FIRST, "the page reads something else than the source has");
  yield* cpu.store(PLACE, 8);
  yield* unmap(harness);
}

/** What is stored cannot be written back. Returns the cache. */
function* storeInVain({ hasBegun, source }: Service, harness: HmmHarness): Task<number> {
  const { machine, mm } = harness;
  yield* hasBegun.wait();
  source.fails = true;
  yield* new HarnessCpu(harness).store(PLACE, 8);
  yield* mm.mmapLock.downRead();
  const cache = vmaOf(machine.memory, mm, PLACE / PAGE_BYTES)?.source ?? 0;
  yield* mm.mmapLock.upRead();
  yield* unmap(harness);
  return cache;
}

/** From then on it can. */
function* mapAgain({ source }: Service, harness: HmmHarness, cache: number): Task<void> {
  const { machine, mm } = harness;
  const table = yield* sourceTable(machine);
  yield* table.lock.lock();
  yield* claim(machine, cache);
  yield* table.lock.unlock();
  const mapped = yield* doMmap(machine, mm, { ...mapping(1, PLACE), cache });
  assert(mapped === PLACE, `the mapping answered ${mapped}`);
  yield* dropClaim(machine, cache);
  source.fails = false;
  yield* unmap(harness);
}

function* storeAndMapAgain(service: Service, harness: HmmHarness): Task<void> {
  yield* mapAgain(service, harness, yield* storeInVain(service, harness));
}

function served(
  name: string,
  summary: string,
  preemptions: number,
  runs: readonly string[],
  asks: (service: Service, harness: HmmHarness) => Task<void>,
): Covered {
  return {
    layer: "space",
    scenario: harnessScenario<Service>({
      name: `coverage/space/${name}`,
      summary,
      exploration: { engine: "bounded", preemptions },
      harness: { pages: 0, arenaWords: 16_384 },
      setup: openService,
      reopen: (service, harness) => void openWorld(harness, service),
      tasks: { serves: mapAndServe, asks },
      check({ source }, harness) {
        requireWord(source, 8, "the end of the service");
        requireGone(harness, "everything");
      },
    }),
    twins: [],
    runs: { serves: [...ACQUIRE, "space/sources.serveUntilEnded"], asks: runs },
  };
}

/** A third task maps the source again. */
interface ServiceInTurn extends Service {
  readonly hasGone: Completion;
  cache: number;
}

const servedInTurn: Covered = {
  layer: "space",
  scenario: harnessScenario<ServiceInTurn>({
    name: "coverage/space/source-served-in-turn",
    summary:
      "As source-served-again, where no task is interrupted: who serves sleeps until there is a mapping.",
    exploration: { engine: "bounded", preemptions: 0 },
    harness: { pages: 0, arenaWords: 16_384 },
    setup: (harness) => {
      const { at } = harness.alloc(ServiceWords);
      const hasGone = new Completion(harness.machine.memory, at, { name: "gone" });
      return Object.assign(openService(harness), { hasGone, cache: 0 });
    },
    reopen: (service, harness) => void openWorld(harness, service),
    tasks: {
      serves: mapAndServe,
      *goes(service, harness) {
        service.cache = yield* storeInVain(service, harness);
        yield* service.hasGone.complete();
      },
      *comes(service, harness) {
        yield* service.hasGone.wait();
        yield* mapAgain(service, harness, service.cache);
      },
    },
    check({ source }, harness) {
      requireWord(source, 8, "the end of the service");
      requireGone(harness, "everything");
    },
  }),
  twins: [],
  runs: {
    serves: [...ACQUIRE, "space/sources.serveUntilEnded", "mm/source/serve.waitUntilMapped"],
    goes: ["mm/source/requests.ask"],
    comes: ["mm/source/source-table.claim"],
  },
};

/** Two tasks of one thread, which has one list of sources. */
interface Pair extends Service {
  /** The other task comes, and it has done. */
  readonly comes: Completion;
  readonly hasDone: Completion;
  /** How often a service has begun. */
  begun: number;
}

function openPair(harness: HmmHarness): Pair {
  const service = openService(harness);
  const completion = (name: string): Completion =>
    new Completion(harness.machine.memory, harness.alloc(ServiceWords).at, { name });
  const own = { comes: completion("comes"), hasDone: completion("done"), begun: 0 };
  const pair = { ...service, ...own };
  reopenPair(pair, harness);
  return pair;
}

function reopenPair(pair: Pair, harness: HmmHarness): void {
  const { machine, mm } = harness;
  const sources = makeSources(machine, [], () => void pair.begun++);
  const seat = makeSeat(machine, pair.hold.seat.table, sources);
  pair.begun = 0;
  pair.source = new WordSource();
  pair.hold = new SpaceHold(seat, { record: 0, slot: 0, mm, number: 0 });
}

/** Has the source for a while, and lets it go again. */
function* holdsAndSettles({ hold, source, hasBegun, comes, hasDone }: Pair): Task<void> {
  const { sources } = hold.seat;
  const cache = yield* sources.acquire(source);
  yield* hasBegun.complete();
  yield* comes.wait();
  yield* sources.release(cache);
  yield* sources.settle();
  yield* hasDone.wait();
  yield* sources.settle();
}

/** Maps the source meanwhile: what it gets is served as long as it is mapped. */
function* mapsBeside(pair: Pair, harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  yield* pair.hasBegun.wait();
  yield* pair.comes.complete();
  yield* mapSource(pair);
  const cache = vmaOf(machine.memory, mm, PLACE / PAGE_BYTES)?.source ?? 0;
  const { lock } = PageCache.at(machine.memory, cache);
  yield* lock.lock();
  const servers = backingOf(machine, cache)?.servers;
  yield* lock.unlock();
  assert(servers === 1, `a source that this thread has mapped has ${servers} servers`);
  yield* unmap(harness);
  if (pair.begun === 2) yield* pair.hold.seat.sources.settle();
  yield* pair.hasDone.complete();
}

const acquireBesideSettle: Covered = {
  layer: "space",
  scenario: harnessScenario<Pair>({
    name: "coverage/space/map-source-vs-settle",
    summary:
      "A task maps a source while another task of the same thread lets it go: it gets the source that is served, or a new one.",
    exploration: { engine: "bounded", preemptions: 1 },
    harness: { pages: 0, arenaWords: 16_384 },
    setup: openPair,
    reopen: reopenPair,
    tasks: { settles: holdsAndSettles, maps: mapsBeside },
    check: (_pair, harness) => requireGone(harness, "everything"),
  }),
  twins: [],
  runs: {
    settles: ["space/sources.settle", "mm/source/serve.end"],
    maps: ["space/operations.mmapSource", "space/sources.#claimServed"],
  },
};

export const mappedSources: readonly Covered[] = [
  alone(
    "source-mapped-and-gone",
    "A source is written back and let go with its last mapping, by munmap or mmap.",
    [...ACQUIRE, ...SETTLE, "space/operations.mmapSource", "space/operations.sweep"],
    mapAndEnd,
  ),
  alone(
    "source-moved-over",
    "A source is let go when another mapping is moved to its place, and when its own is refused.",
    [...ACQUIRE, ...SETTLE, "space/operations.mmapSource", "space/operations.mremapTask"],
    moveAndRefuse,
  ),
  alone(
    "source-mapped-twice",
    "A source is mapped twice: both mappings have its pages, and it stays as long as either does.",
    [...ACQUIRE, ...SETTLE, "space/sources.#claimServed"],
    mapTwice,
  ),
  acquireBesideSettle,
  served(
    "source-served",
    "A thread without the code of a source loads and stores; when it has unmapped it, the source is written and let go.",
    0,
    ["mm/source/requests.ask"],
    storeAndUnmap,
  ),
  served(
    "source-served-again",
    "The write-back after the last unmap fails: the service waits until the source is mapped again, and tries again after that.",
    1,
    ["mm/source/source-table.claim"],
    storeAndMapAgain,
  ),
  servedInTurn,
  attempted(map),
  crowded(map),
];
