/**
 * @module A thread that dies with a part of a source's life that it has begun before: a transfer of
 * many pages, a request that somebody has taken, the last reference (O1 to O3 of mm/source/io.ts,
 * V1 to V3 of mm/source/serve.ts). Who waits goes on, and nothing is left.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { struct, u32 } from "../../../../src/memory/layout/struct.ts";
import type { Struct, StructView } from "../../../../src/memory/layout/struct.ts";
import { bringPageIn } from "../../../../src/mm/source/bring-in.ts";
import { IO_READ, IO_SIZE, ioBegin } from "../../../../src/mm/source/io.ts";
import { setPager } from "../../../../src/mm/source/pager.ts";
import { ask, endWait } from "../../../../src/mm/source/requests.ts";
import { refreshSize } from "../../../../src/mm/source/size.ts";
import { SourceServer } from "../../../../src/mm/source/serve.ts";
import {
  claim,
  claimNoted,
  dropClaim,
  dropNotedClaim,
} from "../../../../src/mm/source/source-table.ts";
import {
  beginWrite,
  finishTransfer,
  readPages,
  waitWhileWriting,
  writeRun,
} from "../../../../src/mm/source/transfer.ts";
import { markDirty } from "../../../../src/mm/view/view-backed.ts";
import {
  CACHE_DIRTY,
  CACHE_READING,
  CACHE_UPTODATE,
  CACHE_WRITEBACK,
  cacheEntryPfn,
  slotIfThere,
} from "../../../../src/mm/vma/page-cache.ts";
import { EAGAIN, EIO } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Covered } from "../covered.ts";
import {
  type SourceStage,
  asTask,
  beginRead,
  beginRequest,
  beginService,
  entryOf,
  makeSourceStage,
} from "../mm/source-stage.ts";
import { WordStore } from "../mm/store-stage.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";

interface World extends SourceStage {
  readonly servers: readonly SourceServer[];
  /** Of the thread that dies, or of one that asks. */
  readonly io: number;
}

type Body = HarnessBody<World>;

interface Part {
  readonly name: string;
  readonly summary: string;
  readonly tasks: Readonly<Record<string, readonly [runs: readonly string[], body: Body]>>;
  readonly setup: (harness: HmmHarness) => SourceStage & Partial<World>;
  readonly check: (world: World, harness: HmmHarness) => void;
  readonly preemptions?: number;
  readonly frames?: number;
}

/** The task "dies" may die. */
function part({ name, summary, tasks, setup, check, preemptions = 0, frames = 8 }: Part): Covered {
  return coveringOnHarness<World>({
    layer: "mm",
    name: `death/${name}`,
    summary,
    harness: { pages: 0, arenaWords: 8192, frames },
    exploration: { engine: "bounded", preemptions, deaths: 1 },
    killable: ["dies"],
    mustSurvive: true,
    mayRemain: "anything",
    setup: (harness) => ({ servers: [], io: 0, ...setup(harness) }),
    reopen: ({ store }) => store.reset(1),
    tasks,
    check,
    twins: [],
  });
}

const live = ({ machine }: HmmHarness, kind: string): number =>
  machine.heap.accounting().find(({ name }) => name === kind)?.live ?? 0;

function requireNone(harness: HmmHarness, ...kinds: readonly string[]): void {
  for (const kind of kinds)
    assert(live(harness, kind) === 0, `${live(harness, kind)} ${kind} are left`);
}

/** More than a transfer puts at a time. */
const MANY = 17;

const finishes =
  (answer: number): Body =>
  ({ io }, { machine }) =>
    finishTransfer(machine, io, answer);
const FINISH = ["mm/source/transfer.finishTransfer"];

/** Finds the lock of who died with it. */
const looks: Body = function* ({ cache, source }) {
  yield* cache.lock.lock();
  const { mappings, dirtyPages } = source;
  assert(mappings >= 0 && dirtyPages >= 0, "something is counted off too often");
  yield* cache.lock.unlock();
};
const LOOK: readonly string[] = [];

/** The transfer is over: no mark is left, and each frame has the count of the cache. */
function requireOver(world: World, harness: HmmHarness): void {
  let frames = 0;
  let dirty = 0;
  for (let page = 0; page < MANY; page++) {
    const entry = entryOf(harness, world, page);
    assert((entry & (CACHE_READING | CACHE_WRITEBACK)) === 0, `page ${page} keeps its mark`);
    if (entry !== 0) frames++;
    if ((entry & CACHE_DIRTY) !== 0) dirty++;
  }
  const { ram } = harness.machine;
  const { usedPages } = ram.usage();
  const { references } = ram.refs.total();
  assert(usedPages === frames, `${usedPages} frames are used, and the cache has ${frames}`);
  assert(references === frames, `${frames} frames have ${references} references`);
  const { mappings, dirtyPages } = world.source;
  assert(mappings === 1, `the source counts ${mappings} claims`);
  assert(dirtyPages === dirty, `${dirtyPages} pages are counted dirty, and ${dirty} are`);
  requireNone(harness, "sourceIo");
}

/** Pages that are in the cache become DIRTY. */
function makeDirty(harness: HmmHarness, stage: SourceStage, pages: number): void {
  const { machine } = harness;
  beginRead(harness, stage, new WordStore(pages), pages);
  for (let page = 0; page < pages; page++) {
    const pfn = cacheEntryPfn(entryOf(harness, stage, page));
    harness.run(markDirty(machine, stage.at, page, pfn, 1));
  }
}

/** The first task's thread writes them, and its code has not answered. */
function beginWriting(harness: HmmHarness, stage: SourceStage, pages: number): number {
  const { machine } = harness;
  const { cache, source, store } = stage;
  makeDirty(harness, stage, pages);
  return asTask(harness, 1, () => {
    const run = harness.run(beginWrite(machine, cache, source, 0, pages));
    assert(typeof run === "object", "there is something to write");
    harness.run(writeRun(machine, cache, source, store, run));
    return run.io;
  });
}

const manyRead = (name: string, summary: string, answer: number): Covered =>
  part({
    name,
    summary,
    tasks: { dies: [FINISH, finishes(answer)], looks: [LOOK, looks] },
    setup: (harness) => {
      const stage = makeSourceStage(harness, { pages: MANY });
      const io = asTask(harness, 1, () => beginRead(harness, stage, stage.store, MANY));
      return { ...stage, io };
    },
    check: (world, harness) => {
      requireOver(world, harness);
      const { writeFailures } = world.source;
      assert(writeFailures === 0, "a read is counted as a write-back that failed");
    },
    frames: MANY,
  });

const manyWritten = (name: string, summary: string, answer: number): Covered =>
  part({
    name,
    summary,
    tasks: { dies: [FINISH, finishes(answer)], looks: [LOOK, looks] },
    setup: (harness) => {
      const stage = makeSourceStage(harness, { pages: MANY });
      return { ...stage, io: beginWriting(harness, stage, MANY) };
    },
    check: requireOver,
    frames: MANY,
  });

const waitsForWrite: Body = ({ cache, source }, { machine }) =>
  waitWhileWriting(machine, cache, source, 0);
const WAIT_WRITE = ["mm/source/transfer.waitWhileWriting"];

const waitedFor = part({
  name: "write-beside-waiters",
  summary: "A thread dies while its code writes a page for which two wait: both go on.",
  tasks: {
    dies: [FINISH, finishes(0)],
    waits: [WAIT_WRITE, waitsForWrite],
    "waits too": [WAIT_WRITE, waitsForWrite],
  },
  setup: (harness) => {
    const stage = makeSourceStage(harness);
    return { ...stage, io: beginWriting(harness, stage, 1) };
  },
  check: requireOver,
});

/** The page can be read, though once it could not. */
const waitsForPage: Body = function* ({ at }, { machine }) {
  const answer = yield* bringPageIn(machine, at, 0);
  assert(answer === 0, `the page can be read, and the answer is ${answer}`);
};

const readOnceMore = part({
  name: "read-after-failure",
  summary:
    "A thread dies while its code reads a page that could not be read before, and one waits for it: that one reads the page itself.",
  tasks: {
    dies: [FINISH, finishes(0)],
    waits: [
      ["mm/source/bring-in.bringPageIn", "mm/source/bring-in.waitWhileReading"],
      waitsForPage,
    ],
  },
  setup: (harness) => {
    const { machine } = harness;
    const stage = makeSourceStage(harness);
    asTask(harness, 2, () => setPager(machine, stage.at, new WordStore(1)));
    const failing = new WordStore(1);
    failing.fails = true;
    const failed = harness.run(readPages(machine, stage.cache, stage.source, failing, 0, 1));
    assert(failed === EIO, `the first read answered ${failed}`);
    return { ...stage, io: asTask(harness, 1, () => beginRead(harness, stage, stage.store, 1)) };
  },
  check: (world, harness) =>
    assert((entryOf(harness, world, 0) & CACHE_UPTODATE) !== 0, "the page has not been read"),
});

/** Pages of which nobody has read one: there is no table for their entries. */
const readsFirst: Body = function* ({ cache, source }, { machine }) {
  const answer = yield* readPages(machine, cache, source, new WordStore(1), 0, 1);
  assert(answer === 0, `the read answered ${answer}`);
};

const firstRead = part({
  name: "first-read",
  summary: "A thread dies while it makes the table for the first page of a source: none is lost.",
  tasks: { dies: [["mm/source/transfer.readPages"], readsFirst], looks: [LOOK, looks] },
  setup: (harness) => makeSourceStage(harness),
  check: ({ cache }, harness) => {
    const isLinked = slotIfThere(harness.machine.memory, cache, 0) !== 0;
    const tables = live(harness, "words512");
    assert(tables === (isLinked ? 1 : 0), `there are ${tables} tables`);
  },
});

const servesAs = (index: number): Body =>
  function* ({ servers }) {
    yield* servers[index]!.serve(); // the set-up has begun it
  };
const SERVE = ["mm/source/serve.serve"];

const servedStill = part({
  name: "read-beside-servers",
  summary: "A thread dies while its code reads a page that nothing maps: those that serve end.",
  tasks: {
    dies: [FINISH, finishes(0)],
    serves: [SERVE, servesAs(0)],
    "serves too": [SERVE, servesAs(1)],
  },
  setup: (harness) => {
    const stage = makeSourceStage(harness);
    const io = asTask(harness, 1, () => beginRead(harness, stage, stage.store, 1));
    harness.run(dropClaim(harness.machine, stage.at));
    const servers = [2, 3].map((task) => asTask(harness, task, () => beginService(harness, stage)));
    return { ...stage, io, servers };
  },
  check: ({ source }, harness) => {
    assert(source.mappings === 0, `the source counts ${source.mappings} claims`);
    requireNone(harness, "sourceIo");
  },
});

/** Nobody answers in time. */
const asksInVain: Body = function* ({ at, source }, { machine }) {
  const io = yield* ioBegin(machine, at, IO_SIZE, 0, 0);
  assert(io > 0, `the request answered ${io}`);
  const answer = yield* ask(machine, source, io, 5);
  assert(answer === EAGAIN, `nobody serves, and the answer is ${answer}`);
  yield* endWait(machine, io);
};
const ASK = ["mm/source/requests.ask", "mm/source/requests.endWait"];

const askedInVain = part({
  name: "asks-in-vain",
  summary: "A thread dies while nobody takes its request: the request goes with it.",
  tasks: { dies: [ASK, asksInVain], looks: [LOOK, looks] },
  setup: (harness) => {
    const stage = makeSourceStage(harness);
    return { ...stage, servers: [asTask(harness, 2, () => beginService(harness, stage))] };
  },
  check: ({ source }, harness) => {
    assert(source.requests.isEmpty(), "a request is left");
    requireNone(harness, "sourceIo");
  },
});

const ends: Body = ({ io }, { machine }) => endWait(machine, io);

/** Any step at all: who makes one finds who has died. */
const passes: Body = function* (_world, { mm }) {
  yield* mm.mmapLock.downRead();
  yield* mm.mmapLock.upRead();
};
const PASS: readonly string[] = [];

const requireGone = (_world: World, harness: HmmHarness): void =>
  requireNone(harness, "sourceIo", "source", "pageCache");

const lastTransfer = part({
  name: "last-transfer",
  summary: "A thread dies that reads a page of a source which nobody else has any more.",
  tasks: { dies: [FINISH, finishes(0)], passes: [PASS, passes] },
  setup: (harness) => {
    const stage = makeSourceStage(harness);
    const io = asTask(harness, 1, () => beginRead(harness, stage, stage.store, 1));
    harness.run(dropClaim(harness.machine, stage.at));
    return { ...stage, io };
  },
  check: requireGone,
});

const lastReference = part({
  name: "last-wait",
  summary: "A thread dies that waits for a page of a source which nobody else has any more.",
  tasks: { dies: [["mm/source/requests.endWait"], ends], passes: [PASS, passes] },
  setup: (harness) => {
    const stage = makeSourceStage(harness);
    const { machine } = harness;
    const io = asTask(harness, 1, () => harness.run(ioBegin(machine, stage.at, IO_READ, 0, 1)));
    harness.run(dropClaim(machine, stage.at));
    return { ...stage, io };
  },
  check: requireGone,
});

/** The request has been made; drops the claim when it is answered. */
const asks: Body = function* ({ at, source, io }, { machine }) {
  const answer = yield* ask(machine, source, io, Infinity);
  assert(answer === 0, `a thread serves, and the answer is ${answer}`);
  yield* endWait(machine, io);
  yield* dropClaim(machine, at);
};

const takenOver = part({
  name: "server-with-request",
  summary: "A thread that serves dies at any point: another one does what it had taken.",
  tasks: { dies: [SERVE, servesAs(0)], serves: [SERVE, servesAs(1)], asks: [ASK, asks] },
  setup: (harness) => {
    const stage = makeSourceStage(harness);
    const { machine } = harness;
    const servers = [1, 2].map((task) => asTask(harness, task, () => beginService(harness, stage)));
    const io = asTask(harness, 3, () => {
      harness.run(claim(machine, stage.at));
      return beginRequest(harness, stage);
    });
    harness.run(dropClaim(machine, stage.at));
    return { ...stage, servers, io };
  },
  check: ({ source }, harness) => {
    assert(source.requests.isEmpty(), "a request is left");
    requireNone(harness, "sourceIo");
  },
});

/** The only thread that serves may have gone. */
const asksTheOnly: Body = function* ({ source, io }, { machine }) {
  const answer = yield* ask(machine, source, io, Infinity);
  assert(answer === 0 || answer === EIO, `the answer is ${answer}`);
  yield* endWait(machine, io);
};

/** The first task's thread serves, the second one's has asked, and nobody else keeps the cache. */
function setupAsked(harness: HmmHarness): World {
  const stage = makeSourceStage(harness);
  const server = asTask(harness, 1, () => beginService(harness, stage));
  const io = asTask(harness, 2, () => beginRequest(harness, stage));
  harness.run(dropClaim(harness.machine, stage.at));
  return { ...stage, servers: [server], io };
}

const answered = part({
  name: "server-that-answers",
  summary:
    "The only thread that serves dies while it answers, and who asks has seen the answer: the request is freed once.",
  tasks: { dies: [SERVE, servesAs(0)], asks: [ASK, asksTheOnly] },
  setup: setupAsked,
  check: (_world, harness) => requireNone(harness, "sourceIo"),
  preemptions: 2,
});

const givenUp = part({
  name: "server-of-given-up",
  summary: "A thread that serves dies with a request that nobody waits for: it is freed.",
  tasks: { dies: [SERVE, servesAs(0)], "gives up": [ASK.slice(1), ends] },
  setup: setupAsked,
  check: (_world, harness) => requireNone(harness, "sourceIo"),
  preemptions: 1,
});

const drops: Body = ({ at }, { machine }) => dropClaim(machine, at);

const servedToTheEnd = part({
  name: "server-beside-last-claim",
  summary: "A thread dies at any point of serving a source, also while it waits: nothing is left.",
  tasks: { dies: [SERVE, servesAs(0)], drops: [["mm/source/source-table.dropClaim"], drops] },
  setup: (harness) => {
    const stage = makeSourceStage(harness);
    const server = asTask(harness, 1, () => beginService(harness, stage));
    asTask(harness, 2, () => harness.run(claim(harness.machine, stage.at)));
    harness.run(dropClaim(harness.machine, stage.at));
    return { ...stage, servers: [server] };
  },
  check: (_world, harness) => {
    const [caches, servers] = [live(harness, "pageCache"), live(harness, "sourceServer")];
    assert(caches === servers, `${caches} caches are left, and ${servers} threads that serve`);
  },
});

const begins: Body = function* ({ at, store }, { machine }) {
  const server = yield* SourceServer.begin(machine, at, store);
  assert(typeof server !== "number", "the service cannot begin");
};

const begunHalf = part({
  name: "begin-service",
  summary: "A thread dies at any step of beginning to serve a source.",
  tasks: { dies: [["mm/source/serve.begin"], begins], looks: [LOOK, looks] },
  setup: (harness) => makeSourceStage(harness),
  check: ({ source, cache }, harness) => {
    const servers = live(harness, "sourceServer");
    assert(servers === source.servers, `${servers} records of ${source.servers} servers are left`);
    const references = cache.refs.read();
    assert(references === 1 + servers, `the cache has ${references} references`);
  },
});

const ClaimWords: Struct<StructView> = struct<StructView>("notedClaim", {
  source: u32("owner", "the cache, if it is claimed"),
  counted: u32("owner", "1: the source counts the claim"),
});
const claimWords = new WeakMap<HmmHarness, number>();

const claimsNoted: Body = function* ({ at }, harness) {
  const words = claimWords.get(harness)!; // of the set-up
  yield* claimNoted(harness.machine, at, words, words + 1);
  yield* dropNotedClaim(harness.machine, words, words + 1);
};

const claimed = part({
  name: "noted-claim",
  summary: "A thread dies with a claim that two words note: they say what is to be dropped.",
  tasks: {
    dies: [["mm/source/source-table.claimNoted"], claimsNoted],
    looks: [LOOK, looks],
  },
  setup: (harness) => {
    claimWords.set(harness, harness.alloc(ClaimWords).at);
    return makeSourceStage(harness);
  },
  check: ({ source, cache }, harness) => {
    const words = claimWords.get(harness)!; // of the set-up
    const { machine } = harness;
    const [noted, counted] = [machine.memory.words[words], machine.memory.words[words + 1]];
    assert(noted !== 0 || counted === 0, "a claim without a reference is counted");
    const { mappings } = source;
    assert(mappings === 1 + (counted === 0 ? 0 : 1), `the source counts ${mappings} claims`);
    const references = cache.refs.read();
    assert(references === 1 + (noted === 0 ? 0 : 1), `the cache has ${references} references`);
  },
});

/** Two words note it, and nobody else has one. */
const dropsLast: Body = (_world, harness) => {
  const words = claimWords.get(harness)!; // of the set-up
  return dropNotedClaim(harness.machine, words, words + 1);
};

const lastClaim = part({
  name: "last-claim",
  summary: "A thread drops the last claim of a source, which two words note: then the source goes.",
  tasks: { dies: [["mm/source/source-table.dropNotedClaim"], dropsLast], passes: [PASS, passes] },
  setup: (harness) => {
    const words = harness.alloc(ClaimWords).at;
    claimWords.set(harness, words);
    const stage = makeSourceStage(harness);
    harness.run(claimNoted(harness.machine, stage.at, words, words + 1));
    harness.run(dropClaim(harness.machine, stage.at));
    return stage;
  },
  check: (world, harness) => {
    const words = claimWords.get(harness)!; // of the set-up
    if (harness.machine.memory.words[words] === 0) requireGone(world, harness);
  },
});

const writtenBesideLook = part({
  name: "write-beside-look",
  summary: "A thread dies while its code writes a page for which one waits, and one looks.",
  tasks: {
    dies: [FINISH, finishes(0)],
    waits: [WAIT_WRITE, waitsForWrite],
    looks: [LOOK, looks],
  },
  setup: (harness) => {
    const stage = makeSourceStage(harness);
    return { ...stage, io: beginWriting(harness, stage, 1) };
  },
  check: requireOver,
  preemptions: 1,
});

/** The file is empty. The claim is the last one. */
const cutsAndDrops: Body = function* ({ at }, { machine }) {
  const answer = yield* refreshSize(machine, at);
  assert(answer === 0, `to ask for the size answered ${answer}`);
  yield* dropClaim(machine, at);
};

const cutByLast = part({
  name: "cut-of-last",
  summary: "A thread dies while it follows the size of a source that nobody else has any more.",
  tasks: { dies: [["mm/source/size.refreshSize"], cutsAndDrops], passes: [PASS, passes] },
  setup: (harness) => {
    const stage = makeSourceStage(harness, { pages: 2 });
    const { machine } = harness;
    asTask(harness, 1, () => harness.run(claim(machine, stage.at)));
    harness.run(dropClaim(machine, stage.at));
    return stage;
  },
  check: requireGone,
});

export const deathsWithSourceParts: readonly Covered[] = [
  manyRead("many-read", "A thread dies at any step of ending a read of many pages.", 0),
  manyRead("many-refused", "A thread dies at any step of ending a read that was refused.", -5),
  manyWritten("many-written", "A thread dies at any step of ending a write of many pages.", 0),
  manyWritten("many-kept", "A thread dies at any step of ending a write that was refused.", -5),
  waitedFor,
  servedStill,
  askedInVain,
  lastTransfer,
  lastReference,
  lastClaim,
  cutByLast,
  writtenBesideLook,
  takenOver,
  answered,
  readOnceMore,
  firstRead,
  servedToTheEnd,
  givenUp,
  begunHalf,
  claimed,
];
