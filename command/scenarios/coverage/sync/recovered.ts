/**
 * @module A thread has died in a read section, and with a lock that is repaired: several find it,
 * recover and reap at once (sync/death/recovery.ts). One of them does it, once. If it dies in the
 * middle, another one does it again.
 */

import { Cell, Places } from "../../../../src/checker/primitives/program.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import {
  AGENT_FREE,
  AGENT_LIVE,
  AGENT_RECOVERER,
  AGENT_STATE,
  AGENT_STATE_MASK,
  DEATHS,
  RESOURCE_LIMIT,
  agentRecord,
} from "../../../../src/sync/control-block.ts";
import { declareDead } from "../../../../src/sync/death/death.ts";
import { reapTask, shouldReap } from "../../../../src/sync/death/reaper.ts";
import { recoverTask } from "../../../../src/sync/death/recovery.ts";
import { registerRepairer } from "../../../../src/sync/death/repair.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { lockClass } from "../../../../src/sync/lock-class.ts";
import { heldSlots } from "../../../../src/sync/lockdep/held-locks.ts";
import {
  addResource,
  removeResource,
  resourceKind,
} from "../../../../src/sync/lockdep/resources.ts";
import { Spinlock } from "../../../../src/sync/primitives/spinlock.ts";
import {
  SRCU_CALL_WORDS,
  registerSrcuCallback,
} from "../../../../src/sync/primitives/srcu-callbacks.ts";
import { Srcu } from "../../../../src/sync/primitives/srcu.ts";
import { registerAgent } from "../../../../src/sync/runners/agents.ts";
import { runBlocking } from "../../../../src/sync/runners/run-blocking.ts";
import { runInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import { liveAgent } from "../../../../src/sync/tasks/identity.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { ACTIVE } from "../../../../src/sync/words/srcu-words.ts";
import { covering } from "../covered.ts";
import type { Covered, Covering } from "../covered.ts";
import { FIRST, reserveRecords, standing, strangeThread, threadOf } from "./threads.ts";

const REPAIRED = "coverage lock that is repaired";
const repairedClass = lockClass(REPAIRED);

/**
 * What a recoverer reads of the record, and gives up of it, are no steps. So an order of two of
 * them that no other step decides is found by chance alone.
 */
const SAMPLED: ScenarioExploration = { engine: "random", executions: 1000 };

/** What the lock guards is the word behind it: how often it was made anew. */
registerRepairer(REPAIRED, function* (memory, lock) {
  yield* new Cell(memory, lock + Spinlock.WORDS, "repaired").fetchAdd(1);
});

interface Left {
  readonly memory: SharedMemory;
  readonly one: SharedMemory;
  readonly other: SharedMemory;
  readonly srcu: Srcu;
  readonly lock: Spinlock;
  readonly repaired: Cell;
}

function reopen(memory: SharedMemory): Left {
  const places = new Places(memory);
  return {
    memory,
    one: threadOf(memory, 1, memory.mode),
    other: threadOf(memory, 2, memory.mode),
    srcu: new Srcu(memory, places.take(Srcu.WORDS), lockClass("covered srcu of the dead")),
    lock: new Spinlock(memory, places.take(Spinlock.WORDS), repairedClass),
    repaired: places.cell("repaired"),
  };
}

/** The thread lives until a task finds it dead, or is dead already, and was being recovered. */
function setUp(memory: SharedMemory, wasClaimed: boolean): Left {
  reserveRecords(memory);
  const left = reopen(memory);
  const thread = strangeThread(memory);
  registerAgent(thread, { name: "dead" });
  new Srcu(thread, left.srcu.at, left.srcu.lockClass).readLock().next();
  const { value } = new Spinlock(thread, left.lock.at, repairedClass).tryLock().next();
  assert(value === true, "the lock is free, and was not taken");
  if (wasClaimed) {
    memory.words[agentRecord(FIRST) + AGENT_RECOVERER] = liveAgent(thread);
    declareDead(memory, FIRST, memory.words[agentRecord(FIRST) + AGENT_STATE]!);
  }
  return left;
}

function* find({ memory }: Left): Task<void> {
  const state = yield* new Cell(memory, agentRecord(FIRST) + AGENT_STATE, "agent record").load();
  if ((state & AGENT_STATE_MASK) !== AGENT_LIVE) return;
  yield* runInSteps(declareDead, memory, FIRST, state);
}

/** As a thread that is told of a death, and waits with a semaphore: it does not reap. */
function* recoverWhenTold({ memory, other }: Left): Task<void> {
  yield* new Cell(memory, DEATHS, "deaths").waitWhile(0);
  yield* recoverTask(other);
}

function* reapWhenTold({ memory, one }: Left): Task<void> {
  yield* new Cell(memory, DEATHS, "deaths").waitWhile(0);
  yield* reapTask(one);
}

/** What the dead thread had is given up: at most so often, and at least once if nobody died. */
function isRecovered(left: Left, deaths: number, reapers: readonly SharedMemory[]): void {
  const { memory, srcu, lock, repaired } = left;
  const record = agentRecord(FIRST);
  const { words } = memory;
  const active = words[srcu.at + ACTIVE]! + words[srcu.at + ACTIVE + 1]!;
  const times = repaired.peek();
  const isFree = standing(memory, FIRST) === AGENT_FREE;
  const isLeft = heldSlots(memory, record).length > 0;
  assert(active === (isLeft ? active : 0), `${active} are said to be in the read section`);
  assert(active >= 0, `the read section ended more than once: ${active}`);
  assert(times <= 1 + deaths, `what the lock guards was made anew ${times} times`);
  assert(!isFree || !isLeft, "the record is free, and still says what the thread holds");
  if (deaths > 0) return;
  assert(words[record + AGENT_RECOVERER] === 0, "nobody recovers, and somebody is said to");
  assert(isFree || reapers.some(shouldReap), "nobody will look after the dead thread");
  if (isLeft) return;
  assert(times === 1 && !lock.isLocked(), "the lock was not repaired, or is still taken");
}

const RECOVER = [
  "sync/death/recovery.recover",
  "sync/death/recovery.claim",
  "sync/death/recovery.endClaim",
  "sync/death/recovery.repairLocks",
  "sync/death/recovery.giveUpRest",
  "sync/primitives/lock-word.releaseOfDead",
  "sync/primitives/srcu.endForDead",
  "sync/primitives/srcu.leaveForDead",
] as const;
const REAP = ["sync/death/reaper.reapTask", ...RECOVER] as const;

function recovered(
  name: string,
  summary: string,
  wasClaimed: boolean,
  tasks: Covering<Left>["tasks"],
  more: Partial<Covering<Left>> = {},
): Covered {
  return covering<Left>({
    layer: "sync",
    name: `recovered/${name}`,
    summary,
    setup: (memory) => setUp(memory, wasClaimed),
    reopen,
    tasks,
    check: (left, { deaths }) => isRecovered(left, deaths.length, [left.one, left.other]),
    ...more,
  });
}

interface Calls {
  readonly memory: SharedMemory;
  readonly one: SharedMemory;
  readonly srcu: Srcu;
  readonly ran: Cell;
  /** The last one is of no call of the dead thread. */
  readonly heads: readonly [number, number, number];
}

/** Behind the words of a call: the word that counts, and 1 if the first thread dies in it. */
const RAN: number = SRCU_CALL_WORDS;
const IS_FATAL: number = RAN + 1;

const countOrDie: number = registerSrcuCallback(
  "coverage: count a call, or die in it",
  function* (memory, head, slot) {
    const { words } = memory;
    if (words[head + IS_FATAL] !== 0) {
      words[head + IS_FATAL] = 0;
      throw new Error("its thread dies here");
    }
    yield* new Cell(memory, words[head + RAN]!, "calls that ran").fetchAdd(1);
    if (slot >= 0) removeResource(memory, slot);
  },
);

/** What fills a list of resources. */
const OTHER_THING: number = resourceKind("coverage thing of who reaps");

function reopenCalls(memory: SharedMemory): Calls {
  const places = new Places(memory);
  return {
    memory,
    one: threadOf(memory, 1, memory.mode),
    srcu: new Srcu(memory, places.take(Srcu.WORDS), lockClass("covered srcu of the dead")),
    ran: places.cell("calls that ran"),
    heads: [places.take(IS_FATAL + 1), places.take(IS_FATAL + 1), places.take(IS_FATAL + 1)],
  };
}

/**
 * The thread queues two calls in a read section, and has died there, or in the first of the calls
 * when it ended the section.
 */
function setUpCalls(memory: SharedMemory, diesInCall: boolean): Calls {
  reserveRecords(memory);
  const calls = reopenCalls(memory);
  const { srcu, heads, ran } = calls;
  const thread = strangeThread(memory);
  registerAgent(thread, { name: "dead" });
  const own = new Srcu(thread, srcu.at, srcu.lockClass);
  const section = runBlocking(thread, own.readLock());
  for (const head of heads) memory.words[head + RAN] = ran.at;
  for (const head of heads.slice(0, 2)) runBlocking(thread, own.call(countOrDie, head));
  memory.words[heads[0] + IS_FATAL] = diesInCall ? 1 : 0;
  try {
    if (diesInCall) runBlocking(thread, own.readUnlock(section));
  } catch {
    // as it does not go on
  }
  declareDead(memory, FIRST, memory.words[agentRecord(FIRST) + AGENT_STATE]!);
  return calls;
}

const RUN_CALLS = [
  "sync/death/reaper.reapTask",
  "sync/primitives/srcu.runReadyCalls",
  "sync/primitives/srcu.runCall",
] as const;
const CALLED_AGAIN = [...RUN_CALLS, "sync/primitives/srcu.callAgain"] as const;
const ENDED = [
  ...RUN_CALLS,
  "sync/death/recovery.giveUpRest",
  "sync/primitives/srcu.endForDead",
  "sync/primitives/srcu.leaveForDead",
] as const;

function callsOfDead(name: string, summary: string, diesInCall: boolean): Covered {
  const runs = diesInCall ? CALLED_AGAIN : ENDED;
  return covering<Calls>({
    layer: "sync",
    name: `recovered/${name}`,
    summary,
    exploration: { engine: "bounded", preemptions: 2 },
    setup: (memory) => setUpCalls(memory, diesInCall),
    reopen: reopenCalls,
    tasks: {
      one: { runs, body: ({ one }) => reapTask(one) },
    },
    check: ({ memory, srcu, ran }) => {
      assert(ran.peek() === 2, `${ran.peek()} of two deferred calls ran`);
      assert(srcu.pendingCalls() === 0, "a deferred call is left over");
      assert(standing(memory, FIRST) === AGENT_FREE, "the record is not free");
    },
    twins: [
      {
        name: "nobody",
        summary: "Nobody reaps.",
        expects: "assertion",
        tasks: { one: ({ ran }) => ran.load() },
      },
    ],
  });
}

/** The dead thread has died in the first of its calls. */
function calledBeside(
  name: string,
  summary: string,
  exploration: ScenarioExploration,
  isFull: boolean,
): Covered {
  return covering<Calls>({
    layer: "sync",
    name: `recovered/${name}`,
    summary,
    exploration,
    setup(memory) {
      const calls = setUpCalls(memory, true);
      const things = isFull ? RESOURCE_LIMIT : 0;
      for (let i = 0; i < things; i++) addResource(calls.one, OTHER_THING, i + 1);
      return calls;
    },
    reopen: reopenCalls,
    tasks: {
      one: { runs: CALLED_AGAIN, body: ({ one }) => reapTask(one) },
      other: {
        runs: ["sync/primitives/srcu.call", "sync/primitives/srcu.countCall"],
        body: ({ srcu, heads }) => srcu.call(countOrDie, heads[2]),
      },
    },
    check: ({ memory, srcu, ran }) => {
      assert(ran.peek() === 3, `${ran.peek()} of three deferred calls ran`);
      assert(srcu.pendingCalls() === 0, "a deferred call is left over");
      assert(standing(memory, FIRST) === AGENT_FREE, "the record is not free");
    },
    twins: [
      {
        name: "nobody",
        summary: "Nobody reaps.",
        expects: "assertion",
        tasks: { one: ({ ran }) => ran.load() },
      },
    ],
  });
}

export const recoveredThreads: readonly Covered[] = [
  callsOfDead(
    "calls-that-wait",
    "The thread died in a read section for which two deferred calls wait: who ends it runs both.",
    false,
  ),
  callsOfDead(
    "calls-that-ran",
    "The thread died in one deferred call while another was ready: who calls it again runs both.",
    true,
  ),
  calledBeside(
    "calls-beside-a-caller",
    "The thread died in a deferred call, and another thread defers one while it is called again: all are counted.",
    { spelledOut: true, spuriousWakes: 0, engine: "bounded", preemptions: 1 },
    false,
  ),
  calledBeside(
    "calls-of-a-full-list",
    "The thread died in a deferred call, and the list of who calls it again is full: all run.",
    { engine: "bounded", preemptions: 1 },
    true,
  ),
  recovered(
    "by-two",
    "One finds the dead thread, two recover it as soon as they see that: one of them does.",
    false,
    {
      finder: { runs: ["sync/death/death.declareDead"], body: find },
      one: { runs: REAP, body: reapWhenTold },
      other: { runs: ["sync/death/recovery.recoverTask"], body: recoverWhenTold },
    },
    {
      exploration: SAMPLED,
      // Who passed by the record while it was recovered is told to come again.
      check: (left) => isRecovered(left, 0, [left.one]),
      twins: [
        {
          name: "unclaimed",
          summary: "One gives back what the dead thread had, without saying that it is the one.",
          expects: "assertion",
          tasks: {
            *one({ memory, srcu }) {
              yield* new Cell(memory, srcu.at + ACTIVE, "readers").fetchAdd(-1);
            },
          },
        },
      ],
    },
  ),
  recovered(
    "beside-a-reader",
    "Who recovers a dead thread looks at all records, and leaves a living reader its section.",
    true,
    {
      reader: {
        runs: ["sync/primitives/srcu.readLock", "sync/primitives/srcu.readUnlock"],
        *body({ srcu, repaired }) {
          const section = yield* srcu.readLock();
          yield* repaired.load();
          yield* srcu.readUnlock(section);
        },
      },
      other: { runs: ["sync/death/recovery.recoverTask"], body: recoverWhenTold },
    },
    { exploration: SAMPLED },
  ),
  recovered(
    "after-a-recoverer",
    "Who began to recover it has died: of two that go on, one does it all.",
    true,
    {
      one: { runs: REAP, body: ({ one }) => reapTask(one) },
      other: { runs: REAP, body: ({ other }) => reapTask(other) },
    },
    { exploration: SAMPLED },
  ),
  recovered(
    "death-of-recoverer",
    "Who recovers it dies at any step: another one does it again.",
    true,
    {
      dies: { runs: REAP, body: ({ one }) => reapTask(one) },
      other: { runs: REAP, body: ({ other }) => reapTask(other) },
    },
    {
      exploration: { engine: "bounded", preemptions: 1, deaths: 1 },
      killable: ["dies"],
      mustSurvive: true,
    },
  ),
];
