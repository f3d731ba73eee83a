/**
 * @module A thread that dies in a critical section of sync/, in a read section, or while it reaps
 * another: nobody waits for ever, and nothing is released twice.
 */

import { Cell, Places } from "../../../../src/checker/primitives/program.ts";
import { DEATHS } from "../../../../src/sync/control-block.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { lockClass } from "../../../../src/sync/lock-class.ts";
import { Mutex } from "../../../../src/sync/primitives/mutex.ts";
import { reapTask } from "../../../../src/sync/death/reaper.ts";
import {
  addResource,
  registerReleaser,
  removeResource,
  resourceKind,
} from "../../../../src/sync/lockdep/resources.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import {
  SRCU_CALL_WORDS,
  registerSrcuCallback,
} from "../../../../src/sync/primitives/srcu-callbacks.ts";
import { PENDING, STATE, isIdle } from "../../../../src/sync/words/srcu-words.ts";
import { Srcu } from "../../../../src/sync/primitives/srcu.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { covering } from "../covered.ts";
import type { Covered } from "../covered.ts";

interface Section {
  readonly lock: Mutex;
  /** A lock of one's own: 1 while somebody is inside. */
  readonly homemade: Cell;
  readonly inside: Cell;
}

function* pass({ lock, inside }: Section): Task<void> {
  yield* lock.lock();
  assert((yield* inside.fetchAdd(1)) === 0, "two are inside");
  yield* inside.fetchAdd(-1);
  yield* lock.unlock();
}

function* passHomemade({ homemade, inside }: Section): Task<void> {
  while (!(yield* homemade.compareExchange(0, 1))) yield* homemade.waitWhile(1);
  assert((yield* inside.fetchAdd(1)) === 0, "two are inside");
  yield* inside.fetchAdd(-1);
  yield* homemade.store(0);
}

const LOCK = ["sync/primitives/lock-word.lock", "sync/primitives/lock-word.unlock"] as const;

const sections: Covered = covering<Section>({
  layer: "sync",
  name: "death/in-section",
  summary:
    "One of two dies, perhaps inside a lock: then the other is told EOWNERDEAD instead of waiting for ever.",
  exploration: { deaths: 1 },
  setup: (memory) => {
    const places = new Places(memory);
    const lock = new Mutex(memory, places.take(Mutex.WORDS), lockClass("covered death"));
    lock.init();
    return { lock, homemade: places.cell("homemade"), inside: places.cell("inside") };
  },
  tasks: { first: { runs: LOCK, body: pass }, second: { runs: LOCK, body: pass } },
  twins: [
    {
      name: "homemade",
      summary: "The lock is a word that no table of held locks knows.",
      expects: "deadlock",
      tasks: { first: passHomemade, second: passHomemade },
    },
  ],
});

interface Reading {
  readonly srcu: Srcu;
  /** A count of readers of one's own. */
  readonly readers: Cell;
}

const readSection: Covered = covering<Reading>({
  layer: "sync",
  name: "death/srcu-reader",
  summary: "A reader dies in its read section, and who waits for the readers goes on.",
  exploration: { deaths: 1 },
  killable: ["reader"],
  setup: (memory) => {
    const places = new Places(memory);
    const srcu = new Srcu(memory, places.take(Srcu.WORDS));
    srcu.init();
    return { srcu, readers: places.cell("readers") };
  },
  tasks: {
    reader: {
      runs: ["sync/primitives/srcu.readLock", "sync/primitives/srcu.readUnlock"],
      *body({ srcu }) {
        yield* srcu.readUnlock(yield* srcu.readLock());
      },
    },
    owner: { runs: ["sync/primitives/srcu.synchronize"], body: ({ srcu }) => srcu.synchronize() },
  },
  twins: [
    {
      name: "counted",
      summary: "The readers are counted in a word, which a dead one does not leave.",
      expects: "deadlock",
      tasks: {
        *reader({ readers }) {
          yield* readers.fetchAdd(1);
          yield* readers.fetchAdd(-1);
        },
        *owner({ readers }) {
          yield* readers.waitWhile(1);
        },
      },
    },
  ],
});

interface Deferring {
  readonly srcu: Srcu;
  /** The domain's grace periods and its deferred calls. */
  readonly grace: Cell;
  readonly pending: Cell;
  readonly heads: readonly number[];
  readonly ran: Cell;
  /** 1: another call came when there was no reader any more. */
  readonly late: Cell;
}

/** Counts, in the word that its call names. Layout: {next, kind, word}. */
const countCall: number = registerSrcuCallback(
  "coverage: count a call",
  function* (memory, head, slot) {
    yield* new Cell(memory, memory.words[head + SRCU_CALL_WORDS]!, "calls that ran").fetchAdd(1);
    removeResource(memory, slot);
  },
);

function deferring(memory: SharedMemory): Deferring {
  const places = new Places(memory);
  const srcu = new Srcu(memory, places.take(Srcu.WORDS));
  srcu.init();
  const ran = places.cell("calls that ran");
  const heads = [0, 1].map(() => places.take(SRCU_CALL_WORDS + 1));
  for (const head of heads) memory.words[head + SRCU_CALL_WORDS] = ran.at;
  return {
    srcu,
    ran,
    heads,
    late: places.cell("late"),
    grace: new Cell(memory, srcu.at + STATE, "grace periods"),
    pending: new Cell(memory, srcu.at + PENDING, "pending calls"),
  };
}

/**
 * Whoever ended the grace period died before it ran what that was for: the next who comes along
 * does it.
 */
function leftCalls(
  name: string,
  summary: string,
  last: (shared: Deferring) => Task<unknown>,
): Covered {
  const deferTo = function* (
    shared: Deferring,
    end: (shared: Deferring) => Task<unknown>,
  ): Task<void> {
    yield* shared.srcu.call(countCall, shared.heads[0]!);
    yield* end(shared);
  };
  return covering<Deferring>({
    layer: "sync",
    name: `death/left-calls-${name}`,
    summary: `A reader dies, perhaps after it ended a grace period and before it ran the deferred call: ${summary}.`,
    exploration: { deaths: 1 },
    killable: ["reader"],
    setup: deferring,
    tasks: {
      reader: {
        runs: ["sync/primitives/srcu.readLock", "sync/primitives/srcu.readUnlock"],
        *body({ srcu }) {
          yield* srcu.readUnlock(yield* srcu.readLock());
        },
      },
      owner: {
        runs: [
          "sync/primitives/srcu.call",
          "sync/primitives/srcu.runReadyCalls",
          `sync/primitives/srcu.${name}`,
        ],
        body: (shared) => deferTo(shared, last),
      },
    },
    check: ({ srcu, ran, late }) => {
      if (name === "call" && late.peek() === 0) return; // perhaps nobody came
      const calls = 1 + late.peek();
      assert(ran.peek() === calls, `${ran.peek()} of ${calls} deferred calls ran`);
      assert(srcu.pendingCalls() === 0, "a deferred call is left over");
    },
    twins: [
      {
        name: "nobody",
        summary: "Nobody comes along.",
        expects: "assertion",
        tasks: {
          owner: (shared) =>
            deferTo(shared, ({ grace, late }) => (name === "call" ? late.store(1) : grace.load())),
        },
      },
    ],
  });
}

const leftOver: readonly Covered[] = [
  leftCalls("synchronize", "who waits for the readers runs it", ({ srcu }) => srcu.synchronize()),
  leftCalls("barrier", "who waits for the calls runs it", ({ srcu }) => srcu.barrier()),
  leftCalls(
    "call",
    "who defers another one afterwards runs both",
    function* ({ srcu, grace, pending, late, heads }) {
      const before = yield* grace.load();
      if ((yield* pending.load()) === 0 || isIdle(before)) return;
      yield* grace.waitWhile(before); // for the one reader: none comes after it
      yield* late.store(1);
      yield* srcu.call(countCall, heads[1]!);
    },
  ),
];

/** As {@link countCall}, but gives the call up before it is done. */
const countTooLate: number = registerSrcuCallback(
  "coverage: count a call, given up before",
  function* (memory, head, slot) {
    removeResource(memory, slot);
    yield* new Cell(memory, memory.words[head + SRCU_CALL_WORDS]!, "calls that ran").fetchAdd(1);
  },
);

/** Queues a call. `late` is 1 until it is queued. */
const defer =
  (kind: number) =>
  ({ srcu, heads, late }: Deferring): Task<void> =>
    srcu.call(kind, heads[0]!, late.at);

/** What it adds for a call is nobody's until the call is queued. */
class CountsUnnoted extends Srcu {
  protected override *countCall(): Task<number> {
    const slot = yield* super.countCall();
    removeResource(this.memory, slot);
    return -1;
  }
}

function unqueued(memory: SharedMemory): Deferring {
  const shared = deferring(memory);
  memory.words[shared.late.at] = 1;
  return shared;
}

function* awaitCalls({ srcu }: Deferring): Task<void> {
  yield* srcu.barrier();
}

const running: Covered = covering<Deferring>({
  layer: "sync",
  name: "death/deferred-call",
  summary:
    "A thread dies at any step of queueing a deferred call and running it, and another waits for the calls: it runs, or was not queued.",
  exploration: { deaths: 1 },
  killable: ["dies"],
  mustSurvive: true,
  setup: unqueued,
  tasks: {
    dies: {
      runs: ["sync/primitives/srcu.call", "sync/primitives/srcu.runCall"],
      body: defer(countCall),
    },
    waits: { runs: ["sync/primitives/srcu.barrier"], body: awaitCalls },
  },
  check: ({ srcu, ran, late }) => {
    const [isQueued, left] = [late.peek() === 0, srcu.pendingCalls()];
    assert(ran.peek() + left === (isQueued ? 1 : 0), `${ran.peek()} ran, and ${left} are left`);
  },
  twins: [
    {
      name: "given-up-early",
      summary: "The callback gives the call up before it has done its work.",
      expects: "assertion",
      tasks: { dies: defer(countTooLate) },
    },
    {
      name: "unnoted",
      summary: "What is added to the count for a call is nobody's until the call is queued.",
      expects: "deadlock",
      tasks: {
        dies: ({ srcu: { memory, at }, heads, late }) =>
          new CountsUnnoted(memory, at).call(countCall, heads[0]!, late.at),
      },
    },
  ],
});

interface Owned {
  readonly memory: SharedMemory;
  readonly had: Cell;
  readonly released: Cell;
}

const THING: number = resourceKind("coverage thing");
const CARELESS_THING: number = resourceKind("coverage thing, released twice");

registerReleaser(THING, function* (memory, at) {
  yield* new Cell(memory, at, "released").fetchAdd(1);
});

registerReleaser(CARELESS_THING, function* (memory, at) {
  yield* new Cell(memory, at, "released").fetchAdd(1);
});

function* own({ memory, had, released }: Owned): Task<void> {
  yield* had.load();
  const slot = addResource(memory, THING, released.at);
  yield* had.store(1);
  removeResource(memory, slot);
  yield* released.fetchAdd(1);
}

/** Takes it off the list only after it was given back. */
function* ownCarelessly({ memory, had, released }: Owned): Task<void> {
  yield* had.load();
  const slot = addResource(memory, CARELESS_THING, released.at);
  yield* had.store(1);
  yield* released.fetchAdd(1);
  yield* had.store(2);
  removeResource(memory, slot);
}

function* alsoReap({ memory }: Owned): Task<void> {
  yield* new Cell(memory, DEATHS, "deaths").load();
  yield* reapTask(memory);
}

const reapers: Covered = covering<Owned>({
  layer: "sync",
  name: "death/reapers",
  summary:
    "A thread dies, two others reap it, and one of those may die too: what was owned is released once, or not at all.",
  exploration: { deaths: 2, engine: "bounded", preemptions: 2 },
  setup: (memory) => {
    const places = new Places(memory);
    return { memory, had: places.cell("had"), released: places.cell("released") };
  },
  tasks: {
    owner: {
      runs: ["sync/lockdep/resources.addResource", "sync/lockdep/resources.removeResource"],
      body: own,
    },
    reaping: { runs: ["sync/death/reaper.reapTask"], body: alsoReap },
  },
  check: ({ released }) => {
    assert(released.peek() <= 1, `what one thread owned was released ${released.peek()} times`);
  },
  twins: [
    {
      name: "listed-too-long",
      summary: "The owner gives the thing back before it takes it off its list.",
      expects: "assertion",
      tasks: { owner: ownCarelessly },
    },
  ],
});

export const deathsInSections: readonly Covered[] = [
  sections,
  readSection,
  ...leftOver,
  running,
  reapers,
];
