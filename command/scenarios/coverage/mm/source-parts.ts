/**
 * @module Two or three threads with parts of a source's life, beside each other: its size, who
 * serves it, who asks for it, who opens and gives up its file, its pages. Nothing maps it, so that
 * each part has few steps (source-stage.ts).
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { bringPageIn } from "../../../../src/mm/source/bring-in.ts";
import { SourceServer } from "../../../../src/mm/source/serve.ts";
import { ask } from "../../../../src/mm/source/requests.ts";
import { claim, dropClaim, openSource } from "../../../../src/mm/source/source-table.ts";
import { finishTransfer } from "../../../../src/mm/source/transfer.ts";
import { addMapper } from "../../../../src/mm/vma/source.ts";
import {
  CACHE_DIRTY,
  CACHE_WRITEBACK,
  cacheEntryPfn,
  PageCache,
} from "../../../../src/mm/vma/page-cache.ts";
import { markDirty } from "../../../../src/mm/view/view-backed.ts";
import {
  AGENT_RESOURCES,
  AGENT_STATE,
  AGENT_STATE_MASK,
  RESOURCE_WORDS,
  agentRecord,
} from "../../../../src/sync/control-block.ts";
import { EAGAIN, EIO } from "../../../../src/sync/errno.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import { releasers } from "../../../../src/sync/lockdep/resources.ts";
import { nameHash } from "../../../../src/sync/name-registry.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  FILE,
  type SourceStage,
  asTask,
  beginRead,
  beginRequest,
  beginService,
  entryOf,
  makeSourceStage,
  type Body,
  part,
} from "./source-stage.ts";
import { WordStore } from "./store-stage.ts";

const maps: Body = function* ({ cache, source }, { machine, mm }) {
  const answer = yield* addMapper(machine, cache, source, mm);
  assert(answer === 0, `there is no room: ${answer}`);
};
const MAP = ["mm/vma/source.addMapper"];

const mappedTwice = part({
  name: "map-vs-map",
  summary: "Two threads of a space map a file: the space is listed once.",
  tasks: { maps: [MAP, maps], "maps too": [MAP, maps] },
  setup: (harness) => makeSourceStage(harness),
  check: ({ source }, { machine }) => {
    const listed = [...source.mappers.nodes()].length;
    assert(listed === 1, `the space is listed ${listed} times`);
    const mappers = machine.heap.accounting().find(({ name }) => name === "mapper")?.live;
    assert(mappers === 1, `${mappers} mappers are left`);
  },
});

const begins: Body = function* ({ at, store }, { machine }) {
  const server = yield* SourceServer.begin(machine, at, store);
  assert(typeof server !== "number", "the service cannot begin");
};
const BEGIN = ["mm/source/serve.begin"];

const begunTwice = part({
  name: "begin-vs-begin",
  summary: "Two threads begin to serve a source: both are counted.",
  tasks: { begins: [BEGIN, begins], "begins too": [BEGIN, begins] },
  setup: (harness) => makeSourceStage(harness),
  check: ({ source }) => assert(source.servers === 2, `${source.servers} servers are counted`),
});

/** Nothing claims the file: it goes, unless somebody finds it before. */
const ends: Body = function* ({ at, store }, { machine }) {
  const server = yield* SourceServer.begin(machine, at, store);
  assert(typeof server !== "number", "the service cannot begin");
  yield* dropClaim(machine, at);
  yield* server.end();
};
const opens: Body = function* (_world, { machine }) {
  const cache = yield* openSource(machine, {
    lengthBytes: PAGE_BYTES,
    isWritable: true,
    file: FILE,
  });
  assert(cache > 0, `the file cannot be opened: ${cache}`);
  yield* dropClaim(machine, cache);
};

const openedAtTheEnd = part({
  name: "end-vs-open",
  summary: "The last thread that serves a file ends, while another one opens it.",
  tasks: {
    ends: [["mm/source/serve.end"], ends],
    opens: [["mm/source/source-table.openSource", "mm/source/source-table.dropClaim"], opens],
  },
  setup: (harness) => makeSourceStage(harness, { isFile: true }),
  check: () => {},
});

const drops: Body = ({ at }, { machine }) => dropClaim(machine, at);
const DROP = ["mm/source/source-table.dropClaim", "mm/vma/source-list.unlistSource"];

const droppedTwice = part({
  name: "drop-vs-drop",
  summary: "Two threads that cannot serve a file give it up: the last one takes it off the list.",
  tasks: { drops: [DROP, drops], "drops too": [DROP, drops] },
  setup: (harness) => {
    const stage = makeSourceStage(harness, { isFile: true });
    const { machine } = harness;
    for (const task of [1, 2]) asTask(harness, task, () => harness.run(claim(machine, stage.at)));
    harness.run(dropClaim(machine, stage.at));
    return stage;
  },
  check: (world, harness) => {
    const sources = harness.machine.heap.accounting().find(({ name }) => name === "source")?.live;
    assert(sources === undefined, `${sources} sources are left`);
    assert(world.table.files.isEmpty(), "a file that is gone is listed");
  },
});

/** The request has been made; waits for the answer. */
const asksFor = (index: number): Body =>
  function* ({ source, requests }, { machine }) {
    const answer = yield* ask(machine, source, requests[index]!, Infinity);
    assert(answer === 0, `the request answered ${answer}`);
  };
/** There is a server for each task, and nothing is mapped or one task drops the last claim. */
const servesAs = (index: number): Body =>
  function* ({ servers }) {
    yield* servers[index]!.serve();
  };
const ASK = ["mm/source/requests.ask"];
const SERVE = ["mm/source/serve.serve"];

const twoAnswers = part({
  name: "ask-vs-ask-vs-serve",
  summary: "Two threads wait for answers, and a third one answers both.",
  tasks: { asks: [ASK, asksFor(0)], "asks too": [ASK, asksFor(1)], serves: [SERVE, servesAs(0)] },
  setup: (harness) => {
    const stage = makeSourceStage(harness);
    const server = asTask(harness, 3, () => beginService(harness, stage));
    const requests = [1, 2].map((task) =>
      asTask(harness, task, () => beginRequest(harness, stage)),
    );
    harness.run(dropClaim(harness.machine, stage.at));
    return { ...stage, servers: [server], requests };
  },
  check: ({ source }) => assert(source.requests.isEmpty(), "a request is left"),
});

const twoServers = (harness: HmmHarness, stage: SourceStage): SourceServer[] =>
  [2, 3].map((task) => asTask(harness, task, () => beginService(harness, stage)));

const lastClaim = part({
  name: "drop-vs-serve-vs-serve",
  summary: "The last claim of a source is dropped: all that serve it are woken.",
  tasks: {
    drops: [["mm/source/source-table.dropClaim"], drops],
    serves: [SERVE, servesAs(0)],
    "serves too": [SERVE, servesAs(1)],
  },
  setup: (harness) => {
    const stage = makeSourceStage(harness);
    const { machine } = harness;
    asTask(harness, 1, () => harness.run(claim(machine, stage.at)));
    harness.run(dropClaim(machine, stage.at));
    return { ...stage, servers: twoServers(harness, stage) };
  },
  check: ({ source }) => assert(source.mappings === 0, "the source is still claimed"),
});

function* beginWith({ at }: SourceStage, { machine }: HmmHarness): Task<SourceServer> {
  const server = yield* SourceServer.begin(machine, at, new WordStore(1));
  return typeof server === "number" ? bug("the service cannot begin") : server;
}

function requireWritten(world: SourceStage, harness: HmmHarness, answer: number): void {
  const isWritten = (entryOf(harness, world, 0) & (CACHE_DIRTY | CACHE_WRITEBACK)) === 0;
  assert(isWritten, `the page is not written, and the end answers ${answer}`);
}

/** As the last unmap: the page is written when it returns, whoever writes it. */
const settles: Body = function* (world, harness) {
  const server = yield* beginWith(world, harness);
  yield* dropClaim(harness.machine, world.at);
  requireWritten(world, harness, yield* server.end());
};
const settlesHastily: Body = function* (world, harness) {
  const { machine } = harness;
  const { cache, source } = world;
  const server = yield* beginWith(world, harness);
  yield* dropClaim(machine, world.at);
  yield* cache.lock.lock();
  const { mappings } = source;
  yield* cache.lock.unlock();
  requireWritten(world, harness, mappings > 0 ? EAGAIN : yield* server.end());
};
const endsToo: Body = function* (world, harness) {
  const answer = yield* (yield* beginWith(world, harness)).end();
  assert(answer === 0 || answer === EAGAIN, `the end answered ${answer}`);
};

const END = ["mm/source/serve.begin", "mm/source/serve.end"];

const endedTwice = part({
  name: "end-vs-end",
  summary:
    "A thread drops the last claim of a source, and another one that serves it writes its page back: the page is written when the first has let go.",
  tasks: { settles: [END, settles], "ends too": [END, endsToo] },
  setup: (harness) => {
    const { machine } = harness;
    const stage = makeSourceStage(harness);
    beginRead(harness, stage, new WordStore(1), 1);
    const pfn = cacheEntryPfn(entryOf(harness, stage, 0));
    harness.run(markDirty(machine, stage.at, 0, pfn, 1));
    // The tasks look at it when it is gone.
    harness.run(PageCache.at(machine.memory, stage.at).refs.get());
    asTask(harness, 1, () => harness.run(claim(machine, stage.at)));
    harness.run(dropClaim(machine, stage.at));
    return stage;
  },
  check: ({ source }) => assert(source.dirtyPages === 0, "the page is dirty still"),
  preemptions: 2,
  twins: [
    [
      "hasty",
      "It takes the transfer of the other one for a mapping.",
      "assertion",
      { settles: settlesHastily },
    ],
  ],
});

/** The code of the first task answers at last. */
const finishes =
  (answer: number): Body =>
  ({ io }, { machine }) =>
    finishTransfer(machine, io, answer);
const FINISH = ["mm/source/transfer.finishTransfer"];

const reading = (harness: HmmHarness, stage: SourceStage): number =>
  asTask(harness, 1, () => beginRead(harness, stage, stage.store, 1));

const lastTransfer = part({
  name: "finish-vs-serve-vs-serve",
  summary: "A read ends of a source that nothing maps any more: all that serve it are woken.",
  tasks: {
    finishes: [FINISH, finishes(0)],
    serves: [SERVE, servesAs(0)],
    "serves too": [SERVE, servesAs(1)],
  },
  setup: (harness) => {
    const stage = makeSourceStage(harness);
    const io = reading(harness, stage);
    harness.run(dropClaim(harness.machine, stage.at));
    return { ...stage, io, servers: twoServers(harness, stage) };
  },
  check: ({ source }) => assert(source.mappings === 0, "the source is still claimed"),
});

const waitsFor = (wanted: number): Body =>
  function* ({ at }, { machine }) {
    const answer = yield* bringPageIn(machine, at, 0);
    assert(answer === wanted, `the page is waited for, and the answer is ${answer}`);
  };
const WAIT = ["mm/source/bring-in.bringPageIn", "mm/source/bring-in.waitWhileReading"];

const finishedBeside = (name: string, summary: string, answer: number): Covered =>
  part({
    name,
    summary,
    tasks: {
      finishes: [FINISH, finishes(answer)],
      waits: [WAIT, waitsFor(answer)],
      "waits too": [WAIT, waitsFor(answer)],
    },
    setup: (harness) => {
      const stage = makeSourceStage(harness);
      return { ...stage, io: reading(harness, stage) };
    },
    reopen: ({ store }) => {
      store.reset(1);
      store.fails = answer !== 0;
    },
    check: (world, harness) => {
      const entry = entryOf(harness, world, 0);
      assert((entry === 0) === (answer !== 0), `the page's entry is ${entry}`);
    },
    preemptions: 0,
  });

const SERVER = nameHash("source");
/** By stage: the record of the server that has died. */
const recordsLeft = new WeakMap<SourceStage["cache"], number>();

/**
 * The first task's thread has died as a server of the source. A reaper has taken that from its
 * list, which is empty then: so another reaper has made its record free, and a new thread has it.
 */
function dieAsServer(harness: HmmHarness, stage: SourceStage): void {
  const { words } = harness.machine.memory;
  const state = agentRecord(1) + AGENT_STATE;
  const now = words[state]!;
  words[state] = now + AGENT_STATE_MASK + 1; // another generation than the task's
  asTask(harness, 1, () => beginService(harness, stage));
  words[state] = now;
  let entry = agentRecord(1) + AGENT_RESOURCES;
  while (words[entry] !== SERVER) entry += RESOURCE_WORDS;
  recordsLeft.set(stage.cache, words[entry + 1]!);
  words[entry] = 0;
}

const reapsLate: Body = function* ({ cache }, { machine: { memory } }) {
  const known = releasers.find(SERVER) ?? bug("nobody releases servers");
  yield* known.release(memory, recordsLeft.get(cache)!, -1); // of the set-up
};

const reapedLate = part({
  name: "serve-vs-late-reaper",
  summary:
    "A thread has the number of one that has died as a server, and serves the same source: what it answers is not given to another server.",
  tasks: {
    serves: [SERVE, servesAs(0)],
    "serves too": [SERVE, servesAs(1)],
    asks: [ASK, asksFor(0)],
    reaps: [["mm/source/serve.releaseServer"], reapsLate],
  },
  setup: (harness) => {
    const stage = makeSourceStage(harness);
    dieAsServer(harness, stage);
    const servers = [1, 2].map((task) => asTask(harness, task, () => beginService(harness, stage)));
    const requests = [asTask(harness, 3, () => beginRequest(harness, stage))];
    harness.run(dropClaim(harness.machine, stage.at));
    return { ...stage, servers, requests };
  },
  check: ({ source }) => {
    assert(source.requests.isEmpty(), "a request is left");
    assert(source.servers === 2, `${source.servers} servers are counted`);
  },
});

export const sourceParts: readonly Covered[] = [
  mappedTwice,
  begunTwice,
  openedAtTheEnd,
  droppedTwice,
  twoAnswers,
  lastClaim,
  endedTwice,
  lastTransfer,
  reapedLate,
  finishedBeside("finish-vs-waits", "A read ends for which two threads wait.", 0),
  finishedBeside("fail-vs-waits", "A read fails for which two threads wait: both hear why.", EIO),
];
