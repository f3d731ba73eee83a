/**
 * @module Threads that serve a source and die at any point: while they answer, beside another one
 * that serves, and while they let the source go. Who asks is answered, by the one that is left;
 * each thread is counted off once.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { beginWait } from "../../../../src/mm/source/bring-in.ts";
import { ask, endWait } from "../../../../src/mm/source/requests.ts";
import { SourceServer } from "../../../../src/mm/source/serve.ts";
import { claim, dropClaim, openSource } from "../../../../src/mm/source/source-table.ts";
import { waitWhileWriting } from "../../../../src/mm/source/transfer.ts";
import { PageCache, backingOf } from "../../../../src/mm/vma/page-cache.ts";
import { vmaOf } from "../../../../src/mm/vma/vma.ts";
import { EAGAIN } from "../../../../src/sync/errno.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { ADDRESS, FIRST, loadWord } from "./store-stage.ts";
import {
  type Body,
  type Shared,
  asksOn,
  death,
  readsLate,
  requireNoRecords,
  serves,
  writesLate,
} from "./transfer-deaths.ts";

const unmap = ({ machine, mm }: HmmHarness): Task<number> =>
  doMunmap(machine, mm, ADDRESS, PAGE_BYTES);

function* begin({ cache, store: pager }: Shared, { machine }: HmmHarness): Task<SourceServer> {
  const server = yield* SourceServer.begin(machine, cache, pager);
  return typeof server === "number" ? bug("the service cannot begin") : server;
}

function* serveToEnd(server: SourceServer): Task<void> {
  for (let answer = yield* server.end(); answer !== 0; answer = yield* server.end()) {
    assert(answer === EAGAIN, `the end answered ${answer}`);
    yield* server.serve();
  }
}

const unmaps: Body = (_shared, harness) => unmap(harness);

/** The page is in the cache, and nothing maps it. */
const readAndUnmap: Body = function* (_shared, harness) {
  assert((yield* loadWord(harness)) === FIRST, "the page reads something else");
  yield* unmap(harness);
};

/** Begins, and lets the source go at once, for nothing maps it. */
const ends: Body = function* (shared, harness) {
  const server = yield* begin(shared, harness);
  yield* shared.phase.store(1);
  yield* shared.phase.store(2);
  yield* serveToEnd(server);
  yield* shared.phase.store(3);
};

const servesToEnd: Body = function* (shared, harness) {
  yield* serveToEnd(yield* begin(shared, harness));
};

/** Serves while the source is claimed, and does not die. */
const lives: Body = function* (shared, harness) {
  const server = yield* begin(shared, harness);
  yield* shared.phase.store(1);
  yield* serveToEnd(server);
};

/** Asks when there is a thread that lives and serves: it is answered, and drops the claim. */
const asksTheLiving: Body = function* ({ cache, phase }, harness) {
  const { machine } = harness;
  yield* phase.waitWhile(0);
  const io = yield* beginWait(machine, cache, 0, 0);
  assert(io > 0, `the wait answered ${io}`);
  const source = backingOf(machine, cache) ?? bug("the cache has no source");
  const answer = yield* ask(machine, source, io, Infinity);
  assert(answer === 0, `a thread serves, and the wait answered ${answer}`);
  yield* endWait(machine, io);
  yield* dropClaim(machine, cache);
};

const FILE_SOURCE = {
  lengthBytes: PAGE_BYTES,
  isWritable: true,
  file: { device: 1n, inode: 2n, bornNs: 3n },
} as const;

/** Opens a file, and serves it. */
function* open({ store: pager }: Shared, { machine }: HmmHarness): Task<SourceServer> {
  const cache = yield* openSource(machine, FILE_SOURCE);
  assert(cache > 0, `the source cannot be opened: ${cache}`);
  const server = yield* SourceServer.begin(machine, cache, pager);
  if (typeof server === "number") bug("the service cannot begin");
  yield* dropClaim(machine, cache);
  return server;
}

const opensAndEnds: Body = function* (shared, harness) {
  yield* serveToEnd(yield* open(shared, harness));
};

/** Without waiting: the claim of a thread that died in `open` stays (docs/LIMITS.md). */
const opensAndTries: Body = function* (shared, harness) {
  const answer = yield* (yield* open(shared, harness)).end();
  assert(answer === 0 || answer === EAGAIN, `the end answered ${answer}`);
};

/** Nothing maps the source; the one that will ask has a claim of it. */
const claimAndUnmap: Body = function* ({ cache }, harness) {
  yield* claim(harness.machine, cache);
  yield* unmap(harness);
};

/** The references of the cache are the scenario's, and that of the mapping if it is there. */
function requireReferences({ cache }: Shared, harness: HmmHarness): void {
  const { machine, mm } = harness;
  requireNoRecords(harness, ["sourceServer", "sourceIo"]);
  const isMapped = vmaOf(machine.memory, mm, HARNESS_PAGE) !== undefined;
  const references = PageCache.at(machine.memory, cache).refs.read();
  assert(references === (isMapped ? 2 : 1), `the cache has ${references} references`);
}

/** The write-back of another thread is waited for. */
const waitsForWrite: Body = function* ({ cache }, { machine }) {
  const source = backingOf(machine, cache) ?? bug("the cache has no source");
  yield* waitWhileWriting(machine, PageCache.at(machine.memory, cache), source, 0);
};

/** Who is off the list of its thread has given the pages back. */
function requirePagesFirst(_shared: Shared, { machine }: HmmHarness): void {
  const isLost = machine.heap.accounting().some(({ name }) => name === "sourceServer");
  const { usedPages } = machine.ram.usage();
  assert(!isLost || usedPages === 0, "a server that nobody releases has left pages in the cache");
}

const COME_AND_GO = ["mm/source/serve.begin", "mm/source/serve.end"];
const SERVE = ["mm/source/serve.begin", "mm/source/serve.serve", "mm/source/serve.end"];
const OPEN = ["mm/source/source-table.openSource", ...SERVE];
const ASK = ["mm/source/requests.ask", "mm/source/requests.endWait"];
const ONE_AFTER_THE_OTHER: ScenarioExploration = { engine: "bounded", preemptions: 0 };

export const serverDeaths: readonly Covered[] = [
  death({
    name: "server-that-ends",
    summary:
      "A thread dies while it lets a source go that another one serves, too: it is counted off once.",
    dies: ends,
    others: [servesToEnd],
    coders: [0],
    exploration: { engine: "bounded", preemptions: 1 },
    setup: readAndUnmap,
    check: requireReferences,
    checkAll: requirePagesFirst,
    runs: [COME_AND_GO, COME_AND_GO],
  }),
  death({
    name: "server-of-two",
    summary: "The only thread that serves dies while two wait for an answer: both are answered.",
    dies: serves,
    others: [asksOn, asksOn],
    coders: [],
    exploration: ONE_AFTER_THE_OTHER,
    check: () => {},
    runs: [SERVE, ASK, ASK],
  }),
  death({
    name: "server-beside-a-living-one",
    summary: "A thread that serves dies at any point: another one does what it was asked.",
    dies: servesToEnd,
    others: [lives, asksTheLiving],
    coders: [],
    exploration: { engine: "random", executions: 400 },
    setup: claimAndUnmap,
    check: () => {},
    runs: [SERVE, SERVE, ASK],
  }),
  death({
    name: "late-reader-of-served",
    summary: "A thread dies while its code reads a page that nothing maps: those that serve end.",
    dies: readsLate,
    others: [servesToEnd, servesToEnd],
    coders: [],
    exploration: ONE_AFTER_THE_OTHER,
    setup: unmaps,
    check: requireReferences,
    runs: [["mm/source/transfer.readPages", "mm/source/transfer.finishTransfer"], SERVE, SERVE],
  }),
  death({
    name: "late-writer-of-two",
    summary: "A thread dies while its code writes a page, and two wait for that: both go on.",
    dies: writesLate,
    others: [waitsForWrite, waitsForWrite],
    coders: [1],
    exploration: ONE_AFTER_THE_OTHER,
    isDirty: true,
    check: () => {},
    runs: [
      ["mm/source/transfer.beginWrite", "mm/source/transfer.finishTransfer"],
      ["mm/source/transfer.waitWhileWriting"],
      ["mm/source/transfer.waitWhileWriting"],
    ],
  }),
  death({
    name: "server-of-file-vs-open",
    summary: "A thread that serves a file dies while another one opens the file.",
    dies: opensAndEnds,
    others: [opensAndTries],
    coders: [],
    exploration: ONE_AFTER_THE_OTHER,
    setup: unmaps,
    check: () => {},
    runs: [OPEN, OPEN],
  }),
];
