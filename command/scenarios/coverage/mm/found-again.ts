/**
 * @module A file whose serving thread has died, or dies, and that another thread opens: as long as
 * it is mapped it is found, with what was stored, and served again; then it is freed, and who looks
 * for it meanwhile lets it be (N2 and N3 of mm/source/source-table.ts). A claim stands for the
 * mapping. In the twins it is found as if it could not be freed meanwhile, and it is forgotten when
 * nobody serves it.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { bringPageIn } from "../../../../src/mm/source/bring-in.ts";
import { SourceServer } from "../../../../src/mm/source/serve.ts";
import { claim, dropClaim, openSource } from "../../../../src/mm/source/source-table.ts";
import { syncPages } from "../../../../src/mm/source/write-back.ts";
import {
  CACHE_DIRTY,
  PageCache,
  cacheEntryAt,
  cacheEntryPfn,
} from "../../../../src/mm/vma/page-cache.ts";
import { Source } from "../../../../src/mm/vma/source.ts";
import { markDirty } from "../../../../src/mm/view/view-backed.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  type Body,
  FILE,
  type SourceStage,
  type World,
  asTask,
  beginRead,
  beginService,
  entryOf,
  makeSourceStage,
  part,
} from "./source-stage.ts";
import { FIRST, WordStore } from "./store-stage.ts";

const STORED = 9;

/** A file with one page, to which something has been stored. The set-up has claimed it. */
function makeStored(harness: HmmHarness): SourceStage {
  const stage = makeSourceStage(harness, { isFile: true, coders: [] });
  const before = new WordStore(1);
  before.words[0] = STORED;
  beginRead(harness, stage, before, 1);
  const pfn = cacheEntryPfn(entryOf(harness, stage, 0));
  harness.run(markDirty(harness.machine, stage.at, 0, pfn, 1));
  return stage;
}

/** The tasks with these numbers have a claim each, and the set-up has none. */
function leaveTo(harness: HmmHarness, { at }: SourceStage, tasks: readonly number[]): void {
  const { machine } = harness;
  for (const task of tasks) asTask(harness, task, () => harness.run(claim(machine, at)));
  harness.run(dropClaim(machine, at));
}

/** The cache of the file, claimed. */
type Open = (world: World, harness: HmmHarness) => Task<number>;

function* opens(_world: World, { machine }: HmmHarness): Task<number> {
  const kind = { lengthBytes: PAGE_BYTES, isWritable: true, file: FILE };
  const cache = yield* openSource(machine, kind);
  assert(cache > 0, `the file cannot be opened: ${cache}`);
  return cache;
}

/** The cache that is listed first, or 0. Holding sourcesLock. */
function listedFirst({ table }: World): number {
  const node = table.files.first();
  return node === 0 ? 0 : Source.at(table.memory, Source.containerOf(node, "node")).cache;
}

/** As if what is listed stayed until it is claimed. */
function* opensUnclaimed(world: World, harness: HmmHarness): Task<number> {
  const { lock } = world.table;
  yield* lock.lock();
  const cache = listedFirst(world);
  yield* lock.unlock();
  if (cache === 0) return yield* opens(world, harness);
  yield* claim(harness.machine, cache);
  return cache;
}

/** As if what is listed were alive. */
function* opensDead(world: World, harness: HmmHarness): Task<number> {
  const { lock } = world.table;
  yield* lock.lock();
  const cache = listedFirst(world);
  if (cache !== 0) yield* claim(harness.machine, cache);
  yield* lock.unlock();
  return cache === 0 ? yield* opens(world, harness) : cache;
}

function* isDirty({ machine: { memory } }: HmmHarness, at: number): Task<boolean> {
  const cache = PageCache.at(memory, at);
  yield* cache.lock.lock();
  const entry = cacheEntryAt(memory, cache, 0);
  yield* cache.lock.unlock();
  return (entry & CACHE_DIRTY) !== 0;
}

/** Opens the file and serves it. What was stored is there and is written, or the file is read. */
const opensAndServes = (open: Open): Body =>
  function* (world, harness) {
    const { machine } = harness;
    const store = new WordStore(1);
    const at = yield* open(world, harness);
    const isFound = yield* isDirty(harness, at);
    const server = yield* SourceServer.begin(machine, at, store);
    assert(typeof server !== "number", "the service cannot begin");
    assert((yield* bringPageIn(machine, at, 0)) === 0, "the page cannot be read");
    yield* dropClaim(machine, at);
    const written = yield* syncPages(machine, at, 0, 1);
    assert(written === 0, `the write-back answered ${written}`);
    const wanted = isFound ? STORED : FIRST;
    assert(store.words[0] === wanted, `the store has ${store.words[0]}, not ${wanted}`);
    yield* server.end();
  };

const drops: Body = ({ at }, { machine }) => dropClaim(machine, at);

/** What is left is that of a thread which serves yet. */
function requireNoneLeft({ table }: World, { machine }: HmmHarness): void {
  const accounts = new Map(machine.heap.accounting().map(({ name, live }) => [name, live]));
  const servers = accounts.get("sourceServer") ?? 0;
  const wanted = Math.min(servers, 1);
  for (const kind of ["source", "pageCache"])
    assert((accounts.get(kind) ?? 0) === wanted, `${accounts.get(kind)} ${kind} are left`);
  assert((accounts.get("sourceIo") ?? 0) === 0, "a record of a transfer is left");
  const listed = [...table.files.nodes()].length;
  assert(listed === wanted, `${listed} files are listed, and ${servers} threads serve`);
}

const OPEN = [
  "mm/source/source-table.openSource",
  "mm/source/source-table.claimAlive",
  "mm/source/serve.begin",
  "mm/source/serve.end",
];
const DROP = ["mm/source/source-table.dropClaim", "mm/vma/source-list.unlistSource"];

const openedAtLast = part({
  name: "open-vs-last-drop",
  summary: "The last mapping goes of a file that nobody serves, while another thread opens it.",
  tasks: { drops: [DROP, drops], opens: [OPEN, opensAndServes(opens)] },
  setup: (harness) => {
    const stage = makeStored(harness);
    leaveTo(harness, stage, [1]);
    return stage;
  },
  check: requireNoneLeft,
  preemptions: 2,
  twins: [
    [
      "unclaimed",
      "It is found in one section of the lock, and claimed after it.",
      "use-after-free",
      { opens: opensAndServes(opensUnclaimed) },
    ],
    [
      "dead",
      "Who finds it does not look whether it is about to be freed.",
      "refcount",
      { opens: opensAndServes(opensDead) },
    ],
  ],
});

/** Its thread serves the file; the set-up has begun it. */
const serves: Body = ({ servers }) => servers[0]!.serve();

/** This thread has a mapping of the file: so another one is of the same source. */
const mapsAgain = (open: Open): Body =>
  function* (world, harness) {
    const { machine } = harness;
    const store = new WordStore(1);
    const at = yield* open(world, harness);
    assert(at === world.at, "the file is mapped, and has another source all the same");
    const server = yield* SourceServer.begin(machine, at, store);
    assert(typeof server !== "number", "the service cannot begin");
    yield* dropClaim(machine, at);
    const written = yield* syncPages(machine, at, 0, 1);
    assert(written === 0, `the write-back answered ${written}`);
    assert(store.words[0] === STORED, `the store has ${store.words[0]}`);
    yield* dropClaim(machine, at);
    yield* server.end();
  };

/** As if the end of the last thread that serves a file were the end of the file. */
function* opensForgotten(world: World, harness: HmmHarness): Task<number> {
  const { table, cache, source } = world;
  yield* table.lock.lock();
  yield* cache.lock.lock();
  const isServed = source.servers > 0;
  yield* cache.lock.unlock();
  if (!isServed && source.node.isListed()) source.node.del(table.lock.at);
  yield* table.lock.unlock();
  return yield* opens(world, harness);
}

const mappedAgain = part({
  name: "server-dies-vs-open",
  summary:
    "The thread that serves a mapped file dies at any point, and another one maps the file again: it is the same source, and what was stored is written.",
  tasks: {
    dies: [["mm/source/serve.serve", "mm/source/serve.releaseServer"], serves],
    opens: [OPEN, mapsAgain(opens)],
  },
  setup: (harness) => {
    const stage = makeStored(harness);
    const server = asTask(harness, 1, () => beginService(harness, stage));
    leaveTo(harness, stage, [2]);
    return { ...stage, servers: [server] };
  },
  check: requireNoneLeft,
  dies: "dies",
  twins: [
    [
      "forgotten",
      "A file that nobody serves is found no more.",
      "assertion",
      { opens: mapsAgain(opensForgotten) },
    ],
  ],
});

export const foundAgain: readonly Covered[] = [openedAtLast, mappedAgain];
